"""The container runtime of a node: `ContainerRuntime` by runc under our shim.

One `Engine` owns a run folder and a data folder. `run` owns its tasks (one a running container, which waits for its
shim); `recover` finds what an earlier process left. What each part does is in its own file: sandbox, container, spec,
overlay, cgroups, session, recovery.
"""

import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import trio

from edgekube.native.processes import PAUSE_PATH
from edgekube.runtime import container as containers_on_disk
from edgekube.runtime import machine as machine_facts
from edgekube.runtime import overlay, sandbox, shimlink
from edgekube.runtime.api import (
    ContainerSpec,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    ExecResult,
    ExecSession,
    NamespaceMode,
    Resources,
    RuntimeFailure,
    Sandbox,
    SandboxSpec,
)
from edgekube.runtime.cgroups import Cgroups
from edgekube.runtime.connect import connect
from edgekube.runtime.container import Container, ContainerRecord
from edgekube.runtime.launcher import KILL_SECONDS_MAX, Launcher, LocalImages
from edgekube.runtime.layout import Paths, check_id
from edgekube.runtime.recovery import recover
from edgekube.runtime.sandbox import SandboxRecord
from edgekube.runtime.shimlink import ShimLink
from edgekube.runtime.spec import parse_signal
from edgekube.runtime.streams import Streams
from edgekube.runtime.trees import remove_tree

START_SECONDS_MAX = 120.0
CLEAN_SECONDS_MAX = 60.0
PAUSE_SUFFIX = ".pause"
log = logging.getLogger(__name__)


