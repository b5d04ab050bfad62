"""HTTP/1.1 messages from bytes, sans-IO: llhttp (through httptools) with limits and one exception type.

Bytes go in by `feed`, events come out by `next_event` in wire order: a head, body chunks, the end. A pipelined second
message waits in the queue; a caller that feeds only while `next_event` has nothing holds at most one read of it.
"""

from collections import deque
from typing import Any

import httptools
import msgspec

from edgekube.http.messages import ConnectionLost, Headers, HttpError, header, header_tokens

HEAD_BYTES_MAX = 64 * 1024  # request line and headers; Go's default is 1 MiB, nginx 32 KiB, client-go sends < 8 KiB
HEADERS_MAX = 128


class RequestHead(msgspec.Struct, frozen=True):
    method: str
    path: str  # as sent, still percent-encoded
    query: str  # as sent, without "?"
    headers: Headers
    keep_alive: bool
    upgrade: str  # the lower-case protocol asked for by Upgrade, or ""
    has_body: bool
    expect_continue: bool
    http_1_0: bool = False


class ResponseHead(msgspec.Struct, frozen=True):
    status: int
    headers: Headers
    keep_alive: bool


class Data(msgspec.Struct, frozen=True, gc=False):
    data: bytes


class EndOfMessage(msgspec.Struct, frozen=True, gc=False):
    pass


_END = EndOfMessage()
Event = RequestHead | ResponseHead | Data | EndOfMessage


class _Parser:
    """The callbacks common to both directions. A subclass makes the head."""

    _parser: Any

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._headers: Headers = []
        self._head_size = 0
        self._head_done = False
        self._since_event = 0
        self._error: HttpError | None = None
        self.leftover = b""  # what followed an upgrade request or answer: bytes of the other protocol
        self.upgraded = False

    @property
    def has_event(self) -> bool:
        return bool(self._events)

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Break the circles with the C parser and with an error's frames, which nobody but the collector would free."""
        self._parser = self._error = None

    def feed(self, data: bytes) -> None:
        """Parse. Raises HttpError for what is malformed or over a limit; the parser is of no use afterwards."""
        if self._error is not None:
            raise self._error
        if self.upgraded:
            self.leftover += data
            return
        before = len(self._events)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.upgraded = True
            self.leftover = data[upgrade.args[0] :]
        except httptools.HttpParserInvalidMethodError:
            self._fail(501, "the request method is not known")
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, HttpError):
                raise
            self._fail(cause.status, cause.message)
        except httptools.HttpParserError as error:
            self._fail(400, f"malformed HTTP message: {error}")
        # A head, a chunk extension or a trailer that never ends makes no event: bound what the parser gathers.
        self._since_event = 0 if len(self._events) > before else self._since_event + len(data)
        if self._since_event > HEAD_BYTES_MAX:
            self._fail(431, f"the headers are larger than {HEAD_BYTES_MAX} bytes")

    def _fail(self, status: int, message: str) -> None:
        self._error = HttpError(status, message)
        raise self._error from None

    def on_message_begin(self) -> None:
        self._headers = []
        self._head_size = 0
        self._head_done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > HEAD_BYTES_MAX:
            raise HttpError(431, f"the headers are larger than {HEAD_BYTES_MAX} bytes")
        if self._head_done:
            return  # a trailer: counted, not kept
        if len(self._headers) >= HEADERS_MAX:
            raise HttpError(431, f"more than {HEADERS_MAX} headers")
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._events.append(Data(body))

    def on_message_complete(self) -> None:
        self._events.append(_END)


class RequestParser(_Parser):
    """The server's side."""

    def __init__(self) -> None:
        super().__init__()
        self._url = b""
        self._parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._head_size += len(url)
        if self._head_size > HEAD_BYTES_MAX:
            raise HttpError(414, f"the request target is longer than {HEAD_BYTES_MAX} bytes")

    def on_headers_complete(self) -> None:
        self._head_done = True
        parser, headers = self._parser, self._headers
        method = parser.get_method().decode("ascii")
        path, query = _split_target(self._url.decode("latin-1"))
        length, chunked, hosts, upgrade, expect = "", False, 0, "", False
        for name, value in headers:
            if name == "content-length":
                length = value
            elif name == "transfer-encoding":
                chunked = True
            elif name == "host":
                hosts += 1
            elif name == "upgrade":
                upgrade = value
            elif name == "expect":
                expect = value.lower() == "100-continue"
        http_1_0 = parser.get_http_version() == "1.0"
        if hosts > 1 or (hosts == 0 and not http_1_0):
            raise HttpError(400, "a request needs exactly one Host header")  # RFC 9112 section 3.2
        self._events.append(
            RequestHead(
                method=method,
                path=path,
                query=query,
                headers=headers,
                keep_alive=parser.should_keep_alive(),
                upgrade=upgrade.split(",")[0].strip().lower() if parser.should_upgrade() else "",
                has_body=chunked or length not in ("", "0"),
                expect_continue=expect,
                http_1_0=http_1_0,
            )
        )


class ResponseParser(_Parser):
    """The client's side, one response; `head_only` is for the answer to HEAD, whose body never comes."""

    def __init__(self, *, head_only: bool = False) -> None:
        super().__init__()
        self._head_only = head_only
        self._parser = httptools.HttpResponseParser(self)
        self._until_close = False
        self._done = False

    def on_headers_complete(self) -> None:
        self._head_done = True
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return
        headers = self._headers
        framed = header(headers, "content-length") or "chunked" in header_tokens(headers, "transfer-encoding")
        self._until_close = not framed and not self._head_only and status not in (101, 204, 304)
        self._events.append(ResponseHead(status, headers, self._parser.should_keep_alive()))
        if self._head_only or status == 101:
            self._finish()

    def _finish(self) -> None:
        if not self._done:
            self._done = True
            self._events.append(_END)

    def on_body(self, body: bytes) -> None:
        if not self._done:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if 100 <= self._parser.get_status_code() < 200 and not self._done:
            return
        self._finish()

    def feed_eof(self) -> None:
        """The peer closed. Raises ConnectionLost when that cut the message short."""
        if self._done:
            return
        if self._until_close:
            self._finish()
            return
        raise ConnectionLost("the server closed the connection before the response was complete")


def _split_target(target: str) -> tuple[str, str]:
    """Path and query of origin-form and absolute-form targets (RFC 9112 section 3.2)."""
    if not target.startswith("/"):
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise HttpError(400, "the request target must be a path")
        slash = rest.find("/")
        target = rest[slash:] if slash >= 0 else "/"
    path, _, query = target.partition("?")
    return path, query.partition("#")[0]
