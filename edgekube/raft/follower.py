"""Following: storing what the leader sends, and passing on what only the leader can do."""

from typing import TYPE_CHECKING

from edgekube.raft import confchange
from edgekube.raft.errors import ProposalDroppedError, RaftProtocolError
from edgekube.raft.messages import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_FORGET_LEADER,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    MSG_TIMEOUT_NOW,
    MSG_TRANSFER_LEADER,
    NO_MEMBER,
    Message,
    Snapshot,
)
from edgekube.raft.readonly import ReadState
from edgekube.raft.roles import CampaignType

if TYPE_CHECKING:
    from edgekube.raft.core import Raft


def step(raft: "Raft", message: Message) -> None:
    """Act on a message of the present term as a follower."""
    kind = message.type
    if kind == MSG_APP:
        raft.election_elapsed = 0
        raft.lead = message.from_
        _append(raft, message)
    elif kind == MSG_HEARTBEAT:
        if message.commit > raft.log.last_index:
            raise RaftProtocolError(
                f"heartbeat of {message.from_} commits {message.commit}, but the log ends at {raft.log.last_index}: "
                "either member lost stored data"
            )
        raft.election_elapsed = 0
        raft.lead = message.from_
        raft.log.commit_to(message.commit)
        raft.msgs.append(Message(MSG_HEARTBEAT_RESP, message.from_, raft.id, raft.term, context=message.context))
    elif kind == MSG_SNAP:
        raft.election_elapsed = 0
        raft.lead = message.from_
        snapshot = message.snapshot
        restored = snapshot is not None and _restore(raft, snapshot)
        index = raft.log.last_index if restored else raft.log.committed
        raft.after_append.append(Message(MSG_APP_RESP, message.from_, raft.id, raft.term, 0, index))
    elif kind == MSG_PROP:
        if raft.lead == NO_MEMBER or raft.disable_proposal_forwarding:
            raise ProposalDroppedError
        raft.msgs.append(Message(MSG_PROP, raft.lead, message.from_, entries=message.entries))
    elif kind == MSG_READ_INDEX:
        if raft.lead != NO_MEMBER:
            raft.msgs.append(Message(MSG_READ_INDEX, raft.lead, message.from_, entries=message.entries))
    elif kind == MSG_READ_INDEX_RESP:
        raft.read_states.append(ReadState(message.index, message.entries[0].data))
    elif kind == MSG_TRANSFER_LEADER:
        if raft.lead != NO_MEMBER:
            raft.msgs.append(Message(MSG_TRANSFER_LEADER, raft.lead, message.from_, raft.term))
    elif kind == MSG_TIMEOUT_NOW:
        # No pre-vote: the leader itself wants to be replaced.
        raft.hup(CampaignType.TRANSFER)
    elif kind == MSG_FORGET_LEADER:
        if raft.lease_based:
            raft.note("refused=forget-leader reason=leases rely on followers remembering")
        else:
            raft.lead = NO_MEMBER


def _append(raft: "Raft", message: Message) -> None:
    log = raft.log
    index = message.index
    if index < log.committed:
        raft.after_append.append(Message(MSG_APP_RESP, message.from_, raft.id, raft.term, 0, log.committed))
        return
    last = log.maybe_append(index, message.log_term, message.entries, message.commit)
    if last is not None:
        raft.after_append.append(Message(MSG_APP_RESP, message.from_, raft.id, raft.term, 0, last))
        return
    # Tell the leader where to look next: the last entry here that its log can agree with, as the terms of its log
    # before `index` are at most `log_term`.
    hint, hint_term = log.find_conflict_by_term(min(index, log.last_index), message.log_term)
    raft.after_append.append(
        Message(MSG_APP_RESP, message.from_, raft.id, raft.term, hint_term, index, reject=True, reject_hint=hint)
    )


def _restore(raft: "Raft", snapshot: Snapshot) -> bool:
    """Take over a snapshot; False when it brings nothing new."""
    log = raft.log
    if snapshot.index <= log.committed:
        return False
    state = snapshot.conf_state
    if raft.id not in (*state.voters, *state.learners, *state.voters_outgoing):
        raft.note(f"refused=snapshot index={snapshot.index} reason=it is for a membership without this member")
        return False
    if log.term(snapshot.index) == snapshot.term:
        # The log has it all already: the snapshot only proves that it is committed.
        log.commit_to(snapshot.index)
        return False
    changed = confchange.restore(raft.tracker, snapshot.index, state)
    log.restore(snapshot)
    raft.switch_to(changed)
    raft.note(f"restored=snapshot index={snapshot.index} snapshot_term={snapshot.term}")
    return True
