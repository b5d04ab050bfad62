"""The client's side of WebSocket (RFC 6455) over the node's socket: framing, masking, the handshake. Blocking.

`Frames` is sans-IO; `WebSocket` puts it on a socket. One thread may receive while others send.
"""

import os
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from edgekube.cli.api import Api, Query, refusal, target
from edgekube.cli.errors import CliError

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
_RECEIVE_BYTES: Final = 64 * 1024
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Frames:
    """Bytes in, (opcode, payload) messages out. Fragments are put together; control frames come as they are."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._opcode = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Raises CliError for a frame over the limit."""
        self._buffer += data
        out: list[tuple[int, bytes]] = []
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            if opcode >= CLOSE:
                out.append((opcode, payload))
                continue
            if opcode != CONTINUATION:
                self._opcode, self._parts = opcode, []
            self._parts.append(payload)
            if sum(map(len, self._parts)) > MESSAGE_BYTES_MAX:
                raise CliError("the node sent a WebSocket message that is too large")
            if final:
                out.append((self._opcode, b"".join(self._parts)))
                self._parts = []
        return out

    def _frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(buffer) < 2 + width:
                return None
            size, start = int.from_bytes(buffer[2 : 2 + width], "big"), 2 + width
        if size > MESSAGE_BYTES_MAX:
            raise CliError("the node sent a WebSocket frame that is too large")
        if len(buffer) < start + size:
            return None
        payload = bytes(buffer[start : start + size])
        first = buffer[0]
        del buffer[: start + size]
        return bool(first & 0x80), first & 0x0F, payload


def frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """One whole, masked frame (section 5.3: everything a client sends is masked)."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += struct.pack(">BH", 0x80 | 126, size)
    else:
        head += struct.pack(">BQ", 0x80 | 127, size)
    # XOR of two large integers: a thousand times quicker than byte by byte.
    pad = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
    return head + mask + masked


class WebSocket:
    """Binary messages both ways. `receive` gives None at the end."""

    def __init__(self, connected: socket.socket, rest: bytes = b"") -> None:
        self._socket = connected
        self._frames = Frames()
        self._waiting = self._frames.feed(rest)
        self._lock = threading.Lock()
        self.close_reason = ""

    def receive(self) -> bytes | None:
        while True:
            while self._waiting:
                opcode, payload = self._waiting.pop(0)
                if opcode in (TEXT, BINARY):
                    return payload
                if opcode == PING:
                    self._send(PONG, payload)
                if opcode == CLOSE:
                    self.close_reason = payload[2:].decode(errors="replace")
                    self.close()
                    return None
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError:
                return None
            if not data:
                return None
            self._waiting += self._frames.feed(data)

    def send(self, payload: bytes) -> None:
        """Raises OSError when the other side is gone."""
        self._send(BINARY, payload)

    def _send(self, opcode: int, payload: bytes) -> None:
        with self._lock:
            self._socket.sendall(frame(opcode, payload, os.urandom(4)))

    def close(self) -> None:
        try:
            self._send(CLOSE, struct.pack(">H", 1000))
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def open_websocket(api: Api, path: str, query: Query, protocols: Sequence[str]) -> WebSocket:
    """Raises StatusError when the server refuses, CliError when it does not upgrade."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": ", ".join(protocols),
    }
    response, connected, rest = api.connection().upgrade(target(path, query), headers)
    if connected is None:
        text = response.read()
        if response.status >= 400:
            raise refusal(response.status, text)
        raise CliError(f"the node answered {response.status} instead of opening a stream")
    if response.headers.get("sec-websocket-protocol", "") not in protocols:
        raise CliError("the node speaks none of the stream protocols known here: are both of the same version?")
    return WebSocket(connected, rest)
