"""The values that Raft members store and exchange.

All of them are immutable and encode as msgpack arrays: `encode_message` and `decode_message` are for the wire between
members, and a log may store `Entry` and `HardState` in the same way. Fields may only be added at the end, with a
default.

Terms and indexes start at 1 and 0 means "none", as does member id 0. Names follow etcd-io/raft.
"""

import enum
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from edgekube.raft.errors import RaftProtocolError
from edgekube.types.unreadable import UNREADABLE

UINT_MAX: Final = (1 << 63) - 1

# A size limit that limits nothing; passing it saves the adding up.
NO_LIMIT: Final = UINT_MAX

UInt = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]

NO_MEMBER: Final = 0

# Addresses of the two local workers of asynchronous storage writes. They are negative because no decoded message can
# carry a negative number: a peer cannot pose as a worker.
LOCAL_APPEND_THREAD: Final = -1
LOCAL_APPLY_THREAD: Final = -2


class EntryType(enum.IntEnum):
    """What the data of an entry is: the application's own bytes, or an encoded change of the membership."""

    NORMAL = 0
    CONF_CHANGE = 1
    CONF_CHANGE_V2 = 2


class MessageType(enum.IntEnum):
    """Kinds of message, numbered and named as in etcd-io/raft."""

    MsgHup = 0
    MsgBeat = 1
    MsgProp = 2
    MsgApp = 3
    MsgAppResp = 4
    MsgVote = 5
    MsgVoteResp = 6
    MsgSnap = 7
    MsgHeartbeat = 8
    MsgHeartbeatResp = 9
    MsgUnreachable = 10
    MsgSnapStatus = 11
    MsgCheckQuorum = 12
    MsgTransferLeader = 13
    MsgTimeoutNow = 14
    MsgReadIndex = 15
    MsgReadIndexResp = 16
    MsgPreVote = 17
    MsgPreVoteResp = 18
    MsgStorageAppend = 19
    MsgStorageAppendResp = 20
    MsgStorageApply = 21
    MsgStorageApplyResp = 22
    MsgForgetLeader = 23


# Plain integers beside the enumeration: a global is several times cheaper to load and compare than an enum member.
MSG_HUP: Final = 0
MSG_BEAT: Final = 1
MSG_PROP: Final = 2
MSG_APP: Final = 3
MSG_APP_RESP: Final = 4
MSG_VOTE: Final = 5
MSG_VOTE_RESP: Final = 6
MSG_SNAP: Final = 7
MSG_HEARTBEAT: Final = 8
MSG_HEARTBEAT_RESP: Final = 9
MSG_UNREACHABLE: Final = 10
MSG_SNAP_STATUS: Final = 11
MSG_CHECK_QUORUM: Final = 12
MSG_TRANSFER_LEADER: Final = 13
MSG_TIMEOUT_NOW: Final = 14
MSG_READ_INDEX: Final = 15
MSG_READ_INDEX_RESP: Final = 16
MSG_PRE_VOTE: Final = 17
MSG_PRE_VOTE_RESP: Final = 18
MSG_STORAGE_APPEND: Final = 19
MSG_STORAGE_APPEND_RESP: Final = 20
MSG_STORAGE_APPLY: Final = 21
MSG_STORAGE_APPLY_RESP: Final = 22
MSG_FORGET_LEADER: Final = 23


class Entry(Struct, array_like=True, gc=False, frozen=True):
    """One slot of the replicated log. `type` is an `EntryType`; data of type NORMAL may be empty (a new leader's)."""

    term: UInt
    index: UInt
    type: UInt = 0
    data: bytes = b""


class HardState(Struct, array_like=True, gc=False, frozen=True):
    """What must be on disk before a message that depends on it leaves: figure 2 of the paper, plus the commit index."""

    term: UInt = 0
    vote: UInt = 0
    commit: UInt = 0


class ConfState(Struct, array_like=True, gc=False, frozen=True):
    """The membership at some index: `voters_outgoing`, `learners_next` and `auto_leave` only while it is joint."""

    voters: tuple[UInt, ...] = ()
    learners: tuple[UInt, ...] = ()
    voters_outgoing: tuple[UInt, ...] = ()
    learners_next: tuple[UInt, ...] = ()
    auto_leave: bool = False


class Snapshot(Struct, array_like=True, gc=False, frozen=True):
    """The state after applying `index`. `data` is the application's: the state itself or a token to fetch it by."""

    index: UInt
    term: UInt
    conf_state: ConfState = ConfState()
    data: bytes = b""


