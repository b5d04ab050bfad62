"""One member of a simulated group of whole stores: the product's driver, log, keeper and store on simulated disks.

An `Incarnation` is one start of a member; its tasks become ghosts when it crashes, and reach nobody from then on. What
a member promised to others (votes, stored entries) is remembered and compared with its log when it starts again.
"""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import trio

from edgekube.raft.application import Settings
from edgekube.raft.config import ReadOnlyOption
from edgekube.raft.errors import StorageError
from edgekube.raft.messages import MSG_APP_RESP, MSG_VOTE_RESP, ConfState, Entry, HardState, Message
from edgekube.raft.rawnode import RawNode
from edgekube.raft.roles import CampaignType
from edgekube.raft.transport import Receiver
from edgekube.raft.wal import LogCorrupt, LogFull, Wal
from edgekube.raft.walindex import UNWRITTEN
from edgekube.store.api import KeyValue, ReadOnly, StoreError
from edgekube.store.command import UnknownCommand
from edgekube.store.disk import StoreCorrupt, StoreFailed
from edgekube.store.limits import Limits
from edgekube.store.opening import first_meta, run_replicated
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing import sim_machine
from edgekube.testing.raftnet import MemoryNetwork, MemoryTransport
from edgekube.testing.sim_database import SimDatabase
from edgekube.testing.sim_files import SimDisk
from edgekube.testing.sim_os import SimPath
from edgekube.testing.sim_trio import PROCESS, Process, seeded
from edgekube.testing.sim_upgrade import PROGRAM
from edgekube.testing.sim_world import SimulationFailed

if TYPE_CHECKING:
    from edgekube.testing.sim_store import StoreSimulation

TICK_S: Final = 0.03
SEGMENT_BYTES: Final = 16 * 1024
RESTART_MS: Final = 400.0  # after a process ended by itself

SMALL: Final = Limits(
    segment_size=SEGMENT_BYTES,
    segments_max=2,
    segments_kept_max=4,
    history_size_max=20_000,
    history_count_max=60,
    history_size_idle=0,
    history_age_kept=0.5,
    history_age_max=3.0,
)


class Promises:
    """What a member told others of its disk."""

    def __init__(self) -> None:
        self._votes: dict[int, int] = {}  # term -> for whom
        self._stored = (0, 0)  # the last term it acknowledged entries in, and up to where

    def sent(self, message: Message) -> None:
        """A message leaves the member."""
        if message.type == MSG_VOTE_RESP and not message.reject:
            self._votes[message.term] = message.to
        elif message.type == MSG_APP_RESP and not message.reject and message.index:
            self._stored = max(self._stored, (message.term, message.index))

    def check(self, member: int, state: HardState, last_index: int) -> None:
        """What the member finds when it starts. (Entries may have been replaced in a later term.)"""
        term = max((*self._votes, self._stored[0]), default=0)
        if state.term < term:
            raise SimulationFailed(f"member {member} promised something in term {term} and starts in {state.term}")
        if self._votes.get(state.term, state.vote) != state.vote:
            raise SimulationFailed(f"member {member} forgot its vote in term {term}: {state}")
        if state.term == self._stored[0] and last_index < self._stored[1]:
            raise SimulationFailed(f"member {member} said it stores {self._stored} and its log ends at {last_index}")


class Incarnation(Process):
    """One start of a member. `raw` is its core, once it was seen."""

    def __init__(self, member: "StoreMember") -> None:
        super().__init__(member.id)
        self.member = member
        self.version = member.installed
        self.scope = trio.CancelScope()
        self.random = MemberRandom(member.rng.getrandbits(60))
        self.random.incarnation = self
        self.raw: RawNode | None = None
        self.log: WatchedLog | None = None
        self.committed = 0
        self.conf_state = member.database.meta.conf_state
        self.conf_state_before = self.conf_state  # as of the entry before
        self.receiver: Receiver | None = None

    @property
    def form(self) -> int:
        """See `Program.form`."""
        return min(self.version, self.member.simulation.form)


class MemberRandom(random.Random):
    """The chance of one incarnation: the core that draws from it is its."""

    incarnation: Incarnation


class WatchedLog(Wal):
    """The log, whose entries the checks see."""

    def watch(self, incarnation: Incarnation) -> None:
        """From now on."""
        self._incarnation = incarnation
        incarnation.log = self

    @property
    def room(self) -> int:
        """Bytes that are left in the present segment."""
        return self._room()

    @property
    def durable_end(self) -> int:
        """The position up to which it is synced."""
        return self._synced

    def has_durable(self, index: int) -> bool:
        """Whether an entry is synced, or a snapshot stands for it."""
        known = self._index
        return index <= known.base or (index <= known.last and UNWRITTEN < known.position(index) < self._synced)

    def append(
        self,
        entries: Sequence[Entry] = (),
        hard_state: HardState | None = None,
        conf_state: ConfState | None = None,
    ) -> int:
        """See `Wal.append`."""
        incarnation = self._incarnation
        if entries and not incarnation.is_ghost:
            checks = incarnation.member.simulation.checks
            checks.appended(incarnation.number, entries, self.term(entries[0].index - 1))
        return super().append(entries, hard_state, conf_state)


