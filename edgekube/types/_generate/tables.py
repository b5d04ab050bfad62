"""The two tables that generated code needs beside the classes: which class a kind is, and how lists merge."""

from textwrap import wrap
from typing import Any

from edgekube.types._generate.emit import NOTE, ROOT, Plan
from edgekube.types._generate.fields import WIDTH_MAX
from edgekube.types._generate.source import Definition, short

ROW_NOTE = (
    "A row is `field strategy key listType listMapKeys mapType`, `-` where there is nothing; a row whose field is `.`\n"
    "speaks of the class itself. Lists without a row are atomic."
)


def kinds(found: Plan) -> str:
    """`_kinds.py`: group-version -> its package and the kinds in it."""
    rows: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for name, gvks in found.gvks.items():
        package = found.module[name].removeprefix(ROOT + ".").partition(".")[0]
        for group, version, kind in gvks:
            if package == "meta_v1" and (group, version) != ("", "v1"):
                continue
            where = f"{package}" if kind == short(name) else f"{package}:{short(name)}"
            rows.setdefault((group, version), (package, []))[1].append(
                kind if where == rows[group, version][0] else f"{kind}={where}"
            )
    lines = ['"""Which package holds the kinds of a group-version.', "", NOTE, '"""', ""]
    lines += ["from typing import Final", "", "KINDS: Final[dict[tuple[str, str], tuple[str, str]]] = {"]
    for (group, version), (package, names) in sorted(rows.items()):
        lines += [f'    ("{group}", "{version}"): (', f'        "{package}",']
        lines += _wrapped(" ".join(sorted(names)), 8)
        lines += ["    ),"]
    return "\n".join([*lines, "}"]) + "\n"


def merge(definitions: dict[str, Definition], found: Plan) -> str:
    """`_patchmeta.py`: class -> how its lists and maps merge."""
    lines = ['"""How fields merge, for strategic merge patch and server-side apply.', "", ROW_NOTE, "", NOTE, '"""', ""]
    lines += ["from typing import Final", "", "ROWS: Final[dict[str, tuple[str, ...]]] = {"]
    for name in found.fields:
        schema = definitions[name]
        rows = [_row(".", schema), *(_row(key, value) for key, value in sorted(schema.get("properties", {}).items()))]
        kept = [row for row in rows if row]
        if kept:
            package = found.module[name].removeprefix(ROOT + ".").partition(".")[0]
            lines.append(f'    "{package}.{short(name)}": (')
            lines += [f'        "{row}",' for row in kept]
            lines.append("    ),")
    return "\n".join([*lines, "}"]) + "\n"


def _row(field: str, schema: dict[str, Any]) -> str:
    def get(name: str) -> str:
        value = schema.get("x-kubernetes-" + name)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return ",".join(value)
        return value if isinstance(value, str) else "-"

    list_type = get("list-type")
    values = [
        get("patch-strategy"),
        get("patch-merge-key"),
        "-" if list_type == "atomic" else list_type,
        get("list-map-keys"),
        get("map-type"),
    ]
    return "" if set(values) == {"-"} else f"{field} {' '.join(values)}"


def _wrapped(text: str, indent: int) -> list[str]:
    pieces = wrap(text, WIDTH_MAX - indent - 4)
    out = [f'{" " * indent}"{piece}"' for piece in pieces[:1]]
    out += [f'{" " * indent}" {piece}"' for piece in pieces[1:]]
    out[-1] += ","
    return out
