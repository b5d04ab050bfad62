"""Read barriers waiting for proof that their leader still leads (section 6.4 of Ongaro's thesis).

The leader numbers its barriers and puts the newest number into its heartbeats; a member that echoes a number has
confirmed that barrier and every earlier one. So the barriers confirmed by a quorum are found just as committed entries
are: by the highest number that a majority has reached.

A lease spares the round trip. A member that hears a heartbeat helps nobody to another leadership for an election
timeout, so the heartbeats that a quorum has echoed, counted from when they were sent, tell how long no other leader can
exist.
"""

import struct
from collections import deque
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from edgekube.raft.messages import Message

# The number of the newest barrier, and the tick at which the heartbeat was sent.
_CONTEXT: Final = struct.Struct(">QQ")


class ReadState(Struct, frozen=True):
    """A confirmed barrier: once `index` is applied, reads of the local state satisfy whoever asked with `context`."""

    index: int
    context: bytes


class PendingRead(Struct, frozen=True):
    """A barrier on its way: its number, the commit index when it was asked for, and who asked."""

    number: int
    index: int
    request: Message


class ReadQueue:
    """The barriers of one leader's term, in order, and when each member last echoed a heartbeat."""

    __slots__ = ("_acked", "_heard", "_issued", "_pending")

    def __init__(self) -> None:
        self._pending: deque[PendingRead] = deque()
        self._acked: dict[int, int] = {}
        self._heard: dict[int, int] = {}
        self._issued = 0

    def __len__(self) -> int:
        return len(self._pending)

    def reset(self) -> None:
        """Forget all barriers, as the term is over. Numbers are not used again."""
        self._pending.clear()
        self._acked.clear()
        self._heard.clear()

    def add(self, index: int, request: Message, leader: int) -> None:
        """Queue a barrier at the commit index `index`; the leader confirms it itself."""
        self._issued += 1
        self._pending.append(PendingRead(self._issued, index, request))
        self._acked[leader] = self._issued

    def context(self, tick: int) -> bytes:
        """What a heartbeat sent at `tick` has to carry to confirm every barrier that waits, and to renew a lease."""
        return _CONTEXT.pack(self._issued, tick)

    def acknowledge(self, member: int, context: bytes, tick: int) -> bool:
        """Note, at `tick`, the echo in a heartbeat response; False when it is no news."""
        if len(context) != _CONTEXT.size:
            return False
        number, sent = _CONTEXT.unpack(context)
        if number > self._issued or sent > tick:
            return False
        self._heard[member] = max(sent, self._heard.get(member, 0))
        if number <= self._acked.get(member, 0):
            return False
        self._acked[member] = number
        return True

    @property
    def acked(self) -> Mapping[int, int]:
        """The newest number each member has confirmed."""
        return self._acked

    @property
    def heard(self) -> Mapping[int, int]:
        """For each member the tick at which the newest heartbeat that it has echoed was sent."""
        return self._heard

    def release(self, number: int) -> list[PendingRead]:
        """Take out the barriers up to `number`."""
        released = []
        while self._pending and self._pending[0].number <= number:
            released.append(self._pending.popleft())
        return released
