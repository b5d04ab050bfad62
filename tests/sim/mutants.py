"""Wrong variants of the core, its driver and the store, each wrong in one way that somebody could get wrong.

A `Mutant` patches what it names while it is entered, or replaces the simulated member. None of this is in the product.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from edgekube.raft import core, follower, leader, log, quorum, tracker, unstable
from edgekube.raft.messages import (
    MSG_HEARTBEAT,
    MSG_STORAGE_APPEND_RESP,
    MSG_VOTE_RESP,
    Entry,
    EntryType,
    HardState,
    Message,
    Snapshot,
)
from edgekube.store import history, state, watch
from edgekube.testing import sim_machine
from edgekube.testing.sim_clients import Group
from edgekube.testing.sim_member import Member
from edgekube.testing.sim_storage import Batch


@dataclass(frozen=True)
class Mutant:
    """`seeds` is the budget: found within so many, of those that tell a story if it names one."""

    name: str
    seeds: int
    patches: Sequence[tuple[Any, str, Any]] = ()
    member: type[Member] = field(default=Member)
    story: str = ""

    @contextlib.contextmanager
    def active(self) -> Iterator[Callable[..., Member]]:
        """Wrong while entered; gives what makes members."""
        before = [(owner, name, owner.__dict__[name]) for owner, name, _ in self.patches]
        try:
            for owner, name, wrong in self.patches:
                setattr(owner, name, wrong)
            yield self.member
        finally:
            for owner, name, right in before:
                setattr(owner, name, right)


# -- the driver


class ForgetsVote(Member):
    def see(self, batch: Batch) -> None:
        super().see(batch)
        if batch.hard_state is not None:
            self.storage.set_hard_state(without_vote(batch.hard_state))

    def start(self) -> None:
        right = self.storage.durable._hard_state
        self.storage.set_hard_state(without_vote(right))
        super().start()


def without_vote(right: HardState) -> HardState:
    return HardState(right.term, 0, right.commit)


class ForgetsTerm(Member):
    def start(self) -> None:
        right = self.storage.durable._hard_state
        log_term = self.storage.term(self.storage.last_index())
        self.storage.set_hard_state(HardState(max(log_term, 0), 0, right.commit))
        super().start()


class AnswersBeforeSync(Member):
    def enqueue(self, message: Message) -> None:
        super().enqueue(msgspec.structs.replace(message, responses=()))
        self.respond(message.responses)


class VotesBeforeSync(Member):
    def enqueue(self, message: Message) -> None:
        votes = [one for one in message.responses if one.type == MSG_VOTE_RESP and one.to != self.id]
        rest = [one for one in message.responses if one not in votes]
        super().enqueue(msgspec.structs.replace(message, responses=rest))
        self.respond(votes)


class SendsAppendsAnswersAtOnce(Member):
    """Syncs nothing but what a Ready calls must_sync for its state, so entries alone are never durable."""

    def written(self, group: Sequence[Message]) -> None:
        self.writing = [batch for batch in self.writing if batch.hard_state is not None or batch.snapshot is not None]
        super().written(group)


class LosesChangeBehindCommand(Member):
    def apply(self, entries: Sequence[Entry]) -> None:
        seen = False
        for entry in entries:
            if entry.type != EntryType.NORMAL and seen:
                entry = Entry(entry.term, entry.index)
            seen = seen or bool(entry.data)
            super().apply([entry])


class AppliesChangeTwice(Member):
    def change_membership(self, entry: Entry) -> Any:
        super().change_membership(entry)
        return super().change_membership(entry)


class KeepsOldMembership(Member):
    """Does not remember the membership with the database."""

    def change_membership(self, entry: Entry) -> Any:
        before = self.storage.conf_state
        super().change_membership(entry)
        return before


class ReadsBeforeApplied(Member):
    def when_applied(self, index: int, call: Callable[[], None]) -> None:
        call()


class CompactsTooFar(Member):
    def compact(self, keep: int) -> None:
        self.storage.cut(self.machine.index)


class PublishesTwice(Member):
    def apply(self, entries: Sequence[Entry]) -> None:
        revision = self.machine.revision
        super().apply(entries)
        last = next(iter(self.machine.history.since(revision)), None)
        if last is not None and self.rng.random() < 0.05:
            self.hub.publish((last,))


class WatchesForgetRestart(Member):
    """Publishes nothing for the entries it applies right after a start."""

    def apply(self, entries: Sequence[Entry]) -> None:
        hub = self.hub
        if self.starts > 1 and self.machine.revision == self.storage.database.position.revision:
            self.hub = watch.WatchHub(self.machine)
        super().apply(entries)
        if self.hub is not hub and self.machine.revision != self.storage.database.position.revision:
            self.hub = hub


class IgnoresFence(Member):
    """As a member of the next version would that no longer knows what a fence is."""

    def apply(self, entries: Sequence[Entry]) -> None:
        if self.version == sim_machine.NEW:
            right = sim_machine.decode
            sim_machine.decode = lambda data, version: msgspec.structs.replace(right(data, version), fence=0)
            try:
                super().apply(entries)
            finally:
                sim_machine.decode = right
        else:
            super().apply(entries)


# -- the core


def commits_by_count(self: core.Raft) -> bool:
    index = self.tracker.committed()
    if index > self.log.committed:
        self.log.committed = index
        return True
    return False


def applies_uncommitted(self: log.Log, allow_unstable: bool) -> int:
    return self.last_index if allow_unstable else self.unstable.offset - 1


def keeps_conflict(self: log.Log, entries: Sequence[Entry]) -> int:
    for position, entry in enumerate(entries):
        if entry.index > self.last_index:
            return position
    return len(entries)


def reads_at_once(raft: core.Raft, message: Message) -> None:
    leader._answer_read(raft, message, raft.log.committed)


def reads_before_first_commit(raft: core.Raft, message: Message) -> None:
    if raft.tracker.is_singleton(raft.id):
        leader._answer_read(raft, message, raft.log.committed)
    else:
        leader._start_read(raft, message)


def any_vote(self: core.Raft, message: Message) -> None:
    vote, lead = self.vote, self.lead
    self.vote = self.lead = 0
    right_answer_vote(self, message)
    if self.vote == 0:
        self.vote, self.lead = vote, lead


right_answer_vote = core.Raft._answer_vote
right_restore = follower._restore
right_step_outdated = core.Raft._step_outdated
right_append = core.Raft.append
right_become_leader = core.Raft.become_leader
right_follower_step = follower.step


def restores_old_snapshot(raft: core.Raft, snapshot: Snapshot) -> bool:
    committed = raft.log.committed
    if snapshot.index <= committed:
        raft.log.committed = snapshot.index - 1
        raft.log.applied = min(raft.log.applied, raft.log.committed)
        raft.log.applying = min(raft.log.applying, raft.log.committed)
    return right_restore(raft, snapshot)


def restores_without_membership(raft: core.Raft, snapshot: Snapshot) -> bool:
    state = raft.tracker.membership.conf_state()
    if raft.id not in (*state.voters, *state.learners, *state.voters_outgoing):
        return right_restore(raft, snapshot)
    return right_restore(raft, msgspec.structs.replace(snapshot, conf_state=state))


def counts_own_append_at_once(self: core.Raft, entries: list[Entry]) -> None:
    right_append(self, entries)
    own = self.tracker.progress.get(self.id)
    if own is not None:
        own.maybe_update(self.log.last_index)
        self.maybe_commit()


def takes_outdated_report(self: core.Raft, message: Message) -> None:
    if message.type == MSG_STORAGE_APPEND_RESP and message.index:
        self.log.unstable.stable_to(message.index, message.log_term)
    right_step_outdated(self, message)


def stable_whatever_term(self: unstable.Unstable, index: int, term: int) -> bool:
    position = index - self.offset
    if position < 0 or position >= len(self.entries):
        return False
    del self.entries[: position + 1]
    self.offset = index + 1
    self.offset_in_progress = max(self.offset_in_progress, self.offset)
    return True


def appends_without_match(self: log.Log, index: int, term: int, entries: Sequence[Entry], commit: int) -> int | None:
    if index > self.last_index:
        return None
    last = index + len(entries)
    position = self._conflict(entries)
    if position < len(entries) and entries[position].index > self.committed:
        self.append(entries[position:])
    self.commit_to(min(commit, last, self.last_index))
    return last


def heartbeats_commit_all(raft: core.Raft) -> None:
    right_bcast_heartbeat(raft)
    raft.msgs[:] = [
        msgspec.structs.replace(one, commit=raft.log.committed) if one.type == MSG_HEARTBEAT else one
        for one in raft.msgs
    ]


def clamps_heartbeat(raft: core.Raft, message: Message) -> None:
    if message.type == MSG_HEARTBEAT:
        message = msgspec.structs.replace(message, commit=min(message.commit, raft.log.last_index))
    right_follower_step(raft, message)


right_bcast_heartbeat = leader.bcast_heartbeat


def small_quorum(indexes: list[int]) -> int:
    if not indexes:
        return quorum.INDEX_INFINITE
    indexes.sort()
    return indexes[len(indexes) // 2]


def commits_by_incoming(self: tracker.Tracker) -> int:
    return quorum.committed_of([progress.match for progress in self._incoming])


def elects_by_incoming(self: tracker.Tracker, votes: Any) -> quorum.VoteResult:
    return quorum.majority_vote(self.membership.voters, votes)


def leads_without_pending_change(self: core.Raft) -> None:
    right_become_leader(self)
    self.pending_conf_index = 0


def rewinds_on_vote(self: core.Raft, message: Message) -> None:
    """Compares lengths of logs alone, not terms."""
    right = self.log.is_up_to_date
    last_term = self.log.last_term
    if message.log_term < last_term and message.index >= self.log.last_index:
        message = msgspec.structs.replace(message, log_term=last_term)
    assert right is not None
    right_answer_vote(self, message)


# -- the store


def settles_all(self: state.StateMachine, written: Any, revision: int) -> None:
    for key in written:
        self._recent.pop(key, None)
    self._recent_keys = sorted(self._recent)


def forgets_one_more(self: watch._Channel, compacted: int) -> None:
    right_forget(self, compacted)
    if compacted and self.events:
        del self.events[:1]


right_forget = watch._Channel.forget


def splits_transactions(self: watch._Watch) -> Sequence[Any]:
    self._hub.check()
    position = self._place - self._channel.base
    if position < 0:
        raise watch.Compacted(self._state.history.compacted)
    batch = self._channel.events[position : position + self._batch_max]
    if batch:
        self._place += len(batch)
        self._handed = batch[-1].revision
    return batch


def never_compacted(self: history.History, revision: int, current: int) -> None:
    if revision > current:
        raise watch_future(f"revision {revision} has not been reached")


watch_future = history.FutureRevision


MUTANTS = [
    Mutant("the vote is not persisted", 60, member=ForgetsVote),
    Mutant("the term is not persisted", 20, member=ForgetsTerm),
    Mutant("appends are acknowledged before fsync", 20, member=AnswersBeforeSync),
    Mutant("entries are not synced", 20, member=SendsAppendsAnswersAtOnce),
    Mutant("a membership change behind a command in a batch is lost", 60, member=LosesChangeBehindCommand),
    Mutant("a membership change is applied twice", 60, member=AppliesChangeTwice),
    Mutant("the membership is not kept with the database", 60, member=KeepsOldMembership),
    Mutant("a read does not wait until the barrier's entry is applied", 20, member=ReadsBeforeApplied),
    Mutant("the log is cut beyond the database", 60, member=CompactsTooFar),
    Mutant("an event is published twice", 20, member=PublishesTwice),
    Mutant("watches miss what is applied after a start", 60, member=WatchesForgetRestart),
    Mutant("a new version ignores fences", 60, member=IgnoresFence),
    Mutant("entries are applied before they are committed", 20, [(log.Log, "_appliable_to", applies_uncommitted)]),
    Mutant("a conflicting tail is not cut", 60, [(log.Log, "_conflict", keeps_conflict)]),
    Mutant("a read is answered without asking a quorum", 60, [(leader, "_read_index", reads_at_once)]),
    Mutant(
        "a new leader answers reads before its first commit", 60, [(leader, "_read_index", reads_before_first_commit)]
    ),
    Mutant("a member votes twice in a term", 60, [(core.Raft, "_answer_vote", any_vote)]),
    Mutant("any log is good enough for a vote", 60, [(log.Log, "is_up_to_date", lambda self, index, term: True)]),
    Mutant("votes compare lengths of logs alone", 200, [(core.Raft, "_answer_vote", rewinds_on_vote)]),
    Mutant("a snapshot older than the log is taken", 250, [(follower, "_restore", restores_old_snapshot)]),
    Mutant("a snapshot's membership is ignored", 500, [(follower, "_restore", restores_without_membership)]),
    Mutant("a leader counts its own append too early", 20, [(core.Raft, "append", counts_own_append_at_once)]),
    Mutant("an append is taken without the entry before it", 60, [(log.Log, "maybe_append", appends_without_match)]),
    Mutant(
        "heartbeats commit what a follower may not have",
        60,
        [(leader, "bcast_heartbeat", heartbeats_commit_all), (follower, "step", clamps_heartbeat)],
    ),
    Mutant("half is a quorum", 60, [(quorum, "committed_of", small_quorum)]),
    Mutant("a joint commit asks the new half alone", 60, [(tracker.Tracker, "committed", commits_by_incoming)]),
    Mutant("a flush drops keys that changed meanwhile", 60, [(state.StateMachine, "settle", settles_all)]),
    Mutant("trimming drops one event too many", 60, [(watch._Channel, "forget", forgets_one_more)]),
    Mutant("a watch hands out half a transaction", 60, [(watch._Watch, "next_nowait", splits_transactions)]),
    Mutant("a watch resumes from forgotten history", 60, [(history.History, "check", never_compacted)]),
    Mutant("a new command is written before everybody reads it", 20, [(Group, "version", sim_machine.NEW)]),
    Mutant("votes leave before fsync", 60, member=VotesBeforeSync),
    Mutant("an entry of an old term is committed by count", 60, [(core.Raft, "maybe_commit", commits_by_count)]),
    Mutant("a lease never expires", 60, [(leader, "has_lease", lambda raft: raft.lease_based)]),
    Mutant("a write report is taken whatever its term", 60, [(unstable.Unstable, "stable_to", stable_whatever_term)]),
    Mutant("a joint election asks the new half alone", 60, [(tracker.Tracker, "vote_result", elects_by_incoming)]),
    Mutant("two membership changes at once", 60, [(core.Raft, "become_leader", leads_without_pending_change)]),
]
