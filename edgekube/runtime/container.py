"""One container: its record on disk, its status, and the connection to its shim."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import trio

from edgekube.runtime import shimlink
from edgekube.runtime.api import ContainerSpec, ContainerState, ContainerStatus, NamespaceMode, RuntimeFailure
from edgekube.runtime.layout import Paths, read_if_there, write_whole
from edgekube.runtime.shimlink import ShimLink, ShimState
from edgekube.types.unreadable import UNREADABLE

ANSWER_SECONDS = 10.0
EXIT_CODE_UNKNOWN = 137  # what containerd and the kubelet report for a container whose end nobody saw


class ContainerRecord(msgspec.Struct, frozen=True):
    """record.json: enough to adopt the container, or to clear away every part of it."""

    spec: ContainerSpec
    created_at: str
    cgroup: str
    pid: NamespaceMode


class Container:
    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.status = ContainerStatus(spec=record.spec, state=ContainerState.CREATED, created_at=record.created_at)
        self.ended = trio.Event()
        self.link: ShimLink | None = None
        self.removing = False
        self._request_lock = trio.Lock()
        self._answers_in, self._answers_out = trio.open_memory_channel[int](1)

    @property
    def id(self) -> str:
        return self.record.spec.id

    @property
    def cgroup(self) -> str:
        return self.record.cgroup

    def set_running(self, state: ShimState) -> None:
        self.status = msgspec.structs.replace(
            self.status,
            state=ContainerState.RUNNING,
            started_at=state.started_at,
            pid=state.pid,
        )

    def set_exited(self, state: ShimState) -> None:
        """The reason is OOMKilled when the kernel killed anything in it for memory and it did not end well."""
        failed = "OOMKilled" if state.oom_kills else "Error"
        self.status = msgspec.structs.replace(
            self.status,
            state=ContainerState.EXITED,
            started_at=state.started_at,
            finished_at=state.finished_at,
            exit_code=state.exit_code,
            signal=state.signal,
            reason=failed if state.exit_code else "Completed",
            pid=0,
        )
        self._end()

    def set_lost(self, finished_at: str, started_at: str = "") -> None:
        self.status = msgspec.structs.replace(
            self.status,
            state=ContainerState.EXITED,
            started_at=started_at or self.status.started_at,
            finished_at=finished_at,
            exit_code=EXIT_CODE_UNKNOWN,
            reason="ContainerStatusUnknown",
            message="The container could not be located when its shim ended",
            pid=0,
        )
        self._end()

    def _end(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None
        self.ended.set()

    async def follow(self, link: ShimLink) -> bool:
        """Reads the shim until the container's end; False when the shim went without telling of one."""
        while frames := await link.receive():
            for frame in frames:
                if frame.kind == shimlink.ANSWER:
                    with contextlib.suppress(trio.WouldBlock):
                        self._answers_in.send_nowait(int.from_bytes(frame.payload, "little"))
                elif frame.kind in (shimlink.STARTED, shimlink.HELLO):
                    state = shimlink.decode_state(frame.payload)
                    if state.exited:
                        self.set_exited(state)
                        return True
                    if state.started_at:
                        self.set_running(state)
                elif frame.kind == shimlink.EXIT:
                    self.set_exited(shimlink.decode_state(frame.payload))
                    return True
                elif frame.kind in (shimlink.FAILED, shimlink.ERROR):
                    return False
        return False

    async def request(self, data: bytes) -> int:
        """Sends a request and waits for its errno. Raises RuntimeFailure when the container is not there (any more)."""
        async with self._request_lock:
            if self.link is None:
                raise RuntimeFailure("ContainerNotRunning", f"container {self.id} does not run")
            with contextlib.suppress(trio.WouldBlock):
                self._answers_out.receive_nowait()  # of a request that was given up
            with trio.move_on_after(ANSWER_SECONDS):
                try:
                    await self.link.send(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise RuntimeFailure("ContainerNotRunning", f"container {self.id} does not run") from error
                async with trio.open_nursery() as nursery:
                    result: list[int] = []

                    async def ended() -> None:
                        await self.ended.wait()
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(ended)
                    result.append(await self._answers_out.receive())
                    nursery.cancel_scope.cancel()
                if result:
                    return result[0]
                raise RuntimeFailure("ContainerNotRunning", f"container {self.id} does not run")
        raise RuntimeFailure("ContainerUnresponsive", f"the shim of container {self.id} does not answer")


def save_record(paths: Paths, record: ContainerRecord) -> None:
    write_whole(f"{paths.container(record.spec.id)}/record.json", msgspec.json.encode(record))


def load_record(paths: Paths, container_id: str) -> ContainerRecord | None:
    data = read_if_there(f"{paths.container(container_id)}/record.json", 8 << 20)
    try:
        return msgspec.json.decode(data or b"", type=ContainerRecord)
    except UNREADABLE:
        return None


def load_state(paths: Paths, container_id: str, name: str) -> ShimState | None:
    """state.json or exit.json."""
    data = read_if_there(f"{paths.container(container_id)}/{name}")
    try:
        return None if data is None else shimlink.decode_state(data)
    except shimlink.ProtocolError:
        return None


def load_config(paths: Paths, container_id: str) -> Any:
    data = read_if_there(f"{paths.container(container_id)}/config.json", 8 << 20)
    if data is None:
        raise RuntimeFailure("ContainerNotRunning", f"the bundle of container {container_id} is gone")
    return msgspec.json.decode(data)


def runc_words(folder: str) -> str:
    """The last error of runc's JSON log, without its time stamps."""
    data = read_if_there(f"{folder}/runc.log") or b""
    for line in reversed(data.splitlines()):
        try:
            entry = msgspec.json.decode(line)
        except UNREADABLE:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal") and entry.get("msg"):
            return str(entry["msg"])[:4096]
    return ""


def process_start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat, in clock ticks since boot; 0 when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])


def kill_process(pid: int, start_time: int) -> None:
    """SIGKILL to exactly that process: a pid that was given to another since is left alone (pidfd_open(2))."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if process_start_time(pid) == start_time:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)
