"""HTTP/1.1 over the node's unix socket: one blocking connection, kept alive between requests.

Written out because http.client costs 25 ms of CPU to import (it brings email), as much as all the rest of a `get`.
RFC 9112; only what the node sends: Content-Length, chunked, or until close; no redirects, no proxies.
"""

import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final

from edgekube.cli.errors import CliError

DEFAULT_SOCKET: Final = "/run/edgekube/edgekube.sock"
HEAD_BYTES_MAX: Final = 64 * 1024
CHUNK_DIGITS_MAX: Final = 8
_RECEIVE_BYTES: Final = 64 * 1024
_NO_BODY: Final = (204, 304)


class ConnectionLost(CliError):
    """The node closed the connection in the middle of an answer."""


class NoAnswer(CliError):
    """Nothing came within the time allowed."""


class Response:
    """Status, headers (names in lower case) and a body that is read once, whole or piece by piece."""

    def __init__(self, connection: "Connection", status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._rest = 0
        if status in _NO_BODY:
            self._mode = "length"
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._mode = "chunked"
        elif "content-length" in headers:
            self._mode = "length"
            self._rest = int(headers["content-length"])
        else:
            self._mode = "close"
        self.done = self._mode == "length" and self._rest == 0

    def chunks(self) -> Iterator[bytes]:
        """Pieces of the body as they arrive."""
        while not self.done:
            data = self._next()
            if data:
                yield data

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def lines(self) -> Iterator[bytes]:
        """Lines of the body as they arrive, without their ends."""
        pending = b""
        for data in self.chunks():
            *lines, pending = (pending + data).split(b"\n")
            yield from lines
        if pending:
            yield pending

    def _next(self) -> bytes:
        connection = self._connection
        if self._mode == "close":
            data = connection.receive()
            self.done = not data
            return data
        if self._mode == "chunked" and not self._rest:
            text = connection.line().partition(b";")[0].strip()
            if not text or len(text) > CHUNK_DIGITS_MAX or text.strip(b"0123456789abcdefABCDEF"):
                raise ConnectionLost("the node's answer is garbled: are both of the same version?")
            size = int(text, 16)
            if not size:
                while connection.line():
                    pass
                self.done = True
                return b""
            self._rest = size
        data = connection.receive(self._rest)
        if not data:
            raise ConnectionLost("the node closed the connection in the middle of its answer: is it being stopped?")
        self._rest -= len(data)
        if not self._rest:
            if self._mode == "chunked":
                connection.line()
            else:
                self.done = True
        return data


class Connection:
    """One connection to the socket at `path`; opened with the first request. `timeout` in seconds is per receive."""

    def __init__(self, path: str = DEFAULT_SOCKET, *, timeout: float | None = None) -> None:
        self.path = path
        self.timeout = timeout
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._last: Response | None = None

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer, self._last = None, b"", None

    def request(
        self, method: str, target: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send, and read the head of the answer. Raises CliError when no node answers."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "User-Agent: edgekube"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body or b'')}")
        message = "\r\n".join([*lines, "", ""]).encode() + (body or b"")
        if self._last is not None and not self._last.done:
            self.close()
        reused = self._socket is not None
        try:
            self._last = self._exchange(message)
        except (ConnectionLost, BrokenPipeError, ConnectionResetError):
            if not reused or self._buffer:
                self.close()
                raise ConnectionLost(f"the node at {self.path} closed the connection: is it being stopped?") from None
            # A kept connection may have been closed meanwhile; the node has not seen this request.
            self.close()
            self._last = self._exchange(message)
        return self._last

    def _exchange(self, message: bytes) -> Response:
        if self._socket is None:
            self._socket = self._open()
        try:
            self._socket.sendall(message)
        except TimeoutError:
            raise self._late() from None
        while True:
            version, _, rest = self.line().decode("latin-1").partition(" ")
            if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
                raise CliError(f"what answers at {self.path} is no EdgeKube node")
            headers: dict[str, str] = {}
            while line := self.line():
                name, _, value = line.decode("latin-1").partition(":")
                name, value = name.strip().lower(), value.strip()
                headers[name] = f"{headers[name]}\n{value}" if name == "warning" and name in headers else value
            status = int(rest[:3])
            if status != 100:
                break
        response = Response(self, status, headers)
        if headers.get("connection", "").lower() == "close" and response.done:
            self.close()
        return response

    def upgrade(self, target: str, headers: Mapping[str, str]) -> tuple[Response, socket.socket | None, bytes]:
        """Ask for another protocol: the answer, and with a 101 the socket and what was read beyond the head."""
        response = self.request("GET", target, headers=headers)
        if response.status != 101:
            return response, None, b""
        taken, rest = self._socket, self._buffer
        self._socket, self._buffer, self._last = None, b"", None
        return response, taken, rest

    def receive(self, limit: int = _RECEIVE_BYTES) -> bytes:
        """Up to `limit` bytes; empty at the end of the connection."""
        if self._buffer:
            data, self._buffer = self._buffer[:limit], self._buffer[limit:]
            return data
        return self._receive(min(limit, _RECEIVE_BYTES))

    def line(self) -> bytes:
        """One line, without its CRLF."""
        while b"\n" not in self._buffer:
            data = self._receive(_RECEIVE_BYTES)
            if not data:
                raise ConnectionLost(f"the node at {self.path} closed the connection: is it being stopped?")
            self._buffer += data
            if len(self._buffer) > HEAD_BYTES_MAX + _RECEIVE_BYTES:
                raise CliError(f"what answers at {self.path} is no EdgeKube node")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def _receive(self, limit: int) -> bytes:
        assert self._socket is not None
        try:
            return self._socket.recv(limit)
        except TimeoutError:
            raise self._late() from None
        except ConnectionResetError:
            return b""

    def _open(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(self.timeout)
        try:
            made.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            made.close()
            raise CliError(
                f"no node answers at {self.path}: start one with `sudo edgekube run` or `systemctl start edgekube` "
                "(or point --socket or EDGEKUBE_SOCKET at its socket)"
            ) from None
        except PermissionError:
            made.close()
            raise CliError(
                f"no permission for {self.path}: use sudo, or add yourself to the group edgekube "
                "(`sudo usermod -aG edgekube $USER`, then log in again)"
            ) from None
        except OSError as error:
            made.close()
            raise CliError(f"cannot reach the node at {self.path}: {error.strerror or error}") from None
        return made

    def _late(self) -> NoAnswer:
        self.close()
        return NoAnswer(f"the node at {self.path} did not answer within {self.timeout:g} s")
