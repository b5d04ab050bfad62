"""One simulated run of whole stores: the product's driver, log, keeper and watches under trio's virtual clock.

The log writes its real format onto simulated disks which lose power; the database is in memory, one commit at a time;
messages go through memory on simulated links. trio's scheduler is made deterministic, so a seed replays.
"""

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import trio
import trio.testing

from edgekube.raft import wal, walfiles
from edgekube.raft.application import Settings
from edgekube.raft.config import ReadOnlyOption
from edgekube.raft.messages import ConfState, Entry, Message
from edgekube.raft.node import RaftNode
from edgekube.raft.roles import CampaignType
from edgekube.raft.wal import Wal
from edgekube.store import command as commands
from edgekube.store.api import (
    Compacted,
    Delete,
    Fenced,
    FutureRevision,
    Guard,
    NotLeader,
    Put,
    ReadOnly,
    StoreError,
)
from edgekube.store.disk import IncomingState, Meta, Rows
from edgekube.store.kept import KeptState
from edgekube.store.limits import Limits
from edgekube.store.replicated import MembershipRefused, ReplicatedStore, first_meta, run_replicated
from edgekube.store.state import Outcome
from edgekube.testing.linearizability import Operation, Undecided, check
from edgekube.testing.memorydisk import MemoryDisk
from edgekube.testing.raftnet import MemoryNetwork
from edgekube.testing.sim_checks import Checks
from edgekube.testing.sim_clients import KEYS
from edgekube.testing.sim_faults import Faults
from edgekube.testing.sim_files import SimDisk, SimOs, SimPath
from edgekube.testing.sim_plan import Plan
from edgekube.testing.sim_world import Network, SimulationFailed, World

TICK_S: Final = 0.03
RECOVERY_S: Final = 12.0
SEGMENT_BYTES: Final = 16 * 1024
KINDS: Final = frozenset(
    {
        *("split", "isolate", "one-way", "bridge", "flap", "storm", "crash", "crash-many", "slow-disk", "full-disk"),
        *("change", "transfer", "contest", "churn"),
    }
)
"""The faults that strike here; the others are for members whose insides the simulation owns."""

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


class SimDatabase(MemoryDisk):
    """A database that a crash leaves as it was before or after the commit under way."""

    def __init__(self, meta: Meta, disk: SimDisk) -> None:
        super().__init__(meta)
        self.files = disk
        self._under_way: list[Callable[[SimDatabase], None]] = []

    def crash(self, disk: SimDisk) -> "SimDatabase":
        """What the next start finds."""
        twin = SimDatabase(self.meta, disk)
        twin._rows = dict(self._rows)
        for change in self._under_way:
            if disk.rng.random() < 0.5:
                change(twin)
        return twin

    async def _perform(self, change: "Callable[[SimDatabase], None]") -> None:
        self._under_way.append(change)
        with trio.CancelScope(shield=True):
            await self.files.perform(lambda: None)
        self._under_way.remove(change)
        change(self)

    async def commit(self, changes: Rows, meta: Meta) -> None:
        """See `Disk.commit`."""
        if self.files.full:
            await trio.lowlevel.checkpoint()
            raise ReadOnly("the simulated disk is full")
        kept = list(changes)

        def change(database: SimDatabase) -> None:
            for key, kv in kept:
                if kv is None:
                    database._rows.pop(key, None)
                else:
                    database._rows[key] = kv
            database.meta = msgspec.structs.replace(meta)

        await self._perform(change)

    async def install(self, incoming: IncomingState, meta: Meta, switched: Callable[[], None]) -> None:
        """See `Disk.install`."""
        rows = dict(incoming.rows)  # type: ignore[attr-defined]

        def change(database: SimDatabase) -> None:
            database._rows = dict(rows)
            database.meta = meta

        await self._perform(change)
        switched()


