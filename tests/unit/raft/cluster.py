"""Some members of a replicated store in one process, under trio's clock: memory for wires and disks, real code else."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from edgekube.raft.application import Settings
from edgekube.raft.messages import ConfState
from edgekube.store.limits import Limits
from edgekube.store.opening import first_meta, run_replicated
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing.memorydisk import MemoryDisk, MemoryLog
from edgekube.testing.raftnet import MemoryNetwork, Route

SMALL = Limits(
    history_size_max=200_000, history_count_max=100, history_size_idle=0, segments_max=2, segments_kept_max=4
)


class Member:
    """A member that can be started, and crashed."""

    def __init__(self, cluster: "Cluster", number: int, conf_state: ConfState) -> None:
        self.cluster = cluster
        self.number = number
        self.log = MemoryLog()
        self.disk = MemoryDisk(first_meta(conf_state, {}, "test" if conf_state.voters else "", cluster.random))
        self.notes: list[str] = []
        self._scope: trio.CancelScope | None = None
        self._stopped = trio.Event()
        self.running: ReplicatedStore | None = None

    @property
    def store(self) -> ReplicatedStore:
        assert self.running is not None, f"member {self.number} is down"
        return self.running

    async def start(self) -> ReplicatedStore:
        self._stopped = trio.Event()
        return await self.cluster.nursery.start(self._run)

    async def _run(self, task_status: trio.TaskStatus[ReplicatedStore]) -> None:
        with trio.CancelScope() as self._scope:
            async with run_replicated(
                self.disk,
                self.log,
                member=self.number,
                transport=self.cluster.network.transport(self.number),
                limits=self.cluster.limits,
                settings=self.cluster.settings,
                random=random.Random(self.cluster.random.random()),
                promote=self.cluster.promote,
                note=self.notes.append,
            ) as store:
                self.running = store
                task_status.started(store)
                await trio.sleep_forever()
        self.running = None
        self._stopped.set()

    async def crash(self) -> None:
        """Stop at once; what was not synced is lost."""
        assert self._scope is not None
        self._scope.cancel()
        self.log = self.log.crash()
        await self._stopped.wait()


class Cluster:
    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        limits: Limits | None = None,
        seed: int = 1,
        route: Route | None = None,
        settings: Settings | None = None,
        promote: bool = False,
    ) -> None:
        self.nursery = nursery
        self.random = random.Random(seed)
        self.network = MemoryNetwork(route=route)
        self.limits = limits or Limits()
        self.settings = settings
        self.promote = promote
        self.members: dict[int, Member] = {}

    def __getitem__(self, number: int) -> ReplicatedStore:
        return self.members[number].store

    @property
    def stores(self) -> list[ReplicatedStore]:
        return [member.running for member in self.members.values() if member.running is not None]

    async def add(self, number: int, voters: Sequence[int] = ()) -> ReplicatedStore:
        self.members[number] = Member(self, number, ConfState(voters=tuple(voters)))
        return await self.members[number].start()

    async def leader(self, among: Sequence[int] = ()) -> ReplicatedStore:
        """Whoever leads, once somebody does."""
        found: list[ReplicatedStore] = []
        async with trio.open_nursery() as nursery:

            async def wait(store: ReplicatedStore) -> None:
                await store.wait_leader()
                found.append(store)
                nursery.cancel_scope.cancel()

            for number, member in self.members.items():
                if member.running is not None and (not among or number in among):
                    nursery.start_soon(wait, member.running)
        return found[0]

    async def settle(self) -> None:
        """Wait until all running members have applied the same."""
        leader = await self.leader()
        revision = await leader.read_barrier()
        for store in self.stores:
            await store.wait_applied(revision)
        assert len({(store.revision, store.digest) for store in self.stores}) == 1


@asynccontextmanager
async def cluster(
    count: int = 3,
    *,
    limits: Limits | None = None,
    seed: int = 1,
    route: Route | None = None,
    settings: Settings | None = None,
    promote: bool = False,
) -> AsyncIterator[Cluster]:
    """Members 1 to `count`, all voters."""
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            group = Cluster(nursery, limits=limits, seed=seed, route=route, settings=settings, promote=promote)
            nursery.start_soon(group.network.run)
            for number in range(1, count + 1):
                await group.add(number, range(1, count + 1))
            yield group
            nursery.cancel_scope.cancel()
