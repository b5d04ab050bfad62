"""Read barriers waiting for proof that their leader still leads (section 6.4 of Ongaro's thesis).

The leader numbers its barriers and puts the newest number into its heartbeats; a member that echoes a number has
confirmed that barrier and every earlier one. So the barriers confirmed by a quorum are found just as committed entries
are: by the highest number that a majority has reached.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgekube.raft.messages import Message

CONTEXT_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class ReadState:
    """A confirmed barrier: once `index` is applied, reads of the local state satisfy whoever asked with `context`."""

    index: int
    context: bytes


@dataclass(frozen=True, slots=True)
class PendingRead:
    """A barrier on its way: its number, the commit index when it was asked for, and who asked."""

    number: int
    index: int
    request: Message


class ReadQueue:
    """The barriers of one leader's term, in order."""

    __slots__ = ("_acked", "_issued", "_pending")

    def __init__(self) -> None:
        self._pending: deque[PendingRead] = deque()
        self._acked: dict[int, int] = {}
        self._issued = 0

    def __len__(self) -> int:
        return len(self._pending)

    def reset(self) -> None:
        """Forget all barriers, as the term is over. Numbers are not used again."""
        self._pending.clear()
        self._acked.clear()

    def add(self, index: int, request: Message, leader: int) -> None:
        """Queue a barrier at the commit index `index`; the leader confirms it itself."""
        self._issued += 1
        self._pending.append(PendingRead(self._issued, index, request))
        self._acked[leader] = self._issued

    @property
    def context(self) -> bytes:
        """What a heartbeat has to carry to confirm every barrier that waits."""
        return self._issued.to_bytes(CONTEXT_SIZE, "big") if self._pending else b""

    def acknowledge(self, member: int, context: bytes) -> bool:
        """Note the echo in a heartbeat response; False when it is no news."""
        if len(context) != CONTEXT_SIZE:
            return False
        number = int.from_bytes(context, "big")
        if number > self._issued or number <= self._acked.get(member, 0):
            return False
        self._acked[member] = number
        return True

    @property
    def acked(self) -> Mapping[int, int]:
        """The newest number each member has confirmed."""
        return self._acked

    def release(self, number: int) -> list[PendingRead]:
        """Take out the barriers up to `number`."""
        released = []
        while self._pending and self._pending[0].number <= number:
            released.append(self._pending.popleft())
        return released