class StoreMember:
    """A member that can be started and crashed. `store` is None while it is down."""

    def __init__(self, number: int, simulation: "StoreSimulation", conf_state: ConfState) -> None:
        self.id = number
        self.simulation = simulation
        plan = simulation.plan
        self.rng = random.Random(plan.seed * 104_729 + number)
        self.files = SimDisk(self.rng, plan.disk)
        meta = first_meta(conf_state, {}, "sim" if conf_state.voters else "", self.rng)
        self.database = SimDatabase(meta, self.files)
        self.disk_factor_ = 1.0
        self.stalled_until = 0.0
        self.removed = False
        self.store: ReplicatedStore | None = None
        self.node: RaftNode | None = None
        self.committed = 0
        self._scope = trio.CancelScope()
        self._drift = 1.0 + plan.drift * (self.rng.random() * 2 - 1)

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

    def stand(self) -> None:
        """Stand for election, without asking first whether it could win."""
        if self.store is not None:
            self.store.node._raw.raft.hup(CampaignType.TRANSFER)
            self.store.node._process()

    def start(self) -> None:
        """Start from what is on disk."""
        self._scope = trio.CancelScope()
        self.simulation.nursery.start_soon(self._run, self._scope)

    async def _run(self, scope: trio.CancelScope) -> None:
        simulation = self.simulation
        plan = simulation.plan
        log: Any = Wal(
            SimPath(self.files, "log"),  # type: ignore[arg-type]
            identity=self.database.meta.identity,
            attested=self.database.meta.log_position,
            segment_size=SEGMENT_BYTES,
        )
        settings = Settings(
            tick_s=TICK_S * self._drift,
            heartbeat_ticks=2,
            election_ticks=8,
            read_only=ReadOnlyOption.LEASE_BASED if plan.lease else ReadOnlyOption.SAFE,
            append_size_max=max(plan.message_size, 200),
            inflight_max=plan.window,
        )
        # Whoever starts is known to the checks by its log, before its first entry is applied.
        simulation.by_log[id(log)] = self
        self.committed = 0
        with scope:
            async with run_replicated(
                self.database,
                log,
                member=self.id,
                transport=simulation.wires.transport(self.id),
                limits=SMALL,
                settings=settings,
                random=random.Random(self.rng.random()),
                promote=False,
            ) as store:
                if simulation.by_log.get(id(log)) is self:
                    self.store = store
                await trio.sleep_forever()

    def crash(self) -> None:
        """Lose power: from this instant on nothing that the process still does reaches anybody."""
        simulation = self.simulation
        for log in [log for log, member in simulation.by_log.items() if member is self]:
            del simulation.by_log[log]
        simulation.ghosts += 1
        self.store = None
        found = simulation.wires.at(self.id)
        if found is not None:
            simulation.wires.detach(self.id, found[0])
        self.files = self.files.cut_power()
        self.database = self.database.crash(self.files)
        simulation.epoch[self.id] = simulation.epoch.get(self.id, 0) + 1
        self._scope.cancel()


class TrioWorld(World):
    """The queue of events, driven by trio's clock."""

    def __init__(self) -> None:
        super().__init__()
        self._lot = trio.lowlevel.ParkingLot()

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """See `World.after`."""
        self.now = trio.current_time() * 1000
        super().after(delay, call)
        self._lot.unpark()

    async def run(self) -> None:
        """Task: let events happen when they are due."""
        while True:
            self.run_until(trio.current_time() * 1000)
            with trio.move_on_at(self._queue[0][0] / 1000 if self._queue else float("inf")):
                await self._lot.park()


