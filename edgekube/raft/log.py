"""The log of one member: stable entries in `Storage`, the rest in `Unstable`, and how far it is committed and applied.

Invariant: applied <= applying <= committed <= last_index. `applying` counts what was handed out to be applied.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekube.raft.errors import CompactedError, RaftProtocolError, UnavailableError
from edgekube.raft.messages import NO_LIMIT, Entry, Snapshot, entries_size, entry_size, limit_size
from edgekube.raft.unstable import Unstable

if TYPE_CHECKING:
    from edgekube.raft.storage import Storage


class Log:
    """See the module. `last_index` and `last_term` describe the end of the whole log, durable or not."""

    __slots__ = (
        "applied",
        "applying",
        "applying_paused",
        "applying_size",
        "applying_size_max",
        "committed",
        "last_index",
        "last_term",
        "storage",
        "unstable",
    )

    def __init__(self, storage: "Storage", applying_size_max: int = NO_LIMIT) -> None:
        self.storage = storage
        self.last_index = storage.last_index()
        self.last_term = storage.term(self.last_index)
        self.unstable = Unstable(self.last_index + 1)
        self.committed = self.applying = self.applied = storage.first_index() - 1
        self.applying_size_max = applying_size_max
        self.applying_size = 0
        self.applying_paused = False

    @property
    def first_index(self) -> int:
        """The index of the first entry that can be read."""
        snapshot = self.unstable.snapshot
        return self.storage.first_index() if snapshot is None else snapshot.index + 1

    def term(self, index: int) -> int | None:
        """The term at `index`, None when it is compacted away or not there yet."""
        if index == self.last_index:
            return self.last_term
        if index > self.last_index:
            return None
        term = self.unstable.term(index)
        if term is not None:
            return term
        # A waiting snapshot replaces everything before it.
        if index + 1 < self.first_index:
            return None
        try:
            return self.storage.term(index)
        except (CompactedError, UnavailableError):
            return None

    def is_up_to_date(self, index: int, term: int) -> bool:
        """Whether a log that ends there is at least as complete as this one (section 5.4.1 of the paper)."""
        return term > self.last_term or (term == self.last_term and index >= self.last_index)

    def slice(self, lo: int, hi: int, size_max: int = NO_LIMIT) -> Sequence[Entry]:
        """Entries lo <= index < hi, cut to `size_max` bytes but at least one. Raises `StorageError`."""
        unstable = self.unstable
        offset = unstable.offset
        if lo >= offset:
            return limit_size(unstable.entries[lo - offset : hi - offset], size_max)
        stable = self.storage.entries(lo, min(hi, offset), size_max)
        if hi <= offset or len(stable) < offset - lo:
            return stable
        if size_max >= NO_LIMIT:
            return [*stable, *unstable.entries[: hi - offset]]
        rest = size_max - entries_size(stable)
        more = limit_size(unstable.entries[: hi - offset], rest)
        if len(more) == 1 and entry_size(more[0]) > rest:
            return stable
        return [*stable, *more]

    def entries_from(self, index: int, size_max: int) -> Sequence[Entry]:
        """Entries from `index` to the end, cut to `size_max` bytes. Raises `StorageError`."""
        return self.slice(index, self.last_index + 1, size_max) if index <= self.last_index else ()

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries, dropping what conflicts with them; nothing committed may conflict."""
        assert entries[0].index > self.committed, f"entry {entries[0].index} is committed ({self.committed})"
        self.unstable.truncate_and_append(entries)
        last = entries[-1]
        self.last_index, self.last_term = last.index, last.term

    def maybe_append(self, index: int, term: int, entries: Sequence[Entry], commit: int) -> int | None:
        """Follow a leader: append `entries` behind the entry at (index, term), then commit up to `commit`.

        Returns the last index now known to agree with the leader's log, None when there is no such entry. Raises
        `RaftProtocolError` when an entry contradicts a committed one.
        """
        if self.term(index) != term:
            return None
        last = index + len(entries)
        if entries:
            position = 0
            if index < self.last_index:
                position = self._conflict(entries)
            if position < len(entries):
                if entries[position].index <= self.committed:
                    raise RaftProtocolError(
                        f"entry {entries[position].index} of term {entries[position].term} contradicts a committed "
                        f"one (commit index {self.committed}): refused"
                    )
                self.append(entries[position:] if position else entries)
        self.commit_to(min(commit, last))
        return last

    def _conflict(self, entries: Sequence[Entry]) -> int:
        """The position of the first entry that is not in the log already."""
        for position, entry in enumerate(entries):
            if self.term(entry.index) != entry.term:
                return position
        return len(entries)

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """A guess on where this log and another agree that has `term` at `index`: the last (index, term) with at most
        that term. The term is 0 when it is unknown.

        Terms never fall along a log, so this is a binary search: a peer cannot make it walk through the whole log.
        """
        own = self.term(index)
        if own is None:
            return index, 0
        if own <= term:
            return index, own
        # Everything from `high` on has a higher term; `low` is compacted away, or has at most `term`.
        low, high, low_term = self.first_index - 2, index, 0
        while high - low > 1:
            middle = (low + high) // 2
            own = self.term(middle)
            if own is None or own > term:
                high = middle
            else:
                low, low_term = middle, own
        return max(low, 0), low_term

    def commit_to(self, index: int) -> None:
        """Raise the commit index; it never falls."""
        if index > self.committed:
            assert index <= self.last_index, f"commit {index} is beyond the log ({self.last_index})"
            self.committed = index

    @property
    def has_snapshot(self) -> bool:
        """Whether a snapshot waits to be stored and applied; nothing else can be applied before it."""
        return self.unstable.snapshot is not None

    def _appliable_to(self, allow_unstable: bool) -> int:
        # With asynchronous writes only durable entries may be applied; otherwise entries of the same Ready as well,
        # because the caller stores them first.
        return self.committed if allow_unstable else min(self.committed, self.unstable.offset - 1)

    def has_next_committed(self, allow_unstable: bool) -> bool:
        """Whether `next_committed` returns anything."""
        if self.applying_paused or self.unstable.snapshot is not None:
            return False
        return self.applying < self._appliable_to(allow_unstable)

    def next_committed(self, allow_unstable: bool) -> Sequence[Entry]:
        """Committed entries to apply next, within the limit on what is being applied."""
        if self.applying >= self.committed or not self.has_next_committed(allow_unstable):
            return ()
        size_max = self.applying_size_max
        if size_max < NO_LIMIT:
            size_max -= self.applying_size
            assert size_max > 0, "application should have been paused"
        return self.slice(self.applying + 1, self._appliable_to(allow_unstable) + 1, size_max)

    def accept_applying(self, index: int, size: int, allow_unstable: bool) -> None:
        """Note that entries up to `index`, `size` bytes of them, were handed out to be applied."""
        assert self.applying < index <= self.committed, f"applying {index}: not in ({self.applying}, {self.committed}]"
        self.applying = index
        self.applying_size += size
        # Paused as well when entries were left behind for their size: the next batch begins when this one is done.
        self.applying_paused = self.applying_size >= self.applying_size_max or index < self._appliable_to(
            allow_unstable
        )

    def applied_to(self, index: int, size: int) -> None:
        """Note that entries up to `index`, `size` bytes of them, were applied."""
        assert self.applied <= index <= self.committed, f"applied {index}: not in [{self.applied}, {self.committed}]"
        self.applied = index
        self.applying = max(self.applying, index)
        self.applying_size = max(self.applying_size - size, 0)
        self.applying_paused = self.applying_size >= self.applying_size_max

    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot that is ahead of what is committed."""
        assert snapshot.index > self.committed, f"snapshot {snapshot.index} is behind the commit ({self.committed})"
        self.unstable.restore(snapshot)
        self.committed = self.last_index = snapshot.index
        self.last_term = snapshot.term
