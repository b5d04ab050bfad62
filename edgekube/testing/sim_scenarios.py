"""Faults that aim: short stories which drive a small group into the corners that chance seldom finds.

Each follows what the members do, step by step, and stops where the story does not go on. A right core comes out of
them well; the wrong variants that they are for are in `tests/sim/mutants.py`.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

from edgekube.raft.confchange import ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.store import command as commands
from edgekube.store.api import Delete
from edgekube.testing.sim_faults import Faults
from edgekube.testing.sim_member import Member

STEP_MS: Final = 400.0  # so long a story waits for its next step
HOLD_MS: Final = 1200.0  # so long links stay cut at most
Links = list[tuple[int, int]]

_, NOTHING = commands.encode((), (Delete(b"/k/nothing"),), 0)


class Scenarios(Faults[Member]):
    """The stories; they need a simulation that can propose and join."""

    def propose(self, leader: Member, change: ConfChangeV2) -> None:
        """See `Simulation.propose`."""
        raise NotImplementedError

    def join(self) -> int:
        """See `Simulation.join`."""
        raise NotImplementedError

    def ask(self, member: Member) -> None:
        """Let a client read at a member."""
        raise NotImplementedError

    # -- telling a story

    def when(
        self, condition: Callable[[], bool], then: Callable[[], None], *, span: float = STEP_MS, every: float = 0.3
    ) -> None:
        """Go on once the condition holds, looked at every so often; not at all if it does not within the span."""
        if self.mended:
            return
        if condition():
            then()
        elif span > 0:
            self.world.after(every, lambda: self.when(condition, then, span=span - every, every=every))

    def hold(self, links: Links) -> Callable[[], None]:
        """Cut links until the returned function is called, or for `HOLD_MS`."""
        held = list(links)
        for link in held:
            self.network.cut(*link)

        def release() -> None:
            for link in held:
                if self.network.is_cut(*link):
                    self.network.mend(*link)
            held.clear()

        self.world.after(HOLD_MS, release)
        return release

    def elect(self, member: Member, then: Callable[[], None], tries: int = 8) -> None:
        """Let a member stand until it leads. (Others may have reached higher terms meanwhile.)"""
        if self.mended or not tries:
            return
        if member.leads:
            then()
            return
        member.stand()
        pause = 4 * self.plan.delay_max + 4 * self.plan.disk
        self.when(lambda: member.leads, then, span=pause)
        self.world.after(pause + 1, lambda: None if member.leads else self.elect(member, then, tries - 1))

    def cast(self, seed: float, count: int = 3) -> list[Member]:
        """The leader and then the others, where so many vote and all run; else nobody."""
        leader = self.leader()
        if leader is None or leader.node is None:
            return []
        membership = leader.node.raft.tracker.membership
        others = [self.members[number] for number in sorted(membership.voters - {leader.id})]
        if membership.is_joint or len(others) != count - 1 or not all(member.is_up for member in others):
            return []
        random.Random(seed).shuffle(others)
        return [leader, *others]

    @property
    def _settled(self) -> float:
        """After so long a write is on a disk."""
        return 3 * self.plan.disk

    # -- the stories

    def _double_vote(self, up: Sequence[Member], seed: float, how: float, span: float) -> None:
        """A member crashes after it voted, and is asked by another candidate of the same term."""
        roles = self.cast(seed)
        if not roles:
            return
        voter, first, second = roles
        term = voter.term
        self._cut(self._both([first.id], [second.id]), 150)
        first.stand()

        def again() -> None:
            self.crash(voter, 0.1)
            second.stand()

        # Before the vote can be on its disk, or when it must be.
        pause = self._settled if how < 0.5 else 0.0
        self.when(lambda: voter.term > term, lambda: self.world.after(pause, again))

    def _figure_8(self, up: Sequence[Member], seed: float, how: float, span: float) -> None:
        """The paper's figure 8: an entry of an old term reaches a quorum, and its leader is lost right after."""
        roles = self.cast(seed)
        if not roles or not roles[0].propose(NOTHING, lambda outcome: None):
            return
        old, rival, third = roles
        assert old.node is not None
        index, term = old.node.raft.log.last_index, old.term
        apart = self.hold(self._both([old.id], [rival.id, third.id]))

        def second_term() -> None:
            self.crash(old, 1)
            self.elect(rival, third_term)

        def third_term() -> None:
            away = self.hold(self._both([rival.id], [old.id, third.id]))
            apart()
            self.elect(old, lambda: self.when(copied, lambda: lose(away), every=0.1))

        def copied() -> bool:
            return third.node is not None and third.node.raft.log.last_index == index and third_last() == term

        def third_last() -> int:
            return third.node.raft.log.last_term if third.node is not None else 0

        def lose(away: Callable[[], None]) -> None:
            self.hold([(old.id, third.id)])
            self.world.after(2 * self.plan.delay_max + self._settled, lambda: fourth_term(away))

        def fourth_term(away: Callable[[], None]) -> None:
            self.hold(self._both([old.id], [rival.id, third.id]))
            away()
            self.elect(rival, lambda: None)

        self.world.after(self._settled, second_term)

    def _cut_off(self, up: Sequence[Member], seed: float, how: float, span: float) -> None:
        """A leader that hears nobody any more is asked again and again while another is elected."""
        roles = self.cast(seed)
        if not roles:
            return
        old, rival, third = roles
        self._cut(self._both([old.id], [rival.id, third.id]), 600)
        for n in range(60):
            self.world.after(10.0 * n, lambda: self.ask(old))
            self.world.after(10.0 * n, lambda: self.ask(rival))
        for n in range(20):
            self.world.after(150 + 10.0 * n, lambda: rival.node.campaign() if rival.node is not None else None)

    def _joint_split(self, up: Sequence[Member], seed: float, how: float, span: float) -> None:
        """The old voters do not know yet that a joint membership is committed, and lose sight of the new ones."""
        roles = self.cast(seed)
        if not roles:
            return
        leader, one, two = roles
        joining = [self.members[self.join()] for _ in range(2)]
        kind = ConfChangeType

        def propose(*changes: ConfChangeSingle, how: ConfChangeTransition = ConfChangeTransition.AUTO) -> None:
            if leader.leads:
                self.propose(leader, ConfChangeV2(how, changes))

        def learners() -> set[int]:
            return set(leader.node.raft.tracker.membership.learners) if leader.node is not None else set()

        def joint(member: Member) -> bool:
            return member.node is not None and member.node.raft.tracker.membership.is_joint

        def follow() -> None:
            propose(ConfChangeSingle(kind.ADD_LEARNER_NODE, joining[1].id))
            self.when(lambda: all(one.is_up and one.machine.index > 1 for one in joining), change)

        def change() -> None:
            swap = [ConfChangeSingle(kind.ADD_NODE, member.id) for member in joining]
            swap += [ConfChangeSingle(kind.REMOVE_NODE, member.id) for member in (one, two)]
            propose(*swap, how=ConfChangeTransition.JOINT_EXPLICIT)
            self.when(lambda: joint(leader), hide, every=0.1)

        def hide() -> None:
            self.hold([(leader.id, one.id), (leader.id, two.id)])
            self.when(lambda: all(joint(member) for member in joining), split)

        def split() -> None:
            self.hold(self._both([member.id for member in joining], [leader.id, one.id, two.id]))
            self.hold(self._both([leader.id], [one.id, two.id]))
            for candidate in (one, joining[0]):
                candidate.stand()

        propose(ConfChangeSingle(kind.ADD_LEARNER_NODE, joining[0].id))
        self.when(lambda: joining[0].id in learners(), follow)

    def _two_changes(self, up: Sequence[Member], seed: float, how: float, span: float) -> None:
        """A leader comes back with a change of the membership in its log, and proposes another at once."""
        roles = self.cast(seed)
        if not roles:
            return
        leader, one, two = roles
        joining = [self.join() for _ in range(2)]

        def propose(number: int) -> None:
            change = ConfChangeSingle(ConfChangeType.ADD_NODE, number)
            self.propose(leader, ConfChangeV2(ConfChangeTransition.AUTO, (change,)))

        def come_back() -> None:
            self.crash(leader, 1)
            release()
            self.when(lambda: leader.is_up, lambda: self.elect(leader, change_again))

        def change_again() -> None:
            propose(joining[1])
            assert leader.node is not None
            last = leader.node.raft.log.last_index
            self.when(lambda: stored(one, last) and stored(two, last), hide, every=0.1)

        def stored(member: Member, index: int) -> bool:
            return member.node is not None and member.node.raft.log.last_index >= index

        def hide() -> None:
            self.hold([(leader.id, one.id), (leader.id, two.id)])
            self.when(changed, split)

        def changed() -> bool:
            return leader.node is not None and set(joining) <= leader.node.raft.tracker.membership.voters

        def split() -> None:
            self.hold(self._both([leader.id, *joining], [one.id, two.id]))
            self.world.after(100, more)
            self.world.after(200 + 4 * self.plan.disk, lambda: self.elect(one, lambda: None))

        def more() -> None:
            leader.propose(NOTHING, lambda outcome: None)

        release = self.hold(self._both([leader.id], [one.id, two.id]))
        propose(joining[0])
        self.world.after(self._settled, come_back)

    def _late_report(self, up: Sequence[Member], seed: float, how: float, span: float) -> None:
        """A slow disk reports entries that another leader has replaced meanwhile."""
        roles = self.cast(seed, 5)
        if not roles:
            return
        old, slow, rival, *others = roles
        self.hold(self._both([old.id], [rival.id, *[member.id for member in others]]))
        if not old.propose(NOTHING, lambda outcome: None) or old.node is None:
            return
        index = old.node.raft.log.last_index
        slow.disk_factor = 20

        def replace() -> None:
            self.hold(self._both([old.id], [slow.id]))
            self.elect(rival, hide)

        def hide() -> None:
            release = self.hold([(rival.id, slow.id)])
            self.when(reporting, release)
            self.world.after(STEP_MS, well)

        def reporting() -> bool:
            """Only the new term is being written."""
            return not slow.writes and any(
                batch.hard_state is not None and batch.hard_state.term >= rival.term for batch in slow.writing
            )

        def well() -> None:
            slow.disk_factor = 1.0

        self.world.after(3 * STEP_MS, well)
        self.when(lambda: slow.node is not None and slow.node.raft.log.last_index >= index, replace)
