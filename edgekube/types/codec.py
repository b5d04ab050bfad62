"""JSON to kinds and back.

Decoding is strict and fast first. Go's JSON rules accept more than the types say: `null` is a zero value anywhere, a
quantity may be a number, base64 may contain line breaks. Only when the strict pass refuses is the input walked,
repaired by those rules, and decoded again; what is still wrong then is the caller's mistake, with its place.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from edgekube.types._base import QUANTITY
from edgekube.types.unreadable import UNREADABLE

T = TypeVar("T")

DEPTH_MAX = 256  # nesting of a document; real ones stay under 40
_encoder = msgspec.json.Encoder()
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


class DecodeError(ValueError):
    """Bytes that are no JSON, or no value of the kind; the message names the place."""


def decoder(cls: type[T]) -> msgspec.json.Decoder[T]:
    """The shared strict decoder of a class."""
    found = _decoders.get(cls)
    if found is None:
        found = _decoders[cls] = msgspec.json.Decoder(cls)
    return found


def encode(obj: Any) -> bytes:
    """The object's JSON."""
    return _encoder.encode(obj)


def decode(cls: type[T], data: bytes | memoryview) -> T:
    """A value of `cls`. Raises DecodeError."""
    try:
        return decoder(cls).decode(data)
    except msgspec.ValidationError:
        pass
    except UNREADABLE as error:
        raise DecodeError(f"the body is not valid JSON: {error}") from None
    try:
        loose = msgspec.json.decode(data)
    except UNREADABLE as error:
        raise DecodeError(f"the body is not valid JSON: {error}") from None
    return convert(cls, loose)


def convert(cls: type[T], value: Any) -> T:
    """A value of `cls` from plain dicts and lists (YAML, patches), by the same rules. Raises DecodeError."""
    try:
        return decoder(cls).decode(_encoder.encode(repair(cls, value)))
    except msgspec.ValidationError as error:
        raise DecodeError(_reworded(cls, str(error))) from None
    except (msgspec.MsgspecError, TypeError, OverflowError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"the body cannot be read as {cls.__name__}: {error}") from None


def repair(cls: Any, value: Any) -> Any:
    """`value` with what Go would accept put into the form the types declare. The input is not changed."""
    return _fixer(cls)(value, 0)


Fixer = Callable[[Any, int], Any]


@cache
def _fixer(kind: Any) -> Fixer:
    """The repair of one type; made once a type."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, *notes = get_args(kind)
        if any(isinstance(note, msgspec.Meta) and (note.extra or {}).get("format") == QUANTITY for note in notes):
            return _quantity
        return _fixer(base)
    if origin in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not NoneType]
        return _fixer(options[0]) if len(options) == 1 else _union(options)
    if origin is tuple:
        return _list(_item(get_args(kind)[0]))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _map(_item(get_args(kind)[1]))
    if kind is bytes:
        return _base64
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _Struct(kind)
    return _keep


class _Struct:
    """Fields are looked up on first use, so that a type may contain itself."""

    __slots__ = ("_fields", "_kind")

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        self._kind = kind
        self._fields: dict[str, Fixer] | None = None

    def __call__(self, value: Any, depth: int) -> Any:
        if not isinstance(value, dict):
            return value
        if depth > DEPTH_MAX:
            raise DecodeError(f"the body nests deeper than {DEPTH_MAX} levels")
        if self._fields is None:
            self._fields = {field.encode_name: _fixer(field.type) for field in msgspec.structs.fields(self._kind)}
        fields = self._fields
        return {
            key: fix(item, depth + 1)
            for key, item in value.items()
            if item is not None and (fix := fields.get(key)) is not None
        }


def _keep(value: Any, _depth: int) -> Any:
    return value


def _quantity(value: Any, _depth: int) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _base64(value: Any, _depth: int) -> Any:
    return value.replace("\n", "").replace("\r", "") if isinstance(value, str) else value


def _union(options: list[Any]) -> Fixer:
    structs = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    lists = [option for option in options if get_origin(option) is tuple]

    def fix(value: Any, depth: int) -> Any:
        if isinstance(value, dict) and structs:
            return _fixer(structs[0])(value, depth)
        if isinstance(value, list) and lists:
            return _fixer(lists[0])(value, depth)
        return value

    return fix


def _item(kind: Any) -> Fixer:
    """The repair of an element, whose null becomes a zero value instead of vanishing."""
    fix = _fixer(kind)
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    origin = get_origin(bare)
    zero: Any
    if bare is Any or bare is msgspec.Raw:
        zero = None
    elif bare in (str, bytes):
        zero = "0" if fix is _quantity else ""
    elif bare in (int, float):
        zero = 0
    elif bare is bool:
        zero = False
    else:
        zero = [] if origin is tuple else {}
    return lambda value, depth: zero if value is None else fix(value, depth)


def _list(item: Fixer) -> Fixer:
    def fix(value: Any, depth: int) -> Any:
        return [item(one, depth + 1) for one in value] if isinstance(value, list) else value

    return fix


def _map(item: Fixer) -> Fixer:
    def fix(value: Any, depth: int) -> Any:
        return {key: item(one, depth + 1) for key, one in value.items()} if isinstance(value, dict) else value

    return fix


_EXPECTED = re.compile(r"Expected `([^`]+)`(?:, got `([^`]+)`| [<>]= -?\d+)(?: - at `\$\.?([^`]*)`)?")
_GO_NAMES = {"array": "array", "object": "object", "str": "string", "int": "number", "float": "number", "bool": "bool"}


def _reworded(cls: type, message: str) -> str:
    """A type error in the words kubectl's users know; other constraint errors as they are."""
    match = _EXPECTED.match(message)
    if match is None:
        return f"{cls.__name__}: {message}"
    wanted, got, place = match.groups(default="")
    got = _GO_NAMES.get(got, got) or "number"
    size = "int32" if _is_int32(cls, place) else "int64"
    wanted = " or ".join(
        size if one == "int" else _GO_NAMES.get(one, one) for one in wanted.removesuffix(" | null").split(" | ")
    )
    dotted = f"{cls.__name__}.{place}" if place else cls.__name__
    return f"json: cannot unmarshal {got} into Go struct field {dotted} of type {wanted}"


def _is_int32(kind: Any, place: str) -> bool:
    """Whether the field at `a.b[0].c`, seen from `kind`, is a 32-bit number."""
    for step in re.findall(r"[^.\[\]]+|\[[^\]]*\]", place):
        kind = _bare(kind)
        if step.startswith("["):
            kind = next((one for one in reversed(get_args(kind)) if one is not Ellipsis), None)
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            kind = next((f.type for f in msgspec.structs.fields(kind) if f.encode_name == step), None)
        else:
            return False
    metas = [one for one in get_args(_bare(kind, annotated=True)) if isinstance(one, msgspec.Meta)]
    return any(meta.le == 2**31 - 1 for meta in metas)


def _bare(kind: Any, *, annotated: bool = False) -> Any:
    """What an Optional holds; an Annotated's own type unless `annotated`."""
    if get_origin(kind) in (Union, UnionType):
        kind = next((one for one in get_args(kind) if one is not NoneType), None)
    return get_args(kind)[0] if get_origin(kind) is Annotated and not annotated else kind
