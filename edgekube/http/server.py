"""The HTTP/1.1 server: connections, their deadlines and caps. Parsing is `parser`, meaning is the handler's.

One task a connection reads a request, awaits the handler, writes the answer, and goes on (keep-alive). Pipelined
requests wait in the parser and are answered in order. While a streamed body is being written a second task reads, so
that a client which went away ends the stream at once. An upgraded connection is handed over whole.

At the cap of connections the one idle for longest makes room; with none idle the newcomer waits to be accepted.
"""

import contextlib
import logging
import math
import ssl
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec
import trio

from edgekube.http.messages import (
    ConnectionLost,
    Headers,
    HttpError,
    Peer,
    PushResponse,
    Response,
    UpgradeResponse,
    header_tokens,
    reason_phrase,
)
from edgekube.http.parser import Data, EndOfMessage, Event, RequestHead, RequestParser
from edgekube.http.sockets import HTTP_RECEIVE_BYTES, BufferedStream, tcp_address, unix_credentials
from edgekube.http.wire import Wire

_log = logging.getLogger(__name__)

BODY_BYTES_MAX: Final = 3 * 1024 * 1024  # kube-apiserver's MaxRequestBodyBytes
GZIP_BYTES_MIN: Final = 128 * 1024  # kube-apiserver's threshold for APIResponseCompression
_GZIP_THREAD_BYTES_MIN: Final = 32 * 1024
_DRAIN_BYTES_MAX: Final = 64 * 1024  # unread request body worth skipping to keep the connection
_SEND_NOW_BYTES_MAX: Final = 64 * 1024
_LINGER_BYTES_MAX: Final = 8 * 1024 * 1024
_CLOSE_SECONDS: Final = 2.0
_ACCEPT_PAUSE_SECONDS: Final = 0.2

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, ConnectionLost)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one server. Times are seconds; `idle_seconds` outlasts Go clients' own 90 s: they close first."""

    connections_max: int = 2000
    handshake_seconds: float = 10
    head_seconds: float = 15
    body_seconds: float = 60
    send_seconds: float = 60
    idle_seconds: float = 120


class ServerStatistics(msgspec.Struct, frozen=True):
    connections: int
    idle: int
    accepted_total: int
    requests_total: int
    refused_total: int
    evicted_total: int


class Request:
    """One request, with its body still on the wire until `read_body`."""

    __slots__ = ("_connection", "_first", "head", "peer")

    def __init__(self, head: RequestHead, peer: Peer, connection: "_Connection") -> None:
        self.head = head
        self._first = dict(reversed(head.headers))
        self.peer = peer
        self._connection = connection

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def query(self) -> str:
        return self.head.query

    @property
    def headers(self) -> Headers:
        return self.head.headers

    def header(self, name: str) -> str:
        """The first value of `name` (lower case), or "" when absent."""
        return self._first.get(name, "")

    async def read_body(self, limit: int = BODY_BYTES_MAX) -> bytes:
        """The whole body. Raises HttpError 413 above `limit` bytes, 408 when it takes too long."""
        if not self.head.has_body:
            return b""
        length = self.header("content-length")
        if length.isdecimal() and int(length) > limit:
            raise HttpError(413, f"the request body is larger than the limit of {limit} bytes")
        connection = self._connection
        chunks = connection.arrived_data()
        size = sum(map(len, chunks))
        if not connection.body_done:
            with trio.move_on_after(connection.server.limits.body_seconds) as scope:
                while size <= limit and (chunk := await connection.next_data()) is not None:
                    size += len(chunk)
                    chunks.append(chunk)
            if scope.cancelled_caught:
                raise HttpError(408, "the request body took too long to arrive")
        if size > limit:
            raise HttpError(413, f"the request body is larger than the limit of {limit} bytes")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


Answer = Response | PushResponse | UpgradeResponse
Handler = Callable[[Request], Awaitable[Answer]]
ErrorRenderer = Callable[[HttpError], Response]


def plain_error(error: HttpError) -> Response:
    return Response(
        status=error.status, headers=[("Content-Type", "text/plain; charset=utf-8")], body=f"{error.message}\n".encode()
    )


