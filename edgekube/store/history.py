"""The ring of what happened lately: every change of the last minutes, bounded by bytes, count and age.

Watches resume from it and reads at an older revision are the present undone through it. Before its oldest revision
the answer is `Compacted`. The ring belongs to one member: how much it keeps never influences the replicated state.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Final

import msgspec

from edgekube.store.api import Compacted, Event, FutureRevision

_EVENT_OVERHEAD_BYTES: Final = 300  # Event, two KeyValues, ring and index slots, measured on 3.11


class Applied(msgspec.Struct, frozen=True, gc=False):
    """One transaction that changed something: where it stood in the log and what it did.

    `digest` is the rolling hash of the state after it, `size` the bytes it costs to remember it, `time` the local
    monotonic clock (seconds) when it was applied here.
    """

    index: int
    term: int
    revision: int
    digest: bytes
    events: tuple[Event, ...]
    size: int
    time: float


def remembered_size(events: Iterable[Event]) -> int:
    """Bytes a transaction's events keep alive, values and bookkeeping."""
    size = 0
    for event in events:
        size += _EVENT_OVERHEAD_BYTES + len(event.key)
        if event.kv is not None:
            size += len(event.kv.value)
        if event.previous is not None:
            size += len(event.previous.value)
        if event.deleted_value is not None:
            size += len(event.deleted_value)
    return size


class History:
    """The ring. `compacted` is the oldest revision that can still be read or watched after."""

    def __init__(self, revision: int) -> None:
        self.compacted = revision
        self.size_bytes = 0
        self._ring: deque[Applied] = deque()

    def __len__(self) -> int:
        return len(self._ring)

    def append(self, applied: Applied) -> None:
        """Add the newest transaction."""
        self._ring.append(applied)
        self.size_bytes += applied.size

    def reset(self, revision: int) -> None:
        """Forget everything up to and including `revision`, which becomes the oldest."""
        self._ring.clear()
        self.size_bytes = 0
        self.compacted = revision

    def oldest(self) -> Applied | None:
        """The transaction that would be forgotten first."""
        return self._ring[0] if self._ring else None

    def trim(
        self, *, size_bytes_max: int, count_max: int, before: float = float("-inf"), size_bytes_min: int = 0
    ) -> bool:
        """Forget the oldest transactions until the ring is within bounds; returns whether anything went.

        Those older than `before` go too, as long as more than `size_bytes_min` stays.
        """
        ring = self._ring
        count = len(ring)
        while ring and (
            self.size_bytes > size_bytes_max
            or len(ring) > count_max
            or (ring[0].time < before and self.size_bytes - ring[0].size >= size_bytes_min)
        ):
            gone = ring.popleft()
            self.size_bytes -= gone.size
            self.compacted = gone.revision
        return len(ring) != count

    def check(self, revision: int, current: int) -> None:
        """Raises Compacted or FutureRevision unless `revision` can be read at."""
        if revision < self.compacted:
            raise Compacted(self.compacted)
        if revision > current:
            raise FutureRevision(f"revision {revision} has not been reached: this member is at {current}")

    def since(self, revision: int) -> Iterator[Applied]:
        """Transactions after `revision`, newest first."""
        return takewhile(lambda applied: applied.revision > revision, reversed(self._ring))

    def events(self, start: bytes, end: bytes) -> list[Event]:
        """All remembered events on keys in [start, end), oldest first."""
        return [event for applied in self._ring for event in applied.events if start <= event.key < end]
