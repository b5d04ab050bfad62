"""A member's log and database in memory, for tests and simulations: no file, no thread, only trio's clock.

They behave like `raft.wal.Wal` and `store.disk.Disk`. Writing takes `sync_s`; what was not synced is gone after
`crash`. The log keeps the last synced batch whole or loses it; torn writes are the business of the real log's tests.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from edgekube.raft.errors import CompactedError, UnavailableError
from edgekube.raft.messages import ConfState, Entry, HardState, limit_size
from edgekube.raft.wal import WalStatistics
from edgekube.store.api import KeyValue
from edgekube.store.disk import IncomingState, Meta, Rows

SEGMENT_ENTRIES: Final = 64


class _LogState:
    """What a log holds: entries behind (base, base_term), HardState, ConfState."""

    def __init__(self) -> None:
        self.base = 0
        self.base_term = 0
        self.entries: list[Entry] = []
        self.hard_state = HardState()
        self.conf_state = ConfState()

    def copy(self) -> "_LogState":
        twin = _LogState()
        twin.base, twin.base_term, twin.entries = self.base, self.base_term, list(self.entries)
        twin.hard_state, twin.conf_state = self.hard_state, self.conf_state
        return twin

    @property
    def last(self) -> int:
        return self.base + len(self.entries)

    def append(self, entries: Sequence[Entry], hard_state: HardState | None, conf_state: ConfState | None) -> None:
        for entry in entries:
            if entry.index <= self.base:
                raise ValueError(f"entry {entry.index} is compacted (base {self.base})")
            if entry.index > self.last + 1:
                raise ValueError(f"entry {entry.index} leaves a gap behind {self.last}")
            del self.entries[entry.index - self.base - 1 :]
            self.entries.append(entry)
        self.hard_state = hard_state or self.hard_state
        self.conf_state = conf_state or self.conf_state

    def restore(self, index: int, term: int) -> None:
        self.base, self.base_term, self.entries = index, term, []


class MemoryLog:
    """Implements `store.kept.KeptLog`. Keep it over a restart of its member; `crash` forgets what was not synced."""

    def __init__(self, *, sync_s: float = 0.002) -> None:
        self.sync_s = sync_s
        self._now = _LogState()
        self._durable = _LogState()
        self._pending: list[Callable[[_LogState], None]] = []
        self._ticket = 0
        self._synced = 0
        self._syncs = 0
        self._busy = False
        self._lot = trio.lowlevel.ParkingLot()
        self.failure: Exception | None = None
        """Set it to let every later write fail."""

    def crash(self) -> "MemoryLog":
        """The log as the next process finds it."""
        twin = MemoryLog(sync_s=self.sync_s)
        twin._now, twin._durable = self._durable.copy(), self._durable
        return twin

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._now.hard_state, self._now.conf_state

    def first_index(self) -> int:
        return self._now.base + 1

    def last_index(self) -> int:
        return self._now.last

    def term(self, index: int) -> int:
        now = self._now
        if index == now.base:
            return now.base_term
        if index < now.base:
            raise CompactedError(f"entry {index} is compacted")
        if index > now.last:
            raise UnavailableError(f"entry {index} is not there yet")
        return now.entries[index - now.base - 1].term

    def entries(self, lo: int, hi: int, size_max: int) -> Sequence[Entry]:
        now = self._now
        if lo >= hi:
            return ()
        if lo <= now.base:
            raise CompactedError(f"entry {lo} is compacted")
        if hi > now.last + 1:
            raise UnavailableError(f"entry {hi - 1} is not there yet")
        return limit_size(now.entries[lo - now.base - 1 : hi - now.base - 1], size_max)

    @property
    def synced_position(self) -> int:
        return self._synced

    @property
    def segment_count(self) -> int:
        return len(self._now.entries) // SEGMENT_ENTRIES + 1

    @property
    def wants_spare(self) -> bool:
        return False

    def append(
        self,
        entries: Sequence[Entry] = (),
        hard_state: HardState | None = None,
        conf_state: ConfState | None = None,
    ) -> int:
        kept = tuple(entries)
        return self._do(lambda state: state.append(kept, hard_state, conf_state))

    def restore(self, index: int, term: int, conf_state: ConfState, hard_state: HardState | None = None) -> int:
        self._do(lambda state: state.restore(index, term))
        return self.append((), hard_state, conf_state)

    def _do(self, change: Callable[[_LogState], None]) -> int:
        if self.failure is not None:
            raise self.failure
        change(self._now)
        self._pending.append(change)
        self._ticket += 1
        return self._ticket

    async def reserve(self, size: int) -> None:
        """Nothing to do; a simulator's subclass may raise LogFull."""

    async def prepare(self) -> None:
        """Nothing to do."""

    async def sync(self, ticket: int) -> None:
        while self._synced < ticket:
            if self.failure is not None:
                raise self.failure
            if self._busy:
                await self._lot.park()
                continue
            self._busy = True
            taken, upto = len(self._pending), self._ticket
            try:
                await trio.sleep(self.sync_s)
                if self.failure is not None:
                    raise self.failure
                for change in self._pending[:taken]:
                    change(self._durable)
                del self._pending[:taken]
                self._synced = upto
                self._syncs += 1
            finally:
                self._busy = False
                self._lot.unpark_all()

    async def compact(self, index: int) -> None:
        await trio.lowlevel.checkpoint()
        keep = min(index, self._now.last) // SEGMENT_ENTRIES * SEGMENT_ENTRIES

        def drop(state: _LogState) -> None:
            if state.base < keep <= state.last:
                term = state.entries[keep - state.base - 1].term
                del state.entries[: keep - state.base]
                state.base, state.base_term = keep, term

        drop(self._now)
        self._pending.append(drop)

    def statistics(self) -> WalStatistics:
        return WalStatistics(
            first_index=self.first_index(),
            last_index=self.last_index(),
            segments=self.segment_count,
            syncs=self._syncs,
            frames=self._syncs,
            bytes_written=0,
        )

    def close(self) -> None:
        """Nothing to give up."""


