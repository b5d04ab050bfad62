"""exec and attach over SPDY/3.1, for clients from before WebSockets and for kubectl's fallback.

The client opens one stream for each of error, stdin, stdout, stderr and resize, told apart by their `streamtype`
header; protocol v4.channel.k8s.io: how the command ended comes as a Status on the error stream.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from edgekube.apiserver.remotecommand import CommandStreams, RemoteCommand, outcome_of, terminal_size
from edgekube.client.api import NodeApi, TerminalSize
from edgekube.http.messages import HttpError, UpgradeResponse, header_tokens
from edgekube.http.server import Request
from edgekube.http.spdy import SpdyError
from edgekube.http.spdy_session import SpdySession, SpdyStream
from edgekube.types.status import ApiError

PROTOCOL: Final = "v4.channel.k8s.io"
PROTOCOL_HEADER: Final = "x-stream-protocol-version"
_STREAMS_SECONDS_MAX: Final = 30.0  # kubelet's --stream-creation-timeout
_RESIZES_MAX: Final = 8
_RESIZE_BYTES_MAX: Final = 4096

_log = logging.getLogger(__name__)


def upgrade_headers(request: Request, protocol: str) -> list[tuple[str, str]]:
    """The 101 answer for `protocol`. Raises HttpError 403 when the client does not offer it (as Kubernetes does)."""
    offered = header_tokens(request.headers, PROTOCOL_HEADER)
    if protocol not in offered:
        raise HttpError(403, f"unable to upgrade: unable to negotiate protocol: client supports {offered}")
    return [("Upgrade", "SPDY/3.1"), ("Connection", "Upgrade"), ("X-Stream-Protocol-Version", protocol)]


def serve_spdy(request: Request, node: NodeApi, command: RemoteCommand) -> UpgradeResponse:
    headers = upgrade_headers(request, PROTOCOL)

    async def run(stream: trio.abc.Stream) -> None:
        await _converse(stream, node, command)

    return UpgradeResponse(headers=headers, run=run)


async def _converse(stream: trio.abc.Stream, node: NodeApi, command: RemoteCommand) -> None:
    wanted = {"error"} | {name for name in ("stdin", "stdout", "stderr") if getattr(command, name)}
    if command.tty:
        wanted.add("resize")
    opened: dict[str, SpdyStream] = {}
    complete = trio.Event()

    def on_stream(new: SpdyStream) -> None:
        opened.setdefault(new.header("streamtype"), new)
        if wanted <= opened.keys():
            complete.set()

    session = SpdySession(stream, on_stream=on_stream)
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            try:
                await session.run()
            except SpdyError as error:
                _log.warning("spdy session lost pod=%s/%s reason=%s", command.namespace, command.pod, error)
            nursery.cancel_scope.cancel()

        nursery.start_soon(read)
        with trio.move_on_after(_STREAMS_SECONDS_MAX):
            await complete.wait()
        if complete.is_set():
            try:
                await _run(node, command, opened)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        nursery.cancel_scope.cancel()


async def _run(node: NodeApi, command: RemoteCommand, opened: dict[str, SpdyStream]) -> None:
    outcome: dict[str, Any] | None = None
    async with _resizes(opened.get("resize")) as resizes:
        streams = CommandStreams(
            stdin=opened.get("stdin"), stdout=opened.get("stdout"), stderr=opened.get("stderr"), resizes=resizes
        )
        try:
            outcome = outcome_of(await command.run(node, streams))
        except ApiError as error:
            outcome = msgspec.to_builtins(error.status)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    if outcome is not None:
        await opened["error"].send_all(msgspec.json.encode(outcome))
    for name in ("stdout", "stderr", "error", "stdin", "resize"):
        if name in opened:
            await opened[name].aclose()


@asynccontextmanager
async def _resizes(stream: SpdyStream | None) -> AsyncIterator[trio.MemoryReceiveChannel[TerminalSize] | None]:
    """Terminal sizes from a stream of JSON values."""
    if stream is None:
        yield None
        return
    send, receive = trio.open_memory_channel[TerminalSize](_RESIZES_MAX)

    async def read() -> None:
        text = b""
        with send:
            try:
                while data := await stream.receive_some():
                    text += data
                    while b"}" in text:
                        value, _, text = text.partition(b"}")
                        size = terminal_size(value.strip() + b"}")
                        if size is not None:
                            await send.send(size)
                    if len(text) > _RESIZE_BYTES_MAX:
                        return
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        yield receive
        nursery.cancel_scope.cancel()
