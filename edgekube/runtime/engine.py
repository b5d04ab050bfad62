"""The container runtime of a node: `ContainerRuntime` by runc under our shim.

One `Engine` owns a run folder and a data folder. `run` owns its tasks (one a running container, which waits for its
shim); `recover` finds what an earlier process left. What each part does is in its own file: sandbox, container, spec,
overlay, cgroups, session, recovery.
"""

import contextlib
import math
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import trio

from edgekube.native.namespaces import socket_in_netns
from edgekube.native.processes import PAUSE_PATH, SHIM_PATH, spawn_detached
from edgekube.runtime import container as containers_on_disk
from edgekube.runtime import machine as machine_facts
from edgekube.runtime import overlay, sandbox, seccomp, shimlink
from edgekube.runtime.api import (
    ContainerSpec,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    ExecResult,
    ExecSession,
    ImageService,
    NamespaceMode,
    Resources,
    RuntimeFailure,
    Sandbox,
    SandboxSpec,
)
from edgekube.runtime.cgroups import Cgroups
from edgekube.runtime.container import Container, ContainerRecord
from edgekube.runtime.layout import Paths, check_id, write_whole
from edgekube.runtime.recovery import recover
from edgekube.runtime.sandbox import SandboxRecord
from edgekube.runtime.session import open_session
from edgekube.runtime.shimlink import ShimLink
from edgekube.runtime.spec import Surroundings, build, exec_process, parse_signal, update_document
from edgekube.runtime.users import read_user_files, resolve

START_SECONDS_MAX = 120.0
CLEAN_SECONDS_MAX = 60.0
KILL_SECONDS_MAX = 10.0
CONNECT_SECONDS_MAX = 10.0
EXEC_OUTPUT_BYTES_MAX = 256 * 1024
EXECS_STARTING_MAX = 4
SMALL_TREE_ENTRIES = 256
PAUSE_SUFFIX = ".pause"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class LocalImages(ImageService, Protocol):
    """The image service beside us: it also knows where a layer lies."""

    def layer_paths(self, image_id: str) -> Sequence[str]:
        """Folders of an image's layers, bottom first. Raises RuntimeFailure when it is not here."""
        ...


