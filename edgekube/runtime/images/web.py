"""A small HTTP/1.1 client for pulls: streaming bodies, kept connections, a limit on everything.

It lives as long as one pull; nothing stays open on an idle node. One `exchange` is one request to one server: redirects
and authorization are the registry's affair (registry.py).
"""

import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, urlsplit

import httptools
import trio

CONNECT_SECONDS_MAX = 30.0
STALL_SECONDS_MAX = 60.0
HEADER_BYTES_MAX = 65_536
RECEIVE_BYTES = 65_536
IDLE_CONNECTIONS_MAX = 4


class WebFailure(Exception):
    """The server could not be reached or broke off. `transient`: trying again may help."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class Trust:
    """How a server's certificate is checked. The context is built on first use: it reads the system's CAs."""

    def __init__(self, *, skip_verify: bool = False, ca_file: str = "") -> None:
        self._skip_verify = skip_verify
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        if self._context is None:
            context = ssl.create_default_context()
            if self._ca_file:
                context.load_verify_locations(self._ca_file)
            if self._skip_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["http/1.1"])
            self._context = context
        return self._context


class _Parser:
    """httptools' callbacks, collected."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.pieces: list[bytes] = []
        self.ready = False
        self.complete = False
        self._header_bytes = 0
        self.raw = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES_MAX:
            raise ValueError("response headers are too large")
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        # 1xx answers precede the real one.
        self.ready = self.raw.get_status_code() >= 200
        if not self.ready:
            self.headers.clear()

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = self.ready


class Response:
    """Status, headers (names in lower case) and a body still to be read."""

    def __init__(self, stream: trio.abc.Stream, parser: _Parser, url: str) -> None:
        self._stream = stream
        self._parser = parser
        self.url = url
        self.status: int = parser.raw.get_status_code()

    def header(self, name: str) -> str:
        return next((value for key, value in self._parser.headers if key == name), "")

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self._parser.headers if key == name]

    async def receive(self) -> bytes:
        """The next piece of the body, empty at its end. Raises WebFailure when it stalls or breaks off."""
        while not self._parser.pieces:
            if self._parser.complete:
                return b""
            await _receive(self._stream, self._parser, self.url)
        pieces, self._parser.pieces = self._parser.pieces, []
        return b"".join(pieces)

    async def read(self, size_max: int) -> bytes:
        """The whole body. Raises WebFailure when it is larger than `size_max`."""
        pieces = []
        size = 0
        while piece := await self.receive():
            size += len(piece)
            if size > size_max:
                raise WebFailure(f"{self.url} answers with more than {size_max} bytes", transient=False)
            pieces.append(piece)
        return b"".join(pieces)

    @property
    def reusable(self) -> bool:
        return self._parser.complete and bool(self._parser.raw.should_keep_alive())


