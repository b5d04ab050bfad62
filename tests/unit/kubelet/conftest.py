"""A kubelet over a runtime and a network in memory, and a real API over a store in memory, under a clock that jumps."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.request import GROUP_MASTERS, User
from edgekube.client.api import Client
from edgekube.kubelet.config import KubeletConfig
from edgekube.kubelet.role import Kubelet
from edgekube.testing.network import FakePodNetwork
from edgekube.testing.runtime import FakeRuntime
from edgekube.testing.store import FakeStore
from edgekube.types.core_v1 import ContainerStatus, Event, Namespace, Pod, ServiceAccount
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError

ADMIN = User("admin", (GROUP_MASTERS, "system:authenticated"))
NODE = User("system:node:n1", (GROUP_MASTERS, "system:authenticated"))
NOW = 1_760_000_000.0
IMAGE = "registry.test/app:1"
NEVER = 3600.0


def pod_of(name: str = "web", **spec: Any) -> Pod:
    """A pod on the node n1 with one container `main`; `spec` adds to its spec, as JSON has it."""
    body: dict[str, Any] = {
        "nodeName": "n1",
        "automountServiceAccountToken": False,
        "containers": [{"name": "main", "image": IMAGE}],
    } | spec
    for part in ("containers", "initContainers"):
        body[part] = [{"image": IMAGE, **c} for c in body.get(part, [])]
    return msgspec.convert(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": body}, Pod
    )


class World:
    """A node whose kubelet can be stopped and started again; what runs in the runtime stays, as with a real one."""

    def __init__(self, registry: Registry, folder: Path, cpu_of: Callable[[], float]) -> None:
        self.registry = registry
        self.client: Client = registry.client(ADMIN)
        self.runtime = FakeRuntime()
        self.runtime.images.add(IMAGE)
        self.network = FakePodNetwork()
        self.folder = folder
        self.kubelet: Kubelet | None = None
        self.tokens = 0
        self.problems: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self._scope: trio.CancelScope | None = None
        self._nursery: trio.Nursery | None = None
        self._now = cpu_of

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)

    @property
    def config(self) -> KubeletConfig:
        return KubeletConfig(
            node_name="n1",
            version="0.1.0",
            kubelet_version="v1.36.0",
            data_dir=self.folder / "data",
            run_dir=self.folder / "run",
            log_dir=self.folder / "log",
            node_ip="192.0.2.1",
            cluster_dns=("10.43.0.10",),
            pod_cidr="10.42.0.0/24",
            resolv_conf=self.folder / "resolv.conf",
            now=self.now,
        )

    async def start(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        await self.network.start(IPv4Network("10.42.0.0/24"))
        self.kubelet = Kubelet(
            client=self.registry.client(NODE),
            runtime=self.runtime,
            network=self.network,
            config=self.config,
            problems=lambda: self.problems,
            notes=lambda: self.notes,
        )
        self._scope = await nursery.start(self._run, self.kubelet)

    @staticmethod
    async def _run(kubelet: Kubelet, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(kubelet.run)
                task_status.started(scope)

    async def stop(self) -> None:
        """As by kill -9: nothing is told to anybody."""
        assert self._scope is not None
        self._scope.cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def restart(self) -> None:
        await self.stop()
        assert self._nursery is not None
        await self.start(self._nursery)

    async def reboot(self) -> None:
        """Everything in memory is lost: processes, namespaces, run folder, addresses."""
        await self.stop()
        images = self.runtime.images
        self.runtime = FakeRuntime()
        self.runtime.images = images
        self.network = FakePodNetwork()
        assert self._nursery is not None
        await self._nursery.start(self.runtime.run)
        await self.start(self._nursery)

    async def run(self, pod: Pod) -> Pod:
        """Create the pod and wait until it runs."""
        await self.client.create(pod)
        return await self.until(lambda p: p.status.phase == "Running", pod.metadata.name)

    async def pod(self, name: str = "web") -> Pod:
        return await self.client.get(Pod, name, "default")

    async def until(self, holds: Callable[[Pod], Any], name: str = "web", seconds: float = NEVER) -> Pod:
        """Wait until the pod in the API is as wanted; fails with its status otherwise."""
        with trio.move_on_after(seconds):
            while True:
                pod = await self.pod(name)
                if holds(pod):
                    return pod
                await trio.sleep(0.1)
        raise AssertionError(f"not reached in {seconds} s: {msgspec.json.encode((await self.pod(name)).status)!r}")

    async def until_gone(self, name: str = "web", seconds: float = NEVER) -> None:
        with trio.fail_after(seconds):
            while True:
                try:
                    await self.pod(name)
                except ApiError as error:
                    if error.code != 404:
                        raise
                    return
                await trio.sleep(0.1)

    async def until_empty(self, seconds: float = NEVER) -> None:
        """Wait until the runtime has no sandbox left."""
        with trio.fail_after(seconds):
            while self.runtime.sandboxes():  # noqa: ASYNC110
                await trio.sleep(0.5)

    async def delete(self, name: str = "web", grace: int | None = None) -> None:
        await self.client.delete(Pod, name, "default", grace_period_seconds=grace)

    async def events(self) -> list[tuple[str, str]]:
        """(reason, message) of all events in the namespace, in the order of their creation."""
        await trio.testing.wait_all_tasks_blocked()
        found = (await self.client.list(Event, "default")).items
        return [(e.reason, e.message) for e in sorted(found, key=lambda e: e.metadata.resourceVersion)]

    def starts(self, name: str = "main") -> int:
        """How often containers of that name were started."""
        ids = {s.spec.id for s in self.runtime.containers() if s.spec.name == name}
        return len([1 for method, key in self.runtime.calls if method == "start_container" and key in ids])


def main_status(pod: Pod, name: str = "main") -> ContainerStatus:
    every = (
        *pod.status.initContainerStatuses,
        *pod.status.containerStatuses,
        *pod.status.ephemeralContainerStatuses,
    )
    return next((s for s in every if s.name == name), ContainerStatus(name=name))


def condition(pod: Pod, kind: str) -> tuple[str, str]:
    found = next(c for c in pod.status.conditions if c.type == kind)
    return found.status, found.reason


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A started node n1 with the default namespace's account. Tests ask for `autojump_clock`, or wait."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[World]:
        def now() -> float:
            return NOW + trio.current_time()

        def sign(claims: Mapping[str, Any]) -> str:
            made.tokens += 1
            return f"token-{claims['sub']}"

        config = RegistryConfig(now=now, sign_token=sign)
        registry = Registry(store=FakeStore(), events=FakeStore(), config=config)
        async with registry.run(), trio.open_nursery() as nursery:
            await registry.bootstrap()
            made = World(registry, tmp_path, now)
            for namespace in ("default", "kube-node-lease"):
                try:
                    await made.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
                except ApiError as error:
                    if error.code != 409:
                        raise
            await made.client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
            await nursery.start(made.runtime.run)
            await made.start(nursery)
            yield made
            nursery.cancel_scope.cancel()

    async with opened() as made:
        yield made
