"""A kubelet over the real runtime and pod network, in a network namespace of its own, with a real API in memory."""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import trio

from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.request import GROUP_MASTERS, User
from edgekube.client.api import LogOptions, Streams
from edgekube.kubelet.config import KubeletConfig
from edgekube.kubelet.node_api import LocalNodeApi
from edgekube.kubelet.role import Kubelet
from edgekube.network.bridge import BridgeNetwork
from edgekube.runtime.api import Image, ImageConfig
from edgekube.runtime.engine import Engine
from edgekube.testing.netlab import NetLab
from edgekube.testing.store import FakeStore
from edgekube.types.core_v1 import ContainerStatus, Event, Pod, ServiceAccount
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError

ADMIN = User("admin", (GROUP_MASTERS, "system:authenticated"))
NODE = User("system:node:n1", (GROUP_MASTERS, "system:authenticated"))
IMAGE = "registry.test/busybox:1"
SECONDS = 30.0


class BusyboxImages:
    """One image, made of the machine's busybox."""

    def __init__(self, root: str) -> None:
        self._layers = (root,)
        digest = "sha256:" + "b" * 64
        self._image = Image(
            id=digest,
            digest=digest,
            tags=(IMAGE,),
            repo_digests=(),
            size_bytes=1,
            layers=("a",),
            config=ImageConfig(cmd=("sh",)),
        )

    def get(self, reference: str) -> Image | None:
        return self._image if reference in (IMAGE, self._image.id) else None

    def list(self) -> tuple[Image, ...]:
        return (self._image,)

    def layer_paths(self, image_id: str) -> tuple[str, ...]:
        return self._layers

    async def collect(self, **_: Any) -> int:
        return 0


