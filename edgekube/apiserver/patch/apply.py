"""Server-side apply (KEP-555): merge what the manager applied, drop what it no longer applies, refuse to take fields
that others own unless forced.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from edgekube.apiserver.fieldset import (
    FieldSet,
    compare,
    field_set,
    intersect,
    is_member,
    keyed_items,
    paths,
    subtract,
    union,
)
from edgekube.apiserver.managedfields import Entry, sorted_entries, strip
from edgekube.apiserver.patch.errors import PatchError
from edgekube.apiserver.schema import ANY, ListType, Node, Shape
from edgekube.types import status

Obj = dict[str, Any]


def without_nulls(value: Any) -> Any:
    """A configuration says what it wants; a null says nothing."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value


def apply(
    live: Obj,
    applied: Obj,
    node: Node,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    force: bool,
    now: str,
    granted: FieldSet | None = None,
) -> tuple[Obj, list[Entry]]:
    """(object, managedFields) after `manager` applied `applied` to `live`. `granted` may be taken from others unforced.

    Raises PatchError for a configuration that fits no schema, ApiError 409 with a cause per field for conflicts.
    """
    _check(applied, node, "")
    entries: Sequence[Entry] = live["metadata"].get("managedFields", [])
    bare = {**live, "metadata": {k: v for k, v in live["metadata"].items() if k != "managedFields"}}
    reset = ("spec",) if subresource == "status" else ("status",) if "status" in node.fields and not subresource else ()
    wanted = strip(field_set(applied, node), reset)
    mine = next((e for e in entries if _is_mine(e, manager, subresource)), None)
    others = [e for e in entries if e is not mine]
    merged: Obj = merge(bare, applied, node)
    if mine is not None:
        dropped = subtract(mine.get("fieldsV1") or {}, wanted)
        for entry in others:
            dropped = subtract(dropped, entry.get("fieldsV1") or {})
        if dropped:
            merged = _pruned(merged, dropped, wanted, others, node)
    changed, removed = compare(bare, merged, node)
    changed = strip(changed, reset)
    conflicts: list[tuple[str, str]] = []
    result: list[Entry] = []
    for entry in others:
        fields: FieldSet = entry.get("fieldsV1") or {}
        taken = intersect(fields, changed)
        refused = {} if force else subtract(taken, granted or {})
        conflicts += [(_shown(entry), path) for path in paths(refused)]
        kept = subtract(subtract(fields, taken), removed)
        if kept:
            result.append(entry if kept == fields else {**entry, "fieldsV1": kept})
    if conflicts:
        raise status.apply_conflict(conflicts)
    if wanted:
        same = mine is not None and mine.get("fieldsV1") == wanted and mine.get("apiVersion") == api_version
        own: Entry = {
            "manager": manager,
            "operation": "Apply",
            "apiVersion": api_version,
            "time": mine["time"] if same and mine is not None and not changed and "time" in mine else now,
            "fieldsType": "FieldsV1",
            "fieldsV1": wanted,
        }
        if subresource:
            own["subresource"] = subresource
        result.append(own)
    return merged, sorted_entries(result)


def _is_mine(entry: Entry, manager: str, subresource: str) -> bool:
    return (
        entry.get("operation") == "Apply"
        and entry.get("manager") == manager
        and entry.get("subresource", "") == subresource
    )


def _shown(entry: Entry) -> str:
    """How a conflict names the other manager."""
    text = f'"{entry.get("manager", "")}"'
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    if entry.get("operation") == "Update":
        text += f" using {entry.get('apiVersion', '')}"
        if entry.get("time"):
            text += f" at {entry['time']}"
    return text


def merge(live: Any, applied: Any, node: Node) -> Any:
    """`applied` over `live`, by the schema: structs and granular maps by member, keyed lists by key, else replaced."""
    if isinstance(applied, dict) and isinstance(live, dict):
        if node.atomic:
            return applied
        result = dict(live)
        for key, value in applied.items():
            child = node.fields.get(key, ANY) if node.shape is Shape.STRUCT else node.elem or ANY
            result[key] = merge(live[key], value, child) if key in live else value
        return result
    if isinstance(applied, list) and isinstance(live, list) and node.list_type is not ListType.ATOMIC:
        before, after = keyed_items(node, live), keyed_items(node, applied)
        if before is None or after is None:
            return applied
        return _merged_list(before, after, node.elem or ANY)
    return applied


def _merged_list(before: Mapping[str, Any], after: Mapping[str, Any], elem: Node) -> list[Any]:
    """The applied order wins; items only the live list has keep their place before what followed them."""
    out: list[Any] = []
    left = list(before)
    at = 0
    placed = set()
    for key, value in after.items():
        if key in before and key not in placed:
            position = left.index(key)
            if position >= at:
                for other in left[at:position]:
                    if other not in after:
                        out.append(before[other])
                        placed.add(other)
                at = position + 1
        out.append(merge(before[key], value, elem) if key in before else value)
        placed.add(key)
    out += [before[key] for key in left if key not in placed]
    return out


def _pruned(value: Any, dropped: FieldSet, wanted: FieldSet, others: Sequence[Entry], node: Node) -> Any:
    """Without the fields in `dropped`; a parent goes when it is dropped and nobody owns anything below it."""
    owned = wanted
    for entry in others:
        owned = union(owned, entry.get("fieldsV1") or {})
    return _prune(value, dropped, owned, node)


def _prune(value: Any, dropped: FieldSet, owned: FieldSet, node: Node) -> Any:
    if isinstance(value, dict):
        result = dict(value)
        for path, inner in dropped.items():
            name = path[2:]
            if path[:2] != "f:" or name not in result:
                continue
            below = owned.get(path)
            if below is None and is_member(inner):
                del result[name]
                continue
            if inner:
                child = node.fields.get(name, ANY) if node.shape is Shape.STRUCT else node.elem or ANY
                result[name] = _prune(result[name], inner, below or {}, child)
                if below is None and result[name] in ({}, []):
                    del result[name]
        return result
    if isinstance(value, list):
        items = keyed_items(node, value)
        if items is None:
            return value
        kept = []
        for key, item in items.items():
            inner_drop = dropped.get(key)
            below = owned.get(key)
            if inner_drop is None:
                kept.append(item)
            elif below is None and is_member(inner_drop):
                continue
            else:
                kept.append(_prune(item, inner_drop, below or {}, node.elem or ANY))
        return kept
    return value


def _check(value: Any, node: Node, path: str) -> None:
    """A configuration must fit the schema, and keyed lists must have their keys once."""
    if isinstance(value, dict):
        if node.shape is Shape.LIST:
            raise PatchError(f"{path or '.'}: expected list, got map")
        if node.shape is Shape.SCALAR:
            raise PatchError(f"{path or '.'}: expected scalar, got map")
        for key, item in value.items():
            if node.shape is Shape.STRUCT:
                child = node.fields.get(key)
                if child is None:
                    raise PatchError(f"{path}.{key}: field not declared in schema")
            else:
                child = node.elem or ANY
            _check(item, child, f"{path}.{key}")
    elif isinstance(value, list):
        if node.shape in (Shape.STRUCT, Shape.MAP):
            raise PatchError(f"{path or '.'}: expected map, got list")
        elem = node.elem or ANY
        for index, item in enumerate(value):
            _check(item, elem, f"{path}[{index}]")
        if node.list_type is not ListType.ATOMIC and keyed_items(node, value) is None:
            keys = ", ".join(node.keys) or "value"
            raise PatchError(f"{path}: elements of this list need their keys ({keys}), once each")
