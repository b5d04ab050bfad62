"""A container runtime in memory: the same protocol and the same refusals as the real one, with scripted endings.

Nothing runs. A container "runs" until its `Behaviour` says it ends, `finish` ends it, or it is stopped. Time is trio's
clock, so that tests with an autojump clock wait for nothing.
"""

from __future__ import annotations

import signal as signals
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import trio
from trio.testing import memory_stream_pair

from edgekube.runtime.api import (
    ContainerSpec,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    Credentials,
    ExecResult,
    Image,
    ImageConfig,
    ImageFailure,
    PullProgress,
    Resources,
    RuntimeFailure,
    Sandbox,
    SandboxSpec,
)

ExecHandler = Callable[[ContainerStatus, Sequence[str]], ExecResult]


@dataclass(frozen=True)
class Behaviour:
    """How containers of one name act. `exit_after` is in seconds of trio's clock after the start; None: never."""

    exit_after: float | None = None
    exit_code: int = 0
    reason: str = ""  # "" gives Completed or Error by the exit code
    message: str = ""
    ignores_stop: bool = False  # only SIGKILL ends it
    stop_after: float = 0.0  # seconds between the stop signal and the end
    stop_exit_code: int | None = None  # None: 128 + the signal


class Clock:
    """RFC 3339 dates that follow trio's clock from a fixed start, so that assertions can name them."""

    def __init__(self) -> None:
        self._origin = datetime(2026, 1, 1, tzinfo=UTC)
        self._start: float | None = None

    def now(self) -> str:
        try:
            current = trio.current_time()
        except RuntimeError:
            current = self._start or 0.0
        if self._start is None:
            self._start = current
        moment = self._origin + timedelta(seconds=current - self._start)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


@dataclass
class FakeImages:
    """`add` puts an image into the local store, `publish` into the pretended registry, `refuse` makes pulls fail."""

    pull_seconds: float = 0.0
    pulled: list[str] = field(default_factory=list)
    credentials_seen: list[tuple[Credentials, ...]] = field(default_factory=list)
    _local: dict[str, Image] = field(default_factory=dict)
    _remote: dict[str, Image] = field(default_factory=dict)
    _failures: dict[str, ImageFailure] = field(default_factory=dict)

    def _make(self, reference: str, config: ImageConfig | None, pinned: bool = False) -> Image:
        digest = "sha256:" + msgspec.json.encode(reference).hex()[:64].ljust(64, "0")
        return Image(
            id=digest,
            digest=digest,
            tags=(reference,),
            repo_digests=(f"{reference.rsplit(':', 1)[0]}@{digest}",),
            size_bytes=1_000_000,
            layers=(digest,),
            config=config or ImageConfig(cmd=("/bin/sh",)),
            pinned=pinned,
        )

    def add(self, reference: str, config: ImageConfig | None = None, *, pinned: bool = False) -> Image:
        image = self._make(reference, config, pinned)
        self._local[reference] = image
        return image

    def publish(self, reference: str, config: ImageConfig | None = None) -> Image:
        image = self._make(reference, config)
        self._remote[reference] = image
        return image

    def refuse(self, reference: str, failure: ImageFailure | None) -> None:
        """Every pull of `reference` raises `failure`; None lifts that."""
        if failure is None:
            self._failures.pop(reference, None)
        else:
            self._failures[reference] = failure

    def get(self, reference: str) -> Image | None:
        found = self._local.get(reference)
        if found is not None:
            return found
        for image in self._local.values():
            if reference in (image.id, image.digest) or reference in image.repo_digests:
                return image
        return None

    def list(self) -> Sequence[Image]:
        return tuple({image.id: image for image in self._local.values()}.values())

    async def pull(self, reference: str, credentials: Sequence[Credentials] = ()) -> Image:
        self.pulled.append(reference)
        self.credentials_seen.append(tuple(credentials))
        await trio.sleep(self.pull_seconds)
        if reference in self._failures:
            raise self._failures[reference]
        image = self._remote.get(reference) or self._local.get(reference)
        if image is None:
            raise ImageFailure("ErrImagePull", f'failed to pull image "{reference}": not found in the registry')
        self._local[reference] = image
        return image

    def progress(self) -> Sequence[PullProgress]:
        return ()

    async def import_archive(self, path: str, *, pin: bool = True) -> Sequence[Image]:
        await trio.lowlevel.checkpoint()
        return (self.add(path, pinned=pin),)

    async def remove(self, reference: str) -> None:
        await trio.lowlevel.checkpoint()
        image = self.get(reference)
        if image is not None:
            self._local = {tag: kept for tag, kept in self._local.items() if kept.id != image.id}

    async def collect(self, *, in_use: Sequence[str], keep_pinned: bool = True, older_than_seconds: float = 0) -> int:
        await trio.lowlevel.checkpoint()
        freed = 0
        for tag, image in list(self._local.items()):
            if image.id not in in_use and not (keep_pinned and image.pinned):
                del self._local[tag]
                freed += image.size_bytes
        return freed


