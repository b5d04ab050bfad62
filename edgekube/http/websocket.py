"""WebSocket (RFC 6455) on a byte stream: the handshake, and messages with back-pressure. Framing is wsproto's.

wsproto is imported at the first upgrade: a node that never execs never pays for it.
"""

from base64 import b64encode
from collections import deque
from collections.abc import Sequence
from hashlib import sha1
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

import trio

from edgekube.http.messages import Headers, HttpError, header, header_tokens
from edgekube.http.parser import RequestHead

if TYPE_CHECKING:
    pass

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
_RECEIVE_BYTES: Final = 32 * 1024
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011


class WebSocketClosed(Exception):
    """The peer closed, or broke the protocol. `code` is its close code, 1006 without one."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"WebSocket closed with {code} {reason}".rstrip())
        self.code = code


def is_upgrade(head: RequestHead) -> bool:
    return head.upgrade == "websocket" and head.method == "GET"


def accept_headers(headers: Headers, protocols: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """The subprotocol, the first of ours that the client offers, and the headers of the 101 answer.

    A client that offers none gets "" and must expect the oldest. Raises HttpError 400 or 426.
    """
    key = header(headers, "sec-websocket-key")
    if header(headers, "sec-websocket-version") != "13":
        raise HttpError(426, "only version 13 of the WebSocket protocol is spoken here")
    if len(key) != 24:
        raise HttpError(400, "Sec-WebSocket-Key is missing or malformed")
    offered = header_tokens(headers, "sec-websocket-protocol")
    chosen = next((name for name in protocols if name in offered), "")
    if offered and not chosen:
        raise HttpError(
            400, f"none of the subprotocols {', '.join(offered)} is spoken here: {', '.join(protocols)} are"
        )
    answer = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_token(key)),
    ]
    if chosen:
        answer.append(("Sec-WebSocket-Protocol", chosen))
    return chosen, answer


def accept_token(key: str) -> str:
    """RFC 6455 section 4.2.2, step 5.4."""
    return b64encode(sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def request_headers(protocols: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """A client's key and the headers of its request."""
    key = b64encode(token_bytes(16)).decode()
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    ]
    if protocols:
        headers.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    return key, headers


class WebSocket:
    """Messages over `stream`, which it owns. One reader and any number of writers may use it at once.

    Pings are answered while somebody receives. Both directions raise WebSocketClosed after the end.
    """

    def __init__(self, stream: trio.abc.Stream, *, client: bool = False) -> None:
        from wsproto.connection import Connection, ConnectionType

        self._stream = stream
        self._connection: Connection = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
        self._messages: deque[bytes | str] = deque()
        self._parts: list[bytes | str] = []
        self._size = 0
        self._send_lock = trio.Lock()
        self._closed: WebSocketClosed | None = None

    async def receive(self) -> bytes | str:
        """The next message, text as str. Raises WebSocketClosed."""
        while not self._messages:
            if self._closed is not None:
                raise self._closed
            try:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._closed = WebSocketClosed(1006, "connection lost")
                raise self._closed from error
            await self._feed(bytes(data) if data else None)
        return self._messages.popleft()

    async def send(self, message: bytes | str) -> None:
        """Send one message. Raises WebSocketClosed."""
        from wsproto.events import BytesMessage, TextMessage

        event: Any = BytesMessage(data=message) if isinstance(message, bytes) else TextMessage(data=message)
        await self._send_event(event)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, and wait for the peer to do so if it does not take long. Never raises for a lost peer."""
        from wsproto.events import CloseConnection

        try:
            await self._send_event(CloseConnection(code=code, reason=reason[:120]))
            with trio.move_on_after(2):
                while self._closed is None:
                    await self._feed(bytes(await self._stream.receive_some(_RECEIVE_BYTES)) or None)
        except (WebSocketClosed, trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass
        self._closed = self._closed or WebSocketClosed(code)

    async def _send_event(self, event: Any) -> None:
        from wsproto.utilities import LocalProtocolError

        async with self._send_lock:
            if self._closed is not None:
                raise self._closed
            try:
                await self._stream.send_all(self._connection.send(event))
            except (trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError) as error:
                self._closed = self._closed or WebSocketClosed(1006, "connection lost")
                raise self._closed from error

    async def _feed(self, data: bytes | None) -> None:
        from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
        from wsproto.utilities import LocalProtocolError, RemoteProtocolError

        if data is None:
            self._closed = self._closed or WebSocketClosed(1006, "connection lost")
            return
        try:
            self._connection.receive_data(data)
            events = list(self._connection.events())
        except (RemoteProtocolError, LocalProtocolError) as error:
            await self._fail(PROTOCOL_ERROR, str(error))
            return
        for event in events:
            match event:
                case TextMessage() | BytesMessage():
                    self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                    self._size += len(event.data)
                    if self._size > MESSAGE_BYTES_MAX:
                        await self._fail(TOO_BIG, f"a message is larger than {MESSAGE_BYTES_MAX} bytes")
                        return
                    if event.message_finished:
                        self._finish_message(isinstance(event, TextMessage))
                case Ping():
                    try:
                        await self._send_event(event.response())
                    except WebSocketClosed:
                        return
                case CloseConnection():
                    code, reason = int(event.code), event.reason or ""
                    try:
                        await self._send_event(event.response())
                    except WebSocketClosed:
                        pass
                    self._closed = WebSocketClosed(code, reason)

    def _finish_message(self, text: bool) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if text:
            self._messages.append("".join(part for part in parts if isinstance(part, str)))
        else:
            self._messages.append(b"".join(part for part in parts if isinstance(part, bytes)))

    async def _fail(self, code: int, reason: str) -> None:
        from wsproto.events import CloseConnection

        try:
            await self._send_event(CloseConnection(code=code, reason=reason[:120]))
        except WebSocketClosed:
            pass
        self._closed = WebSocketClosed(code, reason)


class WebSocketStream(trio.abc.Stream):
    """The bytes of binary messages as a stream, for protocols tunnelled in a WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._pending = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not self._pending:
            try:
                message = await self._socket.receive()
            except WebSocketClosed:
                return b""
            if isinstance(message, str):
                raise trio.BrokenResourceError("a text message in a binary tunnel")
            self._pending = message
        size = len(self._pending) if max_bytes is None else max_bytes
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._socket.send(bytes(data))
        except WebSocketClosed as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._socket.close()
