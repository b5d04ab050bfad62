"""Proposals that wait for their turn: while one batch is being written, the next one gathers."""

from collections import deque
from typing import Final

from edgekube.raft.application import Proposal
from edgekube.raft.logwriter import BATCH_SIZE_BYTES_MAX, ENTRY_OVERHEAD_BYTES

BATCH_COUNT_MAX: Final = 256


class ProposalQueue:
    """First come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[Proposal] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def append(self, proposal: Proposal) -> None:
        """One more."""
        self._waiting.append(proposal)

    def take(self, term: int) -> tuple[list[Proposal], int, list[Proposal]]:
        """As much as fits one batch, its size in bytes, and what came up on the way and is for another term only."""
        waiting = self._waiting
        batch: list[Proposal] = []
        stale: list[Proposal] = []
        size = 0
        while waiting and len(batch) < BATCH_COUNT_MAX:
            proposal = waiting[0]
            needed = len(proposal.data) + ENTRY_OVERHEAD_BYTES
            if batch and size + needed > BATCH_SIZE_BYTES_MAX:
                break
            waiting.popleft()
            if proposal.required_term and proposal.required_term != term:
                stale.append(proposal)
                continue
            size += needed
            batch.append(proposal)
        return batch, size, stale

    def withdraw(self) -> list[Proposal]:
        """Everything that waits; it does so no longer."""
        withdrawn = list(self._waiting)
        self._waiting.clear()
        return withdrawn
