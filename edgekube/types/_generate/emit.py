"""From definitions to module texts."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from textwrap import wrap

from edgekube.types._generate import shape
from edgekube.types._generate.fields import WIDTH_MAX, Field, build
from edgekube.types._generate.source import Definition, package_of, short

ROOT = "edgekube.types"
NOTE = "Written by `python -m edgekube.types._generate`: change the generator, not this file."


@dataclass
class Plan:
    """Which class lives in which module, and what its fields are."""

    fields: dict[str, list[Field]]
    module: dict[str, str]
    gvks: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)


def plan(definitions: dict[str, Definition]) -> Plan:
    """Lay out every definition of the served groups. Raises ValueError when a layout table is out of date."""
    served = {
        name: schema
        for name, schema in sorted(definitions.items())
        if package_of(name) is not None and name not in shape.SCALARS
    }
    fields = {
        name: [
            build(name, key, value, key in schema.get("required", ()))
            for key, value in sorted(schema.get("properties", {}).items(), key=_wire_order)
        ]
        for name, schema in served.items()
    }
    gvks = {
        name: [(g["group"], g["version"], g["kind"]) for g in schema.get("x-kubernetes-group-version-kind", ())]
        for name, schema in served.items()
    }
    module: dict[str, str] = {}
    for package in shape.PACKAGES:
        names = [name for name in served if package_of(name) == package]
        module |= _layout(package, names, fields, gvks)
    return Plan(fields, module, gvks)


def _wire_order(item: tuple[str, object]) -> tuple[int, str]:
    """apiVersion, kind, metadata, spec, status first, as people write manifests; the rest by name."""
    head = ("apiVersion", "kind", "metadata", "spec", "status")
    return (head.index(item[0]) if item[0] in head else len(head), item[0])


def _layout(
    package: str, names: list[str], fields: dict[str, list[Field]], gvks: dict[str, list[tuple[str, str, str]]]
) -> dict[str, str]:
    if package in shape.MODULES:
        table = {cls: module for module, classes in shape.MODULES[package].items() for cls in classes.split()}
        missing = {short(name) for name in names} ^ table.keys()
        if missing:
            raise ValueError(f"{package}: the layout table and the schema differ in {sorted(missing)}")
        return {name: f"{ROOT}.{package}.{table[short(name)]}" for name in names}
    if len(names) <= shape.ONE_MODULE_MAX:
        return dict.fromkeys(names, f"{ROOT}.{package}")
    owners: dict[str, set[str]] = defaultdict(set)
    for kind in (name for name in names if gvks[name] and not name.endswith("List")):
        todo = [kind]
        while todo:
            name = todo.pop()
            if package_of(name) == package and kind not in owners[name]:
                owners[name].add(kind)
                todo += [ref for item in fields[name] for ref in item.refs]
    out = {}
    for name in names:
        held = owners[name] or {name.removesuffix("List")}
        home = snake(short(next(iter(held)))) if len(held) == 1 else "common"
        out[name] = f"{ROOT}.{package}.{home}"
    return out


def snake(name: str) -> str:
    """`CSIDriver` -> `csi_driver`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def modules(found: Plan) -> dict[str, str]:
    """Module name -> source text, packages' `__init__` included (as `package.__init__`)."""
    by_module: dict[str, list[str]] = defaultdict(list)
    for name, module in found.module.items():
        by_module[module].append(name)
    texts = {module: _module(module, names, found) for module, names in by_module.items()}
    for package in shape.PACKAGES:
        inside = {
            module.rpartition(".")[2]: sorted(short(name) for name in names)
            for module, names in by_module.items()
            if module.startswith(f"{ROOT}.{package}.")
        }
        if inside:
            inside |= {module: text.split() for module, text in shape.HAND_WRITTEN.get(package, {}).items()}
            texts[f"{ROOT}.{package}.__init__"] = _package(package, inside)
    return texts


