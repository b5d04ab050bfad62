"""What can be told about a peer's message without knowing the state of the member that received it.

The role modules may rely on all of this: positions are in order, lengths are as they should be, nobody poses as a local
worker. What contradicts the state of the log is refused where the log is at hand.
"""

from typing import Final

from edgekube.raft.errors import LocalMessageError, RaftProtocolError
from edgekube.raft.messages import (
    LOCAL,
    MSG_APP,
    MSG_APP_RESP,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    MSG_TRANSFER_LEADER,
    MSG_VOTE_RESP,
    EntryType,
    Message,
    MessageType,
)

# Beyond any term or index that a working group reaches. A member that was talked into a higher one could not go on:
# the next would no longer fit a message.
NUMBER_MAX: Final = 1 << 62

_KIND_MAX: Final = max(MessageType)
_ENTRY_TYPE_MAX: Final = max(EntryType)

# What a member sends to itself when storage writes are asynchronous, and what it passed on to a leader of before, who
# follows it by now and passes it back.
_TO_SELF: Final = frozenset(
    {MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP, MSG_TRANSFER_LEADER, MSG_PROP, MSG_READ_INDEX}
)

# What a follower passes on for somebody else.
_WITHOUT_TERM: Final = frozenset({MSG_PROP, MSG_READ_INDEX})


def check(message: Message, receiver: int) -> None:
    """Raise `RaftProtocolError` when no member in order would send this message to `receiver`."""
    kind, sender = message.type, message.from_
    if kind in LOCAL:
        raise LocalMessageError
    if not 0 <= kind <= _KIND_MAX:
        raise RaftProtocolError(f"message type {kind} of {sender} is unknown")
    if sender <= 0:
        raise RaftProtocolError(f"{MessageType(kind).name} has no sender")
    if sender == receiver and (kind not in _TO_SELF or message.reject):
        raise RaftProtocolError(f"{MessageType(kind).name} claims to come from {sender}, its receiver")
    term = message.term
    if not 0 <= term < NUMBER_MAX or not 0 <= message.index < NUMBER_MAX > message.commit >= 0:
        raise RaftProtocolError(f"{MessageType(kind).name} of {sender} has an impossible term, index or commit index")
    if (term == 0) != (kind in _WITHOUT_TERM):
        raise RaftProtocolError(f"{MessageType(kind).name} of {sender} has term {term}")
    if kind == MSG_APP:
        _check_append(message)
    elif kind == MSG_APP_RESP:
        return
    elif kind == MSG_SNAP:
        _check_snapshot(message)
    elif kind == MSG_PROP:
        if not message.entries or any(not 0 <= entry.type <= _ENTRY_TYPE_MAX for entry in message.entries):
            raise RaftProtocolError(f"MsgProp of {sender} is empty or has an entry of an unknown type")
    elif kind in (MSG_READ_INDEX, MSG_READ_INDEX_RESP) and len(message.entries) != 1:
        raise RaftProtocolError(f"{MessageType(kind).name} of {sender} has {len(message.entries)} contexts, not 1")


def _check_append(message: Message) -> None:
    index, term = message.index, message.log_term
    if not 0 <= term <= message.term:
        raise RaftProtocolError(f"MsgApp of {message.from_} follows an entry of term {term} in term {message.term}")
    term = term or 1
    for entry in message.entries:
        index += 1
        if entry.index != index or entry.term < term or not 0 <= entry.type <= _ENTRY_TYPE_MAX:
            raise RaftProtocolError(
                f"MsgApp of {message.from_} has entry {entry.index} of term {entry.term} and type {entry.type} where "
                f"{index} of term {term} or higher belongs"
            )
        term = entry.term
    if term > message.term:
        raise RaftProtocolError(f"MsgApp of {message.from_} in term {message.term} has entries of term {term}")


def _check_snapshot(message: Message) -> None:
    snapshot = message.snapshot
    if snapshot is None or snapshot.index == 0:
        return
    if not 0 < snapshot.index < NUMBER_MAX or not 0 < snapshot.term <= message.term:
        raise RaftProtocolError(
            f"MsgSnap of {message.from_} in term {message.term} has a snapshot at {snapshot.index} of term "
            f"{snapshot.term}"
        )
