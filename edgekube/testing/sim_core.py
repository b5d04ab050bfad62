"""One simulated run of a group: members, network, clients, watchers and faults, all from one plan.

`run` is a function of its plan: the same plan gives the same trace digest. At the end of the faults everything is
mended and the group must find back: elect a leader, take a write, and agree on every key.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from edgekube.raft.confchange import ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.raft.errors import ProposalDroppedError, RaftProtocolError
from edgekube.raft.messages import ConfState
from edgekube.raft.tracker import Membership
from edgekube.store import command as commands
from edgekube.store.api import Put
from edgekube.store.state import REVISION_FIRST, Outcome
from edgekube.testing import sim_machine
from edgekube.testing.linearizability import Operation, Undecided, check
from edgekube.testing.sim_checks import Checks
from edgekube.testing.sim_clients import KEYS, TIMEOUT, Client, Group, Watcher
from edgekube.testing.sim_member import Member
from edgekube.testing.sim_plan import Plan
from edgekube.testing.sim_scenarios import Scenarios
from edgekube.testing.sim_storage import FIRST_INDEX
from edgekube.testing.sim_world import Network, SimulationFailed, World

MEMBERS_MAX: Final = 7
RECOVERY: Final = 9_000.0  # virtual milliseconds after which a mended group must be well at the latest
_LOOK_PAUSE: Final = 250.0
_WRITE_PAUSE: Final = 1_500.0
_ADMIN_PAUSE: Final = 200.0


class Report(msgspec.Struct, frozen=True):
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


class Simulation(Scenarios):
    """The state of one run; use `run`."""

    def __init__(self, plan: Plan, make: Callable[..., Member] = Member) -> None:
        self.plan = plan
        self.make = make
        self.world = World()
        self.network = Network(
            self.world, plan.seed, loss=plan.loss, repeat=plan.repeat, delay_min=0.2, delay_max=plan.delay_max
        )
        self.checks = Checks(plan.seed)
        self.checks.begin(FIRST_INDEX, 1, REVISION_FIRST)
        self.members: dict[int, Member] = {}
        self.group = Group(self.world, self.network, self.members)
        self.rng = random.Random(plan.seed * 49_979_687)
        conf_state = ConfState(voters=tuple(range(1, plan.members + 1)))
        self.checks.switched(FIRST_INDEX, conf_state)
        for number in conf_state.voters:
            self.add(number).storage.begin(conf_state)
        for member in list(self.members.values()):
            member.start()
        self._last_writes: list[Outcome | None] = []
        self._write_again = 0.0
        self.history: list[Operation] = []
        self.clients = [Client(number, plan, self.group, self.history) for number in range(plan.clients)]
        # New leaders are asked at once, before they know what is committed.
        self.visitor = Client(plan.clients, plan, self.group, self.history, invited=True)
        self.clients.append(self.visitor)
        self.checks.on_leader = lambda number: self.world.after(
            self.rng.random() * 3, lambda: self.ask(self.members[number])
        )
        self.watchers = [
            Watcher(1, plan, self.group, self.checks, b"/k/", b"/k0"),
            Watcher(2, plan, self.group, self.checks, KEYS[1], KEYS[4]),
            Watcher(3, plan, self.group, self.checks, KEYS[0], KEYS[1]),
        ]
        for fault in plan.faults:
            self.world.after(fault.at, lambda fault=fault: self.strike(fault))  # type: ignore[misc]
        self.world.after(_ADMIN_PAUSE, self.administer)

    def ask(self, member: Member) -> None:
        """Let a client read at a member."""
        if member.is_up:
            self.visitor.visit(member)

    def add(self, number: int) -> Member:
        """A member with an empty disk, not started."""
        member = self.make(number, self.plan, self.world, self.network, self.checks, self.members)
        self.members[number] = member
        member.version = max((one.version for one in self.members.values()), default=sim_machine.OLD)
        member.on_publish = self.published
        return member

    def published(self, member: Member) -> None:
        """A member has applied something."""
        for watcher in self.watchers:
            watcher.published(member)

    def _stall(self, up: list[Member], whom: float, how: float, span: float) -> None:
        leader = self.leader()
        victim = leader if leader is not None and how < 0.5 else up[int(whom * len(up))]
        victim.stalled_until = self.world.now + 50 + span * 1500

    def _jump(self, up: list[Member], whom: float, how: float, span: float) -> None:
        up[int(whom * len(up))].jump(1 + int(span * 30))

    def _rot(self, up: list[Member], whom: float, how: float, span: float) -> None:
        """Only where the rest can go on without it for ever."""
        victim = up[int(whom * len(up))]
        dead = {number for number, member in self.members.items() if member.storage.rotten} | {victim.id}
        for member in self.members.values():
            state = member.storage.conf_state
            for voters in (state.voters, state.voters_outgoing):
                if voters and len(set(voters) - dead) <= len(voters) // 2:
                    return
        victim.crash()
        victim.storage.rotten = True

    def _compact(self, up: list[Member], whom: float, how: float, span: float) -> None:
        for member in up:
            if how < 0.5 or member is up[int(whom * len(up))]:
                member.compact(int(span * 40))

    def _transfer(self, up: list[Member], whom: float, how: float, span: float) -> None:
        leader = self.leader() if how < 0.8 else up[int(span * len(up))]
        if leader is not None and leader.node is not None and self.world.now >= leader.stalled_until:
            leader.node.transfer_leader(up[int(whom * len(up))].id)
            leader.pump()

    def _campaign(self, up: list[Member], whom: float, how: float, span: float) -> None:
        member = up[int(whom * len(up))]
        if member.node is not None and self.world.now >= member.stalled_until:
            member.node.campaign()
            member.pump()

    def _upgrade(self, up: list[Member], whom: float, how: float, span: float) -> None:
        """One more member restarts with the next version; with the last of them its commands may be written."""
        for member in up:
            if member.version == sim_machine.OLD:
                self.crash(member, 20 + span * 300)
                member.version = sim_machine.NEW
                if how < 0.5:
                    return

    # -- membership

    def _change(self, up: list[Member], what: float, whom: float, how: float) -> None:
        leader = self.leader()
        if leader is None or leader.node is None:
            return
        membership = leader.node.raft.tracker.membership
        changes = self.change_for(membership, what, whom)
        if self.plan.step_down and leaves_in_the_dark(leader.id, membership, changes):
            return
        self.propose(leader, ConfChangeV2(ConfChangeTransition(int(how * how * 3)), changes))

    def change_for(self, membership: Membership, what: float, whom: float) -> tuple[ConfChangeSingle, ...]:
        """A change that makes sense for a membership."""
        voters, learners = sorted(membership.voters), sorted(membership.learners)
        voter = voters[int(whom * len(voters))]
        kind = ConfChangeType
        room = len(voters) + len(learners) < MEMBERS_MAX - 1
        if learners and what < 0.35:
            learner = learners[int(whom * len(learners))]
            if what < 0.25:
                return (ConfChangeSingle(kind.ADD_NODE, learner),)
            return (ConfChangeSingle(kind.REMOVE_NODE, learner),)
        if room and what < 0.6:
            joining = kind.ADD_LEARNER_NODE if what < 0.45 else kind.ADD_NODE
            return (ConfChangeSingle(joining, self.join()),)
        if len(voters) > 1 and what < 0.75:
            return (ConfChangeSingle(kind.REMOVE_NODE, voter),)
        if len(voters) > 1 and what < 0.85:
            return (ConfChangeSingle(kind.ADD_LEARNER_NODE, voter),)
        if room:
            swap = [ConfChangeSingle(kind.ADD_NODE, self.join()), ConfChangeSingle(kind.REMOVE_NODE, voter)]
            if what > 0.95 and len(voters) > 2:
                other = voters[(voters.index(voter) + 1) % len(voters)]
                swap.append(ConfChangeSingle(kind.ADD_LEARNER_NODE, other))
            return tuple(swap)
        return (ConfChangeSingle(kind.REMOVE_NODE, voter),)

    def join(self) -> int:
        """Start a member that has nothing yet."""
        number = max(self.members) + 1
        self.add(number).start()
        return number

    def propose(self, leader: Member, change: ConfChangeV2) -> None:
        """Propose a change; the core may refuse it."""
        assert leader.node is not None
        try:
            leader.node.propose_conf_change(change)
        except (ProposalDroppedError, RaftProtocolError):
            return
        leader.pump()

    def _applied(self, number: int) -> int:
        member = self.members[number]
        if member.storage.rotten:
            return self.checks.membership[0]  # it will not come back
        return member.machine.index if member.is_up else 0

    def administer(self) -> None:
        """What an operator sees to: leave joint memberships, replace the dead, stop the removed."""
        self.world.after(_ADMIN_PAUSE, self.administer)
        for number in sorted(self.checks.removed(self._applied)):
            if self.rng.random() < 0.3:
                self.members[number].removed = True
                self.members[number].crash()
        leader = self.leader()
        if leader is None or leader.node is None or self.world.now < leader.stalled_until:
            return
        membership = leader.node.raft.tracker.membership
        if membership.is_joint:
            if not membership.auto_leave and self.rng.random() < 0.3:
                self.propose(leader, ConfChangeV2())
            return
        for number in sorted(membership.voters | membership.learners):
            if self.members[number].storage.rotten:
                change = ConfChangeSingle(ConfChangeType.REMOVE_NODE, number)
                self.propose(leader, ConfChangeV2(ConfChangeTransition.AUTO, (change,)))
                return
        if "rot" in {fault.kind for fault in self.plan.faults} and len(membership.voters) < self.plan.members:
            joining = next(iter(sorted(membership.learners)), 0) or self.join()
            kind = ConfChangeType.ADD_NODE if joining in membership.learners else ConfChangeType.ADD_LEARNER_NODE
            self.propose(leader, ConfChangeV2(ConfChangeTransition.AUTO, (ConfChangeSingle(kind, joining),)))

    # -- the end

    def play(self) -> None:
        """The run, with all checks. Raises SimulationFailed, and whatever the code under test raises."""
        world = self.world
        world.run_until(self.plan.duration)
        self.mend()
        world.run_until(world.now + TIMEOUT)  # by then every operation has its place in the history
        while True:
            world.run_until(world.now + _LOOK_PAUSE)
            complaint = self.complaint()
            if not complaint:
                return
            if world.now > self.plan.duration + RECOVERY:
                raise SimulationFailed(f"{complaint} {RECOVERY:.0f} ms after everything was mended: {self.describe()}")

    def complaint(self) -> str:
        """What a mended group lacks: a leader, an applied write, agreement of all members on every key."""
        leader = self.leader()
        if leader is None or leader.node is None:
            return "no leader"
        if not any(self._last_writes):
            if self.world.now > self._write_again:
                self._write_again = self.world.now + _WRITE_PAUSE
                _, data = commands.encode((), (Put(b"/k/end", b"end %f" % self.world.now),))
                leader.propose(data, self._last_writes.append)
            return "a write is not applied"
        return self.differs(leader)

    def mend(self) -> None:
        """No more faults; whoever is a member and has a disk comes back."""
        for client in self.clients:
            client.stopped = True
        self.mend_world()
        for member in self.members.values():
            if not member.is_up and not member.removed:
                member.start()

    def differs(self, leader: Member) -> str:
        """Who has not caught up; those that have hold the same, key by key."""
        assert leader.node is not None
        membership = leader.node.raft.tracker.membership
        for number in sorted(membership.voters_all | membership.learners):
            member = self.members[number]
            if member.storage.rotten:
                continue
            if not member.is_up or member.machine.index != leader.machine.index:
                return f"member {number} has not caught up"
            found = {kv.key: kv for kv in member.machine.range(b"\x01", b"\xff")}
            self.checks.contents(number, member.machine.revision, found)
        return ""

    def describe(self) -> str:
        """The members in one line each."""
        lines = []
        for member in self.members.values():
            if member.node is None:
                lines.append(f"{member.id}: down, rotten={member.storage.rotten} removed={member.removed}")
                continue
            raft = member.node.raft
            lines.append(
                f"{member.id}: {raft.state.name} term={raft.term} lead={raft.lead} last={raft.log.last_index} "
                f"committed={raft.log.committed} applied={raft.log.applied} {raft.tracker.membership}"
            )
        return "\n  ".join(["", *lines])


def leaves_in_the_dark(leader: int, membership: Membership, changes: Sequence[ConfChangeSingle]) -> bool:
    """Whether a change takes the vote of the leader and of half of the voters. A leader that steps down then may leave
    others who do not know yet that the change is committed, and can elect nobody without the old voters. Operators, and
    `ReplicatedStore.remove`, hand over first."""
    gone = {change.node_id for change in changes if change.type != ConfChangeType.ADD_NODE} & membership.voters
    return leader in gone and 2 * len(membership.voters - gone) <= len(membership.voters)


def run(plan: Plan, make: Callable[..., Member] = Member) -> Report:
    """Play a plan and judge it."""
    simulation = Simulation(plan, make)
    failure = ""
    undecided = False
    try:
        simulation.play()
        try:
            failure = check(simulation.history) or ""
        except Undecided:
            undecided = True
    except Exception as error:  # whatever goes wrong in the code under test is what a simulation looks for
        failure = f"{type(error).__name__}: {error}"
    finally:
        for watcher in simulation.watchers:
            watcher.close()
    world, checks = simulation.world, simulation.checks
    return Report(
        plan,
        failure,
        world.digest,
        world.events,
        len(simulation.history),
        checks.revision,
        sum(watcher.seen for watcher in simulation.watchers),
        checks.elections,
        undecided,
        tuple(f"{at:.1f} {fact}" for at, fact in world.trace) if failure else (),
    )
