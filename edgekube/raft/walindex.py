"""What of the log is kept in memory: where each entry lies, the runs of equal terms, and the last few entries whole."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from edgekube.raft.errors import CompactedError, UnavailableError
from edgekube.raft.messages import Entry

UNWRITTEN: Final = 0  # no entry can have this position: sector 0 is a header


class LogIndex:
    """Entries `base` < index <= `last`; `base` is the last one no longer held, whose term is still known."""

    def __init__(self, tail_size_bytes_max: int) -> None:
        self.base = 0
        self.base_term = 0
        self._positions = array("Q")
        self._term_starts: list[int] = []  # first index of each run of equal terms
        self._terms: list[int] = []
        self._tail: list[Entry] = []
        self._tail_size_bytes = 0
        self._tail_size_bytes_max = tail_size_bytes_max

    @property
    def last(self) -> int:
        """Index of the last entry, or `base`."""
        return self.base + len(self._positions)

    def term(self, index: int) -> int:
        """Raises CompactedError or UnavailableError outside base <= index <= last."""
        if index == self.base:
            return self.base_term
        if index < self.base:
            raise CompactedError(f"entry {index} is compacted, the log begins at {self.base + 1}")
        if index > self.last:
            raise UnavailableError(f"entry {index} is not stored, the log ends at {self.last}")
        return self._terms[bisect_right(self._term_starts, index) - 1]

    def append(self, entry: Entry, position: int = UNWRITTEN) -> None:
        """Add an entry; those from its index on are replaced. Raises ValueError when it would leave a gap."""
        index = entry.index
        if not self.base < index <= self.last + 1:
            raise ValueError(f"entry {index} cannot follow: the log holds {self.base + 1} to {self.last}")
        if index <= self.last:
            self.truncate(index)
        if self.term(index - 1) > entry.term:
            raise ValueError(f"entry {index} has term {entry.term}, the one before has {self.term(index - 1)}")
        if not self._terms or self._terms[-1] != entry.term:
            self._term_starts.append(index)
            self._terms.append(entry.term)
        self._positions.append(position)
        self._tail.append(entry)
        self._tail_size_bytes += len(entry.data)

    def truncate(self, index: int) -> None:
        """Drop entries from `index` on."""
        del self._positions[index - self.base - 1 :]
        while self._term_starts and self._term_starts[-1] >= index:
            self._term_starts.pop()
            self._terms.pop()
        while self._tail and self._tail[-1].index >= index:
            self._tail_size_bytes -= len(self._tail.pop().data)

    def written(self, index: int, term: int, position: int) -> None:
        """The entry lies at `position` now (ignored if it has been replaced meanwhile)."""
        if self.base < index <= self.last and self.term(index) == term:
            self._positions[index - self.base - 1] = position

    def position(self, index: int) -> int:
        """Where an entry lies; UNWRITTEN if only the tail has it."""
        self.term(index)
        return self._positions[index - self.base - 1]

    def reset(self, base: int, base_term: int) -> None:
        """Forget all entries: the log begins after `base`."""
        self.truncate(self.base + 1)
        self.base, self.base_term = base, base_term

    def forget(self, index: int) -> None:
        """Drop entries up to and including `index`."""
        if index <= self.base:
            return
        term = self.term(index)
        del self._positions[: index - self.base]
        run = bisect_right(self._term_starts, index) - 1
        del self._term_starts[:run], self._terms[:run]
        if self._term_starts:
            self._term_starts[0] = max(self._term_starts[0], index + 1)
        if not self._positions:
            self._term_starts.clear()
            self._terms.clear()
        elif len(self._term_starts) > 1 and self._term_starts[1] == index + 1:
            del self._term_starts[0], self._terms[0]
        self.base, self.base_term = index, term
        self.trim()

    def trim(self) -> None:
        """Let go of entries in the tail that are written, until it is within its bound."""
        gone = 0
        for entry in self._tail:
            outside = entry.index <= self.base
            if not outside and (
                self._tail_size_bytes <= self._tail_size_bytes_max or self.position(entry.index) == UNWRITTEN
            ):
                break
            self._tail_size_bytes -= len(entry.data)
            gone += 1
        del self._tail[:gone]

    def tail(self, lo: int, hi: int) -> Sequence[Entry]:
        """The entries lo <= index < hi that are held whole: a suffix of the range."""
        if not self._tail:
            return ()
        first = self._tail[0].index
        return self._tail[max(lo - first, 0) : max(hi - first, 0)]
