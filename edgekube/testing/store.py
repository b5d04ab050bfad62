"""A store in memory for the tests of what stands on it: the real state machine, history and watches.

Nothing is logged, nothing is replicated, no thread runs: a transaction is applied at once, in the caller's task.
Leadership can be taken away (`step_down`) and given back (`campaign`), and history cut short (`compact`).
"""

from collections.abc import Sequence
from typing import Final

import trio

from edgekube.store import command as commands
from edgekube.store.api import Fenced, Guard, NotLeader, Op, ReadOnly, TxnResult
from edgekube.store.reads import LocalReads
from edgekube.store.state import NoBase, Position, StateMachine

HISTORY_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
HISTORY_COUNT_MAX: Final = 1_000_000


class FakeStore(LocalReads):
    """Implements `edgekube.store.api.Store`. Leads term 1 from the start unless told otherwise."""

    def __init__(self, *, leader: bool = True, revision: int = 1, cluster_id: str = "test") -> None:
        super().__init__(StateMachine(NoBase(), Position(revision=revision)), cluster_id)
        self._current_term = 1
        self._leads = leader
        self.read_only = False
        """Set it to see writes refused as on a full disk."""

    @property
    def term(self) -> int:
        """The term while this store leads, else 0."""
        return self._current_term if self._leads else 0

    async def txn(self, guards: Sequence[Guard], ops: Sequence[Op], *, term: int = 0) -> TxnResult:
        """See `Store.txn`."""
        command, _ = commands.encode(guards, ops, term)
        await trio.lowlevel.checkpoint()
        if not self._leads:
            raise NotLeader
        if self.read_only and ops:
            raise ReadOnly("the disk is full: free space and restart the node")
        state = self._state
        outcome = state.apply(state.index + 1, self._current_term, command, trio.current_time())
        if outcome.fenced:
            raise Fenced(f"the write belongs to term {term}, and this is term {self._current_term}")
        if outcome.applied is not None:
            self._hub.publish((outcome.applied,))
            if state.history.trim(size_bytes_max=HISTORY_SIZE_BYTES_MAX, count_max=HISTORY_COUNT_MAX):
                self._hub.forget()
        return outcome.result

    async def read_barrier(self) -> int:
        """See `Store.read_barrier`."""
        await trio.lowlevel.checkpoint()
        if not self._leads:
            raise NotLeader
        return self.revision

    async def wait_leader(self) -> int:
        """See `Store.wait_leader`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._leads:
            await self._hub.wait_advanced()
        return self._current_term

    async def wait_not_leader(self, term: int) -> None:
        """See `Store.wait_not_leader`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.term == term:
            await self._hub.wait_advanced()

    # -- what only a test does

    def step_down(self) -> None:
        """Lose leadership."""
        self._leads = False
        self._hub.wake()

    def campaign(self) -> int:
        """Win leadership of a new term, which is returned."""
        self._current_term += 1
        self._leads = True
        self._hub.wake()
        return self._current_term

    def compact(self, revision: int = 0) -> None:
        """Forget history up to `revision` (0: all of it)."""
        history = self._state.history
        keep = sum(1 for _ in history.since(revision)) if revision else 0
        history.trim(size_bytes_max=HISTORY_SIZE_BYTES_MAX, count_max=keep)
        self._hub.forget()
