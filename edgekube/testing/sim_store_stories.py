"""Stories for whole stores, as `sim_scenarios` has for the core: a group of five is driven into corners."""

import random
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from edgekube.raft.walformat import FRAME_HEADER_BYTES
from edgekube.store.api import StoreError
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing import sim_rot
from edgekube.testing.sim_faults import Faults
from edgekube.testing.sim_plan import Fault
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

    def strike(self, fault: Fault) -> None:
        """See `Faults.strike`."""
        if fault.kind not in STORIES:
            super().strike(fault)
        elif not self.mended:
            self.world.note(0, int(fault.at))
            self._tell(STORIES[fault.kind], random.Random(fault.chances[0]))

    def _tell(self, story: "type[_Story]", rng: random.Random) -> None:
        leader = self.leader()
        if self._told or leader is None or leader.store is None or leader.store.members.changing:
            return
        others = [self.members[number] for number in leader.store.members.voters if number != leader.id]
        if len(others) != story.voters - 1 or not all(member.is_up for member in others):
            return
        rng.shuffle(others)

        async def task() -> None:
            self._told = True
            plot = story(self, leader, others, rng)
            try:
                await plot.run()
            except _Ended:
                pass
            finally:
                plot.let_go()
                self._told = False

        self.nursery.start_soon(task)


class _Ended(Exception):
    """The story did not go on."""


