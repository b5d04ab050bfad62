"""Changing the membership: the encoded changes, and what they do to a membership.

A change of at most one voter takes effect at once (`simple`); any other goes through a joint membership, in which the
old and the new voters must both agree (`enter_joint`, `leave_joint`; section 6 of the paper). Members that a change
adds start unknown, everybody else keeps their `Progress`.
"""

import enum
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from edgekube.raft.errors import ConfChangeError
from edgekube.raft.messages import ConfState, Entry, EntryType, UInt
from edgekube.raft.progress import Progress
from edgekube.raft.tracker import Membership, Tracker
from edgekube.types.unreadable import UNREADABLE


class ConfChangeType(enum.IntEnum):
    """What happens to one member. UPDATE_NODE changes nothing here: its context is for the application."""

    ADD_NODE = 0
    REMOVE_NODE = 1
    UPDATE_NODE = 2
    ADD_LEARNER_NODE = 3


class ConfChangeTransition(enum.IntEnum):
    """How a change is carried out.

    AUTO is simple where that is possible, else joint and left automatically. JOINT_IMPLICIT is always joint, left
    automatically. JOINT_EXPLICIT is always joint and left by proposing an empty `ConfChangeV2`.
    """

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


class ConfChangeSingle(Struct, array_like=True, gc=False, frozen=True):
    """One step of a change. Node id 0 marks a step that was called off and does nothing."""

    type: ConfChangeType
    node_id: UInt


class ConfChange(Struct, array_like=True, gc=False, frozen=True):
    """A change of one member, the data of an entry of type CONF_CHANGE. `context` is the application's."""

    type: ConfChangeType
    node_id: UInt
    context: bytes = b""

    def as_v2(self) -> "ConfChangeV2":
        """The same in the general form."""
        return ConfChangeV2(ConfChangeTransition.AUTO, (ConfChangeSingle(self.type, self.node_id),), self.context)


class ConfChangeV2(Struct, array_like=True, gc=False, frozen=True):
    """A change of any number of members, the data of an entry of type CONF_CHANGE_V2.

    Without changes and with transition AUTO it leaves the joint membership.
    """

    transition: ConfChangeTransition = ConfChangeTransition.AUTO
    changes: tuple[ConfChangeSingle, ...] = ()
    context: bytes = b""

    def as_v2(self) -> "ConfChangeV2":
        """Itself."""
        return self

    @property
    def leaves_joint(self) -> bool:
        """Whether this is the change that leaves a joint membership."""
        return not self.changes and self.transition is ConfChangeTransition.AUTO

    @property
    def enters_joint(self) -> bool:
        """Whether this change goes through a joint membership."""
        return self.transition is not ConfChangeTransition.AUTO or len(self.changes) > 1


_decoder = msgspec.msgpack.Decoder(ConfChange)
_decoder_v2 = msgspec.msgpack.Decoder(ConfChangeV2)


def encode(change: ConfChange | ConfChangeV2) -> tuple[EntryType, bytes]:
    """The entry type and data that propose this change. Leaving a joint membership takes no data at all."""
    if isinstance(change, ConfChange):
        return EntryType.CONF_CHANGE, msgspec.msgpack.encode(change)
    if change == ConfChangeV2():
        return EntryType.CONF_CHANGE_V2, b""
    return EntryType.CONF_CHANGE_V2, msgspec.msgpack.encode(change)


def decode(entry: Entry) -> ConfChange | ConfChangeV2:
    """The change an entry of type CONF_CHANGE or CONF_CHANGE_V2 carries. Raises `ConfChangeError` for anything else."""
    try:
        if entry.type == EntryType.CONF_CHANGE:
            return _decoder.decode(entry.data)
        if entry.type == EntryType.CONF_CHANGE_V2:
            return _decoder_v2.decode(entry.data) if entry.data else ConfChangeV2()
    except UNREADABLE as error:
        raise ConfChangeError(f"entry {entry.index} carries no readable membership change: {error}") from error
    raise ConfChangeError(f"entry {entry.index} has type {entry.type}, which is no membership change")


Changed = tuple[Membership, dict[int, Progress]]


