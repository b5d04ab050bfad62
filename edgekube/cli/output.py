"""`-o json|yaml|name|jsonpath=...|jsonpath-file=...|custom-columns=...`: objects as text."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from edgekube.cli.api import Json
from edgekube.cli.errors import CliError, UsageError
from edgekube.cli.tables import Columns

FORMS = "json, yaml, name, wide, jsonpath=..., jsonpath-file=..., custom-columns=..., custom-columns-file=..."
_TEMPLATES = ("jsonpath", "jsonpath-as-json", "jsonpath-file", "custom-columns", "custom-columns-file")


class Printer:
    """Prints one object, or a List, in one form. Raises UsageError for an unknown form."""

    def __init__(self, form: str, *, headers: bool = True, managed_fields: bool = False, name_of: Any = None) -> None:
        self._managed_fields = managed_fields
        self._headers = headers
        self._name_of: Callable[[Json], str] = name_of or _plain_name
        self._print = self._choose(form)

    def text(self, obj: Json) -> str:
        """With its final newline, except for templates, which have none."""
        if not self._managed_fields:
            for each in items_of(obj):
                (each.get("metadata") or {}).pop("managedFields", None)
        return self._print(obj)

    def _choose(self, form: str) -> Callable[[Json], str]:
        name, _, argument = form.partition("=")
        if name in _TEMPLATES and not argument:
            raise UsageError(f"template format specified but no template given: write -o {name}=...")
        if form == "json":
            return to_json
        if form == "yaml":
            return _to_yaml
        if form == "name":
            return lambda obj: "".join(f"{self._name_of(each)}\n" for each in items_of(obj))
        if name in ("jsonpath", "jsonpath-file", "jsonpath-as-json"):
            from edgekube.cli.jsonpath import Template

            template = Template(_file(argument) if name == "jsonpath-file" else argument)
            if name == "jsonpath-as-json":
                return lambda obj: json.dumps(template.find(obj), indent=4, ensure_ascii=False) + "\n"
            return template.render
        if name in ("custom-columns", "custom-columns-file"):
            columns = _columns_of_file(_file(argument)) if name.endswith("-file") else _columns_of(argument)
            return lambda obj: self._custom(obj, columns)
        raise UsageError(f"unable to match a printer suitable for the output format {form!r}, allowed are: {FORMS}")

    def _custom(self, obj: Json, columns: Sequence[tuple[str, Any]]) -> str:
        rows = [[title for title, _ in columns]] if self._headers else []
        rows += [
            [",".join(_custom_cell(value) for value in path.find(each)) or "<none>" for _, path in columns]
            for each in items_of(obj)
        ]
        return "".join(f"{line}\n" for line in Columns().layout(rows))


def items_of(obj: Json) -> list[Json]:
    """The objects of a List, or the one object."""
    items = obj.get("items")
    if isinstance(items, list) and str(obj.get("kind", "")).endswith("List"):
        return items
    return [obj]


def as_list(items: Sequence[Json]) -> Json:
    """kubectl's List of anything."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(items)}


def to_json(obj: Any) -> str:
    return json.dumps(obj, indent=4, sort_keys=True, ensure_ascii=False) + "\n"


def _to_yaml(obj: Any) -> str:
    from edgekube.cli.yamltext import dump

    return dump(obj)


def _plain_name(obj: Json) -> str:
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    kind = str(obj.get("kind", "")).lower()
    return f"{kind}.{group}/{_name(obj)}" if group else f"{kind}/{_name(obj)}"


def _name(obj: Json) -> str:
    return str((obj.get("metadata") or {}).get("name", ""))


def _custom_cell(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_custom_cell(each)}" for key, each in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_custom_cell(each) for each in value) + "]"
    return str(value)


def _columns_of(text: str) -> list[tuple[str, Any]]:
    from edgekube.cli.jsonpath import relaxed

    out = []
    for column in text.split(","):
        title, colon, path = column.partition(":")
        if not colon or not title or not path:
            raise UsageError(f"custom-columns are TITLE:.path,TITLE:.path: {column!r} is not")
        out.append((title, relaxed(path)))
    return out


def _columns_of_file(text: str) -> list[tuple[str, Any]]:
    """Two lines: titles, and below them paths."""
    from edgekube.cli.jsonpath import relaxed

    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) != 2 or len(lines[0]) != len(lines[1]):
        raise UsageError("a custom-columns file has two lines of as many words: titles, and their paths")
    return [(title, relaxed(path)) for title, path in zip(*lines, strict=True)]


def _file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise CliError(f"cannot read the template {path}: {error.strerror}") from None
