"""Read barriers: one question to a quorum, whether the leader still leads, for all who asked before it was put."""

from collections.abc import Sequence
from struct import Struct
from typing import Final

import outcome
import trio

from edgekube.raft.errors import ProposalDroppedError
from edgekube.raft.node import RaftNode
from edgekube.store.api import NotLeader, StoreError

LEADER_WAIT_S: Final = 5.0  # so long a barrier waits for somebody to lead
RETRY_S: Final = 0.5

_context: Final = Struct("<QQ")


class _Barrier:
    """Somebody who waits for a read barrier."""

    __slots__ = ("since", "task")

    def __init__(self, since: float) -> None:
        self.since = since
        self.task: trio.lowlevel.Task | None = None

    async def wait(self) -> int:
        self.task = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        index: int = await trio.lowlevel.wait_task_rescheduled(abort)
        return index

    def reply(self, index: int | StoreError) -> None:
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(
                task, outcome.Error(index) if isinstance(index, StoreError) else outcome.Value(index)
            )


class Barriers:
    """The barriers of one member. `nonce` tells its questions from those of its earlier lives."""

    def __init__(self, node: RaftNode, nonce: int) -> None:
        self._node = node
        self._nonce = nonce
        self._waiting: list[_Barrier] = []
        self._lot = trio.lowlevel.ParkingLot()
        self._number = 0
        self._index = -1

    async def wait(self) -> int:
        """The index that has to be applied here for a read to be current. Raises NotLeader after a few seconds."""
        barrier = _Barrier(trio.current_time())
        self._waiting.append(barrier)
        self._lot.unpark_all()
        return await barrier.wait()

    def passed(self, index: int, context: bytes) -> None:
        """See `Application.barrier_passed`."""
        if context == _context.pack(self._nonce, self._number):
            self._index = max(index, self._index)
            self._lot.unpark_all()

    def role_changed(self) -> None:
        """Somebody else leads, or nobody does: the question has to be put again."""
        self._lot.unpark_all()

    def stop(self, error: StoreError) -> None:
        """The store ends: tell all who wait."""
        for barrier in self._waiting:
            barrier.reply(type(error)(str(error)))

    async def run(self) -> None:
        """Task: one barrier after the other, each for all who asked before it began."""
        while True:
            while not self._waiting:
                await self._lot.park()
            waiting, self._waiting = self._waiting, []
            try:
                index = await self._pass(waiting)
            except BaseException:
                self._waiting += waiting  # for `stop` to answer
                raise
            for barrier in waiting:
                barrier.reply(index)

    async def _pass(self, waiting: Sequence[_Barrier]) -> int | StoreError:
        node = self._node
        self._number += 1
        self._index = -1
        context = _context.pack(self._nonce, self._number)
        while any(barrier.task is not None for barrier in waiting):
            lead, term = node.lead, node.term
            try:
                node.read_index(context)
            except ProposalDroppedError:
                pass  # too many are waiting at the leader: ask again
            with trio.move_on_after(RETRY_S):
                while self._index < 0 and (lead, term) == (node.lead, node.term):
                    await self._lot.park()
            if self._index >= 0:
                break
            if not node.lead and waiting[0].since + LEADER_WAIT_S < trio.current_time():
                return NotLeader()
        return self._index
