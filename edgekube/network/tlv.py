"""Netlink's wire form, no sockets: messages, attributes, and the numbers this project uses of them.

Numbers are the kernel's UAPI (linux/netlink.h); the unit tests compare them with pyroute2's tables, so pyroute2 itself
never has to be loaded by a node (1.5 MiB of message classes).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

NLMSGERR_ATTR_MSG = 1

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

HEADER = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class TlvError(ValueError):
    """Bytes that are no netlink message or attribute list."""


class Message(NamedTuple):
    """One netlink message; `payload` is what follows the 16 bytes of header."""

    type: int
    flags: int
    seq: int
    pid: int
    payload: bytes


def attr(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes. `value` has at most 65531 bytes (nla_len is 16 bits wide)."""
    return _ATTR.pack(4 + len(value), kind) + value + _PADDING[len(value) & 3]


def nest(kind: int, *attrs: bytes) -> bytes:
    return attr(kind | NLA_F_NESTED, b"".join(attrs))


def attr_str(kind: int, value: str) -> bytes:
    return attr(kind, value.encode() + b"\0")


def attr_u8(kind: int, value: int) -> bytes:
    return attr(kind, bytes((value,)))


def attr_u32(kind: int, value: int) -> bytes:
    return attr(kind, value.to_bytes(4, "little" if _LITTLE else "big"))


def attr_be32(kind: int, value: int) -> bytes:
    """32 bits in network order, signed values in two's complement: nfnetlink's integers."""
    return attr(kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def attr_be64(kind: int, value: int) -> bytes:
    return attr(kind, value.to_bytes(8, "big"))


def message(kind: int, flags: int, seq: int, payload: bytes, pid: int = 0) -> bytes:
    """A whole message; `payload` must already be a multiple of four bytes long."""
    return HEADER.pack(16 + len(payload), kind, flags, seq, pid) + payload


def parse_messages(data: bytes) -> Iterator[Message]:
    """Split one datagram. Raises TlvError when a length leaves it."""
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, seq, pid = HEADER.unpack_from(data, at)
        if length < 16 or at + length > len(data):
            raise TlvError(f"netlink message of length {length} in {len(data) - at} bytes")
        yield Message(kind, flags, seq, pid, data[at + 16 : at + length])
        at += (length + 3) & ~3


def parse_attrs(data: bytes, at: int = 0) -> dict[int, bytes]:
    """Attribute type (without flag bits) to value; of a repeated type the last. Raises TlvError."""
    return dict(iter_attrs(data, at))


def iter_attrs(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes in order; lists repeat one type. Raises TlvError."""
    while at + 4 <= len(data):
        length, kind = _ATTR.unpack_from(data, at)
        if length < 4 or at + length > len(data):
            raise TlvError(f"netlink attribute of length {length} in {len(data) - at} bytes")
        yield kind & NLA_TYPE_MASK, data[at + 4 : at + length]
        at += (length + 3) & ~3


def text(value: bytes) -> str:
    """A NUL-terminated string attribute."""
    return value.split(b"\0", 1)[0].decode(errors="replace")


_LITTLE = struct.pack("=H", 1) == b"\x01\0"
