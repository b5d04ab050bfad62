"""exec and attach (Kubernetes' remotecommand): what the WebSocket and the SPDY form of a session share."""

from typing import Any

import msgspec
import trio

from edgekube.client.api import ExitStatus, NodeApi, TerminalSize
from edgekube.types.unreadable import UNREADABLE


class RemoteCommand(msgspec.Struct, frozen=True, kw_only=True):
    """What to run where; no `command` means attach."""

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...] | None
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    async def run(self, node: NodeApi, streams: "CommandStreams") -> ExitStatus:
        if self.command is None:
            await node.attach(self.namespace, self.pod, self.container, tty=self.tty, streams=streams)
            return ExitStatus(0)
        return await node.exec(self.namespace, self.pod, self.container, self.command, tty=self.tty, streams=streams)


class CommandStreams(msgspec.Struct):
    """The caller's side, as NodeApi wants it (`Streams`)."""

    stdin: Any
    stdout: Any
    stderr: Any
    resizes: trio.MemoryReceiveChannel[TerminalSize] | None


class ChunkReceiver(trio.abc.ReceiveStream):
    """A stream of what arrives on a memory channel; its end is the channel's."""

    def __init__(self, chunks: trio.MemoryReceiveChannel[bytes]) -> None:
        self._chunks = chunks
        self._pending = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not self._pending:
            try:
                self._pending = await self._chunks.receive()
            except trio.EndOfChannel:
                return b""
        size = len(self._pending) if max_bytes is None else max_bytes
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    async def aclose(self) -> None:
        self._chunks.close()
        await trio.lowlevel.checkpoint()


def terminal_size(data: bytes) -> TerminalSize | None:
    """`{"Width": w, "Height": h}`, or None for anything else."""
    try:
        value = msgspec.json.decode(data)
        width, height = value["Width"], value["Height"]
    except (*UNREADABLE, KeyError, TypeError):
        return None
    if not (isinstance(width, int) and isinstance(height, int) and 0 < width < 1 << 16 and 0 < height < 1 << 16):
        return None
    return TerminalSize(width, height)


def outcome_of(exit_status: ExitStatus) -> dict[str, Any]:
    """The Status that ends a session, in the words clients take the exit code from."""
    if exit_status.message:
        return {
            "metadata": {},
            "status": "Failure",
            "message": exit_status.message,
            "reason": "InternalError",
            "code": 500,
        }
    if exit_status.code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {exit_status.code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_status.code)}]},
    }
