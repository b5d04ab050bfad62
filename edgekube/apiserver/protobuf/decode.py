"""A protobuf body as JSON: the envelope of Kubernetes (magic `k8s\\0`, runtime.Unknown), then the object by its table.

A field in a table is NUMBER, a mark, the JSON name, a colon and a code. Marks: `?` leaves out zero values (omitempty),
`=` keeps them, `>` puts the message's fields into the parent (inline), `|` makes the field's value the whole message's
(a union; the last one given counts). Codes: s string, b bool, i integer, d double, y bytes, q Quantity, t Time,
u MicroTime, D Duration, o IntOrString, r raw JSON, v list of strings in a message, `[X` a list of X, `{X` a map from
string to X; anything else is a message, with its module before it when it is another's.

Wire format: protobuf.dev/programming-guides/encoding. Fields without a row are skipped, as protobuf has it.
"""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from struct import unpack
from typing import Any, Final, NamedTuple

import msgspec

from edgekube.types._kinds import KINDS
from edgekube.types.time import format_micro_time, format_time
from edgekube.types.unreadable import UNREADABLE

MAGIC: Final = b"k8s\0"
DEPTH_MAX: Final = 100
FIELDS_MAX: Final = 100_000  # of one body, at a microsecond or two each; the largest real objects have some 20,000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CUT: Final = "the protobuf message is cut short or malformed"
_UNION: Final = "|"  # no field has this name
_OPTIONS: Final = frozenset({"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions"})

Wire = int | bytes


class ProtobufError(Exception):
    """The body is not a protobuf object of a known kind; the message is for the client."""


class Field(NamedTuple):
    name: str
    mark: str
    shape: str  # "[" and "{" are lists and maps of `code`, "" is one
    code: str
    module: str  # where a message is
    zero: Any  # what a map's entry without a value holds


def to_json(body: bytes) -> bytes:
    """The object in a body as JSON. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("the body does not start with the magic number of Kubernetes' protobuf")
    reader = _Reader()
    api_version = kind = ""
    raw = b""
    for number, value in reader.fields(body[len(MAGIC) :]):
        if number == 1:
            for inner, text in reader.fields(_bytes(value)):
                if inner == 1:
                    api_version = _text(reader, text)
                elif inner == 2:
                    kind = _text(reader, text)
        elif number == 2:
            raw = _bytes(value)
        elif number == 3 and value:
            raise ProtobufError("an encoded body inside protobuf is not accepted")
    group, _, version = api_version.rpartition("/")
    obj = reader.message(module_of(group, version, kind), kind, raw, 0)
    try:
        return msgspec.json.encode({"apiVersion": api_version, "kind": kind, **obj})
    except (*UNREADABLE, OverflowError) as error:  # by way of embedded JSON
        raise ProtobufError(f"the object cannot be written as JSON: {error}") from None


def module_of(group: str, version: str, kind: str) -> str:
    """The table that has a kind. Raises ProtobufError."""
    if kind in _OPTIONS:
        return "meta_v1"  # Go registers the options in every group-version, and sends that one's name
    home, kinds = KINDS.get((group, version), ("", ""))
    for word in kinds.split():
        name, _, elsewhere = word.partition("=")
        if name == kind:
            return elsewhere.partition(":")[0] or home
    raise ProtobufError(f"no kind {kind!r} is known in {group}/{version}".replace(" /", " "))


@cache
def _table(module: str) -> dict[str, str]:
    try:
        table: dict[str, str] = import_module(f"edgekube.apiserver.protobuf.tables.{module}").MESSAGES
    except ModuleNotFoundError:
        raise ProtobufError(f"kinds of {module} are accepted as JSON only") from None
    return table


@cache
def _rows(module: str, message: str) -> dict[int, Field]:
    if message not in _table(module):
        raise ProtobufError(f"{message} of {module} is accepted as JSON only")
    out: dict[int, Field] = {}
    for row in _table(module)[message].split():
        head, _, code = row.partition(":")
        digits = len(head) - len(head.lstrip("0123456789"))
        shape, code = (code[0], code[1:]) if code[0] in "[{" else ("", code)
        zero = _ZEROS.get(code, {})
        home, _, code = code.rpartition(".")
        out[int(head[:digits])] = Field(head[digits + 1 :], head[digits], shape, code, home or module, zero)
    return out


class _Reader:
    """One body's worth of work: how many fields may still come."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = FIELDS_MAX

    def message(self, module: str, message: str, data: bytes, depth: int) -> Any:
        """A message's fields by JSON name; of a union, the value."""
        if depth > DEPTH_MAX:
            raise ProtobufError(f"the object is nested deeper than {DEPTH_MAX} levels")
        rows = _rows(module, message)
        out: dict[str, Any] = {}
        for number, value in self.fields(data):
            row = rows.get(number)
            if row is None:
                continue
            name, mark, shape, code, _, zero = row
            if mark == "|":
                name = _UNION
            if shape == "[":
                items = out.setdefault(name, [])
                if not isinstance(items, list):
                    items = out[name] = []
                if code == "i" and isinstance(value, bytes):
                    items += self.packed(value)
                else:
                    items.append(self._value(row, value, depth))
            elif shape == "{":
                key, item = "", zero
                for entry, part in self.fields(_bytes(value)):
                    if entry == 1:
                        key = _text(self, part)
                    elif entry == 2:
                        item = self._value(row, part, depth)
                out.setdefault(name, {})[key] = item
            elif mark == ">":
                out.update(self._value(row, value, depth))
            else:
                found = self._value(row, value, depth)
                if found is None or (mark == "?" and not found):
                    continue
                out[name] = found
        return out.get(_UNION, out)

    def fields(self, data: bytes) -> list[tuple[int, Wire]]:
        """Field numbers with their raw values: varints as integers, all else as bytes."""
        out: list[tuple[int, Wire]] = []
        position, end, left = 0, len(data), self._left
        try:
            while position < end:
                key = data[position]
                position += 1
                if key > 0x7F:
                    key, position = _varint(data, position - 1)
                wire = key & 7
                if wire == 0:
                    value, position = _varint(data, position)
                    out.append((key >> 3, value))
                else:
                    if wire == 2:
                        size, position = _varint(data, position)
                    elif wire in (1, 5):
                        size = 8 if wire == 1 else 4
                    else:
                        raise ProtobufError(f"wire type {wire} is not known")
                    stop = position + size
                    if stop > end:
                        raise ProtobufError(_CUT)
                    out.append((key >> 3, data[position:stop]))
                    position = stop
                if key < 8:
                    raise ProtobufError(_CUT)
                if len(out) > left:
                    raise ProtobufError(f"the object has more than {FIELDS_MAX} fields: send it as JSON")
        except IndexError:
            raise ProtobufError(_CUT) from None
        self._left = left - len(out)
        return out

    def packed(self, data: bytes) -> list[int]:
        """Integers one after the other, each counted as a field."""
        if len(data) > self._left:
            raise ProtobufError(f"the object has more than {FIELDS_MAX} fields: send it as JSON")
        self._left -= len(data)
        out: list[int] = []
        position = 0
        try:
            while position < len(data):
                value, position = _varint(data, position)
                out.append(_integer(self, value))
        except IndexError:
            raise ProtobufError(_CUT) from None
        return out

    def _value(self, row: Field, value: Wire, depth: int) -> Any:
        read = _CODES.get(row.code)
        if read is not None:
            return read(self, value)
        return self.message(row.module, row.code, _bytes(value), depth + 1)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and where it ends. Raises IndexError past the end, ProtobufError past 64 bits."""
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    value = byte & 0x7F
    for shift in range(7, 70, 7):
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + 1
    raise ProtobufError(_CUT)


def _bytes(value: Wire) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("a field has the wrong wire type")
    return value


def _text(_reader: _Reader, value: Wire) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise ProtobufError("a string is not UTF-8") from None


def _integer(_reader: _Reader, value: Wire) -> int:
    if isinstance(value, bytes):
        raise ProtobufError("an integer has the wrong wire type")
    return value - (1 << 64) if value >> 63 else value


def _bool(reader: _Reader, value: Wire) -> bool:
    return bool(_integer(reader, value))


def _double(_reader: _Reader, value: Wire) -> float:
    if not isinstance(value, bytes) or len(value) != 8:
        raise ProtobufError("a number has the wrong wire type")
    found: float = unpack("<d", value)[0]
    return found


def _base64(_reader: _Reader, value: Wire) -> str:
    return b64encode(_bytes(value)).decode()


def _quantity(reader: _Reader, value: Wire) -> str:
    return next((_text(reader, part) for number, part in reader.fields(_bytes(value)) if number == 1), "0") or "0"


def _instant(reader: _Reader, value: Wire) -> datetime | None:
    """An empty message is Go's zero time, which JSON leaves out."""
    if not _bytes(value):
        return None
    seconds, nanoseconds = _numbers(reader, value)
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    except OverflowError:
        raise ProtobufError(f"no time is {seconds} seconds from 1970") from None