class HttpServer:
    """Serves `handler` on any number of listeners until cancelled or `shutdown`.

    A handler that raises HttpError gets it rendered by `render_error`; any other exception is a defect: it goes to
    `on_defect` and the client sees 500. `on_close` is told of every connection's end. Use:
    `await nursery.start(server.serve, listeners)`.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: Limits | None = None,
        render_error: ErrorRenderer = plain_error,
        on_defect: Callable[[BaseException], None] | None = None,
        on_close: Callable[[], None] = lambda: None,
        compress_remote: bool = True,
    ) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self.render_error = render_error
        self.on_defect = on_defect or _log_defect
        self._on_close = on_close
        self.compress_remote = compress_remote
        self.closing = trio.Event()
        self.requests_total = 0
        self.idle: OrderedDict[_Connection, None] = OrderedDict()
        self._open: set[_Connection] = set()
        self._slots = trio.Semaphore(self.limits.connections_max)
        self._accepted_total = 0
        self._refused_total = 0
        self._evicted_total = 0
        self._accepting: set[trio.CancelScope] = set()
        self._drained = trio.Event()

    def statistics(self) -> ServerStatistics:
        return ServerStatistics(
            connections=len(self._open),
            idle=len(self.idle),
            accepted_total=self._accepted_total,
            requests_total=self.requests_total,
            refused_total=self._refused_total,
            evicted_total=self._evicted_total,
        )

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        tls: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept on `listeners` and own their connections; with `tls`, as TLS. Closes the listeners at the end."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, tls, nursery)
            task_status.started()

    async def shutdown(self, grace_seconds: float = 5.0) -> None:
        """Stop accepting, close idle connections, end streams, let answers under way finish; then cut what is left."""
        self.closing.set()
        for scope in self._accepting:
            scope.cancel()
        for connection in list(self.idle):
            connection.scope.cancel()
        for connection in self._open:
            if connection.stream_scope is not None and not connection.sending:
                connection.stream_scope.cancel()  # one that is sending notices `closing` after its chunk
        with trio.move_on_after(grace_seconds):
            while self._open:
                self._drained = trio.Event()
                await self._drained.wait()
        for connection in list(self._open):
            connection.scope.cancel()

    async def _accept(self, listener: trio.SocketListener, tls: ssl.SSLContext | None, nursery: trio.Nursery) -> None:
        with trio.CancelScope() as scope:
            self._accepting.add(scope)
            if self.closing.is_set():
                scope.cancel()
            try:
                async with listener:
                    while True:
                        await self._wait_slot()
                        stream = await self._accept_one(listener)
                        if stream is not None:
                            self._accepted_total += 1
                            nursery.start_soon(self._connection, stream, tls)
            finally:
                self._accepting.discard(scope)

    async def _accept_one(self, listener: trio.SocketListener) -> trio.SocketStream | None:
        try:
            return await listener.accept()
        except OSError:
            # Out of descriptors or memory (accept(2)): wait for connections to end rather than spin.
            self._slots.release()
            self._refused_total += 1
            await trio.sleep(_ACCEPT_PAUSE_SECONDS)
            return None
        except BaseException:
            self._slots.release()
            raise

    async def _wait_slot(self) -> None:
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            if self.idle:
                connection, _ = self.idle.popitem(last=False)
                connection.scope.cancel()
                self._evicted_total += 1
            await self._slots.acquire()

    async def serve_stream(self, stream: trio.abc.Stream, peer: Peer) -> None:
        """Serve one connection that somebody else accepted, until it ends; closes it."""
        connection = _Connection(self, stream, peer)
        self._open.add(connection)
        try:
            with connection.scope:
                await connection.run()
            if isinstance(stream, Wire) and connection.at_rest:
                stream.say_goodbye()
        except _BROKEN:
            pass  # the peer left: nobody is there to be told
        except Exception as error:
            if not _peer_left(error):
                self.on_defect(error)
        finally:
            self.idle.pop(connection, None)
            self._open.discard(connection)
            if not self._open:
                self._drained.set()
            connection.close()
            self._on_close()
            await _close(stream)

    async def _connection(self, transport: trio.SocketStream, tls: ssl.SSLContext | None) -> None:
        try:
            credentials = unix_credentials(transport.socket)
            address = "" if credentials is not None else tcp_address(transport.socket)
            wire = Wire(transport, tls)
            try:
                if wire.tls is None:
                    await self.serve_stream(wire, Peer(address=address, unix=credentials))
                    return
                with trio.move_on_after(self.limits.handshake_seconds) as handshake:
                    await wire.do_handshake()
                if not handshake.cancelled_caught:
                    certificate = wire.tls.getpeercert() or None
                    await self.serve_stream(wire, Peer(address=address, certificate=certificate, tls=True))
            finally:
                await _close(wire)
        except (*_BROKEN, OSError):
            pass  # gone before it was known, or no TLS
        finally:
            self._slots.release()
            await _close(transport)


def _peer_left(error: BaseException) -> bool:
    """Whether an error is only that of a lost connection, also when a handler's nursery has wrapped it."""
    if isinstance(error, BaseExceptionGroup):
        return all(_peer_left(inner) for inner in error.exceptions)
    return isinstance(error, _BROKEN)


