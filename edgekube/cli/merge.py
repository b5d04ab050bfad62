"""The patch of a client-side apply: from what was last applied, what is wanted now, and what the server has.

Fields that were applied before and are not wanted any more are deleted; fields that others set stay. Built-in kinds get
a strategic merge patch, whose lists merge by key; all others a JSON merge patch (RFC 7386).
Source: kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config. Pure functions of plain values.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Obj = Mapping[str, Any]
_MISSING: Any = object()


class Shape(Protocol):
    """How the fields of an object merge (`shapes`)."""

    def field(self, name: str) -> "Field": ...


class Field(Protocol):
    """How one field merges. `merge_key` is "" for lists of scalars."""

    merge: bool
    merge_key: str
    retain_keys: bool

    @property
    def inner(self) -> Shape | None: ...


def three_way(original: Obj, modified: Obj, current: Obj) -> dict[str, Any]:
    """A JSON merge patch; empty when there is nothing to change."""
    patch: dict[str, Any] = {}
    for name, wanted in modified.items():
        if wanted is None:
            if name in current:
                patch[name] = None
            continue
        have = current.get(name, _MISSING)
        if isinstance(wanted, Mapping) and isinstance(have, Mapping):
            before = original.get(name)
            inner = three_way(before if isinstance(before, Mapping) else {}, wanted, have)
            if inner:
                patch[name] = inner
        elif have is _MISSING or not same(wanted, have):
            patch[name] = wanted
    for name in original:
        if name not in modified and name in current:
            patch[name] = None
    return patch


def strategic(original: Obj, modified: Obj, current: Obj, shape: Shape | None) -> dict[str, Any]:
    """A strategic merge patch; empty when there is nothing to change."""
    patch: dict[str, Any] = {}
    for name, wanted in modified.items():
        if wanted is None:
            if name in current:
                patch[name] = None
            continue
        have = current.get(name, _MISSING)
        field = shape.field(name) if shape is not None else None
        if isinstance(wanted, Mapping) and isinstance(have, Mapping):
            before = original.get(name)
            was: Obj = before if isinstance(before, Mapping) else {}
            inner = strategic(was, wanted, have, field.inner if field else None)
            if inner and field is not None and field.retain_keys:
                inner["$retainKeys"] = sorted(wanted)
            if inner:
                patch[name] = inner
        elif isinstance(wanted, list) and isinstance(have, list) and field is not None and field.merge:
            before = original.get(name)
            _merge_list(patch, name, before if isinstance(before, list) else [], wanted, have, field)
        elif have is _MISSING or not same(wanted, have):
            patch[name] = wanted
    for name in original:
        if name not in modified and name in current:
            patch[name] = None
    return patch


def _merge_list(
    patch: dict[str, Any],
    name: str,
    original: Sequence[Any],
    modified: Sequence[Any],
    current: Sequence[Any],
    field: Field,
) -> None:
    key = field.merge_key
    if not key:
        missing = [each for each in modified if each not in current]
        dropped = [each for each in original if each not in modified and each in current]
        if missing:
            patch[name] = missing
        if dropped:
            patch[f"$deleteFromPrimitiveList/{name}"] = dropped
        if missing or dropped:
            patch[f"$setElementOrder/{name}"] = list(modified)
        return
    if not all(isinstance(each, Mapping) and key in each for each in (*modified, *current)):
        if not same(modified, current):
            patch[name] = [*modified, {"$patch": "replace"}]
        return
    if any(len({each[key] for each in items}) < len(items) for items in (modified, current)):
        # Port 53 for TCP and for UDP: the key names no single element, so the list is one value.
        if not _satisfied(modified, current, field):
            patch[name] = [*modified, {"$patch": "replace"}]
        return
    have = {each[key]: each for each in current}
    was = {each[key]: each for each in original if isinstance(each, Mapping) and key in each}
    wanted_keys = [each[key] for each in modified]
    changes: list[Any] = []
    for each in modified:
        identity = each[key]
        if identity not in have:
            changes.append(each)
            continue
        inner = strategic(was.get(identity, {}), each, have[identity], field.inner)
        if inner:
            if field.retain_keys:
                inner["$retainKeys"] = sorted(each)
            changes.append({**inner, key: identity})
    changes += [{"$patch": "delete", key: each} for each in was if each not in wanted_keys and each in have]
    ours = [each for each in have if each in wanted_keys]
    reordered = ours != [each for each in wanted_keys if each in have]
    if changes or reordered:
        if changes:
            patch[name] = changes
        patch[f"$setElementOrder/{name}"] = [{key: each} for each in wanted_keys]


def _satisfied(modified: Sequence[Any], current: Sequence[Any], field: Field) -> bool:
    """Whether each element wanted is there, whatever the server added to it, in this order and nothing else."""
    return len(modified) == len(current) and not any(
        each[field.merge_key] != have[field.merge_key] or strategic({}, each, have, field.inner)
        for each, have in zip(modified, current, strict=True)
    )


def same(a: Any, b: Any) -> bool:
    """Equal as JSON values: true is not 1, and what is null is not there."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        left, right = _present(a), _present(b)
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _present(value: Obj) -> dict[str, Any]:
    return {name: each for name, each in value.items() if each is not None}
