"""Exec and attach: sessions with a process under a shim."""

import contextlib
import math
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from edgekube.runtime import container as containers_on_disk
from edgekube.runtime import shimlink
from edgekube.runtime.api import ContainerState, ExecResult, ExecSession, RuntimeFailure
from edgekube.runtime.container import ANSWER_SECONDS, Container
from edgekube.runtime.launcher import Launcher
from edgekube.runtime.layout import write_whole
from edgekube.runtime.session import Session
from edgekube.runtime.shimlink import ShimLink
from edgekube.runtime.spec import exec_process

EXEC_OUTPUT_BYTES_MAX = 256 * 1024
EXECS_STARTING_MAX = 4


class Streams:
    """`start_soon` runs a task that outlives the call, and raises RuntimeFailure when nobody is there to own it."""

    def __init__(self, launcher: Launcher, start_soon: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self._launcher = launcher
        self._start_soon = start_soon
        self._exec_starts = trio.CapacityLimiter(EXECS_STARTING_MAX)
        self._exec_number = 0

    async def exec_sync(self, container: Container, command: Sequence[str], *, timeout_seconds: float) -> ExecResult:
        """Output beyond EXEC_OUTPUT_BYTES_MAX of each stream is dropped. Raises RuntimeFailure(ExecFailed) when the
        command could not be started."""
        parts: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}

        async def collect(stream: trio.abc.ReceiveStream | None, into: bytearray) -> None:
            assert stream is not None
            async for piece in stream:
                into += piece[: EXEC_OUTPUT_BYTES_MAX - len(into)]

        exit_code: int | None = None
        failure: RuntimeFailure | None = None
        with trio.move_on_after(timeout_seconds if timeout_seconds > 0 else math.inf):
            async with (
                self.exec(container, command, tty=False, stdin=False) as session,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(collect, session.stdout, parts["out"])
                nursery.start_soon(collect, session.stderr, parts["err"])
                try:
                    exit_code = await session.wait()
                except RuntimeFailure as error:
                    failure = error
        if failure is not None:
            raise failure
        return ExecResult(
            exit_code=signal.SIGKILL + 128 if exit_code is None else exit_code,
            stdout=bytes(parts["out"]),
            stderr=bytes(parts["err"]),
            timed_out=exit_code is None,
        )

    @asynccontextmanager
    async def exec(
        self,
        container: Container,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
    ) -> AsyncIterator[ExecSession]:
        """Leaving the context kills what still runs. Raises RuntimeFailure(ExecFailed) with runc's words."""
        if container.status.state is not ContainerState.RUNNING:
            raise RuntimeFailure("ExecFailed", f"container {container.id} does not run")
        process = exec_process(
            containers_on_disk.load_config(self._launcher.paths, container.id)["process"], command, tty=tty
        )
        self._exec_number += 1
        folder = f"{self._launcher.paths.container(container.id)}/exec/{os.getpid()}.{self._exec_number}"
        flags = (shimlink.GIVE_STDIN if stdin else 0) | (shimlink.WANT_STDOUT if stdout else 0)
        flags |= shimlink.WANT_STDERR if stderr and not tty else 0
        arguments = ["--dir", folder, "--exec", "process.json", "--stdin-once"]
        arguments += ["--tty"] if tty else []
        arguments += ["--stdin"] if stdin else []
        control: ShimLink | None = None
        streams: ShimLink | None = None
        try:
            os.makedirs(folder, mode=0o700)
            write_whole(f"{folder}/process.json", msgspec.json.encode(process))
            async with self._exec_starts:
                control, streams = await self._launcher.spawn(container.id, arguments, [shimlink.WANT_EXIT, flags])
                await self._await_exec(folder, control)
            async with self._session(streams, control, flags) as session:
                yield session
        finally:
            for link in (control, streams):
                if link is not None:
                    link.close()  # which the shim takes as the end of its exec
            shutil.rmtree(folder, ignore_errors=True)

    @asynccontextmanager
    async def _session(self, link: ShimLink, control: ShimLink, flags: int) -> AsyncIterator[Session]:
        """The pump is the runtime's own task: what the caller raises inside reaches it as it is, in no group."""
        session = Session(link, control, flags)
        try:
            self._start_soon(session.pump)
        except BaseException:
            link.close()
            raise
        try:
            yield session
        finally:
            session.close()

    @staticmethod
    async def _await_exec(folder: str, control: ShimLink) -> None:
        while frames := await control.receive():
            for frame in frames:
                if frame.kind == shimlink.STARTED:
                    return
                if frame.kind == shimlink.FAILED:
                    words = containers_on_disk.runc_words(folder) or frame.payload.decode(errors="replace")
                    raise RuntimeFailure("ExecFailed", f"OCI runtime exec failed: {words}: unknown")
        raise RuntimeFailure("ExecFailed", "the exec's shim died")

    @asynccontextmanager
    async def attach(self, container: Container, *, stdin: bool) -> AsyncIterator[ExecSession]:
        spec = container.record.spec
        flags = shimlink.WANT_STDOUT | (0 if spec.tty else shimlink.WANT_STDERR)
        flags |= shimlink.GIVE_STDIN if stdin and spec.stdin else 0
        if container.link is None:
            raise RuntimeFailure("ContainerNotRunning", f"container {container.id} does not run")
        try:
            link = await shimlink.connect(self._launcher.paths.container(container.id))
        except OSError as error:
            raise RuntimeFailure("ContainerNotRunning", f"container {container.id} does not run") from error
        try:
            await self._greet(link, flags)
        except BaseException:
            link.close()
            raise
        async with self._session(link, container.link, flags) as session:
            yield session

    @staticmethod
    async def _greet(link: ShimLink, flags: int) -> None:
        """Raises RuntimeFailure(AttachFailed) when the shim refuses us."""
        with contextlib.suppress(trio.BrokenResourceError):  # refused already: its words are still to be read
            await link.send(shimlink.encode_hello(flags))
        with trio.move_on_after(ANSWER_SECONDS):
            frames = await link.receive()
            if frames and frames[0].kind == shimlink.HELLO:
                link.unread(frames[1:])
                return
            words = frames[0].payload.decode(errors="replace") if frames else "it is ending"
            raise RuntimeFailure("AttachFailed", f"the container's shim refused: {words}")
        raise RuntimeFailure("AttachFailed", "the container's shim does not answer")
