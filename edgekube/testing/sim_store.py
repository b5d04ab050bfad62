"""One simulated run of whole stores: the product's driver, log, keeper, forwarding and watches, from one plan.

The log writes its real format onto simulated disks that tear, fill up, fail and rot; the database is in memory, one
commit at a time; messages go through memory on simulated links. `sim_trio` makes the scheduler a function of the seed,
so `run_store` is a function of its plan. At the end everything is mended and the group must find back.
"""

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec
import trio

from edgekube.raft.messages import ConfState, Message
from edgekube.store import snapshots
from edgekube.store.api import NotLeader, Put, StoreError
from edgekube.store.membership import Members, MembershipRefused
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing import sim_machine, sim_rot
from edgekube.testing.linearizability import Operation, Undecided, check
from edgekube.testing.raftnet import MemoryNetwork
from edgekube.testing.sim_checks import Checks
from edgekube.testing.sim_clients import KEYS
from edgekube.testing.sim_os import simulate_files
from edgekube.testing.sim_plan import Fault, Plan, make_aimed_plan, make_plan
from edgekube.testing.sim_store_clients import StoreClient, StoreWatcher
from edgekube.testing.sim_store_member import StoreMember
from edgekube.testing.sim_store_stories import STORIES, Stories
from edgekube.testing.sim_store_watch import watch_everything
from edgekube.testing.sim_trio import deterministic, run, seeded
from edgekube.testing.sim_upgrade import simulate_versions
from edgekube.testing.sim_world import Network, SimulationFailed, World

RECOVERY_S: Final = 30.0  # after which a mended group must be well at the latest
MEMBERS_MAX: Final = 6
CONFIGURATIONS_MAX: Final = 20_000
"""Of the judge of histories. It seldom decides those with many unknown outcomes; the checks' record always does."""

SNAPSHOT_PAGE_KEYS: Final = 2
SNAPSHOT_CHUNK_S: Final = 0.03
"""So few keys, and so long a link is busy with them, that writes go on while a snapshot is read."""

_ADMIN_PAUSE: Final = 200.0

STORE_FAULTS: Final[dict[str, int]] = {
    "split": 4,
    "isolate": 3,
    "one-way": 3,
    "bridge": 1,
    "flap": 2,
    "storm": 2,
    "crash": 6,
    "crash-many": 2,
    "stall": 3,
    "slow-disk": 2,
    "full-disk": 2,
    "bad-disk": 2,  # a sync fails
    "rot": 1,
    "change": 5,
    "transfer": 2,
    "campaign": 2,
    "contest": 3,
    "churn": 3,
}


AIMED_EVERY: Final = 5
"""One of so many plans tells a story."""
UPGRADES_EVERY: Final = 10
"""During one of so many others the members are upgraded."""


def make_story_plan(seed: int, name: str) -> Plan:
    """The plan of a seed that tells one story."""
    story = STORIES[name]
    duration = 2000.0 + story.times * story.pace
    plan = make_aimed_plan(seed, name, count=story.times, members=story.voters, duration=duration)
    if story.lease:
        return msgspec.structs.replace(plan, lease=True, check_quorum=True)
    return msgspec.structs.replace(plan, message_size=0) if name == "figure-8" else plan


