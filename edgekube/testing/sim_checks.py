"""What must hold at every step of a simulation (figure 3 of the Raft paper, and the store's own promises).

The checks see everything that all members do, which no member could: one record of who led a term, what was committed
at an index and what applying it gave. Whoever contradicts the record raises `SimulationFailed`.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edgekube.raft.messages import MSG_VOTE_RESP, ConfState, Entry, Message
from edgekube.raft.rawnode import RawNode
from edgekube.raft.roles import LEADER
from edgekube.store.api import Delete, Event, KeyValue, Put
from edgekube.store.history import Applied
from edgekube.testing.linearizability import Operation
from edgekube.testing.sim_world import SimulationFailed

COMPLETENESS_SAMPLES: Final = 4

Contents = Mapping[bytes, KeyValue]


class Checks:
    """The record of one run; see the module."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.on_leader: Callable[[int], None] = lambda member: None
        self._leaders: dict[int, int] = {}  # term -> member
        self._granted: dict[tuple[int, int], int] = {}  # (member, term) -> whom it voted for
        self._entries: dict[tuple[int, int], tuple[int, bytes, int]] = {}  # (index, term) -> type, data, term before
        self.committed: dict[int, tuple[int, int]] = {}  # index -> its term, the lowest term it was seen committed in
        self.committed_last = 0
        self._applied: dict[int, tuple[bytes, ConfState]] = {}  # index -> digest and membership after it
        self.events: list[Event] = []
        self.revisions: list[int] = []  # of each event
        self.states: dict[int, dict[bytes, KeyValue]] = {}  # by revision
        self.revision = 0
        self._values: set[bytes] = set()  # that were written; every one is written once
        self._forbidden: set[bytes] = set()  # that never come into effect: whoever wrote them was told so
        self.membership = (0, ConfState())  # the latest that was applied anywhere, with its index
        self.members: set[int] = set()  # whoever was in one

    def begin(self, index: int, term: int, revision: int) -> None:
        """What the group starts from: everything up to `index` is committed, the store is empty."""
        self.committed[index] = (term, 0)
        self.committed_last = index
        self.revision = revision
        self.states[revision] = {}

    @property
    def elections(self) -> int:
        """How many terms had a leader."""
        return len(self._leaders)

    # -- Raft

    def appended(self, member: int, entries: Sequence[Entry], term_before: int) -> None:
        """A member takes entries into its log. Log matching: (index, term) names one entry with one past."""
        known = self._entries
        for entry in entries:
            content = (entry.type, entry.data, term_before)
            first = known.setdefault((entry.index, entry.term), content)
            if first != content:
                raise SimulationFailed(
                    f"log matching: member {member} has {content} at index {entry.index} of term {entry.term}, "
                    f"another had {first}"
                )
            term_before = entry.term

    def sent(self, message: Message) -> None:
        """A message leaves a member. Each votes for one candidate a term."""
        if message.type == MSG_VOTE_RESP and not message.reject:
            first = self._granted.setdefault((message.from_, message.term), message.to)
            if first != message.to:
                raise SimulationFailed(
                    f"votes: member {message.from_} voted for {first} and {message.to} in term {message.term}"
                )

    def role(self, member: int, node: RawNode) -> None:
        """After each step of a member: election safety and leader completeness."""
        raft = node.raft
        if raft.state is not LEADER:
            return
        term = raft.term
        if term in self._leaders:
            if self._leaders[term] != member:
                raise SimulationFailed(f"election safety: {self._leaders[term]} and {member} lead term {term}")
            return
        self._leaders[term] = member
        self.on_leader(member)
        log = raft.log
        samples = [self.committed_last - n for n in range(3)]
        samples += [self._rng.randint(1, self.committed_last) for _ in range(COMPLETENESS_SAMPLES)]
        for index in samples:
            entry_term, commit_term = self.committed.get(index, (0, term))
            if commit_term >= term:
                continue
            held = log.term(index)
            if held != entry_term and not (held is None and index < log.first_index):
                raise SimulationFailed(
                    f"leader completeness: member {member} leads term {term} with term {held} at {index}, where "
                    f"{entry_term} was committed in term {commit_term}"
                )

    def commits(self, member: int, node: RawNode, low: int, high: int) -> None:
        """A member's commit index went from `low` to `high`: everybody commits the same."""
        if high < low:
            raise SimulationFailed(f"member {member} took its commit index back from {low} to {high}")
        log, term = node.raft.log, node.raft.term
        for index in range(low + 1, high + 1):
            held = log.term(index)
            if held is None:
                if index < log.first_index:
                    continue
                raise SimulationFailed(f"member {member} commits {index}, which it does not have")
            first, first_term = self.committed.setdefault(index, (held, term))
            if first != held:
                raise SimulationFailed(
                    f"member {member} commits term {held} at index {index}, another committed term {first}"
                )
            if term < first_term:
                self.committed[index] = (held, term)
        self.committed_last = max(self.committed_last, high)

    def switched(self, index: int, state: ConfState) -> None:
        """A member applied a membership change."""
        self.members.update((*state.voters, *state.voters_outgoing, *state.learners))
        if index > self.membership[0]:
            self.membership = (index, state)

    @property
    def present(self) -> set[int]:
        """Who is a member now."""
        _, state = self.membership
        return {*state.voters, *state.voters_outgoing, *state.learners}

    def removed(self, applied: Callable[[int], int]) -> set[int]:
        """Who was a member and is none any more, once all present ones have applied that (`applied` tells how far each
        is). Until then they may still need the others' votes to go on."""
        index, _ = self.membership
        if any(applied(number) < index for number in self.present):
            return set()
        return self.members - self.present

    # -- the store

    def applied(self, member: int, index: int, committed: int, digest: bytes, state: ConfState) -> None:
        """A member applied an entry: only committed ones are, and everybody reaches the same state and membership."""
        if index > committed:
            raise SimulationFailed(f"member {member} applied {index}, and only {committed} is committed")
        first = self._applied.setdefault(index, (digest, state))
        if first != (digest, state):
            raise SimulationFailed(
                f"state machine safety: member {member} has {digest.hex()} and {state} after {index}, another "
                f"{first[0].hex()} and {first[1]}"
            )

    def changed(self, member: int, applied: Applied) -> None:
        """A member's state changed: revisions rise by one, and the first to apply one tells what it holds."""
        if applied.revision <= self.revision:
            return
        if applied.revision != self.revision + 1:
            raise SimulationFailed(
                f"member {member} reached revision {applied.revision} after {self.revision}: a revision is missing"
            )
        state = dict(self.states[self.revision])
        for event in applied.events:
            if event.revision != applied.revision or event.previous != state.get(event.key):
                raise SimulationFailed(f"member {member} made an event that does not follow: {event}")
            if event.kv is None:
                del state[event.key]
            else:
                state[event.key] = event.kv
                self._written(event.kv.value)
            self.events.append(event)
            self.revisions.append(event.revision)
        self.revision = applied.revision
        self.states[applied.revision] = state

    def _written(self, value: bytes) -> None:
        if value in self._values:
            raise SimulationFailed(f"the write of {value[:20]!r} came into effect twice")
        if value in self._forbidden:
            raise SimulationFailed(f"the write of {value[:20]!r} came into effect, though it was said not to")
        self._values.add(value)

    def forbid(self, values: Sequence[bytes]) -> None:
        """Whoever wrote these was told that it surely did not happen."""
        self._forbidden.update(values)
        for value in self._values & self._forbidden:
            raise SimulationFailed(f"the write of {value[:20]!r} came into effect, and was said not to have")

    def handed(self, start: bytes, end: bytes, after: int, batch: Sequence[Event]) -> int:
        """What a watch of [start, end) was handed after a revision: no gap, no duplicate, in order, whole transactions.

        Returns the revision it has reached.
        """
        events = self.events
        place = bisect_right(self.revisions, after)
        for event in batch:
            while place < len(events) and not start <= events[place].key < end:
                place += 1
            if place == len(events) or events[place] != event:
                due = events[place] if place < len(events) else None
                raise SimulationFailed(f"a watch after {after} was handed {event} where {due} was due")
            place += 1
        if not batch:
            return after
        after = batch[-1].revision
        while place < len(events) and events[place].revision == after:
            if start <= events[place].key < end:
                raise SimulationFailed(f"a watch was handed half of the transaction at {after}")
            place += 1
        return after

    def progressed(self, start: bytes, end: bytes, after: int, progress: int) -> None:
        """What a watch that was handed everything up to `after` says of its progress."""
        if not after <= progress <= self.revision:
            raise SimulationFailed(
                f"the progress of a watch is {progress}; it was handed {after}, the store is at {self.revision}"
            )
        for event in self.events[bisect_right(self.revisions, after) : bisect_right(self.revisions, progress)]:
            if start <= event.key < end:
                raise SimulationFailed(f"the progress of a watch is {progress}, and it was not handed {event}")

    def agrees(self, operation: Operation) -> None:
        """An answer is what the record has at its revision. With the order of revisions in time (`check_revisions`)
        this decides whether a history is linearizable; the search of `linearizability` does without the record."""
        if operation.back is None:
            return
        state, before = self.states.get(operation.revision), self.states.get(operation.revision - 1)
        wrong = state is None or any(state.get(key) != kv for key, kv in operation.seen)
        puts = [op for op in operation.ops if isinstance(op, Put)]
        if state is not None and operation.ops and operation.succeeded:
            shown = {op.key: state.get(op.key) for op in puts}
            wrong |= any((kv := shown[op.key]) is None or kv.value != op.value for op in puts)
            wrong |= any(op.key in state for op in operation.ops if isinstance(op, Delete))
            if puts and before is not None:
                for guard in operation.guards:
                    held = before.get(guard.key)
                    wrong |= (held.mod_revision if held is not None else 0) != guard.value
        if wrong:
            raise SimulationFailed(f"not what the store held at {operation.revision}: {operation}")

    def contents(self, member: int, revision: int, found: Contents) -> None:
        """What a member holds at a revision, whole: after a restart, a snapshot, at the end."""
        expected = self.states.get(revision)
        if expected is None:
            raise SimulationFailed(f"member {member} is at revision {revision}, which nobody reached")
        if dict(found) != expected:
            raise SimulationFailed(
                f"member {member} holds {len(found)} keys at revision {revision} where {len(expected)} belong, or "
                f"other values: {sorted(set(found.items()) ^ set(expected.items()), key=lambda item: item[0])[:4]}"
            )