class _Transport(MemoryTransport):
    """A member's end of the network: a ghost sends nothing, and what arrives while it stands still waits."""

    def __init__(self, network: MemoryNetwork, incarnation: Incarnation) -> None:
        super().__init__(network, incarnation.number)
        self._incarnation = incarnation

    async def run(self, receiver: Receiver) -> None:
        self._incarnation.receiver = receiver
        await super().run(_Gate(self._incarnation, receiver))

    def send(self, message: Message) -> None:
        incarnation = self._incarnation
        if not incarnation.is_ghost:
            incarnation.member.simulation.checks.sent(message)
            incarnation.member.promises.sent(message)
            super().send(message)

    async def request(self, peer: int, body: bytes) -> bytes:
        if self._incarnation.is_ghost:
            await trio.sleep_forever()
        return await super().request(peer, body)

    async def send_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        if self._incarnation.is_ghost:
            await trio.sleep_forever()
        await super().send_snapshot(peer, head, chunks)


class _Gate:
    """A receiver that answers when its process runs."""

    def __init__(self, incarnation: Incarnation, receiver: Receiver) -> None:
        self._incarnation = incarnation
        self._receiver = receiver

    @property
    def cluster_id(self) -> str:
        return self._receiver.cluster_id

    def receive(self, peer: int, message: Message) -> None:
        self._incarnation.deliver(lambda: self._receiver.receive(peer, message))

    def unreachable(self, peer: int) -> None:
        self._incarnation.deliver(lambda: self._receiver.unreachable(peer))

    async def answer(self, peer: int, request: bytes) -> bytes:
        await self._enter()
        return await self._receiver.answer(peer, request)

    async def take_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        await self._enter()
        await self._receiver.take_snapshot(peer, head, chunks)

    async def _enter(self) -> None:
        PROCESS.set(self._incarnation)
        PROGRAM.set(self._incarnation)
        await trio.lowlevel.checkpoint()


