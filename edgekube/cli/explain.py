"""Describe the fields of a kind: edgekube explain pods, edgekube explain deploy.spec.strategy --recursive."""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from edgekube.cli import arguments, kinds
from edgekube.cli.api import Api, Json
from edgekube.cli.errors import OK, CliError, UsageError
from edgekube.types.resources import Resource

Schemas = Mapping[str, Json]
WIDTH = 80
DEPTH_MAX = 40  # JSONSchemaProps contains itself


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", metavar="TYPE[.FIELD...]")
    made.add_argument("--recursive", action="store_true", help="names and types of all fields below")
    made.add_argument("--api-version", metavar="VERSION", default="", help="such as apps/v1")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    word, *fields = args.what.split(".")
    resource = kinds.resolve_one(api, word)
    if args.api_version:
        rows = kinds.discover(api)
        found = [r for r in rows if r.plural == resource.plural and r.api_version == args.api_version]
        if not found:
            raise UsageError(f"{resource.plural} are not served in {args.api_version}")
        resource = found[0]
    schemas = _schemas(api, resource)
    print("\n".join(explain(schemas, resource, fields, recursive=args.recursive)))
    return OK


def _schemas(api: Api, resource: Resource) -> Schemas:
    root = f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"
    found: Json = api.get(f"/openapi/v3/{root}")
    schemas: Schemas = (found.get("components") or {}).get("schemas") or {}
    return schemas


def explain(schemas: Schemas, resource: Resource, fields: Sequence[str], *, recursive: bool = False) -> list[str]:
    """Raises CliError for a field that does not exist."""
    schema = _root(schemas, resource)
    kind = ""
    described = ""
    required = False
    for index, field in enumerate(fields):
        properties = schema.get("properties") or {}
        if field not in properties:
            raise CliError(f'field "{field}" does not exist in {".".join([resource.plural, *fields[:index]])}')
        required = field in (schema.get("required") or ())
        described = str(properties[field].get("description", ""))
        kind, schema = _type(schemas, properties[field]), _resolve(schemas, properties[field])
    out = [f"GROUP:      {resource.group}"] if resource.group else []
    out += [f"KIND:       {resource.kind}", f"VERSION:    {resource.version}", ""]
    if fields:
        out += [f"FIELD: {fields[-1]} <{kind}>{' -required-' if required else ''}", ""]
    out += ["DESCRIPTION:", *_paragraph(described or schema.get("description") or "<empty>", "    ")]
    if schema.get("properties"):
        out += ["", "FIELDS:"]
        out += _fields(schemas, schema, "  ", recursive=recursive, depth=0)
    return out


def _fields(schemas: Schemas, schema: Json, indent: str, *, recursive: bool, depth: int) -> list[str]:
    out: list[str] = []
    for name, each in sorted((schema.get("properties") or {}).items()):
        required = " -required-" if name in (schema.get("required") or ()) else ""
        out.append(f"{indent}{name}\t<{_type(schemas, each)}>{required}")
        if not recursive:
            out += [*_paragraph(each.get("description") or "<no description>", indent + "  "), ""]
        elif depth < DEPTH_MAX:
            inner = _resolve(schemas, each)
            if inner is not schema and inner.get("properties"):
                out += _fields(schemas, inner, indent + "  ", recursive=True, depth=depth + 1)
    return out


def _root(schemas: Schemas, resource: Resource) -> Json:
    for schema in schemas.values():
        for gvk in schema.get("x-kubernetes-group-version-kind") or ():
            if (gvk.get("group"), gvk.get("version"), gvk.get("kind")) == (
                resource.group,
                resource.version,
                resource.kind,
            ):
                return schema
    raise CliError(f"the node publishes no schema for {resource.kind} in {resource.api_version}")


def _reference(schema: Json) -> str:
    text: Any = schema.get("$ref") or next((e["$ref"] for e in schema.get("allOf") or () if "$ref" in e), "")
    return str(text).rpartition("/")[2]


def _resolve(schemas: Schemas, schema: Json) -> Json:
    """The object schema behind references, lists and maps."""
    for _ in range(DEPTH_MAX):
        name = _reference(schema)
        if name:
            schema = schemas.get(name) or {}
        elif schema.get("type") == "array":
            schema = schema.get("items") or {}
        elif isinstance(schema.get("additionalProperties"), dict):
            schema = schema["additionalProperties"]
        else:
            return schema
    return schema


def _type(schemas: Schemas, schema: Json) -> str:
    name = _reference(schema)
    if name:
        inner = schemas.get(name) or {}
        if inner.get("properties") or inner.get("type", "object") == "object":
            return name.rpartition(".")[2]
        return str(inner.get("type") or name.rpartition(".")[2])
    if schema.get("type") == "array":
        return "[]" + _type(schemas, schema.get("items") or {})
    if isinstance(schema.get("additionalProperties"), dict):
        return "map[string]" + _type(schemas, schema["additionalProperties"])
    return str(schema.get("type") or "Object")


def _paragraph(text: str, indent: str) -> list[str]:
    out: list[str] = []
    for line in text.split("\n"):
        out += textwrap.wrap(line, WIDTH, initial_indent=indent, subsequent_indent=indent) or [""]
    return out
