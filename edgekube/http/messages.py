"""What HTTP/1.1 passes around: headers, peers, responses and the errors that become responses."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
import trio

Headers = list[tuple[str, str]]  # names in lower case, in the order received, repeated names kept apart


class HttpError(Exception):
    """The request cannot be served; `status` and the message say why. The connection closes after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ConnectionLost(Exception):
    """The peer went away, or sent what is not HTTP, in the middle of an exchange."""


def header(headers: Iterable[tuple[str, str]], name: str) -> str:
    """The first value of `name` (lower case), or "" when absent."""
    for key, value in headers:
        if key == name:
            return value
    return ""


def header_all(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in headers if key == name]


def header_tokens(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    """The comma-separated list elements of every `name` header, stripped, in order (RFC 9110 section 5.6.1)."""
    return [token for value in header_all(headers, name) for part in value.split(",") if (token := part.strip())]


class UnixCredentials(msgspec.Struct, frozen=True, gc=False):
    """Who connected to a unix socket, as the kernel knew it at connect (SO_PEERCRED, SO_PEERGROUPS)."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]


class Peer(msgspec.Struct, frozen=True):
    """The other end of a connection. Exactly one of `unix` and `address` is set.

    `certificate` is `SSLSocket.getpeercert()` of a verified chain; its dates are for the caller to check.
    """

    address: str = ""
    unix: UnixCredentials | None = None
    certificate: Mapping[str, Any] | None = None
    tls: bool = False

    @property
    def is_local(self) -> bool:
        return self.unix is not None or self.address.startswith("127.") or self.address == "::1"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is complete, or a stream of chunks, which the server closes (`aclose`) however the exchange ends.

    A stream is written while the server watches the connection: the request's own body must have been read by then.

    Big complete bodies are compressed for clients that accept it; streams only with `compress_stream` (never events,
    which must not wait in a compressor).
    """

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | AsyncIterator[bytes] = b""
    compress_stream: bool = False


class Sender(Protocol):
    """How a PushResponse writes: `start` once, then `send`. An exception before `start` becomes an error response."""

    async def start(self, status: int, headers: Sequence[tuple[str, str]]) -> None: ...

    async def send(self, chunk: bytes) -> None: ...


class PushResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The handler writes the answer itself, for sources that hold a nursery or cancel scope while they flow.

    An async generator cannot do that: its scopes would outlive the server's. `run` is cancelled when the client leaves
    or the server shuts down.
    """

    run: Callable[[Sender], Awaitable[None]]


class UpgradeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """101: after the head is sent, `run` owns the raw byte stream until it returns; then the connection closes."""

    headers: Sequence[tuple[str, str]]
    run: Callable[[trio.abc.Stream], Awaitable[None]]


_PHRASES = {int(status): status.phrase for status in HTTPStatus}


def reason_phrase(status: int) -> str:
    return _PHRASES.get(status, "Unknown")
