"""Writes the schema artefact; its shape is told in `edgekube.types.schema`."""

from pathlib import Path
from typing import Any

from edgekube.types import schema
from edgekube.types._generate import shape
from edgekube.types._generate.source import Definition, definitions, kind_of, package_of

_FORMATS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
}


def write(out: Path) -> None:
    """Write the artefact for every group we serve."""
    found = definitions()
    packages: dict[str, dict[str, Definition]] = {package: {} for package in shape.PACKAGES}
    todo = [name for name in found if package_of(name) is not None]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            packages[package_of(name) or schema.SHARED][name] = published(name, found[name])
            todo += _targets(found[name])
    out.write_bytes(schema.pack(packages))


def published(name: str, definition: Definition) -> Definition:
    """A definition as the API publishes it: without the nulls and kind enumerations that the source adds."""
    if name in _FORMATS:
        return {"description": definition.get("description", ""), **_FORMATS[name]}
    clean: Definition = _clean(definition)
    return clean


def _clean(value: Any) -> Any:
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {key: _clean(item) for key, item in value.items() if key not in ("properties", "enum", "type", "$ref")}
    # `properties` holds fields, whose names may be those of keywords.
    if isinstance(value.get("properties"), dict):
        out["properties"] = {key: _clean(item) for key, item in value["properties"].items()}
    if kind_of(value):
        out["type"] = kind_of(value)
    if "$ref" in value:
        out["$ref"] = value["$ref"].replace("#/$defs/", "#/definitions/")
    return out


def _targets(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for item in value for name in _targets(item)]
    if not isinstance(value, dict):
        return []
    ref = value.get("$ref")
    own = [ref.rpartition("/")[2]] if isinstance(ref, str) else []
    return own + [name for item in value.values() for name in _targets(item)]
