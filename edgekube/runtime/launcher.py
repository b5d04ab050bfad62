"""Makes and unmakes one container: bundle, overlay, shim, runc. Knows nothing of the others.

`prepare`, `launch`, `await_start` in this order; after any of them `discard` takes away all there is.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import trio

from edgekube.native.processes import SHIM_PATH, spawn_detached
from edgekube.runtime import container as containers_on_disk
from edgekube.runtime import machine as machine_facts
from edgekube.runtime import overlay, seccomp, shimlink
from edgekube.runtime.api import ContainerSpec, ImageService, NamespaceMode, Resources, RuntimeFailure, SandboxSpec
from edgekube.runtime.cgroups import Cgroups
from edgekube.runtime.container import Container, ContainerRecord
from edgekube.runtime.layout import Paths, write_whole
from edgekube.runtime.shimlink import ShimLink
from edgekube.runtime.spec import Surroundings, build, parse_signal, update_document
from edgekube.runtime.trees import remove_tree
from edgekube.runtime.users import read_user_files, resolve

KILL_SECONDS_MAX = 10.0
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class LocalImages(ImageService, Protocol):
    """The image service beside us: it also knows where a layer lies."""

    def layer_paths(self, image_id: str) -> Sequence[str]:
        """Folders of an image's layers, bottom first. Raises RuntimeFailure when it is not here."""
        ...


class Launcher:
    """`shim_cgroup` takes the shims; it must exist."""

    def __init__(self, images: LocalImages, paths: Paths, cgroups: Cgroups, runc: str, shim_cgroup: str) -> None:
        self.runc = runc
        self.paths = paths
        self.cgroups = cgroups
        self.shim_cgroup = shim_cgroup
        self._images = images
        self._machine = machine_facts.read_machine(cgroups)

    def prepare(self, record: ContainerRecord, pod: SandboxSpec, pause_pid: int, root: str | None) -> None:
        """Everything before the first process: record, root file system, config.json.

        `root` is a ready root file system instead of the image's. Raises RuntimeFailure, OSError.
        """
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
            self._surroundings(record, pod, pause_pid, root),
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

    def _surroundings(self, record: ContainerRecord, spec: SandboxSpec, pause_pid: int, root: str) -> Surroundings:
        pins = self.paths.pins(spec.id)
        return Surroundings(
            rootfs=root,
            cgroup=record.cgroup,
            network=spec.network,
            ipc=spec.ipc,
            pid=record.pid,
            net_path=f"{pins}/net",
            ipc_path=f"{pins}/ipc",
            uts_path=f"{pins}/uts",
            pid_path=f"/proc/{pause_pid}/ns/pid" if pause_pid else "",
            shm="/dev/shm" if spec.ipc is NamespaceMode.NODE else self.paths.shm(spec.id),
        )

    async def launch(self, record: ContainerRecord) -> ShimLink:
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
        (link,) = await self.spawn(spec.id, arguments, [shimlink.WANT_EXIT])
        return link

    async def spawn(self, container_id: str, arguments: Sequence[str], flags: Sequence[int]) -> list[ShimLink]:
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

    async def await_start(self, container: Container, link: ShimLink) -> None:
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
                if frame.kind == shimlink.ERROR:
                    raise RuntimeFailure(
                        "RunContainerError", f"the shim refused: {frame.payload.decode(errors='replace')}"
                    )
        raise RuntimeFailure("RunContainerError", f"the shim of container {container.record.spec.name} died")

    @staticmethod
    def _start_failure(folder: str, payload: bytes) -> RuntimeFailure:
        fault = msgspec.json.decode(payload, type=shimlink.StartFault)
        words = containers_on_disk.runc_words(folder)
        if not words:
            words = f"step {fault.stage} failed with {fault.status}"
        return RuntimeFailure("RunContainerError", f"OCI runtime create failed: {words}: unknown")

    @staticmethod
    async def give_up(link: ShimLink) -> None:
        with trio.move_on_after(KILL_SECONDS_MAX):
            await link.give_up()
        link.close()

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
        await self.empty_cgroup(record.cgroup)
        shutil.rmtree(self.paths.runc_state(container_id), ignore_errors=True)
        root = self.paths.root(container_id)
        overlay.unmount(root)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(root)
        await remove_tree(self.paths.snapshot(container_id))
        shutil.rmtree(self.paths.container(container_id), ignore_errors=True)

    async def runc_delete(self, container_id: str) -> None:
        await trio.run_process(
            [self.runc, "--root", self.paths.runc_root, "delete", "--force", container_id],
            check=False,
            capture_stderr=True,
        )

    async def update(self, container_id: str, resources: Resources) -> None:
        done = await trio.run_process(
            [self.runc, "--root", self.paths.runc_root, "update", "--resources", "-", container_id],
            stdin=msgspec.json.encode(update_document(resources, self._machine)),
            check=False,
            capture_stderr=True,
        )
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()[:1000]
            raise RuntimeFailure("UpdateContainerError", f"container {container_id}: {words}")

    async def empty_cgroup(self, path: str) -> None:
        """Kills and removes until nothing is left. The kernel gives no event for this on version 1."""
        pause = 0.001
        with trio.move_on_after(KILL_SECONDS_MAX):
            while not self.cgroups.remove(path):
                self.cgroups.kill(path)
                await trio.sleep(pause)
                pause = min(pause * 2, 0.1)
            return
        raise RuntimeFailure("KillContainerError", f"processes in cgroup {path} do not end although killed")