def make_store_plan(seed: int) -> Plan:
    """The plan of a seed, of faults that strike here."""
    if seed % AIMED_EVERY == AIMED_EVERY - 1:
        return make_story_plan(seed, tuple(STORIES)[seed // AIMED_EVERY % len(STORIES)])
    # The product's leader notices when it stood still, and takes the time off its lease.
    plan = make_plan(seed, STORE_FAULTS, lease_excludes=("contest", "churn"))
    return _with_upgrades(plan) if seed % UPGRADES_EVERY == UPGRADES_EVERY // 2 else plan


def _with_upgrades(plan: Plan) -> Plan:
    rng = seeded(plan.seed, 86_028_121)
    times = [rng.uniform(0.1, 0.7) * plan.duration for _ in range(rng.randrange(1, 6))]
    upgrades = [Fault(round(at, 3), "upgrade", (rng.random(), rng.random(), rng.random())) for at in times]
    return msgspec.structs.replace(plan, faults=tuple(sorted((*plan.faults, *upgrades), key=lambda fault: fault.at)))


class TrioWorld(World):
    """The queue of events, driven by trio's clock."""

    def __init__(self) -> None:
        super().__init__()
        self._lot = trio.lowlevel.ParkingLot()

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """See `World.after`."""
        self.now = max(self.now, trio.current_time() * 1000)
        super().after(delay, call)
        self._lot.unpark()

    def note(self, *fact: int) -> None:
        """See `World.note`."""
        self.now = max(self.now, trio.current_time() * 1000)
        super().note(*fact)

    async def run(self) -> None:
        """Task: let events happen when they are due."""
        while True:
            self.run_until(max(self.now, trio.current_time() * 1000) + 1e-6)
            with trio.move_on_at(self._queue[0][0] / 1000 if self._queue else float("inf")):
                await self._lot.park()


class StoreSimulation(Stories):
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
        self.history: list[Operation] = []
        self.stopping = False
        self.hurried = False  # commands are written in a form that not all read
        self._released: set[int] = set()  # removed, as a leader has confirmed
        self._written = False  # after everything was mended
        self.rng = seeded(plan.seed, 49_979_687)
        self.promotes = self.rng.random() < 0.5
        self.replaces = any(fault.kind in ("rot", "rotten") for fault in plan.faults)
        conf_state = ConfState(voters=tuple(range(1, plan.members + 1)))
        self.checks.switched(1, conf_state)
        self.members = {number: StoreMember(number, self, conf_state) for number in conf_state.voters}
        self.clients = [StoreClient(number, self) for number in range(plan.clients)]
        self.watchers = [
            StoreWatcher(1, self, b"/k/", b"/k0"),
            StoreWatcher(2, self, KEYS[1], KEYS[4]),
        ]
        self.storyteller = StoreClient(plan.clients + 1, self)
        # New leaders are asked at once, before they know what is committed.
        self._visitor = StoreClient(plan.clients, self)
        self.checks.on_leader = lambda number: self.world.after(self.rng.random() * 3, lambda: self._visit(number))

    def route(self, sender: int, receiver: int, kind: str, thing: object) -> Sequence[float]:
        """When copies of something arrive."""
        network = self.network
        generator = network.generator(sender, receiver)
        if isinstance(thing, Message):
            self.world.note(1, sender, receiver, thing.type, thing.term, thing.index, thing.commit)
        else:
            self.world.note(2, sender, receiver, len(kind))
        if network.is_cut(sender, receiver) or generator.random() < network.loss:
            if kind == "message" and generator.random() < 0.1:
                self.world.after(network.delay_max, lambda: self._lost(sender, receiver))
            return ()
        copies = 1 + (generator.random() < network.repeat)
        delays = [generator.uniform(network.delay_min, network.delay_max) / 1000 for _ in range(copies)]
        if generator.random() < 0.02:
            delays[0] *= 10  # overtaken by many
        if kind == "snapshot":
            delays[0] += generator.uniform(0, SNAPSHOT_CHUNK_S)
        return delays

    def _lost(self, sender: int, receiver: int) -> None:
        found = self.wires.at(sender)
        if found is not None:
            found[0].unreachable(receiver)

    def running(self) -> list[StoreMember]:
        """Members that run and do not stand still."""
        return [member for member in self.up() if member.stalled_until <= self.world.now]

    def _visit(self, number: int) -> None:
        async def task() -> None:
            with trio.move_on_after(1):
                await self._visitor.read(self.members[number])

        if self.members[number].store is not None and not self.stopping:
            self.nursery.start_soon(task)

    # -- what only strikes here

    def _stall(self, up: list[StoreMember], whom: float, how: float, span: float) -> None:
        leader = self.leader()
        victim = leader if leader is not None and how < 0.5 else up[int(whom * len(up))]
        pause = 50 + span * 1500
        victim.stalled_until = self.world.now + pause
        if victim is leader:  # whoever asks it meanwhile is answered when it goes on
            for n in range(1, 4):
                self.world.after(n * pause / 4, lambda: self._visit(victim.id))

    def crash(self, victim: StoreMember, pause: float) -> None:
        """See `Faults.crash`. Half of the crashes wait a moment for something to be on its way to the disk."""
        self._crash_when_busy(victim, pause, 100 if self.rng.random() < 0.5 else 0)

    def _crash_when_busy(self, victim: StoreMember, pause: float, looks: int) -> None:
        if looks and victim.is_up and not victim.files.busy:
            self.world.after(0.5, lambda: self._crash_when_busy(victim, pause, looks - 1))
        else:
            super().crash(victim, pause)

    def _bad_disk(self, up: list[StoreMember], whom: float, how: float, span: float) -> None:
        up[int(whom * len(up))].files.failing = True

    def _rot(self, up: list[StoreMember], whom: float, how: float, span: float) -> None:
        """Only where the rest can go on without it for ever."""
        victim = up[int(whom * len(up))]
        rotten = {number for number, member in self.members.items() if member.rotten} | {victim.id}
        for member in self.members.values():
            state = member.database.meta.conf_state if member.store is None else member.store.conf_state
            for voters in (state.voters, state.voters_outgoing):
                if voters and len(set(voters) - rotten) <= len(voters) // 2:
                    return
        victim.rotten = True
        super().crash(victim, 20 + span * 300)
        sim_rot.damage(victim, random.Random(how))

    def _campaign(self, up: list[StoreMember], whom: float, how: float, span: float) -> None:
        member = up[int(whom * len(up))]
        if member.incarnation is not None and member.store is not None:
            member.incarnation.deliver(member.store.node.campaign)

    def _transfer(self, up: list[StoreMember], whom: float, how: float, span: float) -> None:
        leader = self.leader()
        if leader is not None and leader.store is not None:
            with contextlib.suppress(NotLeader, MembershipRefused):
                leader.store.transfer_leader(up[int(whom * len(up))].id)

    # -- versions

    @property
    def form(self) -> int:
        """The version in whose form commands may be written: the oldest that anybody runs, or the next in a hurry."""
        if self.hurried:
            return sim_machine.NEW
        return min(one.version for one in self.members.values() if not (one.removed or one.dead))

    def _upgrade(self, up: list[StoreMember], hurry: float, how: float, span: float) -> None:
        """One more member, or each, restarts with the next version."""
        for member in up:
            if member.installed == sim_machine.OLD:
                member.installed = sim_machine.NEW
                self.crash(member, 20 + span * 300)
                if how < 0.7:
                    break
        self.hurried = self.hurried or hurry < 0.4

    # -- membership

    def _background(self, call: Callable[[], Awaitable[object]]) -> None:
        async def task() -> None:
            with trio.move_on_after(3):
                try:
                    await call()
                except StoreError:
                    pass

        self.nursery.start_soon(task)

    def _remove(self, store: ReplicatedStore, number: int) -> None:
        async def remove() -> None:
            await store.remove(number)
            self._released.add(number)

        self._background(remove)

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
            chosen = learners if how < 0.5 else learners[:1]
            self._background(lambda: store.promote(*chosen))
        elif learners and what < 0.5:
            self._remove(store, learners[0])
        elif len(voters) + len(learners) < MEMBERS_MAX and what < 0.75:
            number = self.join()
            self._background(lambda: store.add_learner(number))
        elif len(voters) > 1:
            victim = voters[int(whom * len(voters))]
            self._remove(store, victim)

    def join(self) -> int:
        """Start a member that has nothing yet."""
        number = max(self.members) + 1
        self.members[number] = StoreMember(number, self, ConfState())
        self.members[number].installed = max(one.installed for one in self.members.values())
        self.members[number].start()
        return number

    def _applied(self, number: int) -> int:
        member = self.members[number]
        if member.dead:
            return self.checks.membership[0]  # it will not come back
        return member.store.applied if member.store is not None else 0

    def administer(self) -> None:
        """What an operator sees to: replace the dead, stop the removed."""
        self.world.after(_ADMIN_PAUSE, self.administer)
        for number in sorted(self.checks.removed(self._applied) & self._released):
            member = self.members[number]
            if not member.removed and self.rng.random() < 0.3:
                member.removed = True
                member.crash()
        leader = self.leader()
        if self.replaces and leader is not None and leader.store is not None and leader in self.running():
            self._replace(leader, leader.store.members)

    def _replace(self, leader: StoreMember, members: Members) -> None:
        store = leader.store
        assert store is not None
        dead = next((number for number in (*members.voters, *members.learners) if self.members[number].dead), 0)
        if dead:
            self._remove(store, dead)
            return
        if members.learners:
            self._background(lambda: store.promote(*members.learners))
        elif len(members.voters) < self.plan.members:
            joining = next((n for n, one in self.members.items() if n not in self.checks.members), 0) or self.join()
            self._background(lambda: store.add_learner(joining))

    # -- the run

    async def play(self) -> None:
        """The run, with all checks."""
        nursery, plan = self.nursery, self.plan
        nursery.start_soon(self.world.run)
        nursery.start_soon(self.wires.run)
        for member in self.members.values():
            member.start()
        for task in (*[client.run for client in self.clients], *[watcher.run for watcher in self.watchers]):
            nursery.start_soon(task)
        for fault in plan.faults:
            self.world.after(fault.at, lambda fault=fault: self.strike(fault))  # type: ignore[misc]
        self.world.after(_ADMIN_PAUSE, self.administer)
        await trio.sleep(plan.duration / 1000)
        self.stopping = True
        self.mend()
        await self._recover()

    def mend(self) -> None:
        """No more faults; whoever can comes back."""
        self.mend_world()
        for member in self.members.values():
            member.files.failing = False
            # A store that met a full disk in its database stays read-only until it is started again.
            if member.store is not None and member.store.read_only:
                member.crash()
            if not member.removed:
                member.start()

    async def _recover(self) -> None:
        """The mended group elects a leader, takes a write and agrees on every key."""
        complaint = "not yet asked"
        with trio.move_on_after(RECOVERY_S):
            while complaint:
                await trio.sleep(0.3)
                complaint = await self._complaint()
        if complaint:
            raise SimulationFailed(f"{complaint} {RECOVERY_S} s after everything was mended: {self.describe()}")
        for member in self.up():
            if member.store is not None and member.store.diverged:
                raise SimulationFailed(f"member {member.id} believes to have diverged: {member.store.diverged}")

    async def _complaint(self) -> str:
        """What the mended group lacks."""
        leader = self.leader()
        if leader is None or leader.store is None or not leader.store.term:
            return "no leader"
        if not self._written:
            try:
                with trio.move_on_after(3):
                    await leader.store.txn((), (Put(b"/k/end", b"%f" % trio.current_time()),))
                    self._written = True
            except StoreError as error:
                return f"no write: {error!r}"
        return self._differ(leader) if self._written else "no write"

    def _differ(self, leader: StoreMember) -> str:
        """Who has not caught up with the leader."""
        if leader.store is None:
            return "no leader"
        members = leader.store.members
        if members.changing:
            return "a joint membership"
        for number in sorted({*members.voters, *members.learners}):
            member = self.members[number]
            if member.dead:
                continue
            if member.store is None or member.store.applied != leader.store.applied:
                return f"member {number} has not caught up"
            self.checks.contents(number, member.store.revision, member.rows())
            if member.works_under != member.store.conf_state:
                raise SimulationFailed(
                    f"member {number} works under {member.works_under}, and its store has {member.store.conf_state}"
                )
        return ""

    def describe(self) -> str:
        """The members in one line each."""
        lines = []
        for member in self.members.values():
            if member.store is None:
                lines.append(f"{member.id}: down, removed={member.removed} dead={member.dead}")
                continue
            status = member.store.node.status()
            lines.append(
                f"{member.id}: {status.soft_state} {status.hard_state} applied={status.applied} "
                f"last={status.last_index} {status.membership} read_only={member.store.read_only!r}"
            )
        return "\n  ".join(["", *lines])


class StoreReport(msgspec.Struct, frozen=True):
    """What came of a run. `failure` is empty when every promise held; `digest` identifies the trace."""

    plan: Plan
    failure: str
    digest: int
    events: int
    operations: int
    revisions: int
    watched: int
    elections: int
    undecided: bool
    trace: tuple[str, ...]


@contextlib.contextmanager
def simulated(seed: int) -> Iterator[None]:
    """While entered, trio and the log run in simulation."""
    with deterministic(seed) as patches:
        simulate_files(patches, seeded(seed, 1))
        watch_everything(patches)
        simulate_versions(patches)
        patches.set(snapshots, "PAGE_COUNT", SNAPSHOT_PAGE_KEYS)
        yield


def run_store(plan: Plan) -> StoreReport:
    """Play a plan with whole stores and judge it."""
    current: list[StoreSimulation] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            current.append(StoreSimulation(plan, nursery))
            try:
                await current[0].play()
            finally:  # whoever stands still must go on to end
                for member in current[0].members.values():
                    if member.incarnation is not None:
                        member.incarnation.die()
            nursery.cancel_scope.cancel()

    failure, undecided = "", False
    with simulated(plan.seed):
        try:
            run(main)
        except BaseException as error:  # whatever goes wrong in the code under test is what a simulation looks for
            if isinstance(error, KeyboardInterrupt):
                raise
            failure = told(error)
    simulation = current[0]
    world = simulation.world
    if not failure:
        try:
            for operation in simulation.history:
                simulation.checks.agrees(operation)
            failure = check(simulation.history, configurations_max=CONFIGURATIONS_MAX) or ""
        except Undecided:
            undecided = True
        except SimulationFailed as error:
            failure = told(error)
    return StoreReport(
        plan,
        failure,
        world.digest,
        world.events,
        len(simulation.history),
        simulation.checks.revision,
        sum(watcher.seen for watcher in simulation.watchers),
        simulation.checks.elections,
        undecided,
        tuple(f"{at:.1f} {fact}" for at, fact in world.trace) if failure else (),
    )


def told(error: BaseException) -> str:
    """What went wrong, without what was cancelled on the way."""
    while isinstance(error, BaseExceptionGroup):
        error = next((one for one in error.exceptions if not isinstance(one, trio.Cancelled)), error.exceptions[0])
    if isinstance(error, trio.TrioInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
