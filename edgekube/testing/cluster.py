"""A whole control plane in memory, for tests of controllers: the real registry and in-process clients on a FakeStore.

    async with FakeCluster(nodes=3) as cluster:
        await cluster.client.create(deployment)
        await cluster.until(lambda: cluster.get(Deployment, "web").status.readyReplicas == 3)

Controllers, scheduler and kubelets run as they do in a node, at the pace of trio's clock: with the autojump clock a
rollout of minutes takes milliseconds. Objects that informers share are watched for mutation.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar

import trio

from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.request import GROUP_MASTERS, GROUP_NODES, User
from edgekube.client.api import Change, Client, KubeObject
from edgekube.controllers import role as controllers
from edgekube.scheduler import role as scheduler
from edgekube.testing.fakekubelet import FakeKubelet
from edgekube.testing.store import FakeStore
from edgekube.types.apps_v1 import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from edgekube.types.batch_v1 import CronJob, Job
from edgekube.types.core_v1 import Endpoints, Event, Node, Pod, Service, ServiceAccount
from edgekube.types.discovery_v1 import EndpointSlice
from edgekube.types.mutation import MutationDetector

T = TypeVar("T", bound=KubeObject)

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
ADMIN: Final = User("admin", (GROUP_MASTERS, "system:authenticated"))
WAIT_SECONDS: Final = 600.0
WATCHED_FOR_MUTATION: Final[tuple[type[Any], ...]] = (
    Pod, Node, Service, Endpoints, EndpointSlice, Deployment, ReplicaSet, StatefulSet, DaemonSet, ControllerRevision,
    Job, CronJob,
)  # fmt: skip


class FakeCluster:
    """`nodes` are registered as node-0, node-1, ...; what is not wanted to run is switched off by name.

    `now` starts at 2026-01-01 and goes with trio's clock.
    """

    def __init__(
        self, *, nodes: int = 1, run_controllers: bool = True, run_scheduler: bool = True, epoch: datetime = EPOCH
    ) -> None:
        self._count = nodes
        self._run_controllers = run_controllers
        self._run_scheduler = run_scheduler
        self._epoch = epoch
        self._started = 0.0
        self._context: AbstractAsyncContextManager[None] | None = None
        self._detector = MutationDetector()
        self._changed = trio.Event()
        self.clock_plausible = True
        self.store = FakeStore()
        self.events = FakeStore()
        self.registry = Registry(
            store=self.store, events=self.events, config=RegistryConfig(now=lambda: self.now().timestamp())
        )
        self._cache_of = dict(zip((id(self.store), id(self.events)), self.registry.backend.caches, strict=True))
        self.client: Client = self.registry.client(ADMIN)
        self.kubelet: FakeKubelet
        self.nursery: trio.Nursery

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=trio.current_time() - self._started)

    async def __aenter__(self) -> "FakeCluster":
        self._context = self._run()
        await self._context.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._context is not None
        await self._context.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        self._started = trio.current_time()
        async with self.registry.run():
            await self.registry.bootstrap()
            for cls in WATCHED_FOR_MUTATION:
                self.client.informer(cls).subscribe(self._remember)
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                for store in (self.store, self.events):
                    nursery.start_soon(self._follow, store)
                self.kubelet = FakeKubelet(self.client, self.node_client, now=self.now, nursery=nursery)
                self.kubelet.start()
                for number in range(self._count):
                    await self.kubelet.add_node(f"node-{number}")
                if self._run_controllers:
                    await self.start_controllers()
                if self._run_scheduler:
                    await nursery.start(self._scheduler)
                yield
                nursery.cancel_scope.cancel()
        self._detector.check()

    async def _follow(self, store: FakeStore) -> None:
        """Wake who waits in `until`, once the caches show a change."""
        cache = self._cache_of[id(store)]
        async for revision in store.subscribe():
            await cache.wait_revision(revision)
            self._changed.set()
            self._changed = trio.Event()

    def _remember(self, change: Change[Any]) -> None:
        if change.new is not None:
            self._detector.add(change.new)

    async def _scheduler(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await scheduler.run(client=self.client_for("kube-scheduler"), now=self.now, task_status=task_status)

    async def start_controllers(self) -> trio.CancelScope:
        """Run every controller; cancelling the scope that is returned stops them as a lost leadership does."""
        config = controllers.ControllersConfig(
            now=self.now,
            ca_bundle="-----BEGIN CERTIFICATE-----\n",
            api_addresses=("192.0.2.250",),
            api_port=6443,
            kubernetes_service_ip="10.43.0.1",
            servers=("server",),
            clock_plausible=lambda: self.clock_plausible,
        )
        scope = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            with scope:
                await controllers.run(client_for=self.client_for, config=config, task_status=task_status)

        await self.nursery.start(run)
        for namespace in ("default", "kube-system"):
            # No pod can be made before its namespace has the default account.
            await self.until(partial(self._has_account, namespace))
        return scope

    def _has_account(self, namespace: str) -> bool:
        return self.find(ServiceAccount, "default", namespace) is not None

    def client_for(self, name: str) -> Client:
        """The client of a controller's own identity, as the node hands it out."""
        groups = (GROUP_MASTERS, "system:serviceaccounts", "system:authenticated")
        return self.registry.client(User(f"system:serviceaccount:kube-system:{name}", groups))

    def node_client(self, name: str) -> Client:
        """The client of a node's identity: it may touch its own objects only."""
        return self.registry.client(User(f"system:node:{name}", (GROUP_NODES, "system:authenticated")))

    # -- what tests read

    def find(self, cls: type[T], name: str, namespace: str = "default") -> T | None:
        """The object as the informers show it; cluster-scoped kinds take namespace ""."""
        return self.client.informer(cls).get(namespace, name)

    def get(self, cls: type[T], name: str, namespace: str = "default") -> T:
        """The object, which must exist."""
        found = self.find(cls, name, namespace)
        assert found is not None, f"{cls.__name__} {namespace}/{name} does not exist"
        return found

    def all(self, cls: type[T], namespace: str | None = "default", **labels: str) -> list[T]:
        """Objects with all of the labels, by name."""
        wanted = labels.items()
        found = [o for o in self.client.informer(cls).list(namespace) if wanted <= o.metadata.labels.items()]
        return sorted(found, key=lambda o: o.metadata.name)

    def pods(self, namespace: str | None = "default", **labels: str) -> list[Pod]:
        """Pods that are not on their way out."""
        return [p for p in self.all(Pod, namespace, **labels) if not p.metadata.deletionTimestamp]

    def reasons(self, about: str = "") -> list[str]:
        """Reasons of all recorded events, or of those about the object of that name."""
        return [e.reason for e in self.recorded(about)]

    def recorded(self, about: str = "") -> list[Event]:
        events: Iterable[Event] = self.client.informer(Event).list()
        return sorted(
            (e for e in events if about in ("", e.involvedObject.name)), key=lambda e: int(e.metadata.resourceVersion)
        )

    async def until(self, holds: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until `holds`, which is asked again after every change of the store. Raises AssertionError."""
        with trio.move_on_after(seconds):
            while not holds():
                await self._changed.wait()
            return
        if not holds():
            raise AssertionError(f"it did not come about in {seconds} s; {self._picture()}")

    async def settle(self, seconds: float = 5.0) -> None:
        """Let time pass."""
        await trio.sleep(seconds)

    def _picture(self) -> str:
        pods = ", ".join(
            f"{p.metadata.name}={p.status.phase}@{p.spec.nodeName}{' (going)' if p.metadata.deletionTimestamp else ''}"
            for p in self.all(Pod, None)
        )
        last = "; ".join(f"{e.involvedObject.name}: {e.reason}: {e.message}" for e in self.recorded()[-8:])
        return f"pods: {pods or 'none'}; last events: {last or 'none'}"