def now() -> str:
    """RFC 3339, as the shim writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class _Pod:
    def __init__(self, record: SandboxRecord, *, ready: bool) -> None:
        self.record = record
        self.ready = ready
        self.pause: Container | None = None
        self.removal = trio.Lock()


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
        self.paths = Paths(run_dir, data_dir)
        self.cgroups = cgroups or Cgroups()
        self.cgroup_root = cgroup_root.strip("/")
        self._images = images
        self.launcher = Launcher(images, self.paths, self.cgroups, found, self.shim_cgroup)
        self._streams = Streams(self.launcher, self._start_soon)
        self._pods: dict[str, _Pod] = {}
        self._containers: dict[str, Container] = {}
        self._starting: dict[str, str] = {}  # container id to image id
        self._starts = trio.CapacityLimiter(2 * (os.cpu_count() or 1))
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

    def _start_soon(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        if self._nursery is None:
            raise RuntimeFailure("RuntimeNotReady", "the runtime does not run: start `run` first")
        self._nursery.start_soon(task, *arguments)

    async def open(self) -> None:
        """Folders, our tmpfs, what the machine can do."""
        self.paths.make()
        sandbox.mount_private_tmpfs(self.paths.mounts)
        self.cgroups.ensure(self.shim_cgroup)
        version = await trio.run_process([self.launcher.runc, "--version"], capture_stdout=True, check=False)
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
            self._weigh_group(spec)
            sandbox.create(self.paths, spec)
            if spec.pid is NamespaceMode.POD:
                pod.pause = await self._start_pause(pod)
        except BaseException:
            with trio.move_on_after(CLEAN_SECONDS_MAX, shield=True):
                try:
                    await self.remove_sandbox(spec.id)
                except (RuntimeFailure, OSError) as left:
                    log.warning("sandbox=%s not all of a failed sandbox could be removed: %s", spec.id, left)
            raise
        await trio.lowlevel.checkpoint()
        return sandbox.as_sandbox(self.paths, record, ready=True)

    def _pod_cgroup(self, spec: SandboxSpec) -> str:
        return spec.cgroup_parent.strip("/") or f"{self.cgroup_root}/{spec.id}"

    def _parent(self, spec: SandboxSpec) -> str:
        return os.path.dirname(self._pod_cgroup(spec))

    def _weigh_group(self, spec: SandboxSpec) -> None:
        """A group between our root and its pods (`burstable`) weighs what its pods ask for together.

        Else it would weigh the kernel's default, far more than a guaranteed pod of half a core beside it
        (pkg/kubelet/cm/qos_container_manager_linux.go).
        """
        group = self._parent(spec)
        if not group.startswith(self.cgroup_root + "/"):
            return
        inside = [pod.record.spec for pod in self._pods.values()]
        asked = [each.resources.cpu_shares for each in inside if each.resources and self._parent(each) == group]
        shares = sum(each for each in asked if each is not None)
        try:
            self.cgroups.apply(group, Resources(cpu_shares=shares))
        except OSError as error:
            log.warning("cgroup=%s its weight could not be set: %s", group, error)

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
        async with pod.removal:
            if self._pods.get(sandbox_id) is pod:
                await self._remove_pod(pod)

    async def _remove_pod(self, pod: _Pod) -> None:
        sandbox_id = pod.record.spec.id
        mine = [each for each in self._containers.values() if each.record.spec.sandbox_id == sandbox_id]
        mine.sort(key=lambda each: each is pod.pause)
        for each in mine:
            if not each.ended.is_set():
                await self._kill(each)
            await self._remove(each)
        sandbox.remove(self.paths, sandbox_id)
        await self.launcher.empty_cgroup(self._pod_cgroup(pod.record.spec))
        sandbox.forget(self.paths, sandbox_id)
        del self._pods[sandbox_id]
        self._weigh_group(pod.record.spec)

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

    def images_in_use(self) -> set[str]:
        """Ids of the images that containers here were made of, running or not yet removed."""
        return {each.record.spec.image_id for each in self._containers.values()} | set(self._starting.values())

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
        pid = NamespaceMode.POD if spec.pid_of else pod.record.spec.pid
        record = ContainerRecord(spec=spec, created_at=now(), cgroup=cgroup, pid=pid)
        self._starting[spec.id] = spec.image_id
        link: ShimLink | None = None
        container = Container(record)
        try:
            async with self._starts:
                with trio.fail_after(START_SECONDS_MAX):
                    self.launcher.prepare(record, pod.record.spec, self._init_pid(pod, spec), root)
                    link = await self.launcher.launch(record)
                    await self.launcher.await_start(container, link)
            if not pod.ready:
                raise RuntimeFailure("CreateContainerError", f"sandbox {spec.sandbox_id} was removed meanwhile")
            self._containers[spec.id] = container
            container.link = link
            self._start_soon(self._follow, container, link)
        except BaseException as error:
            with trio.move_on_after(CLEAN_SECONDS_MAX, shield=True):
                if link is not None:
                    await self.launcher.give_up(link)
                try:
                    await self.launcher.discard(record)
                except (RuntimeFailure, OSError) as left:
                    log.warning("container=%s not all of a failed start could be removed: %s", spec.id, left)
            if isinstance(error, trio.TooSlowError):
                raise RuntimeFailure(
                    "RunContainerError", f"container {spec.name} did not start within {START_SECONDS_MAX:.0f} s"
                ) from error
            if isinstance(error, OSError):
                raise RuntimeFailure("CreateContainerError", f"container {spec.name}: {error}") from error
            raise
        finally:
            del self._starting[spec.id]
        return container

    def _init_pid(self, pod: _Pod, spec: ContainerSpec) -> int:
        """Whose process namespace the container joins; 0 for none. Raises RuntimeFailure when it has ended."""
        if spec.pid_of:
            target = self._container(spec.pid_of).status
            if target.state is not ContainerState.RUNNING or target.spec.sandbox_id != spec.sandbox_id:
                raise RuntimeFailure("CreateContainerError", f"container {target.spec.name} does not run in this pod")
            return target.pid
        if pod.pause is None:
            return 0
        if pod.pause.status.state is not ContainerState.RUNNING:
            raise RuntimeFailure("CreateContainerError", f"the pause process of {pod.record.spec.name} has ended")
        return pod.pause.status.pid

    async def _follow(self, container: Container, link: ShimLink) -> None:
        told = False
        try:
            told = await container.follow(link)
        except shimlink.ProtocolError as error:
            log.warning("container=%s %s", container.id, error)
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
            await self.launcher.discard(container.record)
        except BaseException:
            container.removing = False
            raise
        self._containers.pop(container.id, None)

    async def wait_exit(self, container_id: str) -> ContainerStatus:
        container = self._container(container_id)
        await container.ended.wait()
        return container.status

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """By `runc update`, which knows the order that v1's memory and swap limits need."""
        container = self._container(container_id)
        wanted = msgspec.structs.replace(container.record.spec, resources=resources)
        await self.launcher.update(container_id, resources)
        container.record = msgspec.structs.replace(container.record, spec=wanted)
        container.status = msgspec.structs.replace(container.status, spec=wanted)
        containers_on_disk.save_record(self.paths, container.record)

    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> None:
        """Raises RuntimeFailure(UpdateSandboxError) with the kernel's words."""
        pod = self._pod(sandbox_id)
        spec = msgspec.structs.replace(pod.record.spec, resources=resources)
        try:
            self.cgroups.apply(self._pod_cgroup(spec), resources)
        except OSError as error:
            raise RuntimeFailure("UpdateSandboxError", f"cgroup of {spec.name}: {error}") from error
        pod.record = msgspec.structs.replace(pod.record, spec=spec)
        sandbox.save(self.paths, pod.record)
        self._weigh_group(spec)
        await trio.lowlevel.checkpoint()

    # -- streams -----------------------------------------------------------------------------------------------------

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float) -> ExecResult:
        container = self._container(container_id)
        return await self._streams.exec_sync(container, command, timeout_seconds=timeout_seconds)

    def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
    ) -> AbstractAsyncContextManager[ExecSession]:
        container = self._container(container_id)
        return self._streams.exec(container, command, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)

    def attach(self, container_id: str, *, stdin: bool) -> AbstractAsyncContextManager[ExecSession]:
        return self._streams.attach(self._container(container_id), stdin=stdin)

    async def connect(self, sandbox_id: str, port: int) -> trio.abc.HalfCloseableStream:
        shared = self._pod(sandbox_id).record.spec.network is NamespaceMode.NODE
        return await connect(None if shared else f"{self.paths.pins(sandbox_id)}/net", port)

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
            container.link = link
            self._start_soon(self._follow, container, link)
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
                    await self.launcher.empty_cgroup(path)

    def _pod_cgroups(self) -> set[str]:
        return {self._pod_cgroup(pod.record.spec) for pod in self._pods.values()}

    async def purge(self) -> None:
        """Kills and removes everything below the run folder, the data folder and the cgroup root (`edgekube reset`)."""
        await self.recover()
        for sandbox_id in list(self._pods):
            await self.remove_sandbox(sandbox_id)
        await self.launcher.empty_cgroup(self.cgroup_root)
        for mounted in overlay.mounted_below(self.paths.run, Path("/proc/self/mountinfo").read_text()):
            overlay.unmount(mounted)
        for folder in (self.paths.run, self.paths.snapshots):
            await remove_tree(folder)
