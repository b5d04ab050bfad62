"""An encoder of protobuf's wire format, as little as the tests need."""

from typing import Any

import msgspec

from edgekube.apiserver.protobuf.decode import MAGIC, to_json


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def text(field: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + text(1, text(1, api_version) + text(2, kind)) + text(2, raw) + text(3, "") + text(4, "")


def decode(api_version: str, kind: str, raw: bytes) -> Any:
    return msgspec.json.decode(to_json(body(api_version, kind, raw)))
