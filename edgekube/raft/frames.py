"""The frames in which members speak over a byte stream (pure functions and values; the streams are `stream`'s).

    frame   body size (u32), kind (u8), number (u32), body

A connection begins with the dialler's `Hello` and the answer to it. One for messages then carries, from the dialler,
messages and requests, and back to it the answers, by `number`. What is larger than a part travels in parts, the last of
which has kind MESSAGE or REQUEST, so that something urgent can pass in between; only one thing at a time is in parts.
One for a snapshot carries HEAD, CHUNK... and END, and back one ANSWER or REFUSED.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

import msgspec

from edgekube.raft.errors import RaftProtocolError
from edgekube.raft.transport import MESSAGE_SIZE_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX
from edgekube.types.unreadable import UNREADABLE

HELLO: Final = 1
MESSAGE: Final = 2
REQUEST: Final = 3
PART: Final = 4
ANSWER: Final = 5
REFUSED: Final = 6
HEAD: Final = 7
CHUNK: Final = 8
END: Final = 9

VERSION: Final = 1
PART_BYTES: Final = 64 * 1024
HELLO_SIZE_BYTES_MAX: Final = 1024

_header: Final = Struct(">IBI")
HEADER_BYTES: Final = _header.size


class Hello(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Who speaks to whom, of which cluster ("" while it is not known), and whether a snapshot follows."""

    version: int
    cluster_id: str
    sender: int
    receiver: int
    snapshot: bool = False


_hello_decoder: Final = msgspec.msgpack.Decoder(Hello)


def encode_hello(hello: Hello) -> bytes:
    """The frame that opens a connection, or accepts it."""
    return encode(HELLO, msgspec.msgpack.encode(hello))


def decode_hello(body: bytes) -> Hello:
    """Raises `RaftProtocolError`."""
    try:
        hello = _hello_decoder.decode(body)
    except UNREADABLE as error:
        raise RaftProtocolError(f"a connection begins with something else than a greeting: {error}") from error
    if hello.version != VERSION:
        raise RaftProtocolError(f"member {hello.sender} speaks version {hello.version}, this member {VERSION}")
    return hello


def encode(kind: int, body: bytes, number: int = 0) -> bytes:
    """One frame."""
    return _header.pack(len(body), kind, number) + body


def parts(kind: int, body: bytes, number: int = 0) -> Iterator[bytes]:
    """One frame, or several parts and a last frame; `number` tells them from what passes in between."""
    begin = 0
    while len(body) - begin > PART_BYTES:
        yield encode(PART, body[begin : begin + PART_BYTES], number)
        begin += PART_BYTES
    yield encode(kind, body[begin:] if begin else body, number)


class FrameReader:
    """Bytes in, whole frames out: (kind, number, body), with parts put together. Raises `RaftProtocolError`."""

    def __init__(self, *, snapshot: bool = False) -> None:
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._parts_number = 0
        self._parts_size = 0
        self._frame_max = SNAPSHOT_CHUNK_BYTES_MAX if snapshot else PART_BYTES

    def feed(self, data: bytes | bytearray) -> list[tuple[int, int, bytes]]:
        """Take in bytes, and return what they complete."""
        found: list[tuple[int, int, bytes]] = []
        buffer = self._buffer
        buffer += data
        place = 0
        while len(buffer) - place >= HEADER_BYTES:
            size, kind, number = _header.unpack_from(buffer, place)
            if size > self._frame_max:
                raise RaftProtocolError(f"a frame of {size} bytes is over the limit of {self._frame_max}")
            if len(buffer) - place < HEADER_BYTES + size:
                break
            begin = place + HEADER_BYTES
            place = begin + size
            body = bytes(buffer[begin:place])
            if kind == PART:
                self._add_part(number, body)
                continue
            if self._parts and kind in (MESSAGE, REQUEST, ANSWER) and number == self._parts_number:
                body = b"".join([*self._parts, body])
                self._parts.clear()
                self._parts_size = 0
            found.append((kind, number, body))
        del buffer[:place]
        return found

    def _add_part(self, number: int, body: bytes) -> None:
        if self._parts and number != self._parts_number:
            raise RaftProtocolError("parts of two things are mixed")
        self._parts_number = number
        self._parts.append(body)
        self._parts_size += len(body)
        if self._parts_size > MESSAGE_SIZE_BYTES_MAX:
            raise RaftProtocolError(f"something larger than {MESSAGE_SIZE_BYTES_MAX} bytes comes in parts")