class StoreSimulation(Faults[StoreMember]):
    """The state of one run; use `run_store`."""

    def __init__(self, plan: Plan, nursery: trio.Nursery) -> None:
        self.plan = plan
        self.nursery = nursery
        self.world: TrioWorld = TrioWorld()
        self.network = Network(
            self.world, plan.seed, loss=plan.loss, repeat=plan.repeat, delay_min=0.2, delay_max=plan.delay_max
        )
        self.wires = MemoryNetwork(route=self.route)
        self.checks = Checks(plan.seed)
        self.checks.begin(1, 1, 1)
        self.by_log: dict[int, StoreMember] = {}
        self.epoch: dict[int, int] = {}
        self.ghosts = 0
        self.history: list[Operation] = []
        self.seen = 0
        self.stopping = False
        self.rng = random.Random(plan.seed * 49_979_687)
        conf_state = ConfState(voters=tuple(range(1, plan.members + 1)))
        self.checks.switched(1, conf_state)
        self.members = {number: StoreMember(number, self, conf_state) for number in conf_state.voters}

    def route(self, sender: int, receiver: int, kind: str, thing: object) -> Sequence[float]:
        """When copies of something arrive."""
        network = self.network
        generator = network.generator(sender, receiver)
        if network.is_cut(sender, receiver) or generator.random() < network.loss:
            return ()
        copies = 1 + (generator.random() < network.repeat)
        if isinstance(thing, Message):
            self.world.now = trio.current_time() * 1000
            self.world.note(sender, receiver, thing.type, thing.term, thing.index)
        return [generator.uniform(network.delay_min, network.delay_max) / 1000 for _ in range(copies)]

    # -- what members tell, by the hooks of `watched`

    def member_of(self, log: object) -> StoreMember | None:
        """The member a log belongs to; None for a ghost."""
        return self.by_log.get(id(log))

    def processed(self, node: RaftNode) -> None:
        """A driver has done what its core wanted."""
        member = self.member_of(node._log)
        if member is None:
            return
        self.checks.role(member.id, node._raw)
        committed = node.commit
        if committed != member.committed:
            before, member.committed = member.committed, committed
            self.checks.commits(member.id, node._raw, before, committed)

    def applied(self, store: KeptState, entry: Entry, outcome: Outcome | None) -> None:
        """A store has applied an entry."""
        member = self.member_of(store._log)
        if member is None:
            return
        node = getattr(store, "_node", None)
        if outcome is not None and outcome.applied is not None:
            self.checks.changed(member.id, outcome.applied)
        committed = node.commit if node is not None else entry.index
        # The membership is compared where it changes.
        self.checks.applied(member.id, entry.index, committed, store._state.digest, ConfState())

    # -- users

    async def client(self, number: int) -> None:
        """Task: one operation after the other."""
        rng = random.Random(self.plan.seed * 15_485_863 + number)
        known: dict[bytes, int] = {}
        count = 0
        while not self.stopping:
            await trio.sleep(rng.expovariate(1000 / self.plan.think))
            up = self.up()
            if not up:
                continue
            member = rng.choice(up)
            store = member.store
            assert store is not None
            epoch = self.epoch.get(member.id, 0)
            count += 1
            call = trio.current_time()
            with trio.move_on_after(1.0):
                if rng.random() < 0.4:
                    keys = tuple(rng.sample(KEYS, rng.choice((1, 1, 3))))
                    with contextlib.suppress(StoreError):
                        await store.read_barrier()
                        if self.epoch.get(member.id, 0) != epoch:
                            continue
                        seen = tuple((key, store.get(key)) for key in keys)
                        known.update({key: kv.mod_revision if kv else 0 for key, kv in seen})
                        self.history.append(
                            Operation(
                                client=number,
                                call=call,
                                back=trio.current_time(),
                                reads=keys,
                                revision=store.revision,
                                seen=seen,
                            )
                        )
                    continue
                await self._write(rng, number, count, member, known, epoch)

    async def _write(
        self, rng: random.Random, number: int, count: int, member: StoreMember, known: dict[bytes, int], epoch: int
    ) -> None:
        store = member.store
        assert store is not None
        chosen = rng.sample(KEYS, rng.choice((1, 1, 1, 2)))
        ops = tuple(
            Delete(key) if rng.random() < 0.15 else Put(key, b"%d.%d/%d" % (number, count, n))
            for n, key in enumerate(chosen)
        )
        guards = tuple(Guard(key, known.get(key, 0)) for key in chosen) if rng.random() < 0.5 else ()
        fence = store.term if rng.random() < 0.1 else 0
        call = trio.current_time()
        back: float | None = None
        result = None
        try:
            result = await store.txn(guards, ops, term=fence)
            if self.epoch.get(member.id, 0) == epoch:
                back = trio.current_time()
        except (NotLeader, Fenced, ReadOnly):
            if self.epoch.get(member.id, 0) == epoch:
                return  # it surely did not happen
        except StoreError:
            pass
        finally:
            ok = back is not None and result is not None
            self.history.append(
                Operation(
                    client=number,
                    call=call,
                    back=back,
                    guards=guards,
                    ops=ops,
                    succeeded=not ok or (result is not None and result.succeeded),
                    revision=result.revision if ok and result is not None else 0,
                    seen=result.failed if ok and result is not None else (),
                )
            )
        if back is not None and result is not None:
            known.update({key: kv.mod_revision if kv else 0 for key, kv in result.failed})
            if result.succeeded:
                known.update({op.key: result.revision for op in ops if isinstance(op, Put)})

    async def watcher(self, number: int, start: bytes, end: bytes) -> None:
        """Task: follow a range, at one member after the other."""
        rng = random.Random(self.plan.seed * 32_452_843 + number)
        after = 1
        while True:
            await trio.sleep(rng.expovariate(20))
            up = self.up()
            if not up:
                continue
            member = rng.choice(up)
            store = member.store
            assert store is not None
            epoch = self.epoch.get(member.id, 0)
            try:
                async with store.watch(start, end, after=after, batch_max=rng.choice((1, 3, 500))) as watch:
                    with trio.move_on_after(rng.expovariate(1)):
                        while True:
                            batch = await watch.next()
                            if self.epoch.get(member.id, 0) != epoch:
                                break
                            after = self.checks.handed(start, end, after, batch)
                            self.seen += len(batch)
                    if self.epoch.get(member.id, 0) == epoch:
                        self.checks.progressed(start, end, after, watch.progress)
            except Compacted:
                if self.epoch.get(member.id, 0) == epoch and store.revision >= after:
                    self.compare(member)
                    after = store.revision
            except (FutureRevision, StoreError):
                pass

    def compare(self, member: StoreMember) -> None:
        """The whole content of a member."""
        store = member.store
        assert store is not None
        found = {kv.key: kv for kv in store.range(b"\x01", b"\xff")}
        self.checks.contents(member.id, store.revision, found)

    # -- membership

    def _background(self, call: Callable[[], Awaitable[object]]) -> None:
        async def task() -> None:
            with trio.move_on_after(3):
                try:
                    await call()
                except StoreError:
                    pass

        self.nursery.start_soon(task)

    def _change(self, up: list[StoreMember], what: float, whom: float, how: float) -> None:
        leader = self.leader()
        if leader is None or leader.store is None:
            return
        store = leader.store
        members = store.members
        voters, learners = members.voters, members.learners
        if not voters:
            return
        if learners and what < 0.4:
            self._background(lambda: store.promote(*learners))
        elif len(voters) + len(learners) < 6 and what < 0.7:
            number = max(self.members) + 1
            self.members[number] = joining = StoreMember(number, self, ConfState())
            joining.start()
            self._background(lambda: store.add_learner(number))
        elif len(voters) > 1:
            victim = voters[int(whom * len(voters))]
            self._background(lambda: store.remove(victim))

    def _transfer(self, up: list[StoreMember], whom: float, how: float, span: float) -> None:
        leader = self.leader()
        if leader is not None and leader.store is not None:
            with contextlib.suppress(NotLeader, MembershipRefused):
                leader.store.transfer_leader(up[int(whom * len(up))].id)

    def administer(self) -> None:
        """Stop those that were removed."""
        self.world.after(200, self.administer)
        for number in self.checks.removed:
            member = self.members[number]
            if not member.removed:
                member.removed = True
                if member.is_up:
                    member.crash()

    # -- the run

    async def play(self) -> None:
        """The run, with all checks."""
        nursery, plan = self.nursery, self.plan
        nursery.start_soon(self.world.run)
        nursery.start_soon(self.wires.run)
        for member in self.members.values():
            member.start()
        for number in range(plan.clients):
            nursery.start_soon(self.client, number)
        nursery.start_soon(self.watcher, 1, b"/k/", b"/k0")
        nursery.start_soon(self.watcher, 2, KEYS[1], KEYS[4])
        for fault in plan.faults:
            if fault.kind in KINDS:
                self.world.after(fault.at, lambda fault=fault: self.strike(fault))  # type: ignore[misc]
        self.world.after(200, self.administer)
        await trio.sleep(plan.duration / 1000)
        self.stopping = True
        self.mend_world()
        await trio.sleep(1)
        for member in self.members.values():
            # A store that met a full disk in its database stays read-only until it is started again.
            if member.store is not None and member.store.read_only:
                member.crash()
            if not member.is_up and not member.removed:
                member.start()
        await trio.sleep(RECOVERY_S)
        leader = self.leader()
        if leader is None or leader.store is None:
            raise SimulationFailed(f"no leader {RECOVERY_S} s after everything was mended: {self.describe()}")
        with trio.move_on_after(RECOVERY_S):
            try:
                await leader.store.txn((), (Put(b"/k/end", b"end"),))
            except StoreError as error:
                raise SimulationFailed(f"no write after everything was mended: {error!r} {self.describe()}") from error
        await trio.sleep(RECOVERY_S)
        members = leader.store.members
        for number in sorted({*members.voters, *members.learners}):
            member = self.members[number]
            if member.store is None or member.store.revision != leader.store.revision:
                raise SimulationFailed(f"member {number} has not caught up: {self.describe()}")
            self.compare(member)

    def describe(self) -> str:
        """The members in one line each."""
        lines = []
        for member in self.members.values():
            if member.store is None:
                lines.append(f"{member.id}: down, removed={member.removed}")
                continue
            status = member.store.node.status()
            lines.append(
                f"{member.id}: {status.soft_state} {status.hard_state} applied={status.applied} "
                f"last={status.last_index} {status.membership} read_only={member.store.read_only!r}"
            )
        return "\n  ".join(["", *lines])