def now() -> str:
    """RFC 3339, as the shim writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class _Pod:
    def __init__(self, record: SandboxRecord, *, ready: bool) -> None:
        self.record = record
        self.ready = ready
        self.pause: Container | None = None


class Engine:
    """`cgroup_root` is the group that everything of this node lies below; two nodes on one machine need two."""

    def __init__(
        self,
        images: LocalImages,
        *,
        run_dir: str,
        data_dir: str,
        cgroup_root: str = "edgekube",
        runc: str | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        found = runc or shutil.which("runc") or shutil.which("crun")
        if found is None:
            raise RuntimeFailure("RuntimeNotReady", "neither runc nor crun is installed: `apt install runc`")
        self.runc = found
        self.paths = Paths(run_dir, data_dir)
        self.cgroups = cgroups or Cgroups()
        self.cgroup_root = cgroup_root.strip("/")
        self._images = images
        self._machine = machine_facts.read_machine(self.cgroups)
        self._pods: dict[str, _Pod] = {}
        self._containers: dict[str, Container] = {}
        self._starting: set[str] = set()
        self._starts = trio.CapacityLimiter(2 * (os.cpu_count() or 1))
        self._exec_starts = trio.CapacityLimiter(EXECS_STARTING_MAX)
        self._exec_number = 0
        self._nursery: trio.Nursery | None = None
        self._info: dict[str, Any] = {"name": "edgekube", "runc": "unknown"}

    @property
    def images(self) -> LocalImages:
        return self._images

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the tasks that follow shims. Cancel it to let go of the containers: they run on."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def open(self) -> None:
        """Folders, our tmpfs, what the machine can do."""
        self.paths.make()
        sandbox.mount_private_tmpfs(self.paths.mounts)
        self.cgroups.ensure(self.shim_cgroup)
        version = await trio.run_process([self.runc, "--version"], capture_stdout=True, check=False)
        self._info |= machine_facts.describe(version.stdout.decode(errors="replace"), self.cgroups)

    @property
    def shim_cgroup(self) -> str:
        """Shims live beside the pods, not in them: neither a pod's limits nor the service's end concern them."""
        return f"{self.cgroup_root}/shims"

    # -- sandboxes ---------------------------------------------------------------------------------------------------

    def sandboxes(self) -> Sequence[Sandbox]:
        return tuple(sandbox.as_sandbox(self.paths, pod.record, ready=pod.ready) for pod in self._pods.values())

    def _pod(self, sandbox_id: str) -> _Pod:
        pod = self._pods.get(sandbox_id)
        if pod is None:
            raise RuntimeFailure("SandboxNotFound", f"sandbox {sandbox_id} does not exist")
        return pod

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Raises RuntimeFailure(CreatePodSandboxError). Existing and ready: that one."""
        check_id(spec.id)
        existing = self._pods.get(spec.id)
        if existing is not None and existing.ready:
            return sandbox.as_sandbox(self.paths, existing.record, ready=True)
        if existing is not None:
            await self.remove_sandbox(spec.id)
        record = SandboxRecord(spec=spec, created_at=now())
        sandbox.save(self.paths, record)
        pod = _Pod(record, ready=True)
        self._pods[spec.id] = pod
        try:
            try:
                self.cgroups.ensure(self._pod_cgroup(spec), spec.resources)
            except (OSError, ValueError) as error:
                raise RuntimeFailure("CreatePodSandboxError", f"cgroup of {spec.name}: {error}") from error
            sandbox.create(self.paths, spec)
            if spec.pid is NamespaceMode.POD:
                pod.pause = await self._start_pause(pod)
        except BaseException:
            with trio.move_on_after(CLEAN_SECONDS_MAX, shield=True):
                await self.remove_sandbox(spec.id)
            raise
        await trio.lowlevel.checkpoint()
        return sandbox.as_sandbox(self.paths, record, ready=True)

    def _pod_cgroup(self, spec: SandboxSpec) -> str:
        return spec.cgroup_parent.strip("/") or f"{self.cgroup_root}/{spec.id}"

    async def _start_pause(self, pod: _Pod) -> Container:
        """Pid 1 of a shared process namespace."""
        root = f"{self.paths.run}/pause"
        if not os.path.exists(f"{root}/pause"):
            os.makedirs(root, exist_ok=True)
            shutil.copy(PAUSE_PATH, f"{root}/pause.new")
            os.replace(f"{root}/pause.new", f"{root}/pause")
        spec = ContainerSpec(
            id=pod.record.spec.id + PAUSE_SUFFIX,
            name="pause",
            sandbox_id=pod.record.spec.id,
            attempt=0,
            image_id="",
            args=("/pause",),
            env=(),
            log_path="/dev/null",
            log_size_bytes_max=0,
            oom_score_adj=-998,
        )
        return await self._start(spec, pod, root=root)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        pod = self._pods.get(sandbox_id)
        if pod is None:
            return
        pod.ready = False
        mine = [each for each in self._containers.values() if each.record.spec.sandbox_id == sandbox_id]
        mine.sort(key=lambda each: each is pod.pause)
        for each in mine:
            if not each.ended.is_set():
                await self._kill(each)
            await self._remove(each)
        sandbox.remove(self.paths, sandbox_id)
        await self._empty_cgroup(self._pod_cgroup(pod.record.spec))
        sandbox.forget(self.paths, sandbox_id)
        del self._pods[sandbox_id]

    async def _empty_cgroup(self, path: str) -> None:
        """Kills and removes until nothing is left. The kernel gives no event for this on version 1."""
        pause = 0.001
        with trio.move_on_after(KILL_SECONDS_MAX):
            while not self.cgroups.remove(path):
                self.cgroups.kill(path)
                await trio.sleep(pause)
                pause = min(pause * 2, 0.1)
            return
        raise RuntimeFailure("KillContainerError", f"processes in cgroup {path} do not end although killed")

    # -- containers --------------------------------------------------------------------------------------------------

    def containers(self, sandbox_id: str | None = None) -> Sequence[ContainerStatus]:
        return tuple(
            each.status
            for each in self._containers.values()
            if (sandbox_id is None or each.record.spec.sandbox_id == sandbox_id) and not each.id.endswith(PAUSE_SUFFIX)
        )

    def status(self, container_id: str) -> ContainerStatus | None:
        found = self._containers.get(container_id)
        return None if found is None else found.status

    def _container(self, container_id: str) -> Container:
        found = self._containers.get(container_id)
        if found is None:
            raise RuntimeFailure("ContainerNotFound", f"container {container_id} does not exist")
        return found

    async def start_container(self, spec: ContainerSpec) -> ContainerStatus:
        check_id(spec.id)
        pod = self._pod(spec.sandbox_id)
        return (await self._start(spec, pod)).status

    async def _start(self, spec: ContainerSpec, pod: _Pod, *, root: str | None = None) -> Container:
        if not pod.ready:
            raise RuntimeFailure("CreateContainerError", f"sandbox {spec.sandbox_id} is not ready")
        if spec.id in self._containers or spec.id in self._starting:
            raise RuntimeFailure("CreateContainerError", f"container {spec.id} exists already")
        if self._nursery is None:
            raise RuntimeFailure("RuntimeNotReady", "the runtime does not run")
        cgroup = f"{self._pod_cgroup(pod.record.spec)}/{spec.id}"
        record = ContainerRecord(spec=spec, created_at=now(), cgroup=cgroup, pid=pod.record.spec.pid)
        self._starting.add(spec.id)
        link: ShimLink | None = None
        container = Container(record)
        try:
            async with self._starts:
                with trio.fail_after(START_SECONDS_MAX):
                    self._prepare(record, pod, root)
                    link = await self._launch(record)
                    await self._await_start(container, link)
            self._containers[spec.id] = container
            container.link = link
            self._nursery.start_soon(self._follow, container, link)
        except BaseException as error:
            with trio.move_on_after(CLEAN_SECONDS_MAX, shield=True):
                if link is not None:
                    await self._give_up(link)
                await self.discard(record)
            if isinstance(error, trio.TooSlowError):
                raise RuntimeFailure(
                    "RunContainerError", f"container {spec.name} did not start within {START_SECONDS_MAX:.0f} s"
                ) from error
            if isinstance(error, OSError):
                raise RuntimeFailure("CreateContainerError", f"container {spec.name}: {error}") from error
            raise
        finally:
            self._starting.discard(spec.id)
        return container

    def _prepare(self, record: ContainerRecord, pod: _Pod, root: str | None) -> None:
        """Everything before the first process: record, root file system, config.json."""
        spec = record.spec
        folder = self.paths.container(spec.id)
        os.mkdir(folder, 0o700)
        containers_on_disk.save_record(self.paths, record)
        image_user = ""
        if root is None:
            image = self._images.get(spec.image_id)
            if image is None:
                raise RuntimeFailure("CreateContainerError", f"image {spec.image_id} is not on this node")
            image_user = image.config.user
            root = self._mount_root(spec)
            passwd, group = read_user_files(root)
        else:
            passwd = group = ""
        identity = resolve(image_user, spec.security, passwd, group)
        config = build(
            spec,
            self._surroundings(record, pod, root),
            identity,
            self._machine,
            seccomp=lambda granted: self._seccomp(spec, granted),
            device=machine_facts.device_nodes,
            host_devices=machine_facts.host_devices,
        )
        parse_signal(spec.stop_signal)
        write_whole(f"{folder}/config.json", msgspec.json.encode(config))
        if spec.log_path != "/dev/null":
            os.makedirs(os.path.dirname(spec.log_path), mode=0o755, exist_ok=True)

    @staticmethod
    def _seccomp(spec: ContainerSpec, granted: frozenset[str]) -> Mapping[str, Any] | None:
        if spec.security.seccomp == "default":
            return seccomp.default_profile(granted)
        return seccomp.read_profile(spec.security.seccomp)

    def _mount_root(self, spec: ContainerSpec) -> str:
        layers = self._images.layer_paths(spec.image_id)
        snapshot, root = self.paths.snapshot(spec.id), self.paths.root(spec.id)
        shutil.rmtree(snapshot, ignore_errors=True)
        os.makedirs(f"{snapshot}/upper")
        os.mkdir(f"{snapshot}/work")
        os.mkdir(root)
        overlay.mount_overlay(layers, f"{snapshot}/upper", f"{snapshot}/work", root)
        return root

    def _surroundings(self, record: ContainerRecord, pod: _Pod, root: str) -> Surroundings:
        spec = pod.record.spec
        pins = self.paths.pins(spec.id)
        pid_path = ""
        if spec.pid is NamespaceMode.POD and pod.pause is not None:
            if pod.pause.status.state is not ContainerState.RUNNING:
                raise RuntimeFailure("CreateContainerError", f"the pause process of sandbox {spec.id} has ended")
            pid_path = f"/proc/{pod.pause.status.pid}/ns/pid"
        return Surroundings(
            rootfs=root,
            cgroup=record.cgroup,
            network=spec.network,
            ipc=spec.ipc,
            pid=spec.pid,
            net_path=f"{pins}/net",
            ipc_path=f"{pins}/ipc",
            uts_path=f"{pins}/uts",
            pid_path=pid_path,
            shm="/dev/shm" if spec.ipc is NamespaceMode.NODE else self.paths.shm(spec.id),
        )

    async def _launch(self, record: ContainerRecord) -> ShimLink:
        spec = record.spec
        arguments = ["--dir", self.paths.container(spec.id), "--log", spec.log_path]
        arguments += ["--log-size", str(spec.log_size_bytes_max), "--log-files", str(spec.log_files_max)]
        if (oom_file := self.cgroups.oom_file(record.cgroup)) is not None:
            arguments += ["--oom", oom_file]
        if spec.stdin:
            arguments.append("--stdin")
        if spec.stdin_once:
            arguments.append("--stdin-once")
        if spec.tty:
            arguments.append("--tty")
        (link,) = await self._spawn(spec.id, arguments, [shimlink.WANT_EXIT])
        return link

    async def _spawn(self, container_id: str, arguments: Sequence[str], flags: Sequence[int]) -> list[ShimLink]:
        """A shim with one connection per entry of `flags`, greeted before it lives: it misses nothing."""
        options = ["--runc", self.runc, "--root", self.paths.runc_root, "--id", container_id]
        for file in self.cgroups.shim_files(self.shim_cgroup):
            options += ["--cgroup", file]
        links: list[ShimLink] = []
        theirs: list[int] = []
        try:
            for flag in flags:
                ours, other = shimlink.socket_pair()
                theirs.append(other.detach())
                link = ShimLink(ours)
                links.append(link)
                await link.send(shimlink.encode_hello(flag))
            spawn_detached(SHIM_PATH, [*options, *arguments], _ENVIRONMENT, theirs)
        except BaseException:
            for link in links:
                link.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        return links

    @staticmethod
    async def _give_up(link: ShimLink) -> None:
        with trio.move_on_after(KILL_SECONDS_MAX):
            await link.give_up()
        link.close()

    async def _await_start(self, container: Container, link: ShimLink) -> None:
        folder = self.paths.container(container.id)
        while frames := await link.receive():
            for frame in frames:
                if frame.kind == shimlink.STARTED:
                    container.set_running(shimlink.decode_state(frame.payload))
                    if frames[-1] is not frame:
                        link.unread(frames[frames.index(frame) + 1 :])
                    return
                if frame.kind == shimlink.FAILED:
                    raise self._start_failure(folder, frame.payload)
        raise RuntimeFailure("RunContainerError", f"the shim of container {container.record.spec.name} died")

    @staticmethod
    def _start_failure(folder: str, payload: bytes) -> RuntimeFailure:
        fault = msgspec.json.decode(payload, type=shimlink.StartFault)
        words = containers_on_disk.runc_words(folder)
        if not words:
            words = f"step {fault.stage} failed with {fault.status}"
        return RuntimeFailure("RunContainerError", f"OCI runtime create failed: {words}: unknown")

    async def _follow(self, container: Container, link: ShimLink) -> None:
        try:
            told = await container.follow(link)
        finally:
            link.close()
        if not told:
            await self.settle_lost(container)
        if container.record.pid is not NamespaceMode.CONTAINER and not container.removing:
            # Nobody's init: what it left behind would run on without it.
            self.cgroups.kill(container.cgroup)
        if container.id.endswith(PAUSE_SUFFIX) and (pod := self._pods.get(container.record.spec.sandbox_id)):
            pod.ready = False

    async def settle_lost(self, container: Container) -> None:
        """The shim is gone: by its record if it wrote one, else by making sure that nothing runs."""
        record = containers_on_disk.load_state(self.paths, container.id, "exit.json")
        if record is not None:
            container.set_exited(record)
            return
        state = containers_on_disk.load_state(self.paths, container.id, "state.json")
        if state is not None:
            containers_on_disk.kill_process(state.pid, state.start_time)
        pause = 0.001
        with trio.move_on_after(KILL_SECONDS_MAX):
            while not self.cgroups.kill(container.cgroup):
                await trio.sleep(pause)
                pause = min(pause * 2, 0.1)
        container.set_lost(now(), state.started_at if state is not None else "")

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        container = self._container(container_id)
        if container.ended.is_set():
            await trio.lowlevel.checkpoint()
            return
        if grace_seconds > 0:
            number = parse_signal(container.record.spec.stop_signal)
            with contextlib.suppress(RuntimeFailure):
                await container.request(shimlink.encode_signal(number))
            with trio.move_on_after(grace_seconds):
                await container.ended.wait()
                return
        await self._kill(container)

    async def _kill(self, container: Container) -> None:
        with contextlib.suppress(RuntimeFailure):
            await container.request(shimlink.encode_signal(signal.SIGKILL))
        for _ in range(2):
            with trio.move_on_after(KILL_SECONDS_MAX / 2):
                await container.ended.wait()
                return
            self.cgroups.kill(container.cgroup)
        raise RuntimeFailure("KillContainerError", f"container {container.id} does not end although killed")

    async def signal_container(self, container_id: str, signal: int) -> None:
        failure = await self._container(container_id).request(shimlink.encode_signal(signal))
        if failure:
            raise RuntimeFailure("KillContainerError", f"signal {signal} to {container_id}: {os.strerror(failure)}")

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is None:
            return
        if not container.ended.is_set():
            raise RuntimeFailure("ContainerRunning", f"container {container_id} still runs: stop it first")
        await self._remove(container)

    async def _remove(self, container: Container) -> None:
        if container.removing:
            return
        container.removing = True
        try:
            await self.discard(container.record)
        except BaseException:
            container.removing = False
            raise
        self._containers.pop(container.id, None)

    async def discard(self, record: ContainerRecord) -> None:
        """Takes away every part of a container that does not run (or never came to), in any state of its making.

        By hand what `runc delete` would do, 6 ms cheaper: no process is left once its cgroups could be removed, and its
        state folder is then all that remains of it.
        """
        container_id = record.spec.id
        if os.path.isdir(self.paths.runc_state(container_id)) and not os.path.exists(
            f"{self.paths.container(container_id)}/exit.json"
        ):
            await self.runc_delete(container_id)
        await self._empty_cgroup(record.cgroup)
        shutil.rmtree(self.paths.runc_state(container_id), ignore_errors=True)
        root = self.paths.root(container_id)
        overlay.unmount(root)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(root)
        await self.remove_tree(self.paths.snapshot(container_id))
        shutil.rmtree(self.paths.container(container_id), ignore_errors=True)

    @staticmethod
    async def remove_tree(folder: str) -> None:
        """A large one by a process of its own: deleting thousands of files would hold the loop up."""
        if overlay.count_entries(folder, SMALL_TREE_ENTRIES) < SMALL_TREE_ENTRIES:
            shutil.rmtree(folder, ignore_errors=True)
            await trio.lowlevel.checkpoint()
        else:
            await trio.run_process(["rm", "-rf", "--one-file-system", "--", folder], check=False)

    async def wait_exit(self, container_id: str) -> ContainerStatus:
        container = self._container(container_id)
        await container.ended.wait()
        return container.status

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """By `runc update`, which knows the order that v1's memory and swap limits need."""
        container = self._container(container_id)
        wanted = msgspec.structs.replace(container.record.spec, resources=resources)
        await self._runc_update(container_id, resources)
        container.record = msgspec.structs.replace(container.record, spec=wanted)
        container.status = msgspec.structs.replace(container.status, spec=wanted)
        containers_on_disk.save_record(self.paths, container.record)

    async def _runc_update(self, container_id: str, resources: Resources) -> None:
        done = await trio.run_process(
            [self.runc, "--root", self.paths.runc_root, "update", "--resources", "-", container_id],
            stdin=msgspec.json.encode(update_document(resources, self._machine)),
            check=False,
            capture_stderr=True,
        )
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()[:1000]
            raise RuntimeFailure("UpdateContainerError", f"container {container_id}: {words}")

    # -- streams -----------------------------------------------------------------------------------------------------

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float) -> ExecResult:
        """Output beyond EXEC_OUTPUT_BYTES_MAX of each stream is dropped. Raises RuntimeFailure(ExecFailed) when the
        command could not be started."""
        parts: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}

        async def collect(stream: trio.abc.ReceiveStream | None, into: bytearray) -> None:
            assert stream is not None
            async for piece in stream:
                into += piece[: EXEC_OUTPUT_BYTES_MAX - len(into)]

        exit_code = None
        with trio.move_on_after(timeout_seconds if timeout_seconds > 0 else math.inf):
            async with (
                self.exec(container_id, command, tty=False, stdin=False) as session,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(collect, session.stdout, parts["out"])
                nursery.start_soon(collect, session.stderr, parts["err"])
                exit_code = await session.wait()
        return ExecResult(
            exit_code=signal.SIGKILL + 128 if exit_code is None else exit_code,
            stdout=bytes(parts["out"]),
            stderr=bytes(parts["err"]),
            timed_out=exit_code is None,
        )

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
    ) -> AsyncIterator[ExecSession]:
        """Leaving the context kills what still runs. Raises RuntimeFailure(ExecFailed) with runc's words."""
        container = self._container(container_id)
        if container.status.state is not ContainerState.RUNNING:
            raise RuntimeFailure("ExecFailed", f"container {container_id} does not run")
        process = exec_process(containers_on_disk.load_config(self.paths, container_id)["process"], command, tty=tty)
        self._exec_number += 1
        folder = f"{self.paths.container(container_id)}/exec/{os.getpid()}.{self._exec_number}"
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
                control, streams = await self._spawn(container_id, arguments, [shimlink.WANT_EXIT, flags])
                await self._await_exec(folder, control)
            async with open_session(streams, control, flags) as session:
                yield session
        finally:
            for link in (control, streams):
                if link is not None:
                    link.close()  # which the shim takes as the end of its exec
            shutil.rmtree(folder, ignore_errors=True)

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
    async def attach(self, container_id: str, *, stdin: bool) -> AsyncIterator[ExecSession]:
        container = self._container(container_id)
        spec = container.record.spec
        flags = shimlink.WANT_STDOUT | (0 if spec.tty else shimlink.WANT_STDERR)
        flags |= shimlink.GIVE_STDIN if stdin and spec.stdin else 0
        if container.link is None:
            raise RuntimeFailure("ContainerNotRunning", f"container {container_id} does not run")
        try:
            link = await shimlink.connect(self.paths.container(container_id))
            await link.send(shimlink.encode_hello(flags))
        except (OSError, trio.BrokenResourceError) as error:
            raise RuntimeFailure("ContainerNotRunning", f"container {container_id} does not run") from error
        async with open_session(link, container.link, flags) as session:
            yield session

    async def connect(self, sandbox_id: str, port: int) -> trio.abc.HalfCloseableStream:
        """Tries 127.0.0.1, then ::1. Raises OSError (ConnectionRefusedError...) as a connect would."""
        pod = self._pod(sandbox_id)
        netns = f"{self.paths.pins(sandbox_id)}/net" if pod.record.spec.network is NamespaceMode.POD else None
        failure: OSError | None = None
        for family, address in ((trio.socket.AF_INET, "127.0.0.1"), (trio.socket.AF_INET6, "::1")):
            sock = _socket(netns, family)
            try:
                with trio.fail_after(CONNECT_SECONDS_MAX):
                    await sock.connect((address, port))
            except OSError as error:
                failure = failure or error
                sock.close()
                continue
            except trio.TooSlowError as error:
                sock.close()
                raise TimeoutError(f"no answer on port {port} of sandbox {sandbox_id}") from error
            except BaseException:
                sock.close()
                raise
            return trio.SocketStream(sock)
        assert failure is not None
        raise failure

    async def reopen_log(self, container_id: str) -> None:
        failure = await self._container(container_id).request(shimlink.encode(b"l"))
        if failure:
            raise RuntimeFailure("ReopenLogError", f"container {container_id}: {os.strerror(failure)}")

    # -- figures -----------------------------------------------------------------------------------------------------

    def stats(self, container_id: str) -> ContainerStats | None:
        found = self._containers.get(container_id)
        return None if found is None or found.ended.is_set() else self.cgroups.stats(found.cgroup)

    def sandbox_stats(self, sandbox_id: str) -> ContainerStats | None:
        pod = self._pods.get(sandbox_id)
        return None if pod is None else self.cgroups.stats(self._pod_cgroup(pod.record.spec))

    def info(self) -> Mapping[str, Any]:
        return dict(self._info)

    # -- after a restart (recovery) ------------------------------------------------------------------------------------

    async def recover(self) -> None:
        await self.open()
        await recover(self)

    def sandbox_ids(self) -> set[str]:
        return set(self._pods)

    def container_ids(self) -> set[str]:
        return set(self._containers)

    def adopt_sandbox(self, record: SandboxRecord, *, ready: bool) -> None:
        self._pods[record.spec.id] = _Pod(record, ready=ready)

    def adopt_container(self, container: Container, link: ShimLink | None) -> None:
        """`link` is greeted; None when it has ended."""
        self._containers[container.id] = container
        if link is not None and not container.ended.is_set():
            if self._nursery is None:
                raise RuntimeFailure("RuntimeNotReady", "start `run` before `recover`")
            container.link = link
            self._nursery.start_soon(self._follow, container, link)
        elif link is not None:
            link.close()

    def settle_pauses(self) -> None:
        """A pod with a shared process namespace is ready only while its pid 1 lives."""
        for pod in self._pods.values():
            if pod.record.spec.pid is NamespaceMode.POD:
                pod.pause = self._containers.get(pod.record.spec.id + PAUSE_SUFFIX)
                pod.ready = pod.ready and pod.pause is not None and not pod.pause.ended.is_set()

    async def sweep_cgroups(self) -> None:
        """Below our root: groups that are neither a known pod, nor above one, nor a known container's."""
        known = {self.shim_cgroup} | {self._pod_cgroup(pod.record.spec) for pod in self._pods.values()}
        known |= {each.cgroup for each in self._containers.values()}
        waiting = [self.cgroup_root]
        while waiting:
            parent = waiting.pop()
            for name in self.cgroups.children(parent):
                path = f"{parent}/{name}"
                if path in known and path not in self._pod_cgroups():
                    continue
                if path in known or any(other.startswith(path + "/") for other in known):
                    waiting.append(path)
                else:
                    await self._empty_cgroup(path)

    def _pod_cgroups(self) -> set[str]:
        return {self._pod_cgroup(pod.record.spec) for pod in self._pods.values()}

    async def runc_delete(self, container_id: str) -> None:
        await trio.run_process(
            [self.runc, "--root", self.paths.runc_root, "delete", "--force", container_id],
            check=False,
            capture_stderr=True,
        )

    async def purge(self) -> None:
        """Kills and removes everything below the run folder, the data folder and the cgroup root (`edgekube reset`)."""
        await self.recover()
        for sandbox_id in list(self._pods):
            await self.remove_sandbox(sandbox_id)
        await self._empty_cgroup(self.cgroup_root)
        for mounted in overlay.mounted_below(self.paths.run, Path("/proc/self/mountinfo").read_text()):
            overlay.unmount(mounted)
        for folder in (self.paths.run, self.paths.snapshots):
            await self.remove_tree(folder)


def _socket(netns: str | None, family: int) -> trio.socket.SocketType:
    if netns is None:
        return trio.socket.socket(family, trio.socket.SOCK_STREAM)
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return trio.socket.socket(fileno=socket_in_netns(fd, family, trio.socket.SOCK_STREAM))
    finally:
        os.close(fd)
