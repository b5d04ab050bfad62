"""How the fields of the built-in kinds merge, read from their classes. Costs the import of msgspec: `apply` alone."""

import types
import typing
from functools import cache
from typing import Annotated, Any

import msgspec

from edgekube.types.registry import UnknownKindError, class_of
from edgekube.types.schema import merge_keys


class StructShape:
    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self._cls = cls
        self._types = _field_types(cls)

    def field(self, name: str) -> "StructField":
        return StructField(self._cls, name, self._types.get(name))


class StructField:
    """What `merge` asks of a field."""

    def __init__(self, cls: type, name: str, annotation: Any) -> None:
        keys = merge_keys(cls, name)
        self.merge = "merge" in keys.patch_strategy
        self.retain_keys = "retainKeys" in keys.patch_strategy
        self.merge_key = keys.patch_merge_key
        self._annotation = annotation

    @property
    def inner(self) -> StructShape | None:
        cls = _struct_in(self._annotation)
        return None if cls is None else StructShape(cls)


def shape_of(group: str, version: str, kind: str) -> StructShape | None:
    """None for a kind that is not built in."""
    try:
        return StructShape(class_of(group, version, kind))
    except UnknownKindError:
        return None


@cache
def _field_types(cls: type[msgspec.Struct]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.encode_name: hints[field.name] for field in msgspec.structs.fields(cls)}


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """The Struct of `X`, `X | None`, `tuple[X, ...]` and the like. Values of maps have no names, hence no fields."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    origin = typing.get_origin(annotation)
    if origin is Annotated or origin is tuple or origin in (types.UnionType, typing.Union):
        for each in typing.get_args(annotation):
            found = _struct_in(each)
            if found is not None:
                return found
    return None
