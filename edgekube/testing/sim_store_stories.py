"""Stories for whole stores, as `sim_scenarios` has for the core: a group of five is driven into corners."""

import random
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from edgekube.raft.walformat import FRAME_HEADER_BYTES
from edgekube.store.api import StoreError
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing.sim_faults import Faults
from edgekube.testing.sim_store_clients import StoreClient
from edgekube.testing.sim_store_member import StoreMember, WatchedLog

STEP_MS: Final = 3000.0  # so long a story waits for its next step
FILLER_BYTES: Final = 1500
RESERVED_BYTES: Final = 4096 + FRAME_HEADER_BYTES + 320  # what the log wants to have left over besides an entry


class Stories(Faults[StoreMember]):
    """The stories; each strikes at most once at a time."""

    nursery: trio.Nursery
    storyteller: StoreClient
    _told = False

    def join(self) -> int:
        """See `StoreSimulation.join`."""
        raise NotImplementedError

    def _tell(self, story: Callable[[StoreMember, list[StoreMember]], "_Story"], seed: float) -> None:
        leader = self.leader()
        if self._told or leader is None or leader.store is None or leader.store.members.changing:
            return
        others = [self.members[number] for number in leader.store.members.voters if number != leader.id]
        if len(others) != 4 or not all(member.is_up for member in others):
            return
        random.Random(seed).shuffle(others)

        async def task() -> None:
            self._told = True
            plot = story(leader, others)
            try:
                await plot.run()
            except _Ended:
                pass
            finally:
                plot.let_go()
                self._told = False

        self.nursery.start_soon(task)

    def _held_up(self, up: list[StoreMember], seed: float, how: float, span: float) -> None:
        self._tell(lambda leader, others: HeldUp(self, leader, others), seed)

    def _overtaken(self, up: list[StoreMember], seed: float, how: float, span: float) -> None:
        self._tell(lambda leader, others: Overtaken(self, leader, others), seed)


class _Ended(Exception):
    """The story did not go on."""


class _Story:
    def __init__(self, stage: Stories, leader: StoreMember, others: list[StoreMember]) -> None:
        self.stage = stage
        self.leader = leader
        self.slow, *self.others = others
        self._held: list[tuple[int, int]] = []

    async def run(self) -> None:
        """Tell it. Raises _Ended."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Leave nothing broken behind."""
        self.mend(self._held)
        self.slow.disk_full = self.slow.database.held = False
        self.slow.disk_factor = 1.0

    def cut(self, left: list[StoreMember], right: list[StoreMember]) -> list[tuple[int, int]]:
        links = [link for a in left for b in right for link in ((a.id, b.id), (b.id, a.id))]
        for link in links:
            self.stage.network.cut(*link)
        self._held += links
        return links

    def mend(self, links: list[tuple[int, int]]) -> None:
        for link in list(links):
            if link in self._held:
                self._held.remove(link)
                if self.stage.network.is_cut(*link):
                    self.stage.network.mend(*link)

    async def until(self, condition: Callable[[], bool], *, every: float = 1.0) -> None:
        for _ in range(int(STEP_MS / every)):
            if self.stage.mended or not self.slow.is_up:
                raise _Ended
            if condition():
                return
            await trio.sleep(every / 1000)
        raise _Ended

    def write(self, member: StoreMember, size: int = FILLER_BYTES) -> None:
        async def task() -> None:
            with trio.move_on_after(1):
                await self.stage.storyteller.put(member, size)

        self.stage.nursery.start_soon(task)

    async def fill(self, member: StoreMember, enough: Callable[[], bool]) -> None:
        for _ in range(200):
            if self.stage.mended or not (member.is_up and self.slow.is_up):
                raise _Ended
            if enough():
                return
            self.write(member)
            await trio.sleep(0.02)
        raise _Ended

    def log_of(self, member: StoreMember) -> WatchedLog:
        if member.incarnation is None or member.incarnation.log is None:
            raise _Ended
        return member.incarnation.log

    @property
    def last(self) -> int:
        """Where the slow member's log ends, with what is not in the file yet."""
        incarnation = self.slow.incarnation
        return incarnation.raw.raft.log.last_index if incarnation is not None and incarnation.raw is not None else 0

    @property
    def stored(self) -> int:
        """Where the file ends."""
        incarnation = self.slow.incarnation
        return incarnation.log.last_index() if incarnation is not None and incarnation.log is not None else 0

    @property
    def committed(self) -> int:
        """What the slow member knows to be committed."""
        return self.slow.store.node.commit if self.slow.store is not None else 0


class HeldUp(_Story):
    """Entries of a lost leader wait for space, and behind them those that replace them; then the process is killed."""

    async def run(self) -> None:
        slow, old = self.slow, self.leader
        log = self.log_of(slow)
        slow.disk_full = True
        await self.fill(old, lambda: RESERVED_BYTES + 300 < log.room < RESERVED_BYTES + FILLER_BYTES)
        self.cut([old], self.others)
        apart = self.cut([slow], self.others)
        self.write(old, FILLER_BYTES + 200)
        await self.until(lambda: self.last > self.stored)
        held, term = self.last, old.term
        await trio.sleep(0.02)
        self.cut([old], [slow])
        await self.until(lambda: any(member.leads and member.term > term for member in self.others))
        new = next(member for member in self.others if member.leads)
        for _ in range(2):
            self.write(new, 10)
        await self.until(lambda: new.store is not None and new.store.node.commit > held)
        self.mend(apart)
        await self.until(lambda: self.committed >= held)
        slow.disk_factor = 40 / self.stage.plan.disk
        slow.disk_full = False
        await self.until(lambda: self.stored >= held, every=0.2)
        await trio.sleep(0.002)
        if slow.is_up:
            slow.crash(power=False)
            self.stage.world.after(50, slow.come_back)


class Overtaken(_Story):
    """A change of the membership waits for a database that lags, and a snapshot overtakes it."""

    async def run(self) -> None:
        slow, leader = self.slow, self.leader
        slow.database.held = True
        await self.fill(leader, lambda: slow.store is not None and not slow.store.may_apply)
        number = self.stage.join()
        await self._change(lambda store: store.add_learner(number))
        waiting = self.last
        await self.until(lambda: self.committed >= waiting)
        apart = self.cut([slow], [leader, *self.others])
        await self._change(lambda store: store.remove(number))
        log = self.log_of(leader)
        await self.fill(leader, lambda: log.first_index() > self.last + 1)
        self.mend(apart)
        await self.until(self._snapshot_came)
        await trio.sleep(0.01)
        slow.database.held = False

    async def _change(self, change: Callable[[ReplicatedStore], Awaitable[None]]) -> None:
        if self.leader.store is None:
            raise _Ended
        with trio.move_on_after(1):
            try:
                await change(self.leader.store)
                return
            except StoreError as error:
                raise _Ended from error
        raise _Ended

    def _snapshot_came(self) -> bool:
        incarnation = self.slow.incarnation
        return incarnation is not None and incarnation.raw is not None and incarnation.raw.raft.log.has_snapshot
