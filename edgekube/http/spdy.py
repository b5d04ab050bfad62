"""SPDY/3.1 frames, sans-IO: what port-forward and remote commands need of it.

Kubernetes clients multiplex streams over SPDY/3.1, bare after an HTTP upgrade or, since kubectl 1.31, as the payload of
WebSocket messages (KEP-4006). Both ends here: bytes in by `feed`, events out; frames out as bytes.

Source: SPDY Protocol draft 3.1, chromium.org. Priorities and credentials are not used; PUSH is refused.
"""

import zlib
from struct import pack, unpack
from typing import Final

import msgspec

from edgekube.http.spdy_dictionary import DICTIONARY

VERSION: Final = 3
SPDY_UPGRADE: Final = "spdy/3.1"  # the Upgrade token, lower case
FRAME_BYTES_MAX: Final = 1024 * 1024  # of a payload; peers send 32 KiB
HEADER_BYTES_MAX: Final = 64 * 1024  # of an uncompressed header block
STREAMS_MAX: Final = 1024

_SYN_STREAM: Final = 1
_SYN_REPLY: Final = 2
_RST_STREAM: Final = 3
_SETTINGS: Final = 4
_PING: Final = 6
_GOAWAY: Final = 7
_HEADERS: Final = 8
_WINDOW_UPDATE: Final = 9

FLAG_FIN: Final = 1
_FLAG_UNIDIRECTIONAL: Final = 2

RST_INVALID_STREAM: Final = 2
RST_REFUSED: Final = 3
RST_CANCEL: Final = 5


class SpdyError(Exception):
    """The peer sent what is not SPDY/3.1, or over a limit. The session is lost."""


class StreamOpened(msgspec.Struct, frozen=True):
    stream: int
    headers: list[tuple[str, str]]
    fin: bool


class ReplyReceived(msgspec.Struct, frozen=True):
    stream: int
    headers: list[tuple[str, str]]
    fin: bool


class DataReceived(msgspec.Struct, frozen=True):
    stream: int
    data: bytes
    fin: bool


class StreamReset(msgspec.Struct, frozen=True):
    stream: int
    status: int


class PingReceived(msgspec.Struct, frozen=True):
    id: int


class WindowUpdated(msgspec.Struct, frozen=True):
    stream: int  # 0 is the session
    size: int


class InitialWindow(msgspec.Struct, frozen=True):
    size: int


class GoAway(msgspec.Struct, frozen=True):
    last_good: int


Event = (
    StreamOpened | ReplyReceived | DataReceived | StreamReset | PingReceived | WindowUpdated | InitialWindow | GoAway
)

_SETTINGS_INITIAL_WINDOW: Final = 7