def _package(package: str, inside: dict[str, list[str]]) -> str:
    lines = [f'"""{title(package)}, a module for each family of kinds; a class is made when first asked for.', "", NOTE]
    lines += ['"""', "", "from typing import TYPE_CHECKING", "", "if TYPE_CHECKING:"]
    for module, names in sorted(inside.items()):
        for name in _import_order(names):
            line = f"    from .{module} import {name} as {name}"
            wide = [f"    from .{module} import (", f"        {name} as {name},", "    )"]
            lines += [line] if len(line) <= WIDTH_MAX else wide
    lines += ["else:", f"    from {ROOT}._lazy import lazy", ""]
    lines += ["    __getattr__ = lazy(", "        __name__,", "        {"]
    for module, names in sorted(inside.items()):
        whole = f'            "{module}": "{" ".join(names)}",'
        if len(whole) <= WIDTH_MAX:
            lines.append(whole)
        else:
            first, *rest = wrap(" ".join(names), 98)
            lines += [f'            "{module}": (', f'                "{first}"']
            lines += [f'                " {piece}"' for piece in rest]
            lines.append("            ),")
    lines += ["        },", "    )"]
    return "\n".join(lines) + "\n"


def _import_order(names: list[str]) -> list[str]:
    """isort's order: constants, then classes."""
    return sorted(names, key=lambda name: (not (name.isupper() and len(name) > 1), name.lower()))


def title(package: str) -> str:
    """`core/v1` of `core_v1`."""
    return package.replace("_", "/")


def _module(module: str, names: list[str], found: Plan) -> str:
    inside = set(names)
    graph = {
        name: sorted({ref for item in found.fields[name] for ref in item.refs} & inside - {name}) for name in names
    }
    order = list(TopologicalSorter(graph).static_order())
    used = "\n".join(f"{item.type} {item.default}" for name in names for item in found.fields[name])
    lines: list[str] = []
    for name in order:
        lines += ["", "", f"class {short(name)}(Object, frozen=True, kw_only=True):"]
        body = [line for item in found.fields[name] for line in item.lines(short(name))]
        lines += body or ["    pass"]
    imports = _imports(module, names, found, used, "\n".join(lines))
    head = f'"""{_describe(module, names, found)}\n\n{NOTE}\n"""\n'
    return head + "\n" + imports + "\n".join(lines) + "\n"


def _describe(module: str, names: list[str], found: Plan) -> str:
    package, _, part = module.removeprefix(ROOT + ".").partition(".")
    kinds = [short(name) for name in names if found.gvks[name] and not name.endswith("List")]
    if package in shape.MODULES or not part:
        about = part.replace("_", " ") or "every kind of the group"
    else:
        about = ", ".join(kinds) or "what several kinds share"
    return f"{title(package)}: {about}."


def _imports(module: str, names: list[str], found: Plan, used: str, body: str) -> str:
    words = set(re.findall(r"\w+", used))
    groups: list[list[str]] = [[], [], []]
    if "Mapping" in words:
        groups[0].append("from collections.abc import Mapping")
    if "Any" in words:
        groups[0].append("from typing import Any")
    outside = sorted(name for name in ("Raw",) if name in words) + (["field"] if " = field(" in body else [])
    if outside:
        groups[1].append(f"from msgspec import {', '.join(outside)}")
    scalars = ["EMPTY", "NO_RAW", "Int32", "Int64", "IntOrString", "MicroTime", "Object", "Quantity", "Time", "always"]
    base = [name for name in scalars if name == "Object" or re.search(rf"\b{name}\b", body)]
    wanted: dict[str, set[str]] = defaultdict(set)
    wanted[f"{ROOT}._base"] = set(base)
    for name in names:
        for item in found.fields[name]:
            for ref in item.refs:
                if found.module[ref] != module:
                    wanted[found.module[ref]].add(short(ref))
    for source, items in sorted(wanted.items()):
        ordered = _import_order([i for i in items if i != "always"]) + (["always"] if "always" in items else [])
        line = f"from {source} import {', '.join(ordered)}"
        if len(line) <= WIDTH_MAX:
            groups[2].append(line)
        else:
            groups[2] += [f"from {source} import (", *(f"    {item}," for item in ordered), ")"]
    return "\n\n".join("\n".join(group) for group in groups if group) + "\n"
