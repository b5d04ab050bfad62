"""The `fieldValidation=Strict|Warn` walk: every unknown and every duplicate field, in the words clients know.

Decoding itself drops unknown fields and lets the last duplicate win, as Kubernetes does under `Ignore`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from edgekube.types.codec import DecodeError

FOUND_MAX: Final = 100  # more are not told: the caller has got the point

Report = list[str]
Walk = Callable[[Any, str, Report], None]


class _Doubled(dict[str, Any]):
    """An object in which names came more than once."""

    doubled: tuple[str, ...] = ()


def check(cls: type, data: bytes | memoryview) -> list[str]:
    """What a strict reader complains of: `unknown field "spec.foo"`, `duplicate field "metadata.name"`.

    Raises DecodeError when the bytes are no JSON.
    """
    try:
        value = _read(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"the body is not valid JSON: {error}") from None
    return check_value(cls, value)


def check_value(cls: type, value: Any) -> list[str]:
    """The same for plain dicts and lists, in which duplicates can no longer be seen."""
    found: Report = []
    walk = _walk(cls)
    if walk is not None:
        walk(value, "", found)
    return found[:FOUND_MAX]


def message(found: Iterable[str]) -> str:
    """The text of the BadRequest under `Strict`."""
    return "strict decoding error: " + ", ".join(found)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    seen: set[str] = set()
    out = _Doubled(plain)
    out.doubled = tuple(dict.fromkeys(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return out


_read: Final = json.JSONDecoder(object_pairs_hook=_object).decode


def _doubles(value: _Doubled, path: str, found: Report) -> None:
    found += [f'duplicate field "{_join(path, name)}"' for name in value.doubled]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _unknown(value: Any, path: str, found: Report) -> None:
    """In place of the walk of a field that the kind does not have."""


@cache
def _walk(kind: Any) -> Walk | None:
    """The walk of one type; None for scalars and for what has no schema."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _walk(get_args(kind)[0])
    if origin in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not NoneType]
        return _either(options)
    if origin is tuple:
        return _list(_walk(get_args(kind)[0]))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _map(_walk(get_args(kind)[1]))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _Struct(kind)
    return None


class _Struct:
    """Fields are looked up on first use, so that a type may contain itself."""

    __slots__ = ("_fields", "_kind")

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        self._kind = kind
        self._fields: dict[str, Walk | None] | None = None

    def __call__(self, value: Any, path: str, found: Report) -> None:
        if not isinstance(value, dict):
            return
        if self._fields is None:
            self._fields = {field.encode_name: _walk(field.type) for field in msgspec.structs.fields(self._kind)}
        fields = self._fields
        if isinstance(value, _Doubled):
            _doubles(value, path, found)
        for name, item in value.items():
            if (walk := fields.get(name, _unknown)) is None:
                continue
            if walk is _unknown:
                found.append(f'unknown field "{_join(path, name)}"')
            elif len(found) < FOUND_MAX:
                walk(item, f"{path}.{name}" if path else name, found)


def _list(item: Walk | None) -> Walk | None:
    if item is None:
        return None

    def on_list(value: Any, path: str, found: Report) -> None:
        if isinstance(value, list):
            for index, one in enumerate(value):
                item(one, f"{path}[{index}]", found)

    return on_list


def _map(item: Walk | None) -> Walk:
    def on_map(value: Any, path: str, found: Report) -> None:
        if isinstance(value, dict):
            if isinstance(value, _Doubled):
                _doubles(value, path, found)
            if item is not None:
                for name, one in value.items():
                    item(one, _join(path, name), found)

    return on_map


def _either(options: list[Any]) -> Walk | None:
    """A union: the option that fits the JSON at hand. The walks are found late, for a union may contain itself."""
    if len(options) == 1:
        return _walk(options[0])
    structs = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    lists = [option for option in options if get_origin(option) is tuple]
    if not structs and not lists:
        return None

    def on_either(value: Any, path: str, found: Report) -> None:
        fitting = structs if isinstance(value, dict) else lists if isinstance(value, list) else []
        walk = _walk(fitting[0]) if fitting else None
        if walk is not None:
            walk(value, path, found)

    return on_either