class Codec:
    """One session's framing. The header compression has state: frames must go out in the order they are made."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(level=zlib.Z_BEST_SPEED, zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Event]:
        """The events of all complete frames. Raises SpdyError."""
        self._buffer += data
        events: list[Event] = []
        buffer = self._buffer
        start = 0
        while len(buffer) - start >= 8:
            word, tail = unpack(">II", buffer[start : start + 8])
            flags, size = tail >> 24, tail & 0xFFFFFF
            if size > FRAME_BYTES_MAX:
                raise SpdyError(f"a frame of {size} bytes is larger than {FRAME_BYTES_MAX}")
            if len(buffer) - start < 8 + size:
                break
            payload = bytes(buffer[start + 8 : start + 8 + size])
            start += 8 + size
            if word & 0x80000000:
                event = self._control((word >> 16) & 0x7FFF, word & 0xFFFF, flags, payload)
                if event is not None:
                    events.append(event)
            else:
                events.append(DataReceived(word, payload, bool(flags & FLAG_FIN)))
        del buffer[:start]
        return events

    def _control(self, version: int, kind: int, flags: int, payload: bytes) -> Event | None:
        if version != VERSION:
            raise SpdyError(f"version {version} of SPDY is not spoken here")
        if kind == _SYN_STREAM:
            stream = _stream_id(payload, 10)
            if flags & _FLAG_UNIDIRECTIONAL:
                raise SpdyError("pushed streams are not accepted")
            return StreamOpened(stream, self._headers(payload[10:]), bool(flags & FLAG_FIN))
        if kind == _SYN_REPLY:
            return ReplyReceived(_stream_id(payload, 4), self._headers(payload[4:]), bool(flags & FLAG_FIN))
        if kind == _RST_STREAM:
            return StreamReset(_stream_id(payload, 8), _word(payload, 4))
        if kind == _SETTINGS:
            return self._settings(payload)
        if kind == _PING:
            return PingReceived(_word(payload, 0))
        if kind == _GOAWAY:
            return GoAway(_word(payload, 0) & 0x7FFFFFFF)
        if kind == _HEADERS:
            self._headers(payload[4:])  # the compression state must follow; their content means nothing to us
        if kind == _WINDOW_UPDATE:
            return WindowUpdated(_word(payload, 0) & 0x7FFFFFFF, _word(payload, 4) & 0x7FFFFFFF)
        return None  # unknown control frames are ignored (section 2.2.1)

    def _settings(self, payload: bytes) -> InitialWindow | None:
        count = _word(payload, 0)
        if count > 64 or len(payload) < 4 + 8 * count:
            raise SpdyError("a malformed SETTINGS frame")
        for index in range(count):
            key, value = unpack(">II", payload[4 + 8 * index : 12 + 8 * index])
            if key & 0xFFFFFF == _SETTINGS_INITIAL_WINDOW:
                return InitialWindow(min(value, 0x7FFFFFFF))
        return None

    def _headers(self, block: bytes) -> list[tuple[str, str]]:
        try:
            data = self._inflate.decompress(block, HEADER_BYTES_MAX)
        except zlib.error as error:
            raise SpdyError(f"the header block does not decompress: {error}") from None
        if self._inflate.unconsumed_tail or self._inflate.eof:
            raise SpdyError(f"a header block is larger than {HEADER_BYTES_MAX} bytes or ends the compression")
        headers: list[tuple[str, str]] = []
        position = 4
        for _ in range(_length(data, 0)):
            name, position = _string(data, position)
            value, position = _string(data, position)
            headers.extend((name.lower(), part) for part in value.split("\0"))
            if len(headers) > HEADER_BYTES_MAX // 8:
                raise SpdyError("too many headers")
        return headers

    def _header_block(self, headers: list[tuple[str, str]]) -> bytes:
        out = [pack(">I", len(headers))]
        for name, value in headers:
            for text in (name.lower().encode("latin-1"), value.encode("latin-1")):
                out.append(pack(">I", len(text)))
                out.append(text)
        return self._deflate.compress(b"".join(out)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def syn_stream(self, stream: int, headers: list[tuple[str, str]], *, fin: bool = False) -> bytes:
        return _frame(_SYN_STREAM, FLAG_FIN * fin, pack(">IIH", stream, 0, 0) + self._header_block(headers))

    def syn_reply(self, stream: int, headers: list[tuple[str, str]] | None = None, *, fin: bool = False) -> bytes:
        return _frame(_SYN_REPLY, FLAG_FIN * fin, pack(">I", stream) + self._header_block(headers or []))

    @staticmethod
    def data(stream: int, data: bytes, *, fin: bool = False) -> bytes:
        return pack(">II", stream, (FLAG_FIN * fin) << 24 | len(data)) + data

    @staticmethod
    def reset(stream: int, status: int) -> bytes:
        return _frame(_RST_STREAM, 0, pack(">II", stream, status))

    @staticmethod
    def ping(id_: int) -> bytes:
        return _frame(_PING, 0, pack(">I", id_))

    @staticmethod
    def go_away(last_good: int) -> bytes:
        return _frame(_GOAWAY, 0, pack(">II", last_good, 0))


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return pack(">HHI", 0x8000 | VERSION, kind, flags << 24 | len(payload)) + payload


def _word(payload: bytes, position: int) -> int:
    if len(payload) < position + 4:
        raise SpdyError("a control frame is too short")
    return int.from_bytes(payload[position : position + 4], "big")


def _stream_id(payload: bytes, size: int) -> int:
    if len(payload) < size:
        raise SpdyError("a control frame is too short")
    stream = _word(payload, 0) & 0x7FFFFFFF
    if not stream:
        raise SpdyError("stream 0 is not a stream")
    return stream


def _length(data: bytes, position: int) -> int:
    if len(data) < position + 4:
        raise SpdyError("a header block is too short")
    (value,) = unpack(">I", data[position : position + 4])
    return int(value)


def _string(data: bytes, position: int) -> tuple[str, int]:
    size = _length(data, position)
    end = position + 4 + size
    if end > len(data):
        raise SpdyError("a header block is too short")
    return data[position + 4 : end].decode("latin-1"), end
