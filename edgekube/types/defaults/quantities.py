"""Every quantity of a value in canonical spelling, as decoding does it in Kubernetes (`0.5` is stored as `500m`)."""

from collections.abc import Callable, Mapping
from functools import cache
from operator import is_
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from edgekube.types import quantity
from edgekube.types._base import QUANTITY

T = TypeVar("T", bound=msgspec.Struct)
Rewrite = Callable[[Any], Any]


def canonical(obj: T) -> T:
    """`obj`, or a copy whose quantities are canonical. Raises QuantityError."""
    found: T = _struct(type(obj))(obj)
    return found


def _text(value: str) -> str:
    after = quantity.canonical(value)
    return value if after == value else after


@cache
def _rewrite(kind: Any) -> Rewrite | None:
    """The rewriting of one type; None when no quantity can be in it."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, *notes = get_args(kind)
        if any(isinstance(note, msgspec.Meta) and (note.extra or {}).get("format") == QUANTITY for note in notes):
            return _text
        return _rewrite(base)
    if origin in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not NoneType]
        return _rewrite(options[0]) if len(options) == 1 else None
    if origin is tuple:
        item = _rewrite(get_args(kind)[0])
        return None if item is None else _list(item)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        item = _rewrite(get_args(kind)[1])
        return None if item is None else _map(item)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and _reaches(kind):
        return _struct(kind)
    return None


_SELF_CONTAINED = frozenset({"JSONSchemaProps"})  # contains itself, and no quantity


def _reaches(kind: type[msgspec.Struct]) -> bool:
    return kind.__name__ not in _SELF_CONTAINED and bool(_fields(kind))


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, Rewrite], ...]:
    found = ((field.name, _rewrite(field.type)) for field in msgspec.structs.fields(kind))
    return tuple((name, rewrite) for name, rewrite in found if rewrite is not None)


@cache
def _struct(kind: type[msgspec.Struct]) -> Rewrite:
    fields = _fields(kind)

    def on_struct(obj: Any) -> Any:
        changed = {}
        for name, rewrite in fields:
            before = getattr(obj, name)
            if before:
                after = rewrite(before)
                if after is not before:
                    changed[name] = after
        return msgspec.structs.replace(obj, **changed) if changed else obj

    return on_struct


def _list(item: Rewrite) -> Rewrite:
    def on_list(items: tuple[Any, ...]) -> tuple[Any, ...]:
        after = tuple(map(item, items))
        return items if all(map(is_, after, items)) else after

    return on_list


def _map(item: Rewrite) -> Rewrite:
    def on_map(items: Mapping[str, Any]) -> Mapping[str, Any]:
        after = tuple(map(item, items.values()))
        return items if all(map(is_, after, items.values())) else dict(zip(items, after, strict=True))

    return on_map
