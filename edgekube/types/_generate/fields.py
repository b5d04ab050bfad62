"""From one schema property to one line of a Struct."""

import keyword
import re
from dataclasses import dataclass

from edgekube.types._generate import shape
from edgekube.types._generate.source import Definition, kind_of, package_of, short, target

WIDTH_MAX = 120


@dataclass(frozen=True)
class Field:
    """One attribute: `name` in Python, `json` on the wire."""

    name: str
    json: str
    type: str
    default: str
    refs: frozenset[str]

    def lines(self, owner: str) -> list[str]:
        default = self.default
        if self.name != self.json:
            inner = re.fullmatch(r"always\((.*)\)", default)
            default = (
                f'field(name="{self.json}", default_factory=lambda: {inner[1]})'
                if inner
                else f'field(name="{self.json}", default={default})'
            )
        kind = self.type
        if re.search(rf"\b{owner}\b", kind):
            kind = f'"{kind}"'
        line = f"    {self.name}: {kind} = {default}"
        if len(line) <= WIDTH_MAX:
            return [line]
        return [f"    {self.name}: {kind} = (", f"        {default}", "    )"]


def attribute(name: str) -> str:
    """The Python attribute for a JSON name: unchanged unless it is no identifier, a keyword, or a type's name."""
    found = re.sub(r"-(\w)", lambda m: m[1].upper(), name.lstrip("$"))
    return found + "_" if keyword.iskeyword(found) or found in {"int", "bool", "schema"} else found


def build(owner: str, name: str, schema: Definition, required: bool) -> Field:
    """The field `name` of the definition `owner`."""
    package = package_of(owner)
    key = f"{short(owner)}.{name}"
    bare = f".{name}"
    must = required or key in shape.ALWAYS

    def listed(*tables: frozenset[str]) -> bool:
        return any(key in table or bare in table for table in tables)

    kind, refs = spell(schema)
    default = ""
    json_kind = kind_of(schema)
    if key in shape.VALUE_SCALARS:
        zero = shape.VALUE_SCALARS[key]
        default = f"always({zero})" if kind == "Quantity" else zero
    elif kind in {"Time", "MicroTime"}:
        default = '""'
    elif kind == "Raw":
        default = "NO_RAW"
    elif kind == "Any":
        default = "None"
    elif kind == "Quantity":
        kind, default = (kind, 'always("0")') if must else ("Quantity | None", "None")
    elif kind == "IntOrString":
        kind, default = (kind, "always(0)") if must else ("IntOrString | None", "None")
    elif target(schema) in shape.SCALARS:
        kind, default = f"{kind} | None", "None"
    elif target(schema) is not None:
        by_value = listed(shape.VALUE_STRUCTS) and key not in shape.POINTER_OPTIONAL
        if key in shape.POINTER_STRUCTS or not (must or by_value):
            kind, default = f"{kind} | None", "None"
        else:
            default = f"{kind}()" if key in shape.OMITTED_STRUCTS else f"always({kind}())"
    elif json_kind == "array":
        default = "always(())" if must else "()"
    elif json_kind == "object":
        default = "always(EMPTY)" if must else "EMPTY"
    else:
        zero = {"string": 'b""' if kind == "bytes" else '""', "boolean": "False", "number": "0.0"}.get(
            json_kind or "", "0"
        )
        pointer = {
            "boolean": listed(shape.POINTER_BOOLS),
            "integer": not listed(shape.VALUE_INTS),
            "number": True,
            "string": listed(shape.POINTER_STRINGS, shape.POINTER_STRINGS_IN.get(package or "", frozenset())),
        }[json_kind or ""]
        if must:
            default = f"always({zero})"
        elif pointer:
            kind, default = f"{kind} | None", "None"
        else:
            default = zero
    return Field(attribute(name), name, kind, default, refs)


def spell(schema: Definition) -> tuple[str, frozenset[str]]:
    """The Python type of a schema, and the definitions it names."""
    ref = target(schema)
    if ref is not None:
        if ref in shape.SCALARS:
            return shape.SCALARS[ref], frozenset()
        return short(ref), frozenset({ref})
    kind = kind_of(schema)
    if kind == "array":
        item, refs = spell(schema["items"])
        return f"tuple[{item}, ...]", refs
    if kind == "object":
        item, refs = spell(schema["additionalProperties"])
        return f"Mapping[str, {item}]", refs
    if kind == "string":
        return ("bytes" if schema.get("format") == "byte" else "str"), frozenset()
    if kind == "integer":
        return {"int32": "Int32", "int64": "Int64"}[schema["format"]], frozenset()
    return {"boolean": "bool", "number": "float"}[kind or ""], frozenset()
