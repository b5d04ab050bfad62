"""A store in memory for what may be lost: Events. Same contract, no log, no disk, bounded by age, count and bytes.

Revisions are `term << 32 | n`, so that a new leader's never fall behind those an old one gave out. They are only
comparable with each other, never with the durable store's.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from math import inf
from typing import Final

import msgspec
import trio

from edgekube.store import command as commands
from edgekube.store.api import TXN_OPS_MAX, Delete, Fenced, Guard, NotLeader, Op, StoreError, TxnResult
from edgekube.store.history import Applied
from edgekube.store.reads import LocalReads
from edgekube.store.state import NoBase, Outcome, Position, StateMachine

TERM_SHIFT: Final = 32
_EVICT_SLACK_S: Final = 30.0  # expired keys go together, at most so late


class VolatileLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds: `ttl` in seconds since a key's last write (kube-apiserver's --event-ttl: 1 h), `size_max` in bytes."""

    ttl: float = 3600.0
    count_max: int = 5000
    size_max: int = 6 * 1024 * 1024
    history_size_max: int = 1024 * 1024
    history_count_max: int = 2000


@asynccontextmanager
async def open_volatile(
    *, term: int = 1, cluster_id: str = "", limits: VolatileLimits | None = None
) -> AsyncIterator["VolatileStore"]:
    """A volatile store and the task that evicts from it. `term` 0: not leading yet, see `set_term`."""
    store = VolatileStore(term, cluster_id, limits or VolatileLimits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run_evictor)
        try:
            yield store
        finally:
            store.close()
            nursery.cancel_scope.cancel()


class VolatileStore(LocalReads):
    """Implements `api.Store`; made by `open_volatile`. Transactions are applied at once, in the caller's task."""

    def __init__(self, term: int, cluster_id: str, limits: VolatileLimits) -> None:
        super().__init__(StateMachine(NoBase(), Position(revision=max(term << TERM_SHIFT, 1))), cluster_id)
        self._limits = limits
        self._current_term = term
        self._written: dict[bytes, tuple[float, int]] = {}  # when and how large, oldest write first
        self._size = 0
        self._evictor_lot = trio.lowlevel.ParkingLot()

    @property
    def term(self) -> int:
        """The term while this store takes writes, else 0."""
        return self._current_term

    @property
    def size_bytes(self) -> int:
        """Bytes of all keys and values."""
        return self._size

    def set_term(self, term: int) -> None:
        """Leadership came (a term above all before) or went (0). What is held stays; revisions go on in the new term.

        History before a new term is compacted, because other members' numbers lie between.
        """
        if term == self._current_term:
            return
        state = self._state
        if term:
            revision = term << TERM_SHIFT
            if revision <= state.revision:
                raise ValueError(f"term {term} is not above the term of revision {state.revision}")
            state.advance_to(revision)
            self._hub.forget()
        self._current_term = term
        self._hub.wake()

    async def txn(self, guards: Sequence[Guard], ops: Sequence[Op], *, term: int = 0) -> TxnResult:
        """See `Store.txn`."""
        command, _ = commands.encode(guards, ops, term)
        await trio.lowlevel.checkpoint()
        self._hub.check()
        if not self._current_term:
            raise NotLeader
        done = self._apply(command, trio.current_time())
        if done.fenced:
            raise Fenced(f"the write belongs to term {term}, and this is term {self._current_term}")
        self._evict(trio.current_time(), full_only=True)
        return done.result

    def _apply(self, command: commands.Command, now: float) -> Outcome:
        state = self._state
        done = state.apply(state.index + 1, self._current_term or state.term, command, now)
        if done.applied is None:
            return done
        idle = not self._written
        for event in done.applied.events:
            _, size = self._written.pop(event.key, (0.0, 0))
            self._size -= size
            if event.kv is not None:
                size = len(event.key) + len(event.kv.value)
                self._written[event.key] = (now, size)
                self._size += size
        self._publish((done.applied,))
        if idle and self._written:
            self._evictor_lot.unpark()
        return done

    def _publish(self, batch: Sequence[Applied]) -> None:
        self._hub.publish(batch)
        limits = self._limits
        if self._state.history.trim(size_bytes_max=limits.history_size_max, count_max=limits.history_count_max):
            self._hub.forget()

    def _evict(self, now: float, *, full_only: bool) -> None:
        """Delete the oldest keys: those past their time unless `full_only`, and as many as the bounds ask for."""
        limits, written = self._limits, self._written
        while written:
            surplus = max(len(written) - limits.count_max, 0)
            gone: list[Op] = []
            size = self._size
            for key, (time, size_of_key) in islice(written.items(), TXN_OPS_MAX):
                full = len(gone) < surplus or size > limits.size_max
                if not full and (full_only or time + limits.ttl > now):
                    break
                gone.append(Delete(key))
                size -= size_of_key
            if not gone:
                return
            self._apply(commands.Command(commands.VERSION, 0, (), tuple(gone)), now)

    async def run_evictor(self) -> None:
        """Task: delete what has expired. Sleeps without a timer while there is nothing."""
        while True:
            oldest = next(iter(self._written.values()), None)
            due = inf if oldest is None else oldest[0] + self._limits.ttl + min(_EVICT_SLACK_S, self._limits.ttl / 10)
            with trio.move_on_at(due):
                await self._evictor_lot.park()
            self._evict(trio.current_time(), full_only=False)

    def close(self) -> None:
        """Everyone who still waits gets StoreError."""
        self._current_term = 0
        self._hub.fail(StoreError("the store is closed"))

    async def read_barrier(self) -> int:
        """See `Store.read_barrier`."""
        await trio.lowlevel.checkpoint()
        if not self._current_term:
            raise NotLeader
        return self.revision

    async def wait_leader(self) -> int:
        """See `Store.wait_leader`."""
        await trio.lowlevel.checkpoint()
        self._hub.check()
        while not self._current_term:
            await self._hub.wait_advanced()
        return self._current_term

    async def wait_not_leader(self, term: int) -> None:
        """See `Store.wait_not_leader`."""
        await trio.lowlevel.checkpoint()
        while self._current_term == term:
            await self._hub.wait_advanced()
