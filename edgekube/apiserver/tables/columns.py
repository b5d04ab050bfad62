"""Column definitions and the cells below them, by kind."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import msgspec

Cells = Callable[[Any, float], Sequence[Any]]


class Column(msgspec.Struct, frozen=True):
    """`wide`: shown by `-o wide` only (priority 1)."""

    name: str
    type: str = "string"
    wide: bool = False
    format: str = ""
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": 1 if self.wide else 0,
        }


class Spec(msgspec.Struct, frozen=True):
    columns: tuple[Column, ...]
    cells: Cells

    @property
    def definitions(self) -> list[dict[str, Any]]:
        return [column.definition() for column in self.columns]


NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", description="Time since the object was created.")

# Families, by module; each has TABLES: kind -> Spec.
_MODULES: dict[str, str] = {}


def spec(text: str, cells: Cells) -> Spec:
    """`Ready Status Restarts:integer IP+ Nominated_Node+`: `+` is wide, `_` a space; Name comes first by itself."""
    found = [NAME]
    for word in text.split():
        wide = word.endswith("+")
        name, _, kind = word.removesuffix("+").partition(":")
        found.append(AGE if name == "Age" else Column(name.replace("_", " "), kind or "string", wide))
    return Spec(tuple(found), cells)


@cache
def spec_of(kind: str) -> Spec:
    module = _MODULES.get(kind)
    if module is not None:
        tables: dict[str, Spec] = import_module(f"edgekube.apiserver.tables.{module}").TABLES
        return tables[kind]
    from edgekube.apiserver.tables.cells import age

    return Spec(
        (NAME, Column("Created At", "date", format="date-time")) if kind == "" else (NAME, AGE),
        lambda obj, now: (obj.metadata.name, age(obj.metadata.creationTimestamp, now)),
    )
