"""A small HTTP/1.1 client on trio: one exchange a connection, or a kept connection; TCP, TLS and unix sockets.

Redirects, cookies and proxies are not followed: who needs a rule for them has one of its own. Everything has a
deadline: `timeout_seconds` to connect and for the head, and per read of a body that is not a stream.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import msgspec
import trio

from edgekube.http.messages import ConnectionLost, Headers, HttpError, header
from edgekube.http.parser import Data, EndOfMessage, Event, ResponseHead, ResponseParser
from edgekube.http.sockets import HTTP_RECEIVE_BYTES, BufferedStream
from edgekube.http.websocket import WebSocket, accept_token, request_headers

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
_SAFE: Final = frozenset(map(chr, range(0x21, 0x7F)))

HeaderList = Sequence[tuple[str, str]]


class ClientResponse(msgspec.Struct, frozen=True):
    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        return header(self.headers, name.lower())


class StreamedResponse:
    """A response whose body is still on the wire: iterate it once."""

    def __init__(self, head: ResponseHead, connection: "Connection") -> None:
        self.status = head.status
        self.headers = head.headers
        self._connection = connection

    def header(self, name: str) -> str:
        return header(self.headers, name.lower())

    async def read(self, limit: int = BODY_BYTES_MAX) -> bytes:
        """The whole body. Raises ConnectionLost when it breaks off or is longer than `limit`."""
        chunks: list[bytes] = []
        size = 0
        while (chunk := await self._connection.next_data()) is not None:
            size += len(chunk)
            if size > limit:
                raise ConnectionLost(f"the response is longer than {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


class Connection:
    """One connection to one server, for one request at a time."""

    def __init__(self, stream: trio.abc.Stream, host: str) -> None:
        self.stream = stream
        self._host = host
        self._parser: ResponseParser | None = None
        self.reusable = True

    async def send(self, method: str, target: str, *, headers: HeaderList = (), body: bytes = b"") -> StreamedResponse:
        """Send a request and return when the head of its answer is in; 1xx answers are skipped.

        Raises ConnectionLost; ValueError for a target or header that would break out of its line.
        """
        request = encode_request(method, target, self._host, headers, body)
        self._parser = ResponseParser(head_only=method == "HEAD")
        try:
            await self.stream.send_all(request)
        except trio.BrokenResourceError as error:
            raise ConnectionLost(f"the connection to {self._host} broke while sending") from error
        event = await self._next_event()
        assert isinstance(event, ResponseHead), "the parser emits a head first"
        self.reusable = self.reusable and event.keep_alive
        return StreamedResponse(event, self)

    async def next_data(self) -> bytes | None:
        event = await self._next_event()
        if isinstance(event, Data):
            return event.data
        assert isinstance(event, EndOfMessage), "a body is data and an end"
        return None

    async def _next_event(self) -> Event:
        parser = self._parser
        assert parser is not None, "no request is under way"
        while (event := parser.next_event()) is None:
            try:
                data = bytes(await self.stream.receive_some(HTTP_RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionLost(f"the connection to {self._host} broke") from error
            try:
                if data:
                    parser.feed(data)
                else:
                    self.reusable = False
                    parser.feed_eof()
            except HttpError as error:
                raise ConnectionLost(f"{self._host} answered what is not HTTP: {error.message}") from error
        return event

    def take_over(self) -> trio.abc.Stream:
        """After a 101: the raw stream, with what the server has sent already."""
        assert self._parser is not None, "no request is under way"
        self.reusable = False
        return BufferedStream(self.stream, self._parser.leftover)


def encode_request(method: str, target: str, host: str, headers: HeaderList, body: bytes) -> bytes:
    """Raises ValueError for text that would break out of its line."""
    if not target or not set(target) <= _SAFE:
        raise ValueError(f"{target!r} is no request target")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    for name, value in headers:
        if not set(name) <= _SAFE or ":" in name or any(char in value for char in "\r\n\0"):
            raise ValueError(f"{name!r} is no header")
        lines.append(f"{name}: {value}")
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


async def connect(
    url: str, *, tls: ssl.SSLContext | None = None, unix_path: str = "", server_hostname: str = ""
) -> Connection:
    """Connect to the server of `url`, or to `unix_path` with `url` for the Host header.

    Raises OSError, ConnectionLost for a failed TLS handshake, ValueError for a URL that is not http(s).
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"{url!r} is no http or https URL")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    stream: trio.abc.Stream
    if unix_path:
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await sock.connect(unix_path)
        except BaseException:
            sock.close()
            raise
        stream = trio.SocketStream(sock)
    else:
        stream = await trio.open_tcp_stream(host, port)
    if parts.scheme == "https" and not unix_path:
        secure = trio.SSLStream(
            stream, tls or ssl.create_default_context(), server_hostname=server_hostname or host, https_compatible=True
        )
        try:
            await secure.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            raise ConnectionLost(f"no TLS with {host}:{port}: {error.__cause__ or error}") from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        stream = secure
    return Connection(stream, parts.netloc.rpartition("@")[2])


@asynccontextmanager
async def stream(
    method: str,
    url: str,
    *,
    headers: HeaderList = (),
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    unix_path: str = "",
    timeout_seconds: float = 30,
) -> AsyncIterator[StreamedResponse]:
    """One exchange whose body is streamed. Raises as `connect` and `Connection.send`, trio.TooSlowError."""
    with trio.fail_after(timeout_seconds):
        connection = await connect(url, tls=tls, unix_path=unix_path)
    try:
        with trio.fail_after(timeout_seconds):
            response = await connection.send(method, target_of(url), headers=headers, body=body)
        yield response
    finally:
        await trio.aclose_forcefully(connection.stream)


async def request(
    method: str,
    url: str,
    *,
    headers: HeaderList = (),
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    unix_path: str = "",
    timeout_seconds: float = 30,
    limit: int = BODY_BYTES_MAX,
) -> ClientResponse:
    """One whole exchange within `timeout_seconds`. Raises as `stream`."""
    with trio.fail_after(timeout_seconds):
        async with stream(
            method, url, headers=headers, body=body, tls=tls, unix_path=unix_path, timeout_seconds=timeout_seconds
        ) as response:
            return ClientResponse(response.status, response.headers, await response.read(limit))


@asynccontextmanager
async def websocket(
    url: str,
    *,
    protocols: Sequence[str] = (),
    headers: HeaderList = (),
    tls: ssl.SSLContext | None = None,
    unix_path: str = "",
    timeout_seconds: float = 30,
) -> AsyncIterator[tuple[WebSocket, str]]:
    """A WebSocket and its subprotocol. Raises HttpError with the status of a server that declines."""
    key, own = request_headers(protocols)
    with trio.fail_after(timeout_seconds):
        connection = await connect(url, tls=tls, unix_path=unix_path)
    try:
        with trio.fail_after(timeout_seconds):
            response = await connection.send("GET", target_of(url), headers=[*own, *headers])
            if response.status != 101:
                text = (await response.read(64 * 1024)).decode(errors="replace")
                raise HttpError(response.status, text)
        if response.header("sec-websocket-accept") != accept_token(key):
            raise ConnectionLost("the server's WebSocket handshake does not match")
        socket_ = WebSocket(connection.take_over(), client=True)
        yield socket_, response.header("sec-websocket-protocol")
        await socket_.close()
    finally:
        await trio.aclose_forcefully(connection.stream)


def target_of(url: str) -> str:
    """Path and query of a URL."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
