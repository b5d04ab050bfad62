"""Transactions on their way: from whoever waits for them, through the leader's log, to where they are applied.

Exactly once, without any replicated memory of requests. A transaction is proposed in one term at a time, and an entry
of that term cannot come into effect once an entry of a later term was applied, as terms never fall along a log. So
whoever waits watches its own member apply entries: either the transaction comes by, and the answer is what applying it
here gave (with that, the waiter reads its own write); or an entry of a later term does, and then the transaction is
surely lost and is proposed again.

The leader's own transactions are known by their place in the log. Those of other members carry a mark (a number of
theirs and a nonce of their process), and the leader remembers for its term which it has taken, so that a request which
was repeated, because its answer was lost, is taken once. Only where a snapshot overtakes a transaction its fate stays
unknown.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import outcome
import trio

from edgekube.raft.application import Proposal
from edgekube.store import command as commands
from edgekube.store.api import StoreError, TxnResult

WAITING_COUNT_MAX: Final = 4096
WAITING_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024


class OutcomeUnknown(StoreError):
    """The write may have happened or not: this member was replaced by a snapshot before it could see."""


class Write(Proposal):
    """A transaction of this member's; `task` is None when nobody waits for it (any more).

    `sequence` is its mark, 0 as long as it was not forwarded; it has waited for that `since`. `doubtful` says that it
    may be in the log of `term` although nobody has confirmed it.
    """

    __slots__ = ("command", "doubtful", "sequence", "since", "task")

    def __init__(self, command: commands.Command, data: bytes) -> None:
        super().__init__(data, command.fence)
        self.command = command
        self.task: trio.lowlevel.Task | None = None
        self.sequence = 0
        self.doubtful = False
        self.since = 0.0

    async def wait(self) -> TxnResult:
        """Wait for the answer. Cancelled: the transaction goes on without its waiter."""
        self.task = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        result: TxnResult = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def reply(self, result: TxnResult | StoreError) -> None:
        """Answer, once."""
        task, self.task = self.task, None
        if task is not None:
            answer: outcome.Outcome[TxnResult] = (
                outcome.Error(result) if isinstance(result, StoreError) else outcome.Value(result)
            )
            trio.lowlevel.reschedule(task, answer)


class InFlight:
    """The transactions of this member that are, or may be, in the leader's log. Terms only rise from front to back."""

    def __init__(self, nonce: int) -> None:
        self.nonce = nonce
        self._own: deque[Write] = deque()
        self._sent: dict[int, Write] = {}
        self._open: set[int] = set()
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._own) + len(self._sent)

    @property
    def floor(self) -> int:
        """Every sequence number below is settled."""
        return min(self._open, default=self._sequence + 1)

    def add_own(self, write: Write) -> None:
        """It is in this member's log as leader, at its index and term."""
        self._own.append(write)

    def mark(self, write: Write) -> None:
        """Give a transaction its mark, before it is sent to another member; once for all."""
        self._sequence += 1
        write.sequence = self._sequence
        self._open.add(write.sequence)
        write.data = commands.forwarded(write.command, self.nonce, write.sequence)

    def add_sent(self, write: Write, term: int) -> None:
        """It is sent to the leader of `term`."""
        write.term = term
        self._sent[write.sequence] = write

    def take_back(self, write: Write) -> None:
        """It surely came into no log."""
        self._sent.pop(write.sequence, None)
        write.term = 0
        write.doubtful = False

    def give_up(self, write: Write) -> None:
        """It surely came into no log and will not be proposed again."""
        self.take_back(write)
        self._open.discard(write.sequence)

    def is_sent(self, write: Write) -> bool:
        """Whether its fate is still open."""
        return write.sequence in self._sent

    def own_at(self, index: int, term: int) -> Write | None:
        """Take out this member's own transaction at a place in the log, if there is one."""
        own = self._own
        if own and own[0].index == index and own[0].term == term:
            return own.popleft()
        return None

    def marked(self, command: commands.Command) -> Write | None:
        """Take out the transaction an applied command stands for, if it came from this process."""
        if isinstance(command, commands.ForwardedCommand) and command.nonce == self.nonce:
            self._open.discard(command.sequence)
            return self._sent.pop(command.sequence, None)
        return None

    def lost(self, term: int) -> list[Write]:
        """Take out what was proposed before `term`, of which an entry was applied now: it will never be applied."""
        lost: list[Write] = []
        while self._own and self._own[0].term < term:
            lost.append(self._own.popleft())
        lost += [write for write in self._sent.values() if write.term < term]
        for write in lost:
            self._sent.pop(write.sequence, None)
            write.term = write.index = 0
            write.doubtful = False
        return lost

    def drain(self) -> list[Write]:
        """Take out everything."""
        everything = [*self._own, *self._sent.values()]
        self._own.clear()
        self._sent.clear()
        self._open.clear()
        return everything


class Taken(Proposal):
    """A transaction that another member forwarded to this one, the leader."""

    __slots__ = ("sequence", "session")

    def __init__(self, data: bytes, term: int, session: "Session", sequence: int) -> None:
        super().__init__(data, term)
        self.session = session
        self.sequence = sequence


class Session:
    """What a leader remembers, within its term, of one process that forwards to it."""

    __slots__ = ("accepted", "floor", "lot", "pending")

    def __init__(self) -> None:
        self.floor = 0
        self.accepted: set[int] = set()
        self.pending: set[int] = set()
        self.lot = trio.lowlevel.ParkingLot()

    def admit(self, floor: int, numbers: Sequence[int]) -> list[int]:
        """Which of these to propose: those that were not taken before and are not settled."""
        if floor > self.floor:
            self.floor = floor
            self.accepted = {number for number in self.accepted if number >= floor}
        return [
            number
            for number in numbers
            if number >= self.floor and number not in self.accepted and number not in self.pending
        ]

    def settle(self, number: int, *, accepted: bool) -> None:
        """A pending one is in the log now, or surely not."""
        self.pending.discard(number)
        if accepted:
            self.accepted.add(number)
        if not self.pending:
            self.lot.unpark_all()