class RealNode:
    """`start` and `kill` are an orchestrator that comes and goes; the API stays."""

    def __init__(self, registry: Registry, folder: Path, images: BusyboxImages, cgroup_root: str) -> None:
        self.client = registry.client(ADMIN)
        self.registry = registry
        self.folder = folder
        self.images = images
        self.cgroup_root = cgroup_root
        self.engine: Engine
        self.kubelet: Kubelet
        self.network: BridgeNetwork
        self._scope: trio.CancelScope | None = None

    def make_engine(self) -> Engine:
        return Engine(
            self.images,  # type: ignore[arg-type]
            run_dir=str(self.folder / "run" / "runtime"),
            data_dir=str(self.folder / "data" / "runtime"),
            cgroup_root=self.cgroup_root,
        )

    async def start(self, nursery: trio.Nursery) -> None:
        self.engine = self.make_engine()
        self.network = BridgeNetwork(
            state_dir=self.folder / "run" / "network",
            bridge_name="ek0",
            cluster_cidr=IPv4Network("10.42.0.0/16"),
            service_cidr=IPv4Network("10.43.0.0/16"),
        )
        self.kubelet = Kubelet(
            client=self.registry.client(NODE),
            runtime=self.engine,
            network=self.network,
            config=KubeletConfig(
                node_name="n1",
                version="0.1.0",
                kubelet_version="v1.36.0",
                data_dir=self.folder / "data" / "kubelet",
                run_dir=self.folder / "run" / "kubelet",
                log_dir=self.folder / "log",
                node_ip="192.168.77.1",
                pod_cidr="10.42.0.0/24",
                cgroup_root=self.cgroup_root,
                resolv_conf=self.folder / "resolv.conf",
                now=lambda: datetime.now(UTC),
            ),
        )
        self._scope = await nursery.start(self._run)

    async def _run(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.engine.run)
                await self.network.start(IPv4Network("10.42.0.0/24"))
                await nursery.start(self.kubelet.run)
                task_status.started(scope)
        await self.network.stop(remove=False)

    async def kill(self) -> None:
        """As by kill -9: containers run on, nobody is told."""
        assert self._scope is not None
        self._scope.cancel()
        await trio.sleep(0.1)

    @property
    def streams(self) -> LocalNodeApi:
        return LocalNodeApi(self.kubelet, self.engine)

    async def create(self, name: str, script: str = "sleep 1000", **spec: Any) -> Pod:
        """A pod with one container `main`; `spec` adds to its spec, as JSON has it; `main` adds to the container."""
        main = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]} | spec.pop("main", {})
        containers = [main, *({"image": IMAGE} | c for c in spec.pop("others", ()))]
        inits = [{"image": IMAGE} | c for c in spec.pop("inits", ())]
        defaults = {"nodeName": "n1", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 2}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {**defaults, "containers": containers, "initContainers": inits, **spec},
        }
        return await self.client.create(msgspec.convert(body, Pod))

    async def pod(self, name: str) -> Pod:
        return await self.client.get(Pod, name, "default")

    async def until(self, name: str, holds: Callable[[Pod], Any], seconds: float = SECONDS) -> Pod:
        with trio.move_on_after(seconds):
            while True:
                pod = await self.pod(name)
                if holds(pod):
                    return pod
                await trio.sleep(0.02)
        status = msgspec.json.encode((await self.pod(name)).status)
        raise AssertionError(f"not reached: {status!r} {await self.events()}")

    async def run(self, name: str, script: str = "sleep 1000", **spec: Any) -> Pod:
        await self.create(name, script, **spec)
        return await self.until(name, lambda p: p.status.phase == "Running")

    async def output(self, name: str, script: str, **spec: Any) -> str:
        """Run a pod once and return what it wrote."""
        await self.create(name, script, restartPolicy="Never", **spec)
        await self.until(name, lambda p: p.status.phase in ("Succeeded", "Failed"))
        return await self.log(name)

    async def log(self, name: str, **options: Any) -> str:
        async with self.streams.logs("default", name, LogOptions(**options)) as chunks:
            return b"".join([chunk async for chunk in chunks]).decode()

    async def exec(self, name: str, *command: str, container: str = "main") -> str:
        """What a command in a running container writes."""
        ours, theirs = trio.testing.memory_stream_pair()

        class Out(Streams):
            stdin = None
            stdout = theirs
            stderr = theirs
            resizes = None

        await self.streams.exec("default", name, container, command, tty=False, streams=Out())
        await theirs.send_eof()
        return (b"".join([chunk async for chunk in ours])).decode()

    async def delete(self, name: str, grace: int | None = None) -> None:
        await self.client.delete(Pod, name, "default", grace_period_seconds=grace)
        with trio.fail_after(SECONDS):
            while True:
                try:
                    await self.pod(name)
                except ApiError as error:
                    if error.code != 404:
                        raise
                    return
                await trio.sleep(0.02)

    async def events(self) -> list[tuple[str, str]]:
        return [(e.reason, e.message) for e in (await self.client.list(Event, "default")).items]


def status_of(pod: Pod, name: str = "main") -> ContainerStatus:
    every = (*pod.status.initContainerStatuses, *pod.status.containerStatuses, *pod.status.ephemeralContainerStatuses)
    return next((s for s in every if s.name == name), ContainerStatus(name=name))


@pytest.fixture
async def node(lab: NetLab, tmp_path: Path, busybox_root: str) -> AsyncIterator[RealNode]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[RealNode]:
        config = RegistryConfig(now=time.time, sign_token=lambda claims: f"token-of-{claims['sub']}")
        registry = Registry(store=FakeStore(), events=FakeStore(), config=config)
        async with registry.run(), trio.open_nursery() as nursery:
            await registry.bootstrap()
            client = registry.client(ADMIN)
            try:
                await client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
            except ApiError as error:
                if error.code != 409:
                    raise
            made = RealNode(registry, tmp_path, BusyboxImages(busybox_root), f"ektest-{uuid4().hex[:8]}")
            await made.start(nursery)
            try:
                yield made
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(60):
                    await made.kill()
                    engine = made.make_engine()
                    await nursery.start(engine.run)
                    await engine.purge()
                nursery.cancel_scope.cancel()

    async with opened() as made:
        yield made
    left = Path("/proc/self/mountinfo").read_text()
    mounts = [line.split()[4] for line in left.splitlines() if line.split()[4].startswith(str(tmp_path))]
    for mounted in sorted(mounts, key=len, reverse=True):
        await trio.run_process(["umount", "-l", mounted], check=False)
    assert [m for m in mounts if "/kubelet/" not in m and not m.endswith("/mnt")] == [], "mounts were left behind"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))
