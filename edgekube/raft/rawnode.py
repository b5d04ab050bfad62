"""The interface of one member: what goes in, and the `Ready` values that come out.

A driver calls `step` with messages of peers, `propose`, `tick` and the like, and then, while `has_ready()`:

1. `rd = node.ready()`
2. stores `rd.hard_state`, `rd.entries` and `rd.snapshot`, durably if `rd.must_sync`
3. sends `rd.messages`, answers `rd.read_states`
4. applies `rd.snapshot` and `rd.committed_entries`, and calls `apply_conf_change` for every membership change in them
5. `node.advance(rd)`

With `async_storage_writes` steps 2 and 4 are the work of two local workers, which take MsgStorageAppend and
MsgStorageApply messages from `rd.messages`, each in order, deliver their `responses` when done (those to this member
itself through `step`), and there is no `advance`. A snapshot comes with a MsgStorageAppend and may overtake entries
that wait to be applied: whoever applies skips those at or below the index it has reached. A leader that has removed
itself refuses its own late answers like those of any stranger, with `PeerNotFoundError`.

A leader without peers needs little of that: what it has stored is committed, and nobody has to be told. `propose_alone`
returns entries; store them, report them with `stored_alone`, apply them, and report that with `applied_alone`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from edgekube.raft import confchange, validate
from edgekube.raft.confchange import ConfChange, ConfChangeV2
from edgekube.raft.config import Config
from edgekube.raft.core import Raft
from edgekube.raft.errors import PeerNotFoundError
from edgekube.raft.messages import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_APP_RESP,
    MSG_FORGET_LEADER,
    MSG_HUP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_SNAP_STATUS,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_STORAGE_APPLY_RESP,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
    NO_LIMIT,
    RESPONSES,
    ConfState,
    Entry,
    HardState,
    Message,
    Snapshot,
    entries_size,
)
from edgekube.raft.progress import Progress
from edgekube.raft.readonly import ReadState
from edgekube.raft.roles import LEADER, StateType
from edgekube.raft.tracker import Membership


class SoftState(NamedTuple):
    """What is worth knowing but need not be stored."""

    lead: int
    state: StateType


class Ready(Struct, eq=False, gc=False, frozen=True):
    """Everything a member wants done. Nothing in it is changed later, and all of it may be kept.

    `soft_state`, `hard_state` and `snapshot` are None when they did not change. `must_sync` says that `hard_state` and
    `entries` have to be durable before `messages` leave; without it, losing them in a crash is harmless.
    """

    soft_state: SoftState | None
    hard_state: HardState | None
    read_states: Sequence[ReadState]
    entries: Sequence[Entry]
    snapshot: Snapshot | None
    committed_entries: Sequence[Entry]
    messages: list[Message]
    must_sync: bool


class Status(Struct, frozen=True):
    """A member as it is now. `progress` is a copy, and empty unless it leads."""

    id: int
    hard_state: HardState
    soft_state: SoftState
    applied: int
    last_index: int
    membership: Membership
    progress: Mapping[int, Progress]
    lead_transferee: int


class Statistics(Struct, frozen=True):
    """Counts for a metrics page. Sizes are in bytes of application data."""

    term: int
    committed: int
    applied: int
    last_index: int
    unstable_entries: int
    uncommitted_size: int
    elections_started: int
    reads_pending: int
    inflight_appends: int


class _Pending(Struct, eq=False, gc=False, frozen=True):
    """What `advance` has to report for the Ready that is out: what became durable, and what was applied."""

    own_messages: list[Message]
    term: int
    stable_index: int
    stable_term: int
    snapshot: Snapshot | None
    committed_entries: Sequence[Entry]
    committed_size: int


class RawNode:
    """One member. See the module for how to drive it."""

    __slots__ = ("_async", "_committed_size", "_hard_state", "_pending", "_soft_state", "raft")

    def __init__(self, config: Config) -> None:
        self.raft = Raft(config)
        self._async = config.async_storage_writes
        self._soft_state = SoftState(self.raft.lead, self.raft.state)
        self._hard_state = HardState(self.raft.term, self.raft.vote, self.raft.log.committed)
        self._pending: _Pending | None = None

    def tick(self) -> None:
        """One unit of time has passed."""
        self.raft.tick()

    def step(self, message: Message) -> None:
        """Act on a message of a peer, or on a response of a local storage worker.

        Whatever a peer sends, this raises nothing but `RaftProtocolError`: the message then had no effect beyond, at
        most, the term and leader it told of. That `from_` is who sent it is for the transport to make sure; only in a
        MsgTransferLeader, and in forwarded proposals and read barriers, it names somebody else.
        """
        raft = self.raft
        sender = message.from_
        if sender < 0:
            assert sender in (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD), f"no worker has address {sender}"
        else:
            validate.check(message, raft.id)
            if message.type in RESPONSES and sender not in raft.tracker.progress:
                raise PeerNotFoundError
        raft.step(message)

    def campaign(self) -> None:
        """Campaign now rather than after the election timeout."""
        self.raft.step(Message(MSG_HUP, 0, self.raft.id))

    def propose(self, data: bytes) -> None:
        """Propose one entry. Raises `ProposalDroppedError`; without that, it may still be lost with its leader."""
        self.raft.propose((data,))

    def propose_batch(self, payloads: Sequence[bytes]) -> None:
        """Propose several entries, all or none of which are appended. Far cheaper than one by one."""
        if payloads:
            self.raft.propose(payloads)

    def propose_alone(self, payloads: Sequence[bytes]) -> Sequence[Entry]:
        """Propose entries as a leader without peers that has nothing else to do: to be stored at once, and in order.

        Returns nothing, and has done nothing, when that is not so: `propose_batch` then.
        """
        raft, log = self.raft, self.raft.log
        index = log.last_index
        # When all is applied, the term is stored, too, and nothing is under way.
        if log.applied != index or not raft.is_alone:
            return ()
        term = raft.term
        entries = [Entry(term, i, 0, data) for i, data in enumerate(payloads, index + 1)]
        log.append(entries)
        log.unstable.accept_in_progress()
        return entries

    def stored_alone(self, entries: Sequence[Entry]) -> bool:
        """What `propose_alone` returned is durable. True: it is committed, and may be applied at once.

        What is not comes in a Ready, now or, when leadership or the membership have changed meanwhile, once it is
        committed.
        """
        raft, log, last = self.raft, self.raft.log, entries[-1]
        if raft.term != last.term:
            return False  # whatever is written under the new term reports all that was written before
        log.unstable.stable_to(last.index, last.term)
        if not raft.is_alone:
            raft.step(Message(MSG_APP_RESP, raft.id, raft.id, raft.term, 0, last.index))
            return False
        raft.tracker.progress[raft.id].maybe_update(last.index)
        log.commit_to(last.index)
        stored = self._hard_state
        self._hard_state = HardState(stored.term, stored.vote, last.index)
        return True

    def applied_alone(self, entries: Sequence[Entry]) -> None:
        """What `stored_alone` committed is applied."""
        self.raft.applied_to(entries[-1].index, 0)

    def propose_conf_change(self, change: ConfChange | ConfChangeV2) -> None:
        """Propose a membership change.

        A leader that cannot take it now appends an empty entry in its place (see etcd-io/raft). Raises
        `ProposalDroppedError`, and `ConfChangeError` when it can never apply to the present membership.
        """
        kind, data = confchange.encode(change)
        self.raft.step(Message(MSG_PROP, 0, self.raft.id, entries=(Entry(0, 0, kind, data),)))

    def apply_conf_change(self, change: ConfChange | ConfChangeV2) -> ConfState:
        """Change the membership, as a committed entry says; store the result with the applied index.

        Raises `ConfChangeError`, on every member alike, when it does not fit; nothing has changed then. An application
        that decides against a change passes it with all its node ids 0.
        """
        return self.raft.apply_conf_change(change.as_v2())

    def report_unreachable(self, member: int) -> None:
        """The last message to `member` may not have arrived."""
        self.raft.step(Message(MSG_UNREACHABLE, 0, member))

    def report_snapshot(self, member: int, *, failed: bool) -> None:
        """The snapshot for `member` has been sent, or not. Without this report it gets no more entries."""
        self.raft.step(Message(MSG_SNAP_STATUS, 0, member, reject=failed))

    def transfer_leader(self, member: int) -> None:
        """Ask for `member` to lead instead of the present leader."""
        self.raft.step(Message(MSG_TRANSFER_LEADER, 0, member))

    def forget_leader(self) -> None:
        """As a follower, stop believing in the present leader, so as to grant others a vote."""
        self.raft.step(Message(MSG_FORGET_LEADER, 0, self.raft.id))

    def read_index(self, context: bytes) -> None:
        """Ask for a read barrier, answered by a `ReadState` with this context, or never: ask again after a while.

        Raises `ProposalDroppedError` when too many are waiting.
        """
        self.raft.step(Message(MSG_READ_INDEX, 0, self.raft.id, entries=(Entry(0, 0, 0, context),)))

    def has_ready(self) -> bool:
        """Whether `ready` would return something to do."""
        raft = self.raft
        if raft.msgs or raft.after_append:
            return True
        unstable = raft.log.unstable
        stored = self._hard_state
        return (
            unstable.offset_in_progress - unstable.offset < len(unstable.entries)
            or raft.log.committed != stored.commit
            or raft.term != stored.term
            or raft.vote != stored.vote
            or raft.log.has_next_committed(not self._async)
            or raft.state is not self._soft_state.state
            or raft.lead != self._soft_state.lead
            or unstable.next_snapshot is not None
            or bool(raft.read_states)
        )

    def ready(self) -> Ready:
        """What is to be done now. The caller must do it, in order; without `async_storage_writes` it must `advance`
        before it calls this again."""
        assert self._pending is None, "the last Ready was not advanced"
        raft, log = self.raft, self.raft.log
        soft_state: SoftState | None = None
        if raft.state is not self._soft_state.state or raft.lead != self._soft_state.lead:
            self._soft_state = soft_state = SoftState(raft.lead, raft.state)
        old, hard_state = self._hard_state, None
        must_sync = raft.term != old.term or raft.vote != old.vote
        if must_sync or log.committed != old.commit:
            self._hard_state = hard_state = HardState(raft.term, raft.vote, log.committed)
        unstable = log.unstable
        entries = unstable.next_entries()
        snapshot = unstable.next_snapshot
        committed = log.next_committed(not self._async)
        read_states, messages, after_append = raft.read_states, raft.msgs, raft.after_append
        ready = Ready(
            soft_state, hard_state, read_states, entries, snapshot, committed, messages, must_sync or bool(entries)
        )
        if read_states:
            raft.read_states = []
        raft.msgs, raft.after_append = [], []
        size = entries_size(committed) if committed and log.applying_size_max < NO_LIMIT else 0
        if self._async:
            self._add_storage_messages(ready, after_append)
        else:
            own: list[Message] = []
            for message in after_append:
                (own if message.to == raft.id else messages).append(message)
            if own or committed or unstable.entries or snapshot is not None:
                # The end of the log is durable when all of this Ready is, whichever Readys it was handed out in.
                index, term = (log.last_index, log.last_term) if unstable.entries else (0, 0)
                self._pending = _Pending(own, raft.term, index, term, snapshot, committed, size)
        unstable.accept_in_progress()
        if committed:
            log.accept_applying(committed[-1].index, size, not self._async)
        return ready

    def _add_storage_messages(self, ready: Ready, after_append: list[Message]) -> None:
        """Hand storage work to the local workers, with what is to be said when it is done."""
        raft, log = self.raft, self.raft.log
        if ready.entries or ready.hard_state is not None or ready.snapshot is not None or after_append:
            if log.unstable.entries or ready.snapshot is not None:
                # Only the last write of a series of overlapping ones may report: the term tells whether this one is it.
                index, term = (log.last_index, log.last_term) if log.unstable.entries else (0, 0)
                after_append.append(
                    Message(
                        MSG_STORAGE_APPEND_RESP,
                        raft.id,
                        LOCAL_APPEND_THREAD,
                        raft.term,
                        term,
                        index,
                        snapshot=ready.snapshot,
                    )
                )
            state = ready.hard_state or HardState()
            ready.messages.append(
                Message(
                    MSG_STORAGE_APPEND,
                    LOCAL_APPEND_THREAD,
                    raft.id,
                    state.term,
                    commit=state.commit,
                    entries=ready.entries,
                    snapshot=ready.snapshot,
                    vote=state.vote,
                    responses=after_append,
                )
            )
        if ready.committed_entries:
            done = Message(MSG_STORAGE_APPLY_RESP, raft.id, LOCAL_APPLY_THREAD, entries=ready.committed_entries)
            ready.messages.append(
                Message(
                    MSG_STORAGE_APPLY, LOCAL_APPLY_THREAD, raft.id, entries=ready.committed_entries, responses=(done,)
                )
            )

    def advance(self, ready: Ready) -> None:
        """Everything in the last `Ready` is done: stored, sent and applied."""
        assert not self._async, "with async_storage_writes the workers' responses take the place of advance"
        pending = self._pending
        if pending is None:
            return
        self._pending = None
        raft = self.raft
        for message in pending.own_messages:
            raft.step(message)
        if pending.stable_index and pending.term == raft.term:
            raft.log.unstable.stable_to(pending.stable_index, pending.stable_term)
        if pending.snapshot is not None:
            raft.snapshot_applied(pending.snapshot)
        if pending.committed_entries:
            raft.entries_applied(pending.committed_entries, pending.committed_size)

    def status(self) -> Status:
        """The present state, with the progress of everybody if this member leads."""
        raft = self.raft
        leads = raft.state is LEADER
        return Status(
            raft.id,
            HardState(raft.term, raft.vote, raft.log.committed),
            SoftState(raft.lead, raft.state),
            raft.log.applied,
            raft.log.last_index,
            raft.tracker.membership,
            {member: progress.copy() for member, progress in raft.tracker.members} if leads else {},
            raft.lead_transferee,
        )

    def statistics(self) -> Statistics:
        """Counts for a metrics page."""
        raft, log = self.raft, self.raft.log
        return Statistics(
            raft.term,
            log.committed,
            log.applied,
            log.last_index,
            len(log.unstable.entries),
            raft.uncommitted_size,
            raft.elections_started,
            len(raft.reads) + len(raft.pending_reads),
            sum(len(progress.inflights) for _, progress in raft.tracker.members),
        )