class _Container:
    def __init__(self, status: ContainerStatus, behaviour: Behaviour) -> None:
        self.status = status
        self.behaviour = behaviour
        self.ended = trio.Event()
        self.deadline: trio.CancelScope | None = None


class FakeSession:
    """The caller's side of an exec or attach. The test holds the other ends in `remote_*`."""

    def __init__(self, *, stdin: bool, stdout: bool, stderr: bool) -> None:
        self.stdin: trio.abc.SendStream | None = None
        self.stdout: trio.abc.ReceiveStream | None = None
        self.stderr: trio.abc.ReceiveStream | None = None
        self.remote_stdin: trio.abc.ReceiveStream | None = None
        self.remote_stdout: trio.abc.SendStream | None = None
        self.remote_stderr: trio.abc.SendStream | None = None
        if stdin:
            self.stdin, self.remote_stdin = memory_stream_pair()
        if stdout:
            self.remote_stdout, self.stdout = memory_stream_pair()
        if stderr:
            self.remote_stderr, self.stderr = memory_stream_pair()
        self.sizes: list[tuple[int, int]] = []
        self._exit_code: int | None = None
        self._ended = trio.Event()

    async def resize(self, width: int, height: int) -> None:
        await trio.lowlevel.checkpoint()
        self.sizes.append((width, height))

    async def wait(self) -> int:
        await self._ended.wait()
        assert self._exit_code is not None
        return self._exit_code

    async def end(self, exit_code: int = 0) -> None:
        """The command ends: its output streams reach their end, `wait` returns."""
        for stream in (self.remote_stdout, self.remote_stderr):
            if stream is not None:
                await stream.aclose()
        self._exit_code = exit_code
        self._ended.set()


