"""The node's end of a helper process: start it, send it jobs, end it."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from subprocess import PIPE
from typing import Any

import trio

from edgekube.native.program import self_argv
from edgekube.runtime.api import ImageFailure

DEFAULT_ARGV = (*self_argv(), "_unpack")
REPLY_BYTES_MAX = 4 * 1024 * 1024
JOB_SECONDS_MAX = 3600.0
END_SECONDS_MAX = 10.0


class Helper:
    """One helper process; jobs run one after the other."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._lock = trio.Lock()
        self._buffer = b""

    async def run(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Run one job and return its answer.

        Raises ImageFailure for what the archive or layer does wrong, OSError for what the machine cannot do.
        """
        async with self._lock:
            with trio.move_on_after(JOB_SECONDS_MAX):
                return await self._run({"op": op, **arguments})
        self._process.kill()
        raise ImageFailure("ErrImagePull", f"unpacking took longer than {JOB_SECONDS_MAX:.0f} s and was stopped")

    async def _run(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(json.dumps(job).encode() + b"\n")
            reply = json.loads(await self._line())
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
            code = await self._process.wait()
            raise ImageFailure(
                "ErrImagePull", f"the unpack helper ended early with status {code}: see its log"
            ) from None
        if "fault" in reply:
            raise ImageFailure("ErrImagePull", f"failed to extract layer: {reply['fault']}")
        if "error" in reply:
            import errno

            raise OSError(getattr(errno, reply["errno"], errno.EIO), reply["error"])
        answer: dict[str, Any] = reply["ok"]
        return answer

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            piece = await self._process.stdout.receive_some()
            if not piece or len(self._buffer) > REPLY_BYTES_MAX:
                raise EOFError
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def close(self) -> None:
        """End of input is its sign to stop; a helper that does not is killed."""
        if self._process.stdin is not None:
            await self._process.stdin.aclose()
        with trio.move_on_after(END_SECONDS_MAX):
            await self._process.wait()


@asynccontextmanager
async def helper(
    argv: Sequence[str], data_dir: str, *, archive: str = "", exclusive: bool = False
) -> AsyncIterator[Helper]:
    """A helper process for the body; on an error or cancellation it is killed, and what it made is incomplete."""
    command = [*argv, "--data", data_dir]
    if archive:
        command += ["--archive", archive]
    if exclusive:
        command.append("--exclusive")
    process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE)
    try:
        child = Helper(process)
        yield child
        await child.close()
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await trio.aclose_forcefully(stream)
