"""A protobuf body as JSON: the envelope of Kubernetes (magic `k8s\\0`, runtime.Unknown), then the object by its table.

A field in a table is NUMBER, a mark, the JSON name, a colon and a code. Marks: `?` leaves out zero values (omitempty),
`=` keeps them, `>` puts the message's fields into the parent (inline). Codes: s string, b bool, i integer, d double,
y bytes, q Quantity, t Time, u MicroTime, D Duration, o IntOrString, r raw JSON, v list of strings in a message, `[X` a
list of X, `{X` a map from string to X; anything else is a message, with its module before it when it is another's.

Wire format: protobuf.dev/programming-guides/encoding. Fields without a row are skipped, as protobuf has it.
"""

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from struct import unpack
from typing import Any, Final, NamedTuple

import msgspec

from edgekube.types._kinds import KINDS

MAGIC: Final = b"k8s\0"
DEPTH_MAX: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ProtobufError(Exception):
    """The body is not a protobuf object of a known kind; the message is for the client."""


class Field(NamedTuple):
    name: str
    mark: str
    code: str


def to_json(body: bytes) -> bytes:
    """The object in a body as JSON. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("the body does not start with the magic number of Kubernetes' protobuf")
    api_version = kind = ""
    raw = b""
    for number, value in _fields(body[len(MAGIC) :]):
        if number == 1:
            for inner, text in _fields(_bytes(value)):
                if inner == 1:
                    api_version = _text(text)
                elif inner == 2:
                    kind = _text(text)
        elif number == 2:
            raw = _bytes(value)
        elif number == 3 and value:
            raise ProtobufError("an encoded body inside protobuf is not accepted")
    group, _, version = api_version.rpartition("/")
    module = module_of(group, version, kind)
    obj = _message(module, kind, raw, 0)
    return msgspec.json.encode({"apiVersion": api_version, "kind": kind, **obj})


def module_of(group: str, version: str, kind: str) -> str:
    """The table that has a kind. Raises ProtobufError."""
    if (group, version) not in KINDS:
        raise ProtobufError(f"no kind {kind!r} of {group}/{version} is known")
    home, kinds = KINDS[group, version]
    for word in kinds.split():
        name, _, elsewhere = word.partition("=")
        if name == kind:
            return elsewhere.partition(":")[0] or home
    raise ProtobufError(f"no kind {kind!r} of {group}/{version} is known")


@cache
def _table(module: str) -> dict[str, str]:
    try:
        table: dict[str, str] = import_module(f"edgekube.apiserver.protobuf.tables.{module}").MESSAGES
    except ModuleNotFoundError:
        raise ProtobufError(f"kinds of {module} are accepted as JSON only") from None
    return table


@cache
def _rows(module: str, message: str) -> dict[int, Field]:
    if "." in message:
        module, _, message = message.partition(".")
    if message not in _table(module):
        raise ProtobufError(f"{message} of {module} is accepted as JSON only")
    out: dict[int, Field] = {}
    for row in _table(module)[message].split():
        head, _, code = row.partition(":")
        digits = len(head) - len(head.lstrip("0123456789"))
        out[int(head[:digits])] = Field(head[digits + 1 :], head[digits], code)
    return out


def _message(module: str, message: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > DEPTH_MAX:
        raise ProtobufError("the object is nested too deeply")
    rows = _rows(module, message)
    home = message.partition(".")[0] if "." in message else module
    out: dict[str, Any] = {}
    for number, value in _fields(data):
        row = rows.get(number)
        if row is None:
            continue
        kind, inner = row.code[0], row.code[1:]
        if kind == "[":
            items = out.setdefault(row.name, [])
            if inner == "i" and isinstance(value, bytes):
                items += list(_packed(value))
            else:
                items.append(_value(home, inner, value, depth))
        elif kind == "{":
            key, item = "", _zero(inner)
            for entry, part in _fields(_bytes(value)):
                if entry == 1:
                    key = _text(part)
                elif entry == 2:
                    item = _value(home, inner, part, depth)
            out.setdefault(row.name, {})[key] = item
        elif row.mark == ">":
            out.update(_value(home, row.code, value, depth))
        else:
            found = _value(home, row.code, value, depth)
            if found is None or (row.mark == "?" and not found):
                continue
            out[row.name] = found
    return out


def _value(home: str, code: str, value: int | bytes, depth: int) -> Any:
    match code:
        case "s":
            return _text(value)
        case "b":
            return bool(_integer(value))
        case "i":
            return _integer(value)
        case "d":
            if not isinstance(value, bytes) or len(value) != 8:
                raise ProtobufError("a number has the wrong wire type")
            return unpack("<d", value)[0]
        case "y":
            return b64encode(_bytes(value)).decode()
        case "q":
            return next((_text(part) for number, part in _fields(_bytes(value)) if number == 1), "0") or "0"
        case "t" | "u":
            return _time(_bytes(value), micro=code == "u")
        case "D":
            nanoseconds = next((_integer(part) for number, part in _fields(_bytes(value)) if number == 1), 0)
            return _duration(nanoseconds)
        case "o":
            return _int_or_string(_bytes(value))
        case "r":
            return _raw(_bytes(value))
        case "v":
            return [_text(part) for number, part in _fields(_bytes(value)) if number == 1]
    return _message(home, code, _bytes(value), depth + 1)


def _zero(code: str) -> Any:
    return {"s": "", "b": False, "i": 0, "d": 0.0, "y": "", "q": "0", "v": []}.get(code, {})


def _time(data: bytes, *, micro: bool) -> str | None:
    """RFC 3339 in UTC; an empty message is Go's zero time, which JSON leaves out."""
    if not data:
        return None
    seconds = nanoseconds = 0
    for number, value in _fields(data):
        if number == 1:
            seconds = _integer(value)
        elif number == 2:
            nanoseconds = _integer(value)
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    except OverflowError:
        raise ProtobufError(f"no time is {seconds} seconds from 1970") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def _duration(nanoseconds: int) -> str:
    """In seconds, as Go parses durations."""
    sign, size = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    whole, rest = divmod(size, 1_000_000_000)
    return f"{sign}{whole}" + (f".{rest:09d}".rstrip("0") if rest else "") + "s"


def _int_or_string(data: bytes) -> int | str:
    kind, number, text = 0, 0, ""
    for field, value in _fields(data):
        if field == 1:
            kind = _integer(value)
        elif field == 2:
            number = _integer(value)
        elif field == 3:
            text = _text(value)
    return text if kind else number


def _raw(data: bytes) -> Any:
    for number, value in _fields(data):
        if number == 1:
            try:
                return msgspec.json.decode(_bytes(value))
            except (msgspec.MsgspecError, RecursionError) as error:
                raise ProtobufError(f"an embedded object is not JSON: {error}") from None
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers with their raw values: varints as integers, all else as bytes."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ProtobufError(f"wire type {wire} is not known")
        if number == 0 or position + size > end:
            raise ProtobufError("the protobuf message is cut short or malformed")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ProtobufError("the protobuf message is cut short or malformed")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7


def _packed(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield _integer(value)


def _integer(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ProtobufError("an integer has the wrong wire type")
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("a field has the wrong wire type")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise ProtobufError("a string is not UTF-8") from None
