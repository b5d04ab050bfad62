"""The membership a member works under, and the leader's view of everybody in it."""

from collections.abc import Mapping

from msgspec import Struct

from edgekube.raft import quorum
from edgekube.raft.messages import ConfState
from edgekube.raft.progress import Inflights, Progress
from edgekube.raft.quorum import VoteResult


def _ids(members: frozenset[int]) -> str:
    return f"({' '.join(map(str, sorted(members)))})"


class Membership(Struct, frozen=True):
    """Who votes and who learns (section 6 of the paper, and section 4 of Ongaro's thesis).

    `outgoing` is the second half of a joint membership and empty otherwise. `learners_next` are outgoing voters that
    become learners when the joint membership is left: nobody votes and learns at once. With `auto_leave` the leader
    leaves the joint membership by itself as soon as it is applied.
    """

    voters: frozenset[int] = frozenset()
    outgoing: frozenset[int] = frozenset()
    learners: frozenset[int] = frozenset()
    learners_next: frozenset[int] = frozenset()
    auto_leave: bool = False

    @property
    def is_joint(self) -> bool:
        """Whether two halves have to agree."""
        return bool(self.outgoing)

    @property
    def voters_all(self) -> frozenset[int]:
        """The voters of both halves."""
        return self.voters | self.outgoing

    def conf_state(self) -> ConfState:
        """The same as a value to store."""
        return ConfState(
            tuple(sorted(self.voters)),
            tuple(sorted(self.learners)),
            tuple(sorted(self.outgoing)),
            tuple(sorted(self.learners_next)),
            self.auto_leave,
        )

    def __str__(self) -> str:
        text = f"voters={_ids(self.voters)}"
        if self.outgoing:
            text += f"&&{_ids(self.outgoing)}"
        if self.learners:
            text += f" learners={_ids(self.learners)}"
        if self.learners_next:
            text += f" learners_next={_ids(self.learners_next)}"
        if self.auto_leave:
            text += " autoleave"
        return text


class Tracker:
    """The membership, a `Progress` for everybody in it, and the votes of the current election."""

    __slots__ = (
        "_incoming",
        "_outgoing",
        "alone",
        "count_max",
        "members",
        "membership",
        "progress",
        "size_max",
        "votes",
    )

    def __init__(self, count_max: int, size_max: int) -> None:
        self.count_max = count_max
        self.size_max = size_max
        self.votes: dict[int, bool] = {}
        self.replace(Membership(), {})

    def replace(self, membership: Membership, progress: Mapping[int, Progress]) -> None:
        """Work under another membership from now on."""
        self.membership = membership
        self.progress = dict(progress)
        # Ordered by id, so that a run depends on nothing but its inputs.
        self.members = sorted(self.progress.items())
        self._incoming = [self.progress[member] for member in membership.voters]
        self._outgoing = [self.progress[member] for member in membership.outgoing]
        # The only member, if it votes: what it has stored is committed, and there is nobody to tell.
        self.alone = min(self.progress) if len(self.progress) == 1 and self.is_singleton(min(self.progress)) else 0

    def new_progress(self, next_index: int, *, is_learner: bool, recent_active: bool) -> Progress:
        """What is known of a member that just joined: nothing."""
        inflights = Inflights(self.count_max, self.size_max)
        return Progress(next_index, inflights, is_learner=is_learner, recent_active=recent_active)

    def is_singleton(self, member: int) -> bool:
        """Whether `member` alone decides."""
        return len(self._incoming) == 1 and not self._outgoing and member in self.membership.voters

    def committed(self) -> int:
        """The highest index that a quorum has stored."""
        index = quorum.committed_of([progress.match for progress in self._incoming])
        if self._outgoing:
            return min(index, quorum.committed_of([progress.match for progress in self._outgoing]))
        return index

    def quorum_active(self) -> bool:
        """Whether a quorum was heard from since the last check."""
        return self.vote_result({member: progress.recent_active for member, progress in self.members}) is VoteResult.WON

    def vote_result(self, votes: Mapping[int, bool]) -> VoteResult:
        """How a vote stands under this membership."""
        return quorum.joint_vote(self.membership.voters, self.membership.outgoing, votes)

    def record_vote(self, member: int, granted: bool) -> VoteResult:
        """Count a vote (the first of a member counts) and say how the election stands."""
        self.votes.setdefault(member, granted)
        return self.vote_result(self.votes)

    def reset_votes(self) -> None:
        """Begin an election."""
        self.votes = {}