class StoreMember:
    """A member that can be started and crashed. `store` is None while it is down."""

    def __init__(self, number: int, simulation: "StoreSimulation", conf_state: ConfState) -> None:
        self.id = number
        self.simulation = simulation
        plan = simulation.plan
        self.rng = seeded(plan.seed, 104_729, number)
        self.files = SimDisk(self.rng, plan.disk)
        meta = first_meta(conf_state, {}, "sim" if conf_state.voters else "", self.rng)
        self.database = SimDatabase(meta, self.files)
        self.promises = Promises()
        self.installed = sim_machine.OLD  # the version it starts next
        self.removed = False
        self.rotten = False  # its log was damaged
        self.dead = False  # and it has noticed
        self.full = False  # its disk was full since it started
        self.store: ReplicatedStore | None = None
        self.incarnation: Incarnation | None = None
        self._stalled_until = 0.0
        self._drift = 1.0 + plan.drift * (self.rng.random() * 2 - 1)

    # -- as faults see it

    @property
    def disk_factor(self) -> float:
        """How much slower than usual the disk is."""
        return self.files.factor

    @disk_factor.setter
    def disk_factor(self, factor: float) -> None:
        self.files.factor = factor

    @property
    def disk_full(self) -> bool:
        """Whether nothing can grow."""
        return self.files.full

    @disk_full.setter
    def disk_full(self, full: bool) -> None:
        self.files.full = full
        self.full = self.full or full

    @property
    def stalled_until(self) -> float:
        """When it goes on; in the past when it does not stand still."""
        return self._stalled_until

    @stalled_until.setter
    def stalled_until(self, time: float) -> None:
        self._stalled_until = time
        incarnation, world = self.incarnation, self.simulation.world
        if incarnation is None:
            return
        if time > world.now:
            incarnation.stall()
            world.after(time - world.now, lambda: None if self._stalled_until > time else incarnation.resume())
        else:
            incarnation.resume()

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.store is not None

    @property
    def leads(self) -> bool:
        """Whether it believes to lead."""
        return self.store is not None and self.store.node.leads

    @property
    def term(self) -> int:
        """Its term."""
        return self.store.node.term if self.store is not None else 0

    @property
    def version(self) -> int:
        """The version that runs, or will."""
        return self.installed if self.incarnation is None else self.incarnation.version

    def stand(self) -> None:
        """Stand for election, without asking first whether it could win."""
        incarnation = self.incarnation
        if incarnation is not None:
            incarnation.deliver(self._stand)

    def _stand(self) -> None:
        if self.incarnation is not None and self.incarnation.raw is not None and self.store is not None:
            self.incarnation.raw.raft.hup(CampaignType.TRANSFER)
            self.store.node.wake()

    # -- life

    def start(self) -> None:
        """Start from what is on disk."""
        if self.incarnation is None and not self.dead:
            self.incarnation = Incarnation(self)
            self.full = self.disk_full
            self.simulation.nursery.start_soon(self._run, self.incarnation)

    async def _run(self, incarnation: Incarnation) -> None:
        PROCESS.set(incarnation)
        PROGRAM.set(incarnation)
        try:
            with incarnation.scope:
                await self._serve(incarnation)
        except (Exception, BaseExceptionGroup) as error:
            if not incarnation.is_ghost:
                self._ended(error)

    async def _serve(self, incarnation: Incarnation) -> None:
        simulation, plan, database = self.simulation, self.simulation.plan, self.database
        log = WatchedLog(
            SimPath(self.files, "log"),  # type: ignore[arg-type]
            identity=database.meta.identity,
            attested=database.meta.log_position,
            segment_size=SEGMENT_BYTES,
        )
        log.watch(incarnation)
        self.promises.check(self.id, log.initial_state()[0], log.last_index())
        held = log.entries(log.first_index(), log.last_index() + 1, 1 << 30)
        simulation.checks.appended(self.id, held, log.term(log.first_index() - 1))
        database.incarnation = incarnation
        simulation.checks.contents(self.id, database.meta.position.revision, database._rows)
        async with run_replicated(
            database,
            log,
            member=self.id,
            transport=_Transport(simulation.wires, incarnation),
            limits=SMALL,
            settings=Settings(
                tick_s=TICK_S * self._drift,
                heartbeat_ticks=2,
                election_ticks=8,
                read_only=ReadOnlyOption.LEASE_BASED if plan.lease else ReadOnlyOption.SAFE,
                append_size_max=max(plan.message_size, 200),
                inflight_max=plan.window,
            ),
            random=incarnation.random,
            promote=simulation.promotes,
        ) as store:
            if not incarnation.is_ghost:
                self.store = store
            await trio.sleep_forever()

    def _ended(self, error: BaseException) -> None:
        """The process ended by itself, which it may where its disk is at fault. Then somebody starts it again."""
        causes = list(_leaves(error))
        corrupt = any(isinstance(cause, LogCorrupt | StoreCorrupt) for cause in causes)
        broken = any(isinstance(cause, StoreFailed | StorageError) for cause in causes)
        early = any(isinstance(cause, UnknownCommand) for cause in causes)
        if early and self.simulation.hurried and self.version == sim_machine.OLD:
            self.installed = sim_machine.NEW
        elif self.rotten and (corrupt or broken):
            self.dead = corrupt
        elif not (self.files.failed and broken) and not (
            self.full and any(isinstance(cause, LogFull | ReadOnly | StoreFailed) for cause in causes)
        ):
            raise error
        self.simulation.world.note(5, self.id, corrupt)
        self.crash(power=False)
        if not self.dead:
            self.simulation.world.after(RESTART_MS, self.come_back)

    def come_back(self) -> None:
        """Start, if it is down and belongs to anybody."""
        if not self.removed:
            self.start()

    def crash(self, power: bool | None = None) -> None:
        """Lose power, or be killed: from now on nothing that the process still does reaches anybody."""
        incarnation, self.incarnation, self.store = self.incarnation, None, None
        if incarnation is None:
            return
        incarnation.die()
        wires = self.simulation.wires
        found = wires.at(self.id)
        if found is not None:
            wires.detach(self.id, found[0])
        if power is None:
            power = self.rng.random() < 0.6
        self.files = self.files.cut_power() if power else self.files.kill()
        self.database = self.database.crash(self.files)
        self.simulation.world.note(4, self.id, power)
        incarnation.scope.cancel()

    @property
    def works_under(self) -> ConfState | None:
        """The membership its core counts votes by."""
        raw = self.incarnation.raw if self.incarnation is not None else None
        return raw.raft.tracker.membership.conf_state() if raw is not None else None

    def rows(self) -> Mapping[bytes, KeyValue]:
        """Everything it holds."""
        assert self.store is not None
        return {kv.key: kv for kv in self.store.range(b"\x01", b"\xff")}


def _leaves(error: BaseException) -> "list[BaseException]":
    """All that went wrong, with causes."""
    found: list[BaseException] = []
    queue: list[BaseException] = [error]
    while queue:
        one = queue.pop()
        found.append(one)
        if isinstance(one, BaseExceptionGroup):
            queue.extend(one.exceptions)
        if isinstance(one, StoreError | StorageError) and one.__cause__ is not None:
            queue.append(one.__cause__)
    return found
