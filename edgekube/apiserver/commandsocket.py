"""exec and attach over a WebSocket: five channels, the first byte of each message naming one.

Messages may be binary or text: the official Python client sends what it is given as `str` as text.

Subprotocols v5.channel.k8s.io (KEP-4006; ends stdin by a signal of its own) and v4.channel.k8s.io. How the command
ended comes last, as a Status on the error channel.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import trio

from edgekube.apiserver.remotecommand import ChunkReceiver, CommandStreams, RemoteCommand, outcome_of, terminal_size
from edgekube.client.api import ExitStatus, NodeApi, TerminalSize
from edgekube.http.messages import UpgradeResponse
from edgekube.http.server import Request
from edgekube.http.websocket import (
    INTERNAL_ERROR,
    NORMAL,
    PROTOCOL_ERROR,
    WebSocket,
    WebSocketClosed,
    accept_headers,
)
from edgekube.types.status import ApiError

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
ERROR: Final = 3
RESIZE: Final = 4
CLOSE: Final = 255  # v5: the next byte names the channel that ends
_STDIN_CHUNKS_MAX: Final = 8
_RESIZES_MAX: Final = 8


class ChannelSender(trio.abc.SendStream):
    """What is sent goes out with the number of its channel before it."""

    def __init__(self, socket: WebSocket, channel: int) -> None:
        self._socket = socket
        self._prefix = bytes([channel])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._socket.send(self._prefix + bytes(data))
        except WebSocketClosed as error:
            raise trio.BrokenResourceError("the client is gone") from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def serve_socket(request: Request, node: NodeApi, command: RemoteCommand) -> UpgradeResponse:
    """Upgrade and run. Raises HttpError for a bad handshake."""
    protocol, headers = accept_headers(request.headers, PROTOCOLS)

    async def run(stream: trio.abc.Stream) -> None:
        await _converse(WebSocket(stream), protocol, command, lambda streams: command.run(node, streams))

    return UpgradeResponse(headers=headers, run=run)


async def _converse(
    socket: WebSocket, protocol: str, command: RemoteCommand, run: Callable[[CommandStreams], Awaitable[ExitStatus]]
) -> None:
    stdin_send, stdin_receive = trio.open_memory_channel[bytes](_STDIN_CHUNKS_MAX)
    resize_send, resize_receive = trio.open_memory_channel[TerminalSize](_RESIZES_MAX)
    streams = CommandStreams(
        stdin=ChunkReceiver(stdin_receive) if command.stdin else None,
        stdout=ChannelSender(socket, STDOUT) if command.stdout else None,
        stderr=ChannelSender(socket, STDERR) if command.stderr else None,
        resizes=resize_receive if command.tty else None,
    )
    outcome: dict[str, Any] | None = None
    broken = 0
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            nonlocal broken
            with stdin_send, resize_send:
                try:
                    broken = await _read(socket, command, stdin_send, resize_send)
                except WebSocketClosed:
                    pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(read)
        try:
            # Tells clients that wait for a first message that the connection stands.
            await socket.send(bytes([STDOUT if command.stdout else STDERR if command.stderr else ERROR]))
            outcome = outcome_of(await run(streams))
        except ApiError as error:
            outcome = msgspec.to_builtins(error.status)
        except (WebSocketClosed, trio.BrokenResourceError):
            pass
        if outcome is not None:
            try:
                await socket.send(bytes([ERROR]) + msgspec.json.encode(outcome))
            except WebSocketClosed:
                pass
        nursery.cancel_scope.cancel()
    await socket.close(broken or (NORMAL if outcome is not None else INTERNAL_ERROR))


async def _read(
    socket: WebSocket,
    command: RemoteCommand,
    stdin: trio.MemorySendChannel[bytes],
    resizes: trio.MemorySendChannel[TerminalSize],
) -> int:
    """Take messages apart until the peer closes (WebSocketClosed) or breaks the protocol (a close code)."""
    while True:
        message = await socket.receive()
        if isinstance(message, str):
            message = message.encode()
        if not message:
            return PROTOCOL_ERROR
        channel, data = message[0], message[1:]
        try:
            if channel == STDIN and command.stdin:
                if data:
                    await stdin.send(data)
            elif channel == RESIZE and command.tty:
                size = terminal_size(data)
                if size is not None:
                    resizes.send_nowait(size)
            elif channel == CLOSE and data == bytes([STDIN]):
                stdin.close()
        except trio.WouldBlock:
            pass  # the node is behind; a later size follows
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the command does not read any more
