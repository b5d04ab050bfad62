"""What the core reads back from stable storage, and a storage in memory.

The core never writes: it hands out what to store in `Ready` (or MsgStorageAppend) and reads only what was handed out
and reported stored. A storage may drop a prefix of applied entries at any time, as long as it has a snapshot for it.
"""

from collections.abc import Sequence
from typing import Protocol

from edgekube.raft.errors import CompactedError, UnavailableError
from edgekube.raft.messages import ConfState, Entry, HardState, Snapshot, limit_size


class Storage(Protocol):
    """The stable log of one member."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What was stored last, and the membership as of the last applied entry. Called once, at start.

        The first membership of a group stands in no entry of its log. Every member must get it from elsewhere: from a
        snapshot (then the log begins behind that, and members that join later are sent one), or at its first start.
        """
        ...

    def entries(self, lo: int, hi: int, size_max: int) -> Sequence[Entry]:
        """Entries lo <= index < hi, cut to `size_max` bytes by `messages.limit_size` (so at least one is returned).

        Raises `CompactedError` when `lo` is before `first_index()`, `UnavailableError` when `hi` is beyond the end.
        """
        ...

    def term(self, index: int) -> int:
        """The term of an entry, for first_index() - 1 <= index <= last_index(). Raises as `entries` does."""
        ...

    def last_index(self) -> int:
        """The index of the last entry, or of the snapshot when there is none behind it."""
        ...

    def first_index(self) -> int:
        """The index of the first entry that can be read, last_index() + 1 when there is none."""
        ...

    def snapshot(self) -> Snapshot:
        """A snapshot to send. Raises `SnapshotTemporarilyUnavailableError` while one is being made."""
        ...


class MemoryStorage:
    """A `Storage` that forgets everything with the process: for tests, simulations and measurements."""

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._snapshot = Snapshot(0, 0)
        self._entries: list[Entry] = []
        # Position just before the first entry: the compacted entry whose term is still known.
        self._offset = 0
        self._offset_term = 0

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self._snapshot.conf_state

    def entries(self, lo: int, hi: int, size_max: int) -> Sequence[Entry]:
        start = lo - self._offset - 1
        if start < 0:
            raise CompactedError(f"entry {lo} is compacted, the log begins at {self._offset + 1}")
        end = hi - self._offset - 1
        if end > len(self._entries):
            raise UnavailableError(f"entry {hi - 1} is not stored, the log ends at {self.last_index()}")
        return limit_size(self._entries[start:end], size_max)

    def term(self, index: int) -> int:
        position = index - self._offset - 1
        if position < 0:
            if position == -1:
                return self._offset_term
            raise CompactedError(f"entry {index} is compacted, the log begins at {self._offset + 1}")
        if position >= len(self._entries):
            raise UnavailableError(f"entry {index} is not stored, the log ends at {self.last_index()}")
        return self._entries[position].term

    def last_index(self) -> int:
        return self._offset + len(self._entries)

    def first_index(self) -> int:
        return self._offset + 1

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def set_hard_state(self, hard_state: HardState) -> None:
        """Store what a Ready asks for."""
        self._hard_state = hard_state

    def append(self, entries: Sequence[Entry]) -> None:
        """Store entries, dropping what conflicts with them. There must be no gap before them."""
        if not entries:
            return
        first, last = entries[0].index, entries[-1].index
        if last <= self._offset:
            return
        if first <= self._offset:
            entries = entries[self._offset + 1 - first :]
            first = self._offset + 1
        assert first <= self.last_index() + 1, f"missing log entries: last {self.last_index()}, append at {first}"
        del self._entries[first - self._offset - 1 :]
        self._entries.extend(entries)

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot. Raises `CompactedError` when it is not newer than the one held."""
        if snapshot.index <= self._snapshot.index:
            raise CompactedError(f"snapshot {snapshot.index} is not newer than {self._snapshot.index}")
        self._snapshot = snapshot
        self._entries = []
        self._offset, self._offset_term = snapshot.index, snapshot.term

    def create_snapshot(self, index: int, conf_state: ConfState, data: bytes) -> Snapshot:
        """Make and keep a snapshot of the state after `index`."""
        if index <= self._snapshot.index:
            raise CompactedError(f"snapshot {index} is not newer than {self._snapshot.index}")
        self._snapshot = Snapshot(index, self.term(index), conf_state, data)
        return self._snapshot

    def compact(self, index: int) -> None:
        """Drop the entries up to and including `index`."""
        if index <= self._offset:
            raise CompactedError(f"entry {index} is compacted already, the log begins at {self._offset + 1}")
        term = self.term(index)
        del self._entries[: index - self._offset]
        self._offset, self._offset_term = index, term