async def _close(stream: trio.abc.AsyncResource) -> None:
    with trio.CancelScope(deadline=trio.current_time() + _CLOSE_SECONDS, shield=True), contextlib.suppress(*_BROKEN):
        await stream.aclose()


class _Connection:
    __slots__ = (
        "_body_done", "_head", "_parser", "_sent_continue", "_wire",
        "at_rest", "peer", "scope", "sending", "server", "stream", "stream_scope",
    )  # fmt: skip

    def __init__(self, server: HttpServer, stream: trio.abc.Stream, peer: Peer) -> None:
        self.server = server
        self.stream = stream
        self._wire = stream if isinstance(stream, Wire) else None
        self.peer = peer
        self.scope = trio.CancelScope()
        self.at_rest = True  # the last answer has been sent whole
        self._parser = RequestParser()
        self._head: RequestHead | None = None
        self._body_done = True
        self._sent_continue = False
        self.sending = False
        self.stream_scope: trio.CancelScope | None = None

    async def run(self) -> None:
        while await self._exchange():
            pass

    def close(self) -> None:
        self._parser.close()

    async def _next_event(self) -> Event | None:
        """The next event on the wire; None at the end of the stream."""
        while (event := self._parser.next_event()) is None:
            if self._parser.upgraded:
                return None
            data = await self.stream.receive_some(HTTP_RECEIVE_BYTES)
            if not data:
                return None
            self._parser.feed(bytes(data))
        return event

    @property
    def body_done(self) -> bool:
        """Whether all of the request's body was taken."""
        return self._body_done

    def arrived_data(self) -> list[bytes]:
        """The parts of the request body that are here already: a small one mostly is, in the packet after the head."""
        parser, chunks = self._parser, list[bytes]()
        if self._head is None or (self._head.expect_continue and not self._sent_continue):
            return chunks
        looked = False
        while not self._body_done:
            event = parser.next_event()
            if isinstance(event, Data):
                chunks.append(event.data)
            elif event is not None:
                self._body_done = True
            elif looked or parser.upgraded or self._wire is None:
                break
            else:
                looked = True
                if data := self._wire.receive_now(HTTP_RECEIVE_BYTES):
                    parser.feed(data)
        return chunks

    async def next_data(self) -> bytes | None:
        """The next part of the request body, None after the last."""
        if self._body_done:
            return None
        if self._head is not None and self._head.expect_continue and not self._sent_continue:
            self._sent_continue = True
            await self.stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        event = await self._next_event()
        if isinstance(event, Data):
            return event.data
        if isinstance(event, EndOfMessage):
            self._body_done = True
            return None
        raise ConnectionLost("the client closed the connection before its request was complete")

    async def _read_head(self) -> RequestHead | None:
        server, scope = self.server, self.scope
        event = self._parser.next_event()
        if event is None:
            if server.closing.is_set():
                return None
            server.idle[self] = None
            scope.deadline = trio.current_time() + server.limits.idle_seconds
            data = await self.stream.receive_some(HTTP_RECEIVE_BYTES)
            server.idle.pop(self, None)
            if not data:
                return None
            self._parser.feed(bytes(data))
            event = self._parser.next_event()
            if event is None:  # rare: a head in one piece needs no deadline of its own
                scope.deadline = trio.current_time() + server.limits.head_seconds
                event = await self._next_event()
            scope.deadline = math.inf
        if event is None:
            return None
        assert isinstance(event, RequestHead), "the parser emits a head first"
        return event

    async def _exchange(self) -> bool:
        """One request and its answer. Returns whether the connection can carry another."""
        server = self.server
        try:
            head = await self._read_head()
        except HttpError as error:
            await self._send_error(error)
            return False
        if head is None:
            return False
        self._head = head
        self._body_done = False
        self._sent_continue = False
        if not head.has_body and isinstance(self._parser.next_event(), EndOfMessage):
            self._body_done = True
        server.requests_total += 1
        self.at_rest = False
        keep_alive = head.keep_alive
        try:
            response = await server.handler(Request(head, self.peer, self))
        except HttpError as error:
            response = server.render_error(error)
            keep_alive = keep_alive and self._body_done
        except _BROKEN:
            raise
        except Exception as error:
            server.on_defect(error)
            response = server.render_error(HttpError(500, "the server failed to answer; its log says why"))
            keep_alive = False
        if isinstance(response, UpgradeResponse):
            await self._upgrade(response)
            return False
        if self._parser.upgraded:
            # The upgrade was declined. With a body we cannot tell where the next request starts.
            keep_alive = keep_alive and not head.has_body
            leftover = self._parser.leftover
            self._parser.close()
            self._parser = RequestParser()
            if keep_alive and leftover:
                self._parser.feed(leftover)
        elif not self._body_done:
            keep_alive = keep_alive and await self._drain()
        keep_alive = keep_alive and not server.closing.is_set()
        if isinstance(response, PushResponse):
            keep_alive = await _Push(self, head, keep_alive).run(response)
        else:
            await self.send(head, response, keep_alive)
        self.at_rest = True
        return keep_alive

    async def _drain(self) -> bool:
        """Skip what the handler left of the body when it is already here; else the connection must close."""
        if self._head is not None and self._head.expect_continue and not self._sent_continue:
            return False
        skipped = 0
        while (event := self._parser.next_event()) is not None:
            if isinstance(event, EndOfMessage):
                self._body_done = True
                return True
            assert isinstance(event, Data)
            skipped += len(event.data)
            if skipped > _DRAIN_BYTES_MAX:
                return False
        return False

    async def _send_error(self, error: HttpError) -> None:
        self.scope.deadline = math.inf
        self._body_done = False
        response = self.server.render_error(error)
        with contextlib.suppress(*_BROKEN):
            await self.send(None, response, keep_alive=False)

    async def _upgrade(self, response: UpgradeResponse) -> None:
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in response.headers)]
        with trio.fail_after(self.server.limits.send_seconds):
            await self.stream.send_all(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        await response.run(BufferedStream(self.stream, self._parser.leftover))

    async def send(self, head: RequestHead | None, response: Response, keep_alive: bool) -> None:
        status, body = response.status, response.body
        head_only = head is not None and head.method == "HEAD"
        bodyless = status in (204, 304) or status < 200
        out = self.start_lines(head, status, response.headers, keep_alive)
        gzip = self._wants_gzip(head, response)
        if gzip:
            out.append("Content-Encoding: gzip\r\nVary: Accept-Encoding")
        if isinstance(body, bytes):
            if gzip:
                body = await trio.to_thread.run_sync(_gzip, body)
            if not bodyless:
                out.append(f"Content-Length: {len(body)}")
            data = ("\r\n".join(out) + "\r\n\r\n").encode("latin-1")
            if not (head_only or bodyless):
                data += body
            await self._send_whole(data)
        else:
            await self._send_stream(head, out, body, head_only or bodyless, gzip)
        if not keep_alive and not self._body_done:
            await self._linger()

    @staticmethod
    def start_lines(
        head: RequestHead | None, status: int, headers: Sequence[tuple[str, str]], keep_alive: bool
    ) -> list[str]:
        out = [f"HTTP/1.1 {status} {reason_phrase(status)}"]
        out.extend(f"{name}: {value}" for name, value in headers)
        if not keep_alive:
            out.append("Connection: close")
        elif head is not None and head.http_1_0:
            out.append("Connection: keep-alive")
        return out

    def _wants_gzip(self, head: RequestHead | None, response: Response) -> bool:
        """Whether compression is agreed on and pays for itself: only over a network."""
        if head is None or not self.server.compress_remote or self.peer.is_local:
            return False
        if isinstance(response.body, bytes):
            if len(response.body) < GZIP_BYTES_MIN:
                return False
        elif not response.compress_stream:
            return False
        return "gzip" in header_tokens(head.headers, "accept-encoding") and not any(
            name.lower() == "content-encoding" for name, _ in response.headers
        )

    async def _send_whole(self, data: bytes) -> None:
        """As `send_bytes`, without waiting for anything when the kernel takes all of it: the usual case."""
        if self._wire is not None and len(data) <= _SEND_NOW_BYTES_MAX:
            sent = self._wire.send_now(data)
            if sent == len(data):
                if self._parser.has_event:  # pipelined: this task has not waited for its request
                    await trio.lowlevel.checkpoint()
                return
            data = data[sent:]
        await self.send_bytes(data)

    async def send_bytes(self, data: bytes) -> None:
        """Send within `send_seconds`, or the connection ends: a client that does not read holds nothing for long."""
        self.sending = True
        self.scope.deadline = trio.current_time() + self.server.limits.send_seconds
        await self.stream.send_all(data)
        self.scope.deadline = math.inf
        self.sending = False

    async def _send_stream(
        self, head: RequestHead | None, out: list[str], body: AsyncIterator[bytes], no_body: bool, gzip: bool
    ) -> None:
        chunked = not (head is not None and head.http_1_0)
        if chunked:
            out.append("Transfer-Encoding: chunked")
        chunks = _gzip_stream(body) if gzip else body
        try:
            await self.send_bytes(("\r\n".join(out) + "\r\n\r\n").encode("latin-1"))
            if not no_body:
                await self._pump(chunks, chunked)
        finally:
            with trio.CancelScope(deadline=trio.current_time() + _CLOSE_SECONDS, shield=True):
                for source in (chunks, body):
                    aclose = getattr(source, "aclose", None)
                    if aclose is not None:
                        await aclose()
        if chunked and not no_body:
            await self.send_bytes(b"0\r\n\r\n")

    async def _pump(self, chunks: AsyncIterator[bytes], chunked: bool) -> None:
        """Write a stream until it ends, the server shuts down, or the peer leaves (ConnectionLost)."""

        async def write() -> None:
            async for chunk in chunks:
                if chunk:
                    await self.send_bytes(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                if self.server.closing.is_set():
                    break

        await self.while_connected(write)

    async def while_connected(self, write: Callable[[], Awaitable[None]]) -> None:
        """Run `write` until it returns or the server shuts down. Raises ConnectionLost when the peer leaves."""
        failure: Exception | None = None
        lost: list[bool] = []
        async with trio.open_nursery() as nursery:
            self.stream_scope = nursery.cancel_scope
            nursery.start_soon(self._watch_peer, nursery.cancel_scope, lost)
            try:
                await write()
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        self.stream_scope = None
        if lost:
            raise ConnectionLost("the client closed the connection while a response was streaming")
        if failure is not None:
            raise failure

    async def _watch_peer(self, scope: trio.CancelScope, lost: list[bool]) -> None:
        """Read while the answer streams: the end of the peer ends the answer; a pipelined request waits its turn."""
        try:
            data = await self.stream.receive_some(HTTP_RECEIVE_BYTES)
            if data:
                self._parser.feed(bytes(data))
                return
        except (*_BROKEN, HttpError):
            pass
        lost.append(True)
        scope.cancel()

    async def _linger(self) -> None:
        """Close so that the answer arrives: closing over unread input would reset the connection under it."""
        with trio.move_on_after(_CLOSE_SECONDS), contextlib.suppress(*_BROKEN, OSError):
            if isinstance(self.stream, trio.abc.HalfCloseableStream):
                await self.stream.send_eof()
            skipped = 0
            while skipped < _LINGER_BYTES_MAX and (data := await self.stream.receive_some(HTTP_RECEIVE_BYTES)):
                skipped += len(data)


class _Push:
    """The Sender of a PushResponse on a connection."""

    def __init__(self, connection: _Connection, head: RequestHead, keep_alive: bool) -> None:
        self._connection = connection
        self._head = head
        self._keep_alive = keep_alive
        self._started = False
        self._chunked = not head.http_1_0

    async def start(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        assert not self._started, "a response starts once"
        lines = self._connection.start_lines(self._head, status, headers, self._keep_alive and self._chunked)
        if self._chunked:
            lines.append("Transfer-Encoding: chunked")
        self._started = True
        await self._connection.send_bytes(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def send(self, chunk: bytes) -> None:
        assert self._started, "a response starts before it goes on"
        if chunk and self._head.method != "HEAD":
            data = b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk
            await self._connection.send_bytes(data)

    async def run(self, response: PushResponse) -> bool:
        """Let the handler write. Returns whether the connection can carry another request."""
        connection = self._connection
        try:
            await connection.while_connected(lambda: response.run(self))
        except HttpError as error:
            if self._started:
                raise ConnectionLost(error.message) from error  # too late to say it; a cut stream says it too
            await connection.send(self._head, connection.server.render_error(error), self._keep_alive)
            return self._keep_alive
        if not self._started:
            await self.start(503, [])
        if self._chunked and self._head.method != "HEAD":
            await connection.send_bytes(b"0\r\n\r\n")
        return self._keep_alive and self._chunked


def _gzip(data: bytes) -> bytes:
    return zlib.compress(data, 1, wbits=31)


async def _gzip_stream(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    compressor = zlib.compressobj(1, wbits=31)
    async for chunk in body:
        if len(chunk) >= _GZIP_THREAD_BYTES_MIN:
            yield await trio.to_thread.run_sync(compressor.compress, chunk)
        else:
            yield compressor.compress(chunk)
    yield compressor.flush()


def _log_defect(error: BaseException) -> None:
    _log.error("http handler failed", exc_info=error)
