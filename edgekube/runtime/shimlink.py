"""The shim's protocol (version 1, native/shim/shim.h): frames as values, and one connection."""

import os
import socket
import struct
from typing import NamedTuple

import msgspec
import trio

from edgekube.types.unreadable import UNREADABLE

PROTOCOL_VERSION = 1
FRAME_BYTES_MAX = 64 * 1024
STDIN_PIECE_BYTES = 16 * 1024
CONNECT_TRIES = 50
CONNECT_PAUSE_SECONDS = 0.02
_HEADER = struct.Struct("<IB")

WANT_STDOUT, WANT_STDERR, GIVE_STDIN, WANT_EXIT = 1, 2, 4, 8

HELLO, STARTED, FAILED, STDOUT, STDERR, ANSWER, EXIT, ERROR = b"hsf12oxe"


class ShimState(msgspec.Struct, frozen=True):
    """state.json, exit.json and the answers of a shim."""

    version: int
    shim_pid: int
    pid: int
    start_time: int
    created_at: str
    started_at: str
    finished_at: str
    exited: bool
    exit_code: int
    signal: int
    oom_kills: int


class StartFault(msgspec.Struct, frozen=True):
    """Where a start failed: `runc` (its exit status), or a step of the shim (errno)."""

    stage: str
    status: int


class Frame(NamedTuple):
    kind: int
    payload: bytes


class ProtocolError(Exception):
    """The other side is not a shim of a version we speak."""


def encode(kind: bytes, payload: bytes = b"") -> bytes:
    return _HEADER.pack(len(payload), kind[0]) + payload


def encode_hello(flags: int) -> bytes:
    return encode(b"H", bytes((PROTOCOL_VERSION, flags)))


def encode_resize(width: int, height: int) -> bytes:
    """Sizes beyond 16 bits are cut to what a terminal can have."""
    return encode(b"w", struct.pack("<HH", min(height, 0xFFFF), min(width, 0xFFFF)))


def encode_signal(number: int) -> bytes:
    return encode(b"k", struct.pack("<I", number))


class FrameBuffer:
    """Bytes in, frames out. Raises ProtocolError for a frame larger than FRAME_BYTES_MAX."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        self._bytes += data
        frames: list[Frame] = []
        start = 0
        while len(self._bytes) - start >= _HEADER.size:
            length, kind = _HEADER.unpack_from(self._bytes, start)
            if length > FRAME_BYTES_MAX:
                raise ProtocolError(f"a shim sent a frame of {length} bytes")
            end = start + _HEADER.size + length
            if len(self._bytes) < end:
                break
            frames.append(Frame(kind, bytes(self._bytes[start + _HEADER.size : end])))
            start = end
        del self._bytes[:start]
        return frames


def decode_state(payload: bytes) -> ShimState:
    try:
        return msgspec.json.decode(payload, type=ShimState)
    except UNREADABLE as error:
        raise ProtocolError(f"a shim sent an unreadable state: {error}") from error


class ShimLink:
    """One connection. One task reads it with `receive`; requests may come from any task."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._buffer = FrameBuffer()
        self._unread: list[Frame] = []
        self._send_lock = trio.Lock()

    async def send(self, data: bytes) -> None:
        """Raises BrokenResourceError when the shim is gone."""
        async with self._send_lock:
            view = memoryview(data)
            try:
                while view:
                    view = view[await self._socket.send(view) :]
            except OSError as error:
                raise trio.BrokenResourceError("the shim is gone") from error

    async def receive(self) -> list[Frame]:
        """At least one frame; an empty list when the shim is gone, does not speak our protocol, or we have closed."""
        if self._unread:
            frames, self._unread = self._unread, []
            await trio.lowlevel.checkpoint()
            return frames
        while True:
            try:
                data = await self._socket.recv(FRAME_BYTES_MAX)
            except (OSError, trio.ClosedResourceError):
                return []
            if not data:
                return []
            try:
                frames = self._buffer.feed(data)
            except ProtocolError:
                return []
            if frames:
                return frames

    async def give_up(self) -> None:
        """Tells the shim to kill what it started and waits for its end."""
        try:
            await self.send(encode(b"q"))
            while await self.receive():
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def unread(self, frames: list[Frame]) -> None:
        """Gives frames back, to be received first."""
        self._unread = frames + self._unread

    def close(self) -> None:
        self._socket.close()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


async def connect(folder: str) -> ShimLink:
    """To the shim that works in `folder`. Raises OSError when there is none.

    By way of the folder's descriptor: a socket address holds 108 bytes, a folder's name may be longer. A listener with
    its queue full gets CONNECT_TRIES; a shim works it off in microseconds, unless it is stopped.
    """
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)  # a local listener answers at once, or refuses, or has its queue full
        for remaining in reversed(range(CONNECT_TRIES)):
            try:
                sock.connect(f"/proc/self/fd/{fd}/shim.sock")
                break
            except BlockingIOError:
                if remaining == 0:
                    raise
                await trio.sleep(CONNECT_PAUSE_SECONDS)
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(fd)
    await trio.lowlevel.checkpoint()
    return ShimLink(sock)
