"""Objects that are right but for a few fields: what a careless or hostile author may get past validation.

A seed gives the same objects every time.
"""

import copy
import json
import typing
from collections.abc import Iterator
from random import Random
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

Obj = dict[str, Any]

INTEGERS: Final = (0, 1, -1, 3, 100, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
TEXTS: Final = (
    "", "a", "A_b", "1", "0", "-1", "10%", "9" * 60 + "%", "x" * 300, "a/b", "..", "/", "/a:b", "1Gi", "1e30", "-5",
    "10.0.0.1", "::1", "é", "\x00", "a\x00b", "a\nb", "²", "9" * 5000, "*/5 * * * *", "@every 1h", "Always", "Never",
    "Local", "None", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "ClientIP", "true", "$(A)", "$(", "a b",
)  # fmt: skip
EXTREME_TEXTS: Final = ("", "/a\x00b", "a\x00b", "..", "x" * 300, "9" * 5000)
EXTREME_INTEGERS: Final = (0, -1, 2**31 - 1, 2**63 - 1)
KEYS: Final = (
    "a",
    "app",
    "cpu",
    "memory",
    "x/y",
    "controller.kubernetes.io/pod-deletion-cost",
    "kubernetes.io/hostname",
)
# What makes as many pods as it says is kept small; what reaches out of a test, or is refused always, is left alone.
COUNTS: Final = frozenset(("replicas", "parallelism", "completions"))
COUNT_MAX: Final = 4
UNTOUCHED: Final = frozenset(
    "apiVersion kind managedFields resourceVersion hostPath priority priorityClassName runtimeClassName nodeName"
    " serviceAccount serviceAccountName schedulerName schedulingGates".split()
)
DEPTH_MAX: Final = 5


def hostile(base: Any, random: Random, name: str) -> Obj:
    """`base`, a Struct of some kind, as JSON with one to three of its fields changed; its name is `name`."""
    obj: Obj = json.loads(msgspec.json.encode(base))
    for _ in range(random.choice((1, 1, 2, 3))):
        _change(obj, type(base), random)
    metadata = obj.get("metadata")
    obj["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "name": name, "namespace": "default"}
    _cap(obj)
    return obj


def each_leaf(base: Any) -> Iterator[Obj]:
    """`base` once for each of its texts and numbers and each extreme value put there; the names count up."""
    whole = json.loads(msgspec.json.encode(base))
    number = 0
    for path in list(_leaves(whole, ())):
        for value in EXTREME_TEXTS if isinstance(_at(whole, path), str) else EXTREME_INTEGERS:
            obj = copy.deepcopy(whole)
            _at(obj, path[:-1])[path[-1]] = value
            obj["metadata"]["name"] = f"leaf-{number}"
            number += 1
            yield obj


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Paths to texts and numbers, but for what is UNTOUCHED."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if key not in UNTOUCHED and (*path, key) != ("metadata", "name"):
                yield from _leaves(inner, (*path, key))
    elif not isinstance(value, bool):
        yield path


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _bare(kind: Any) -> Any:
    """The one type of an Annotated or an Optional; a union of two stays."""
    while True:
        origin, found = get_origin(kind), get_args(kind)
        if origin is Annotated:
            kind = found[0]
        elif origin in (Union, UnionType) and len([one for one in found if one is not NoneType]) == 1:
            kind = next(one for one in found if one is not NoneType)
        else:
            return kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _change(obj: Obj, cls: Any, random: Random) -> None:
    """One field of `obj` or of something in it."""
    fields = [field for field in msgspec.structs.fields(cls) if field.encode_name not in UNTOUCHED]
    full = [field for field in fields if obj.get(field.encode_name)]
    if full and random.random() < 0.8:
        field = random.choice(full)
        kind, inner = _bare(field.type), obj[field.encode_name]
        if get_origin(kind) is tuple and isinstance(inner, list):
            kind, inner = _bare(get_args(kind)[0]), random.choice(inner)
        if _is_struct(kind) and isinstance(inner, dict):
            _change(inner, kind, random)
            return
    field = random.choice(fields)
    obj[field.encode_name] = _value(field.type, random, 2)


def _value(kind: Any, random: Random, depth: int) -> Any:
    kind = _bare(kind)
    origin, found = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _value(random.choice([one for one in found if one is not NoneType]), random, depth)
    if origin is tuple:
        return [_value(found[0], random, depth + 1) for _ in range(random.choice((1, 1, 1, 2)))]
    if _is_struct(kind):
        return {
            field.encode_name: _value(field.type, random, depth + 1)
            for field in msgspec.structs.fields(kind)
            if field.required or (depth < DEPTH_MAX and field.encode_name not in UNTOUCHED and random.random() < 0.25)
        }
    if origin is not None and origin is not typing.Literal:
        return {random.choice(KEYS): _value(found[1], random, depth + 1)}
    if kind is bool:
        return random.choice((True, False))
    return random.choice(INTEGERS) if kind is int else random.choice(TEXTS)


def _cap(obj: Obj) -> None:
    for key, value in obj.items():
        if key in COUNTS and isinstance(value, int):
            obj[key] = min(value, COUNT_MAX)
        elif isinstance(value, dict):
            _cap(value)