class Message(Struct, array_like=True, gc=False, frozen=True):
    """One message. Which fields mean something depends on `type` (a `MessageType`).

    `index` and `log_term` name a log position; `commit` the sender's commit index; `reject`/`reject_hint` answer votes,
    appends and snapshot reports; `context` marks a forced campaign or a read barrier. `vote` and `responses` only occur
    in messages to the local storage workers, which send `responses` once the write is durable.
    """

    type: UInt
    to: UInt = 0
    from_: UInt = 0
    term: UInt = 0
    log_term: UInt = 0
    index: UInt = 0
    commit: UInt = 0
    entries: Sequence[Entry] = ()
    reject: bool = False
    reject_hint: UInt = 0
    snapshot: Snapshot | None = None
    context: bytes = b""
    vote: UInt = 0
    responses: Sequence["Message"] = ()


_decoder = msgspec.msgpack.Decoder(Message)
_encoder = msgspec.msgpack.Encoder()


def encode_message(message: Message) -> bytes:
    """A message for another member, as msgpack."""
    return _encoder.encode(message)


def decode_message(data: bytes | bytearray | memoryview) -> Message:
    """The message another member encoded. Raises `RaftProtocolError` for anything else.

    It bounds every number, but not the length: that is for the transport, before the data is in memory.
    """
    try:
        return _decoder.decode(data)
    except UNREADABLE as error:
        raise RaftProtocolError(f"{len(data)} bytes are no message: {error}") from error


# Messages that answer a request, so that only members of the configuration may send them.
RESPONSES: Final = frozenset(
    {
        MSG_APP_RESP,
        MSG_VOTE_RESP,
        MSG_HEARTBEAT_RESP,
        MSG_UNREACHABLE,
        MSG_READ_INDEX_RESP,
        MSG_PRE_VOTE_RESP,
        MSG_STORAGE_APPEND_RESP,
        MSG_STORAGE_APPLY_RESP,
    }
)

# Messages that never travel between members.
LOCAL: Final = frozenset(
    {
        MSG_HUP,
        MSG_BEAT,
        MSG_UNREACHABLE,
        MSG_SNAP_STATUS,
        MSG_CHECK_QUORUM,
        MSG_STORAGE_APPEND,
        MSG_STORAGE_APPEND_RESP,
        MSG_STORAGE_APPLY,
        MSG_STORAGE_APPLY_RESP,
        MSG_FORGET_LEADER,
    }
)


def _varint_size(number: int) -> int:
    return ((number | 1).bit_length() + 6) // 7


def entry_size(entry: Entry) -> int:
    """Bytes this entry counts against the size limits: a tag and a varint a field, as in etcd's protobuf encoding.

    It is close to the msgpack size and does not depend on how a driver encodes.
    """
    length = len(entry.data)
    # `_varint_size` in place: this is called for every entry that travels alone.
    size = 4 + ((entry.term | 1).bit_length() + 6) // 7 + ((entry.index | 1).bit_length() + 6) // 7
    return size + 1 + (length.bit_length() + 6) // 7 + length if length else size


def entries_size(entries: Sequence[Entry]) -> int:
    """The sum of `entry_size` over entries of one log, in order.

    Terms and indexes only grow along a log, so when the first and the last need equally many bytes all of them do; the
    loop over entries then is only about their data.
    """
    if not entries:
        return 0
    first, last = entries[0], entries[-1]
    count = len(entries)
    if count == 1:
        return entry_size(first)
    term, index = _varint_size(first.term), _varint_size(first.index)
    lengths = [len(entry.data) for entry in entries]
    low, high = min(lengths), max(lengths)
    prefix = _varint_size(high)
    if low == 0 or term != _varint_size(last.term) or index != _varint_size(last.index) or prefix != _varint_size(low):
        return sum(map(entry_size, entries))
    return count * (5 + term + index + prefix) + sum(lengths)


def payloads_size(entries: Sequence[Entry]) -> int:
    """Bytes of application data in these entries."""
    if len(entries) == 1:
        return len(entries[0].data)
    return sum([len(entry.data) for entry in entries])


def limit_size(entries: Sequence[Entry], size_max: int) -> Sequence[Entry]:
    """The longest prefix of `entries` whose size is at most `size_max`, but at least one entry when there is one."""
    if len(entries) <= 1 or size_max >= NO_LIMIT or entries_size(entries) <= size_max:
        return entries
    size = 0
    for position, entry in enumerate(entries):
        size += entry_size(entry)
        if size > size_max and position:
            return entries[:position]
    return entries