@contextlib.contextmanager
def watched(simulation_of: Callable[[], StoreSimulation | None], rng: random.Random) -> Iterator[None]:
    """Replace files, threads and chance by simulated ones, and listen to what every driver and store does."""
    before: list[tuple[Any, str, Any]] = []

    def patch(owner: Any, name: str, value: Any) -> None:
        before.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    sim_os = SimOs(rng)
    process, apply_entry = RaftNode._process, KeptState._apply_entry

    def processing(self: RaftNode) -> None:
        process(self)
        simulation = simulation_of()
        if simulation is not None:
            simulation.processed(self)

    def applying(self: KeptState, entry: Entry, command: commands.Command | None, now: float) -> Outcome | None:
        outcome = apply_entry(self, entry, command, now)
        simulation = simulation_of()
        if simulation is not None:
            simulation.applied(self, entry, outcome)
        return outcome

    async def run_sync(call: Callable[..., Any], *args: Any, limiter: Any = None, **_: Any) -> Any:
        owner = getattr(call, "__self__", None)
        disk = sim_os.disk_of(args[0][0][0]) if owner is None else owner._path.disk
        return await disk.perform(lambda: call(*args))

    run = trio._core._run
    patch(wal, "os", sim_os)
    patch(walfiles, "os", sim_os)
    patch(RaftNode, "_process", processing)
    patch(KeptState, "_apply_entry", applying)
    patch(trio.to_thread, "run_sync", run_sync)
    patch(run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    state = run._r.getstate()
    run._r.seed(rng.random())
    try:
        yield
    finally:
        run._r.setstate(state)
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


class StoreReport(msgspec.Struct, frozen=True):
    """What came of a run. `failure` is empty when every promise held; `digest` identifies the trace."""

    plan: Plan
    failure: str
    digest: int
    operations: int
    revisions: int
    watched: int
    undecided: bool


def run_store(plan: Plan) -> StoreReport:
    """Play a plan with whole stores and judge it."""
    current: list[StoreSimulation] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            current.append(StoreSimulation(plan, nursery))
            await current[0].play()
            current[0].by_log.clear()
            nursery.cancel_scope.cancel()

    failure, undecided = "", False
    with watched(lambda: current[0] if current else None, random.Random(plan.seed)):
        try:
            trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
        except BaseException as error:  # whatever goes wrong in the code under test is what a simulation looks for
            if isinstance(error, KeyboardInterrupt):
                raise
            failure = _told(error)
    simulation = current[0]
    if not failure:
        try:
            failure = check(simulation.history) or ""
        except Undecided:
            undecided = True
    return StoreReport(
        plan,
        failure,
        simulation.world.digest,
        len(simulation.history),
        simulation.checks.revision,
        simulation.seen,
        undecided,
    )


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = next((one for one in error.exceptions if not isinstance(one, trio.Cancelled)), error.exceptions[0])
    return f"{type(error).__name__}: {error}"
