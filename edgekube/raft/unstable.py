"""The tail of the log that is not known to be durable yet.

Entries wait here from the moment they are appended until storage reports them written. `offset` is the index of the
first one. Those before `offset_in_progress` have been handed to storage but not reported back. A snapshot received
from the leader waits here in the same way, and then lies before `offset`.
"""

from collections.abc import Sequence

from edgekube.raft.messages import Entry, Snapshot


class Unstable:
    """See the module. `entries[i]` has index `offset + i`."""

    __slots__ = ("entries", "offset", "offset_in_progress", "snapshot", "snapshot_in_progress")

    def __init__(self, offset: int) -> None:
        self.entries: list[Entry] = []
        self.offset = offset
        self.offset_in_progress = offset
        self.snapshot: Snapshot | None = None
        self.snapshot_in_progress = False

    def term(self, index: int) -> int | None:
        """The term at `index`, if it is known here."""
        position = index - self.offset
        if position < 0:
            snapshot = self.snapshot
            return snapshot.term if snapshot is not None and snapshot.index == index else None
        return self.entries[position].term if position < len(self.entries) else None

    def next_entries(self) -> list[Entry]:
        """The entries that storage has not been told of."""
        start = self.offset_in_progress - self.offset
        return self.entries[start:] if start else self.entries[:]

    @property
    def has_next_entries(self) -> bool:
        """Whether `next_entries` returns any."""
        return self.offset_in_progress - self.offset < len(self.entries)

    @property
    def next_snapshot(self) -> Snapshot | None:
        """The snapshot, if storage has not been told of it."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept_in_progress(self) -> None:
        """Note that storage was told of everything that is here."""
        self.offset_in_progress = self.offset + len(self.entries)
        if self.snapshot is not None:
            self.snapshot_in_progress = True

    def stable_to(self, index: int, term: int) -> bool:
        """Drop the entries up to `index`, as they are durable; False when that is not so.

        The entry at `index` must have `term`: another one means that a newer leader has replaced it here since, and
        the replacement is still on its way to storage. The report is late then, and the next one will serve.
        """
        position = index - self.offset
        if position < 0 or position >= len(self.entries) or self.entries[position].term != term:
            return False
        del self.entries[: position + 1]
        self.offset = index + 1
        self.offset_in_progress = max(self.offset_in_progress, self.offset)
        return True

    def stable_snapshot_to(self, index: int) -> None:
        """Drop the snapshot at `index`, as it is durable."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot."""
        self.entries = []
        self.offset = self.offset_in_progress = snapshot.index + 1
        self.snapshot = snapshot
        self.snapshot_in_progress = False

    def truncate_and_append(self, entries: Sequence[Entry]) -> None:
        """Append entries, dropping everything from the index of the first of them on."""
        first = entries[0].index
        if first <= self.offset:
            # Also when some of the dropped entries are durable: storage overwrites them when told of the new ones.
            self.entries = list(entries)
            self.offset = self.offset_in_progress = first
            return
        position = first - self.offset
        assert position <= len(self.entries), f"a gap before entry {first}"
        if position < len(self.entries):
            del self.entries[position:]
            self.offset_in_progress = min(self.offset_in_progress, first)
        self.entries.extend(entries)