class _Story:
    voters = 5
    times = 2  # in one run
    pace = 3000.0  # milliseconds from one to the next
    lease = False  # whether leaders answer reads under a lease

    def __init__(self, stage: Stories, leader: StoreMember, others: list[StoreMember], rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
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
        self.leader.files.held = False
        self.leader.stalled_until = min(self.leader.stalled_until, self.stage.world.now)

    def cut(self, left: list[StoreMember], right: list[StoreMember], *, one_way: bool = False) -> list[tuple[int, int]]:
        links = [(a.id, b.id) for a in left for b in right]
        if not one_way:
            links += [(b.id, a.id) for a in left for b in right]
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

    def write(self, member: StoreMember, size: int = FILLER_BYTES, *, patience: float = 1.0) -> bytes:
        value = self.stage.storyteller.value(size)

        async def task() -> None:
            with trio.move_on_after(patience):
                await self.stage.storyteller.put(member, value)

        self.stage.nursery.start_soon(task)
        return value

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

    def has(self, member: StoreMember, value: bytes) -> bool:
        """Whether a write is among the last entries of a member's log."""
        log = self.log_of(member)
        end = log.last_index() + 1
        return any(value in entry.data for entry in log.entries(max(log.first_index(), end - 50), end, 1 << 30))

    async def elect(self, member: StoreMember) -> None:
        """Let a member that may win stand, and wait until it leads."""
        before = max(one.term for one in self.stage.up())
        member.stand()
        await self.until(lambda: member.leads and member.term > before)

    async def overtake(self, behind: StoreMember, ahead: StoreMember) -> list[tuple[int, int]]:
        """While a member is cut off, let the leader's log move on beyond its end."""
        everybody = [self.leader, self.slow, *self.others]
        apart = self.cut([behind], [member for member in everybody if member is not behind])
        log, last = self.log_of(ahead), self.log_of(behind).last_index()
        await self.fill(ahead, lambda: log.first_index() > last + 1)
        return apart

    @staticmethod
    def installed(member: StoreMember) -> int:
        """How many snapshots it has installed."""
        return member.store.node.statistics().snapshots_installed if member.store is not None else 0

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

    async def change(self, change: Callable[[ReplicatedStore], Awaitable[None]]) -> None:
        if self.leader.store is None:
            raise _Ended
        with trio.move_on_after(1):
            try:
                await change(self.leader.store)
                return
            except StoreError as error:
                raise _Ended from error
        raise _Ended

    def snapshot_came(self) -> bool:
        incarnation = self.slow.incarnation
        return incarnation is not None and incarnation.raw is not None and incarnation.raw.raft.log.has_snapshot


class HeldUp(_Story):
    """Entries of a lost leader wait for space, and behind them those that replace them; then the process is killed."""

    pace = 6000.0

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

    pace = 6000.0

    async def run(self) -> None:
        slow, leader = self.slow, self.leader
        slow.database.held = True
        await self.fill(leader, lambda: slow.store is not None and not slow.store.may_apply)
        number = self.stage.join()
        await self.change(lambda store: store.add_learner(number))
        waiting = self.last
        await self.until(lambda: self.committed >= waiting)
        apart = self.cut([slow], [leader, *self.others])
        await self.change(lambda store: store.remove(number))
        log = self.log_of(leader)
        await self.fill(leader, lambda: log.first_index() > self.last + 1)
        self.mend(apart)
        await self.until(self.snapshot_came)
        await trio.sleep(0.01)
        slow.database.held = False


class Restored(_Story):
    """A member that was sent a snapshot loses power before it writes anything else."""

    async def run(self) -> None:
        slow, log = self.slow, self.log_of(self.slow)
        last = log.last_index()
        self.mend(await self.overtake(slow, self.leader))
        await self.until(self.snapshot_came)
        apart = self.cut([slow], [self.leader, *self.others])
        await self.until(lambda: log.first_index() > last + 1 and not slow.files.busy)
        if slow.is_up:
            slow.crash(power=True)
            self.stage.world.after(50, slow.come_back)
        self.mend(apart)


class Outrun(_Story):
    """What a leader proposed is committed without it, and a snapshot overtakes that before it hears of it."""

    async def run(self) -> None:
        old, new = self.leader, self.slow
        deaf = self.cut([new, *self.others], [old], one_way=True)
        value = self.write(old, 10, patience=10.0)
        await self.until(lambda: self.has(new, value))
        before = self.installed(old)
        self.cut([old], [new, *self.others])
        await self.elect(new)
        self.mend(deaf)
        await self.overtake(old, new)
        self.mend(self._held)
        await self.until(lambda: self.installed(old) > before)
        await trio.sleep(0.3)


class Superseded(_Story):
    """The last writes of a lost leader, its own and a forwarded one, give way to its successor's at the same places."""

    async def run(self) -> None:
        old, asking, new = self.leader, self.slow, self.others[0]
        everybody = [asking, *self.others]
        self.cut([old], everybody, one_way=True)
        for member in (asking, old, old, old):
            value = self.write(member, 10)
            await self.until(lambda value=value: self.has(old, value))  # type: ignore[misc]
        self.cut([old], everybody)
        await self.elect(new)
        end = self.log_of(old).last_index()
        while self.log_of(new).last_index() <= end:
            value = self.write(new, 10)
            await self.until(lambda value=value: self.has(new, value))  # type: ignore[misc]
        await self.until(lambda: new.store is not None and new.store.node.commit > end)
        self.mend(self._held)
        await self.until(lambda: old.store is not None and old.store.node.commit > end)


class Unanswered(_Story):
    """A leader takes a forwarded write, and is lost before its answer arrives; its successor has the write."""

    async def run(self) -> None:
        old, asking, new = self.leader, self.slow, self.others[0]
        self.cut([old], [asking], one_way=True)
        value = self.write(asking, 10, patience=10.0)
        await self.until(lambda: self.has(new, value))
        self.cut([old], [asking, *self.others])
        await self.elect(new)
        await trio.sleep(0.3)


class BackAgain(_Story):
    """A forwarded write waits for a disk that hangs, while its leader is deposed and elected again."""

    async def run(self) -> None:
        leader, asking, rival = self.leader, self.slow, self.others[0]
        leader.files.held = True
        self.write(leader, 10)
        await self.until(lambda: leader.files.busy)
        value = self.write(asking, 10, patience=10.0)
        await self.until(lambda: self._waiting(value) == 1)
        apart = self.cut([rival], [asking, *self.others[1:]])
        term = leader.term
        rival.stand()
        await self.until(lambda: leader.term > term)
        await self.elect(leader)
        self.mend(apart)
        await self.until(lambda: self._waiting(value) == 2)
        leader.files.held = False
        await trio.sleep(0.3)

    def _waiting(self, value: bytes) -> int:
        """How often a write waits to be proposed."""
        store = self.leader.store
        if store is None:
            raise _Ended
        return sum(value in proposal.data for proposal in store.node._proposals._waiting)


class LeftAlone(_Story):
    """Of two one is removed, and is thrown away when that is confirmed; at once the other loses power."""

    voters = 2
    times = 1
    pace = 1000.0

    async def run(self) -> None:
        leader, gone = self.leader, self.slow
        await self.change(lambda store: store.remove(gone.id))
        gone.removed = True
        gone.crash()
        leader.crash(power=True)
        self.stage.world.after(50, leader.come_back)


class Torn(_Story):
    """One power cut after the other, each while something large is on its way to the disk."""

    async def run(self) -> None:
        slow = self.slow
        for _ in range(4):
            self.write(self.leader, 3000)
            await self.until(lambda: slow.files.busy)
            slow.crash(power=True)
            await trio.sleep(0.02)
            if not self.stage.mended:
                slow.come_back()
            with trio.move_on_after(1):
                while not slow.is_up:  # noqa: ASYNC110
                    await trio.sleep(0.01)


class Figure8(_Story):
    """The paper's figure 8: an entry of an old term reaches a quorum, and its leader is lost right after."""

    voters = 3

    async def run(self) -> None:
        old, rival, third = self.leader, self.slow, self.others[0]
        apart = self.cut([old], [rival, third])
        value = self.write(old, 400)  # more than goes into a message with something else
        await self.until(lambda: self.has(old, value))
        term = old.term
        rival.stand()
        await self.until(lambda: third.term > term)
        away = self.cut([rival], [third], one_way=True)
        await self.until(lambda: rival.leads and rival.term > term)
        away += self.cut([third], [rival], one_way=True)
        away += self.cut([old], [rival])
        self.mend(apart)
        await self.until(lambda: old.term > term and not old.leads)
        await self.elect(old)
        await self.until(lambda: self.has(third, value), every=0.1)
        self.cut([old], [third], one_way=True)
        await trio.sleep((2 * self.stage.plan.delay_max + 6 * self.stage.plan.disk) / 1000)
        self.cut([third], [old], one_way=True)
        self.mend(away[:2])
        await self.until(lambda: rival.term >= third.term)
        await self.elect(rival)


class Halted(_Story):
    """A leader with a lease stands still, another is elected and writes; then the first goes on and is asked."""

    voters = 3
    lease = True

    async def run(self) -> None:
        old, everybody = self.leader, [self.slow, *self.others]
        term = old.term
        self.cut([old], everybody)
        old.stalled_until = self.stage.world.now + STEP_MS
        await self.until(lambda: any(member.leads and member.term > term for member in everybody))
        new = next(member for member in everybody if member.leads and member.term > term)
        with trio.move_on_after(1):
            await self.stage.storyteller.put(new, self.stage.storyteller.value(10))
        self.stage.nursery.start_soon(self._read, old)
        await trio.sleep(0.001)
        old.stalled_until = self.stage.world.now
        await trio.sleep(0.3)

    async def _read(self, member: StoreMember) -> None:
        with trio.move_on_after(1):
            if member.is_up:
                await self.stage.storyteller.read(member)


class Rotten(_Story):
    """The newest part of a stored log is damaged while its member is down."""

    async def run(self) -> None:
        slow = self.slow
        slow.rotten = True
        slow.crash()
        sim_rot.damage(slow, self.rng, newest=True)
        self.stage.world.after(50, slow.come_back)


STORIES: Final[dict[str, type[_Story]]] = {
    "held-up": HeldUp,
    "overtaken": Overtaken,
    "restored": Restored,
    "outrun": Outrun,
    "superseded": Superseded,
    "unanswered": Unanswered,
    "back-again": BackAgain,
    "left-alone": LeftAlone,
    "rotten": Rotten,
    "torn": Torn,
    "figure-8": Figure8,
    "halted": Halted,
}