class _Draft:
    """A membership while it is being changed. The tracker's own values stay as they are."""

    def __init__(self, tracker: Tracker, next_index: int) -> None:
        self.tracker = tracker
        self.next_index = max(next_index, 1)
        self.progress = {member: progress.copy() for member, progress in tracker.members}
        membership = tracker.membership
        self.voters = set(membership.voters)
        self.outgoing = set(membership.outgoing)
        self.learners = set(membership.learners)
        self.learners_next = set(membership.learners_next)
        self.auto_leave = membership.auto_leave

    def apply(self, changes: Sequence[ConfChangeSingle]) -> None:
        for change in changes:
            if change.node_id == 0:
                continue
            match change.type:
                case ConfChangeType.ADD_NODE:
                    self.make_voter(change.node_id)
                case ConfChangeType.ADD_LEARNER_NODE:
                    self.make_learner(change.node_id)
                case ConfChangeType.REMOVE_NODE:
                    self.remove(change.node_id)
                case ConfChangeType.UPDATE_NODE:
                    pass
        if not self.voters:
            raise ConfChangeError("removed all voters")

    def add(self, member: int, *, is_learner: bool) -> None:
        # A member that just joined counts as heard from, or the next quorum check would hold its silence against it.
        self.progress[member] = self.tracker.new_progress(self.next_index, is_learner=is_learner, recent_active=True)
        (self.learners if is_learner else self.voters).add(member)

    def make_voter(self, member: int) -> None:
        progress = self.progress.get(member)
        if progress is None:
            self.add(member, is_learner=False)
            return
        progress.is_learner = False
        self.learners.discard(member)
        self.learners_next.discard(member)
        self.voters.add(member)

    def make_learner(self, member: int) -> None:
        progress = self.progress.get(member)
        if progress is None:
            self.add(member, is_learner=True)
            return
        if progress.is_learner:
            return
        self.remove(member)
        self.progress[member] = progress
        if member in self.outgoing:
            self.learners_next.add(member)
        else:
            progress.is_learner = True
            self.learners.add(member)

    def remove(self, member: int) -> None:
        if member not in self.progress:
            return
        self.voters.discard(member)
        self.learners.discard(member)
        self.learners_next.discard(member)
        if member not in self.outgoing:
            del self.progress[member]

    def finish(self) -> Changed:
        membership = Membership(
            frozenset(self.voters),
            frozenset(self.outgoing),
            frozenset(self.learners),
            frozenset(self.learners_next),
            self.auto_leave,
        )
        problem = _problem(membership)
        assert problem is None, problem
        assert self.progress.keys() == membership.voters_all | membership.learners, "progress of a stranger"
        return membership, self.progress


def _problem(membership: Membership) -> str | None:
    """What is wrong with a membership, if anything."""
    if membership.learners & membership.voters_all:
        return "a learner votes"
    if not membership.learners_next <= membership.outgoing:
        return "a future learner is no outgoing voter"
    if membership.learners_next & membership.voters:
        return "a future learner is an incoming voter"
    if not membership.outgoing and membership.auto_leave:
        return "auto-leave without a joint membership"
    if membership.outgoing and not membership.voters:
        return "a joint membership without incoming voters"
    return None


def simple(tracker: Tracker, next_index: int, changes: Sequence[ConfChangeSingle]) -> Changed:
    """Change at most one voter and any learners. Raises `ConfChangeError`."""
    draft = _Draft(tracker, next_index)
    if draft.outgoing:
        raise ConfChangeError("can't apply simple config change in joint config")
    draft.apply(changes)
    if len(draft.voters ^ tracker.membership.voters) > 1:
        raise ConfChangeError("more than one voter changed without entering joint config")
    return draft.finish()


def enter_joint(
    tracker: Tracker, next_index: int, changes: Sequence[ConfChangeSingle], *, auto_leave: bool = False
) -> Changed:
    """Begin a change of any size: the present voters become the outgoing half. Raises `ConfChangeError`."""
    draft = _Draft(tracker, next_index)
    if draft.outgoing:
        raise ConfChangeError("config is already joint")
    if not draft.voters:
        raise ConfChangeError("can't make a zero-voter config joint")
    draft.outgoing = set(draft.voters)
    draft.apply(changes)
    draft.auto_leave = auto_leave
    return draft.finish()


def leave_joint(tracker: Tracker, next_index: int) -> Changed:
    """Complete a joint change: the outgoing half goes. Raises `ConfChangeError`."""
    draft = _Draft(tracker, next_index)
    if not draft.outgoing:
        raise ConfChangeError("can't leave a non-joint config")
    for member in draft.learners_next:
        draft.learners.add(member)
        draft.progress[member].is_learner = True
    for member in draft.outgoing - draft.voters - draft.learners:
        del draft.progress[member]
    draft.outgoing, draft.learners_next, draft.auto_leave = set(), set(), False
    return draft.finish()


def apply(tracker: Tracker, next_index: int, change: ConfChangeV2) -> Changed:
    """Do what `change` asks for. Raises `ConfChangeError` when it does not fit the present membership."""
    if change.leaves_joint:
        return leave_joint(tracker, next_index)
    if change.enters_joint:
        auto_leave = change.transition is not ConfChangeTransition.JOINT_EXPLICIT
        return enter_joint(tracker, next_index, change.changes, auto_leave=auto_leave)
    return simple(tracker, next_index, change.changes)


def restore(tracker: Tracker, next_index: int, state: ConfState) -> Changed:
    """The membership a `ConfState` describes, everybody in it unknown. Raises `ConfChangeError` if it cannot be one."""
    membership = Membership(
        frozenset(state.voters),
        frozenset(state.voters_outgoing),
        frozenset(state.learners),
        frozenset(state.learners_next),
        state.auto_leave,
    )
    members = membership.voters_all | membership.learners
    problem = "it has a member without an id" if any(member <= 0 for member in members) else _problem(membership)
    if problem is not None:
        raise ConfChangeError(f"the membership {membership} is invalid: {problem}")
    return membership, {
        member: tracker.new_progress(max(next_index, 1), is_learner=member in membership.learners, recent_active=True)
        for member in members
    }