def _time(reader: _Reader, value: Wire) -> str | None:
    found = _instant(reader, value)
    return None if found is None else format_time(found)


def _micro_time(reader: _Reader, value: Wire) -> str | None:
    found = _instant(reader, value)
    return None if found is None else format_micro_time(found)


def _duration(reader: _Reader, value: Wire) -> str:
    """In seconds, as Go parses durations."""
    nanoseconds, _ = _numbers(reader, value)
    whole, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{'-' if nanoseconds < 0 else ''}{whole}" + (f".{rest:09d}".rstrip("0") if rest else "") + "s"


def _numbers(reader: _Reader, value: Wire) -> tuple[int, int]:
    """Fields 1 and 2 of a message of integers."""
    found = {number: _integer(reader, part) for number, part in reader.fields(_bytes(value)) if number in (1, 2)}
    return found.get(1, 0), found.get(2, 0)


def _int_or_string(reader: _Reader, value: Wire) -> int | str:
    parts = dict(reader.fields(_bytes(value)))
    if _integer(reader, parts.get(1, 0)):
        return _text(reader, parts.get(3, b""))
    return _integer(reader, parts.get(2, 0))


def _raw(reader: _Reader, value: Wire) -> Any:
    for number, part in reader.fields(_bytes(value)):
        if number == 1 and part:
            try:
                return msgspec.json.decode(_bytes(part))
            except UNREADABLE as error:
                raise ProtobufError(f"an embedded object is not JSON: {error}") from None
    return None


def _strings(reader: _Reader, value: Wire) -> list[str]:
    return [_text(reader, part) for number, part in reader.fields(_bytes(value)) if number == 1]


_CODES: Final[dict[str, Callable[[_Reader, Wire], Any]]] = {
    "s": _text,
    "b": _bool,
    "i": _integer,
    "d": _double,
    "y": _base64,
    "q": _quantity,
    "t": _time,
    "u": _micro_time,
    "D": _duration,
    "o": _int_or_string,
    "r": _raw,
    "v": _strings,
}
_ZEROS: Final[dict[str, Any]] = {"s": "", "b": False, "i": 0, "d": 0.0, "y": "", "q": "0", "v": []}
