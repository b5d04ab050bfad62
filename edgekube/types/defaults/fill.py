"""The few verbs that defaulting is written in. All give back the same object when nothing changes."""

from collections.abc import Callable
from functools import cache
from operator import is_
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

_NOTHING: tuple[()] = ()  # there is only one empty tuple


@cache
def _zeros(cls: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        for field in msgspec.structs.fields(cls)
    }


def fill(obj: S, **values: Any) -> S:
    """Set the fields that hold their zero value; an explicit 0 or false of an optional pointer is none, and stays."""
    zeros = _zeros(type(obj))
    missing = {}
    for name, value in values.items():
        zero = zeros[name]
        if getattr(obj, name) == zero and value != zero:
            missing[name] = value
    return msgspec.structs.replace(obj, **missing) if missing else obj


def within(obj: S, **functions: Callable[[Any], Any]) -> S:
    """Apply a function to each named field that is set: not None, not an empty list."""
    changed = {}
    for name, function in functions.items():
        before = getattr(obj, name)
        if before is not None and before is not _NOTHING:
            after = function(before)
            if after is not before:
                changed[name] = after
    return msgspec.structs.replace(obj, **changed) if changed else obj


def each(function: Callable[[T], T]) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
    """The function for a list of what `function` is for."""

    def on_all(items: tuple[T, ...]) -> tuple[T, ...]:
        after = tuple(map(function, items))
        return items if all(map(is_, after, items)) else after

    return on_all