class FakeRuntime:
    """`edgekube.runtime.api.ContainerRuntime` in memory.

    - `behave(name, Behaviour(...))` scripts all later containers of that name.
    - `fail(method, failure, times=1)` makes the next calls of a method raise.
    - `finish(container_id, exit_code)` ends a running container.
    - `lose_sandbox(id)` makes a sandbox not ready (its pins or pause are gone).
    - `on_exec` answers exec_sync; `sessions` holds both sides of every interactive exec and attach.
    - `calls` is every mutating call as (method, id).
    Run `await nursery.start(runtime.run)` when containers should end by themselves (`exit_after`, `stop_after`).
    """

    def __init__(self) -> None:
        self.images = FakeImages()
        self.clock = Clock()
        self.calls: list[tuple[str, str]] = []
        self.on_exec: ExecHandler = lambda _status, _command: ExecResult(exit_code=0, stdout=b"", stderr=b"")
        self.exec_seconds = 0.0
        self.on_connect: Callable[[str, int], trio.abc.HalfCloseableStream] | None = None
        self.sessions: list[FakeSession] = []
        self.start_seconds = 0.0
        self._behaviours: dict[str, Behaviour] = {}
        self._failures: dict[str, deque[Exception]] = defaultdict(deque)
        self._sandboxes: dict[str, Sandbox] = {}
        self._containers: dict[str, _Container] = {}
        self._stats: dict[str, ContainerStats] = {}
        self._nursery: trio.Nursery | None = None
        self._next_pid = 1000

    # What a test scripts.

    def behave(self, name: str, behaviour: Behaviour) -> None:
        self._behaviours[name] = behaviour

    def fail(self, method: str, failure: Exception, times: int = 1) -> None:
        self._failures[method].extend([failure] * times)

    def finish(
        self, container_id: str, exit_code: int = 0, *, signal: int = 0, reason: str = "", message: str = ""
    ) -> None:
        container = self._containers[container_id]
        if container.status.state is ContainerState.EXITED:
            return
        container.status = msgspec.structs.replace(
            container.status,
            state=ContainerState.EXITED,
            finished_at=self.clock.now(),
            exit_code=exit_code,
            signal=signal,
            reason=reason or ("Completed" if exit_code == 0 else "Error"),
            message=message,
            pid=0,
        )
        container.ended.set()
        if container.deadline is not None:
            container.deadline.cancel()

    def lose_sandbox(self, sandbox_id: str) -> None:
        self._sandboxes[sandbox_id] = msgspec.structs.replace(self._sandboxes[sandbox_id], ready=False)

    def set_stats(self, key: str, stats: ContainerStats) -> None:
        """For a container or sandbox id."""
        self._stats[key] = stats

    def running(self, sandbox_id: str | None = None) -> list[str]:
        """Names of the containers that run, in start order."""
        return [s.spec.name for s in self.containers(sandbox_id) if s.state is ContainerState.RUNNING]

    def by_name(self, name: str, sandbox_id: str | None = None) -> ContainerStatus:
        """The latest container of that name."""
        return [s for s in self.containers(sandbox_id) if s.spec.name == name][-1]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the timers of `exit_after` until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # The protocol.

    def _enter(self, method: str, key: str) -> None:
        self.calls.append((method, key))
        if self._failures[method]:
            raise self._failures[method].popleft()

    def _get(self, container_id: str) -> _Container:
        found = self._containers.get(container_id)
        if found is None:
            raise RuntimeFailure("ContainerNotFound", f"container {container_id} does not exist")
        return found

    async def recover(self) -> None:
        self._enter("recover", "")
        await trio.lowlevel.checkpoint()

    def sandboxes(self) -> Sequence[Sandbox]:
        return tuple(self._sandboxes.values())

    def containers(self, sandbox_id: str | None = None) -> Sequence[ContainerStatus]:
        return tuple(
            c.status for c in self._containers.values() if sandbox_id is None or c.status.spec.sandbox_id == sandbox_id
        )

    def status(self, container_id: str) -> ContainerStatus | None:
        found = self._containers.get(container_id)
        return None if found is None else found.status

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        self._enter("create_sandbox", spec.id)
        await trio.lowlevel.checkpoint()
        if spec.id not in self._sandboxes:
            netns = "" if spec.network == "node" else f"/run/edgekube/ns/{spec.id}/net"
            self._sandboxes[spec.id] = Sandbox(spec=spec, created_at=self.clock.now(), netns_path=netns, ready=True)
        return self._sandboxes[spec.id]

    async def remove_sandbox(self, sandbox_id: str) -> None:
        self._enter("remove_sandbox", sandbox_id)
        await trio.lowlevel.checkpoint()
        for status in self.containers(sandbox_id):
            self.finish(status.spec.id, 137, signal=signals.SIGKILL)
            del self._containers[status.spec.id]
        self._sandboxes.pop(sandbox_id, None)

    async def start_container(self, spec: ContainerSpec) -> ContainerStatus:
        self._enter("start_container", spec.id)
        await trio.sleep(self.start_seconds)
        sandbox = self._sandboxes.get(spec.sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise RuntimeFailure("CreateContainerError", f"sandbox {spec.sandbox_id} does not exist or is not ready")
        if spec.id in self._containers:
            raise RuntimeFailure("CreateContainerError", f"container {spec.id} exists already")
        if not any(image.id == spec.image_id for image in self.images.list()):
            raise RuntimeFailure("CreateContainerError", f"image {spec.image_id} is not in the store")
        self._next_pid += 1
        now = self.clock.now()
        container = _Container(
            ContainerStatus(
                spec=spec, state=ContainerState.RUNNING, created_at=now, started_at=now, pid=self._next_pid
            ),
            self._behaviours.get(spec.name, Behaviour()),
        )
        self._containers[spec.id] = container
        after = container.behaviour.exit_after
        if after is not None:
            if self._nursery is None:
                raise AssertionError("exit_after needs `await nursery.start(runtime.run)`")
            self._nursery.start_soon(self._finish_later, container, after)
        return container.status

    async def _finish_later(self, container: _Container, seconds: float) -> None:
        with trio.CancelScope() as scope:
            container.deadline = scope
            await trio.sleep(seconds)
            behaviour = container.behaviour
            self.finish(
                container.status.spec.id, behaviour.exit_code, reason=behaviour.reason, message=behaviour.message
            )

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        self._enter("stop_container", container_id)
        await trio.lowlevel.checkpoint()
        container = self._get(container_id)
        if container.ended.is_set():
            return
        behaviour = container.behaviour
        number = int(signals.Signals[container.status.spec.stop_signal])
        if grace_seconds > 0:
            patience = grace_seconds if behaviour.ignores_stop else min(behaviour.stop_after, grace_seconds)
            with trio.move_on_after(patience):
                await container.ended.wait()
        if behaviour.ignores_stop or behaviour.stop_after > grace_seconds or grace_seconds <= 0:
            self.finish(container_id, 137, signal=signals.SIGKILL)
        else:
            code = behaviour.stop_exit_code
            self.finish(container_id, 128 + number if code is None else code, signal=number if code is None else 0)

    async def remove_container(self, container_id: str) -> None:
        self._enter("remove_container", container_id)
        await trio.lowlevel.checkpoint()
        container = self._containers.get(container_id)
        if container is None:
            return
        if not container.ended.is_set():
            raise RuntimeFailure("ContainerRunning", f"container {container_id} still runs: stop it first")
        del self._containers[container_id]

    async def wait_exit(self, container_id: str) -> ContainerStatus:
        container = self._get(container_id)
        await container.ended.wait()
        return container.status

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        self._enter("update_resources", container_id)
        await trio.lowlevel.checkpoint()
        container = self._get(container_id)
        spec = msgspec.structs.replace(container.status.spec, resources=resources)
        container.status = msgspec.structs.replace(container.status, spec=spec)

    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> None:
        self._enter("update_sandbox", sandbox_id)
        await trio.lowlevel.checkpoint()
        sandbox = self._sandboxes[sandbox_id]
        spec = msgspec.structs.replace(sandbox.spec, resources=resources)
        self._sandboxes[sandbox_id] = msgspec.structs.replace(sandbox, spec=spec)

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float) -> ExecResult:
        self._enter("exec_sync", container_id)
        container = self._get(container_id)
        with trio.move_on_after(timeout_seconds) as scope:
            await trio.sleep(self.exec_seconds)
        if scope.cancelled_caught:
            return ExecResult(exit_code=137, stdout=b"", stderr=b"", timed_out=True)
        return self.on_exec(container.status, command)

    @asynccontextmanager
    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
    ) -> AsyncIterator[FakeSession]:
        self._enter("exec", container_id)
        self._get(container_id)
        session = FakeSession(stdin=stdin, stdout=stdout, stderr=stderr and not tty)
        self.sessions.append(session)
        await trio.lowlevel.checkpoint()
        yield session

    @asynccontextmanager
    async def attach(self, container_id: str, *, stdin: bool) -> AsyncIterator[FakeSession]:
        self._enter("attach", container_id)
        spec = self._get(container_id).status.spec
        session = FakeSession(stdin=stdin and spec.stdin, stdout=True, stderr=not spec.tty)
        self.sessions.append(session)
        await trio.lowlevel.checkpoint()
        yield session

    async def connect(self, sandbox_id: str, port: int) -> trio.abc.HalfCloseableStream:
        self._enter("connect", sandbox_id)
        await trio.lowlevel.checkpoint()
        if self.on_connect is None:
            raise ConnectionRefusedError(f"nothing listens on port {port} of sandbox {sandbox_id}")
        return self.on_connect(sandbox_id, port)

    async def reopen_log(self, container_id: str) -> None:
        self._enter("reopen_log", container_id)
        await trio.lowlevel.checkpoint()

    def stats(self, container_id: str) -> ContainerStats | None:
        return self._stats.get(container_id)

    def sandbox_stats(self, sandbox_id: str) -> ContainerStats | None:
        return self._stats.get(sandbox_id)

    def info(self) -> Mapping[str, Any]:
        return {
            "name": "edgekube",
            "version": "0.1.0",
            "runc": "fake",
            "kernel": "6.1.0",
            "os_image": "Debian GNU/Linux 12 (bookworm)",
            "architecture": "amd64",
            "cgroup": 2,
        }