class _Incoming:
    """A received state in memory."""

    def __init__(self, sync_s: float) -> None:
        self.rows: dict[bytes, KeyValue] = {}
        self._sync_s = sync_s

    async def add(self, rows: Rows) -> None:
        await trio.sleep(self._sync_s)
        self.rows.update({key: kv for key, kv in rows if kv is not None})

    def discard(self) -> None:
        """Nothing to give up."""


class MemoryDisk:
    """Implements `store.disk.StateDisk`. Every commit is durable when it returns, so a crash needs no copy."""

    def __init__(self, meta: Meta, *, sync_s: float = 0.005) -> None:
        self.meta = meta
        self.sync_s = sync_s
        self._rows: dict[bytes, KeyValue] = {}

    def get(self, key: bytes) -> KeyValue | None:
        return self._rows.get(key)

    def scan(self, start: bytes, end: bytes, limit: int) -> list[KeyValue]:
        keys = sorted(key for key in self._rows if start <= key < end)
        return [self._rows[key] for key in (keys[:limit] if limit else keys)]

    def count(self, start: bytes, end: bytes) -> int:
        return len(self.scan(start, end, 0))

    @property
    def used_bytes(self) -> int:
        return sum(len(kv.key) + len(kv.value) for kv in self._rows.values())

    async def commit(self, changes: Rows, meta: Meta) -> None:
        kept = list(changes)
        await trio.sleep(self.sync_s)
        for key, kv in kept:
            if kv is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = kv
        self.meta = msgspec.structs.replace(meta)

    def receive(self) -> _Incoming:
        return _Incoming(self.sync_s)

    async def install(self, incoming: IncomingState, meta: Meta, switched: Callable[[], None]) -> None:
        assert isinstance(incoming, _Incoming)
        await trio.sleep(self.sync_s)
        self._rows = dict(incoming.rows)
        self.meta = meta
        switched()

    def close(self) -> None:
        """Nothing to give up."""
