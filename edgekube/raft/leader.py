"""Leading: replicating the log, committing, heartbeats, read barriers and handing over (sections 5.3, 5.4, 6 and 8)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgekube.raft import confchange, quorum
from edgekube.raft.errors import (
    CompactedError,
    ProposalDroppedError,
    RaftProtocolError,
    SnapshotTemporarilyUnavailableError,
)
from edgekube.raft.messages import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    MSG_SNAP_STATUS,
    MSG_TIMEOUT_NOW,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
    NO_LIMIT,
    NO_MEMBER,
    Entry,
    EntryType,
    Message,
    payloads_size,
)
from edgekube.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from edgekube.raft.readonly import ReadState
from edgekube.raft.roles import LEADER

if TYPE_CHECKING:
    from edgekube.raft.core import Raft

# Read barriers that may wait for a quorum, or for the first entry of the term, at a time.
PENDING_READS_MAX: Final = 4096


def step(raft: "Raft", message: Message) -> None:
    """Act on a message of the present term as leader."""
    kind, member = message.type, message.from_
    progress = raft.tracker.progress.get(member)
    if kind == MSG_APP_RESP:
        if progress is not None:
            _append_response(raft, message, progress)
    elif kind == MSG_PROP:
        _propose(raft, message)
    elif kind == MSG_READ_INDEX:
        _read_index(raft, message)
    elif progress is None:
        return
    elif kind == MSG_HEARTBEAT_RESP:
        _heartbeat_response(raft, message, progress)
    elif kind == MSG_SNAP_STATUS:
        if progress.state is SNAPSHOT:
            if message.reject:
                # Probe from where the member was, not from behind a snapshot it never got.
                progress.pending_snapshot = 0
            progress.become_probe()
            # After success the member's own answer resumes the flow, after failure the next heartbeat's does.
            progress.flow_paused = True
    elif kind == MSG_UNREACHABLE:
        # Appends on the way are probably lost.
        if progress.state is REPLICATE:
            progress.become_probe()
    elif kind == MSG_TRANSFER_LEADER:
        _transfer(raft, member, progress)


def tick(raft: "Raft") -> None:
    """One unit of time has passed for a leader."""
    raft.ticks += 1
    raft.heartbeat_elapsed += 1
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.election_timeout:
        raft.election_elapsed = 0
        if raft.check_quorum:
            _check_quorum(raft)
            if raft.state is not LEADER:
                return
        # A transfer that took longer than this has failed: lead on.
        raft.lead_transferee = NO_MEMBER
    if raft.heartbeat_elapsed >= raft.heartbeat_timeout:
        raft.heartbeat_elapsed = 0
        if raft.tracker.membership.auto_leave:
            raft.maybe_leave_joint()
        bcast_heartbeat(raft)


def _check_quorum(raft: "Raft") -> None:
    if not raft.tracker.quorum_active():
        raft.note("stepping_down reason=no word from a quorum")
        raft.become_follower(raft.term, NO_MEMBER)
    for member, progress in raft.tracker.members:
        if member != raft.id:
            progress.recent_active = False


def check_can_propose(raft: "Raft") -> None:
    """Raise `ProposalDroppedError` when this leader takes no proposals: it was removed, or is handing over."""
    if raft.lead_transferee != NO_MEMBER or raft.id not in raft.tracker.progress:
        raise ProposalDroppedError


def _propose(raft: "Raft", message: Message) -> None:
    check_can_propose(raft)
    entries = []
    pending_conf_index = raft.pending_conf_index
    try:
        for index, proposed in enumerate(message.entries, raft.log.last_index + 1):
            kind, data = proposed.type, proposed.data
            if kind != EntryType.NORMAL:
                problem = raft.check_conf_change(confchange.decode(proposed).as_v2())
                if problem is None:
                    raft.pending_conf_index = index
                else:
                    # An empty entry takes its place, so that the proposer sees its change pass without effect.
                    raft.note(f"ignored=membership-change reason={problem}")
                    kind, data = 0, b""
            entries.append(Entry(raft.term, index, kind, data))
        raft.append(entries)
    except RaftProtocolError:
        raft.pending_conf_index = pending_conf_index
        raise
    bcast_append(raft)


def bcast_append(raft: "Raft") -> None:
    """Send everybody what they lack, or at least the commit index."""
    own = raft.id
    for member, progress in raft.tracker.members:
        if member != own:
            maybe_send_append(raft, member, progress)


def maybe_send_append(raft: "Raft", member: int, progress: Progress, *, send_if_empty: bool = True) -> bool:
    """Send the next entries to a member, or a snapshot when they are no longer in the log; False if nothing was sent.

    An empty append still tells the commit index and makes the member say where its log ends.
    """
    if progress.flow_paused or progress.state is SNAPSHOT:
        return False
    log = raft.log
    following = progress.next
    previous = following - 1
    term = log.term(previous)
    if term is None:
        return _maybe_send_snapshot(raft, member, progress)
    entries: Sequence[Entry] = ()
    replicate = progress.state is REPLICATE
    # Into a full window only empty appends go: without them a window whose appends were all lost would never empty.
    if following <= log.last_index and not (replicate and progress.inflights.full):
        try:
            entries = log.slice(following, log.last_index + 1, raft.max_size_per_msg)
        except CompactedError:
            return _maybe_send_snapshot(raft, member, progress)
    if not entries and not send_if_empty:
        return False
    raft.msgs.append(Message(MSG_APP, member, raft.id, raft.term, term, previous, log.committed, entries))
    size = payloads_size(entries) if raft.tracker.size_max < NO_LIMIT else 0
    progress.sent_entries(len(entries), size)
    progress.sent_commit = log.committed
    return True


def _maybe_send_snapshot(raft: "Raft", member: int, progress: Progress) -> bool:
    if not progress.recent_active:
        # Nobody may be there to receive it. The answer to a heartbeat will tell.
        return False
    try:
        snapshot = raft.log.unstable.snapshot or raft.log.storage.snapshot()
    except SnapshotTemporarilyUnavailableError:
        return False
    assert snapshot.index > 0, "the log was compacted without a snapshot"
    progress.become_snapshot(snapshot.index)
    raft.msgs.append(Message(MSG_SNAP, member, raft.id, raft.term, snapshot=snapshot))
    raft.note(f"sending=snapshot index={snapshot.index} to={member}")
    return True


def _append_response(raft: "Raft", message: Message, progress: Progress) -> None:
    log, member, index = raft.log, message.from_, message.index
    if index > log.last_index:
        raise RaftProtocolError(f"{member} answers for entry {index}, but this leader's log ends at {log.last_index}")
    progress.recent_active = True
    if message.reject:
        hint = message.reject_hint
        if message.log_term > 0:
            # Skip entries here whose term the member cannot have at or before its hint: one round a term, not one an
            # entry (section 5.3).
            hint, _ = log.find_conflict_by_term(hint, message.log_term)
        if progress.maybe_decrease(index, hint):
            if progress.state is REPLICATE:
                progress.become_probe()
            maybe_send_append(raft, member, progress)
        return
    # A probed member that confirms what is known already (after it was reported unreachable) resumes, too.
    if not progress.maybe_update(index) and not (progress.match == index and progress.state is PROBE):
        return
    if progress.state is REPLICATE:
        progress.inflights.free_to(index)
    elif progress.state is PROBE:
        progress.become_replicate()
    elif progress.match + 1 >= log.first_index:
        # Whatever snapshot the member got, and from wherever: the log can take it from there.
        progress.become_probe()
        progress.become_replicate()
    if raft.maybe_commit():
        _release_pending_reads(raft)
        bcast_append(raft)
    elif member != raft.id and progress.can_bump_commit(log.committed):
        maybe_send_append(raft, member, progress)
    if member != raft.id:
        while progress.next <= log.last_index and maybe_send_append(raft, member, progress, send_if_empty=False):
            pass
        if member == raft.lead_transferee and progress.match == log.last_index:
            _send_timeout_now(raft, member)


def bcast_heartbeat(raft: "Raft") -> None:
    """Tell everybody that this leader lives, with the newest read barrier."""
    context = raft.reads.context(raft.ticks) if raft.lease_based or raft.reads else b""
    committed = raft.log.committed
    for member, progress in raft.tracker.members:
        if member != raft.id:
            # Never beyond what is known to match: the member could commit an entry that the leader does not have.
            commit = min(progress.match, committed)
            raft.msgs.append(Message(MSG_HEARTBEAT, member, raft.id, raft.term, commit=commit, context=context))
            progress.sent_commit = commit


def _heartbeat_response(raft: "Raft", message: Message, progress: Progress) -> None:
    member = message.from_
    progress.recent_active = True
    progress.flow_paused = False
    if progress.match < raft.log.last_index or progress.state is PROBE:
        maybe_send_append(raft, member, progress)
    if message.context and raft.reads.acknowledge(member, message.context, raft.ticks):
        membership = raft.tracker.membership
        confirmed = quorum.joint_committed(membership.voters, membership.outgoing, raft.reads.acked)
        for read in raft.reads.release(confirmed):
            _answer_read(raft, read.request, read.index)


def _read_index(raft: "Raft", message: Message) -> None:
    log = raft.log
    if len(raft.pending_reads) + len(raft.reads) >= PENDING_READS_MAX:
        raise ProposalDroppedError
    # Before it has committed an entry of its own term a leader does not know what is committed (section 8). That goes
    # for one that votes alone, too: the commit index it has stored is behind what it acknowledged before it stopped.
    if log.term(log.committed) != raft.term:
        raft.pending_reads.append(message)
        return
    _start_read(raft, message)


def _start_read(raft: "Raft", message: Message) -> None:
    if has_lease(raft) or raft.tracker.is_singleton(raft.id):
        _answer_read(raft, message, raft.log.committed)
        return
    raft.reads.add(raft.log.committed, message, raft.id)
    bcast_heartbeat(raft)


def has_lease(raft: "Raft") -> bool:
    """Whether no other leader can exist now, as long as clocks run equally fast.

    The quorum check is too coarse for this: it lets a leader that is cut off stay for almost two election timeouts.
    Ticks of different members are not aligned, which may cost one on either side.
    """
    if not raft.lease_based or raft.lease_void:
        return False
    membership = raft.tracker.membership
    heard = {**raft.reads.heard, raft.id: raft.ticks}
    sent = quorum.joint_committed(membership.voters, membership.outgoing, heard)
    return raft.ticks - sent <= raft.election_timeout - 2


def _release_pending_reads(raft: "Raft") -> None:
    if raft.pending_reads:
        waiting, raft.pending_reads = raft.pending_reads, []
        for message in waiting:
            _start_read(raft, message)


def _answer_read(raft: "Raft", request: Message, index: int) -> None:
    if request.from_ in (NO_MEMBER, raft.id):
        raft.read_states.append(ReadState(index, request.entries[0].data))
    else:
        raft.msgs.append(
            Message(MSG_READ_INDEX_RESP, request.from_, raft.id, raft.term, 0, index, entries=request.entries)
        )


def _transfer(raft: "Raft", member: int, progress: Progress) -> None:
    if progress.is_learner or raft.lead_transferee == member:
        return
    raft.lead_transferee = NO_MEMBER
    if member == raft.id:
        return
    # It has one election timeout, counted from now, to win.
    raft.election_elapsed = 0
    raft.lead_transferee = member
    raft.note(f"transferring=leadership to={member}")
    if progress.match == raft.log.last_index:
        _send_timeout_now(raft, member)
    else:
        maybe_send_append(raft, member, progress)


def _send_timeout_now(raft: "Raft", member: int) -> None:
    # Whenever it arrives, it makes a candidate that is granted votes without regard to any lease.
    raft.lease_void = True
    raft.msgs.append(Message(MSG_TIMEOUT_NOW, member, raft.id, raft.term))