class WebClient:
    """Connections of one pull. Close it with `aclose`."""

    def __init__(self, *, user_agent: str = "edgekube") -> None:
        self._user_agent = user_agent
        self._idle: dict[tuple[str, str, int, int], list[trio.abc.Stream]] = {}

    async def aclose(self) -> None:
        streams = [stream for kept in self._idle.values() for stream in kept]
        self._idle.clear()
        for stream in streams:
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def exchange(
        self, method: str, url: str, trust: Trust, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> AsyncIterator[Response]:
        """One request; the response's body is read inside the context. Raises WebFailure."""
        target = _target(url)
        key = (target.scheme, target.hostname or "", _port(target), id(trust))
        request = _request(method, target, {"user-agent": self._user_agent, **(headers or {})}, body)
        kept = self._idle.get(key)
        while kept:
            # The server may have closed a kept connection meanwhile; then the next one, in the end a new one, serves.
            stream = kept.pop()
            try:
                response = await _ask(stream, request, url)
            except WebFailure:
                await trio.aclose_forcefully(stream)
                continue
            break
        else:
            stream = await _connect(target, trust, url)
            try:
                response = await _ask(stream, request, url)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        try:
            yield response
        finally:
            kept = self._idle.setdefault(key, [])
            if response.reusable and len(kept) < IDLE_CONNECTIONS_MAX:
                kept.append(stream)
            else:
                await trio.aclose_forcefully(stream)


def _target(url: str) -> SplitResult:
    try:
        target = urlsplit(url)
        if target.scheme in ("http", "https") and target.hostname and _port(target):
            return target
    except ValueError:
        pass
    raise WebFailure(f"{url[:200]!r} is no web address", transient=False)


def _port(target: SplitResult) -> int:
    return target.port or (443 if target.scheme == "https" else 80)


def _request(method: str, target: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    lines = [f"{method} {path} HTTP/1.1", f"host: {target.netloc.rpartition('@')[2]}"]
    if body:
        lines.append(f"content-length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines)
    if any(c in text.replace("\r\n", "") for c in "\r\n\0") or " " in path or not text.isascii():
        raise WebFailure(f"{target.netloc}: a part of the request has characters HTTP does not allow", transient=False)
    return text.encode("ascii") + b"\r\n\r\n" + body


async def _connect(target: SplitResult, trust: Trust, url: str) -> trio.abc.Stream:
    host, port = target.hostname or "", _port(target)
    try:
        with trio.fail_after(CONNECT_SECONDS_MAX):
            tcp = await trio.open_tcp_stream(host, port)
            if target.scheme != "https":
                return tcp
            tls = trio.SSLStream(tcp, trust.context(), server_hostname=host, https_compatible=True)
            try:
                await tls.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(tls)
                raise
            return tls
    except trio.TooSlowError:
        raise WebFailure(f'Get "{url}": dial tcp {host}:{port}: i/o timeout', transient=True) from None
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            message = f"tls: failed to verify certificate: {cause.verify_message}"
            raise WebFailure(f'Get "{url}": {message}', transient=False) from None
        if isinstance(cause, ssl.SSLError):
            message = "http: server gave HTTP response to HTTPS client" if "WRONG_VERSION" in str(cause) else str(cause)
            raise WebFailure(f'Get "{url}": {message}', transient=False) from None
        raise WebFailure(f'Get "{url}": tls: connection closed during handshake', transient=True) from None
    except socket.gaierror as error:
        # EAI_AGAIN is a name server that did not answer; anything else is a name that does not exist.
        again = error.errno == socket.EAI_AGAIN
        why = "server misbehaving" if again else "no such host"
        raise WebFailure(f'Get "{url}": dial tcp: lookup {host}: {why}', transient=again) from None
    except OSError as error:
        number = _errno(error)
        why = os.strerror(number).lower() if number else str(error)
        raise WebFailure(
            f'Get "{url}": dial tcp {host}:{port}: connect: {why}', transient=number == errno.ETIMEDOUT
        ) from None


def _errno(error: BaseException) -> int:
    """The errno behind trio's "all attempts to connect failed"."""
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseExceptionGroup):
            pending.extend(each.exceptions)
        elif isinstance(each, OSError) and each.errno:
            return each.errno
        elif each is not None:
            pending.append(each.__cause__)
    return 0


async def _ask(stream: trio.abc.Stream, request: bytes, url: str) -> Response:
    parser = _Parser()
    try:
        with trio.fail_after(STALL_SECONDS_MAX):
            await stream.send_all(request)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        raise WebFailure(f'Get "{url}": connection reset by peer', transient=True) from None
    while not parser.ready:
        await _receive(stream, parser, url)
    return Response(stream, parser, url)


async def _receive(stream: trio.abc.Stream, parser: _Parser, url: str) -> None:
    try:
        with trio.fail_after(STALL_SECONDS_MAX):
            data = await stream.receive_some(RECEIVE_BYTES)
    except trio.TooSlowError:
        raise WebFailure(f'Get "{url}": net/http: timeout awaiting response', transient=True) from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise WebFailure(f'Get "{url}": connection reset by peer', transient=True) from None
    if not data:
        if parser.ready and _until_close(parser):
            parser.complete = True
            return
        raise WebFailure(f'Get "{url}": unexpected EOF', transient=True)
    try:
        parser.raw.feed_data(data)
    except (httptools.HttpParserError, ValueError) as error:
        raise WebFailure(f'Get "{url}": malformed HTTP response: {error}', transient=False) from None


def _until_close(parser: _Parser) -> bool:
    """Neither length nor chunks: the body ends with the connection (RFC 9112 section 6.3)."""
    return not any(name in ("content-length", "transfer-encoding") for name, _ in parser.headers)
