"""Memory that a burst needed goes back to the kernel once the burst is over.

Freed memory stays with the C library for reuse: a thousand watches, or lists of thousands of objects, would leave the
process as large as it was then for as long as it runs.
"""

import gc
import os
from typing import Final

import trio

from edgekube.native.memory import trim_heap

SETTLE_SECONDS: Final = 10.0
GROWTH_BYTES_MIN: Final = 4 * 1024 * 1024  # less is not worth the milliseconds a collection and a trim take
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class MemoryKeeper:
    """Looks once, some seconds after something has ended; with nothing ending it never wakes up."""

    def __init__(self) -> None:
        self._ended = trio.Event()
        self._least = 0
        self._trims = 0

    def ended(self) -> None:
        """Something that may have needed memory is over: a connection, say. Costs next to nothing."""
        self._ended.set()

    def statistics(self) -> dict[str, int]:
        return {"resident_bytes": resident_bytes(), "trims_total": self._trims}

    async def run(self) -> None:
        """Until cancelled. What the process holds now is what it is measured against."""
        self._least = resident_bytes()
        while True:
            await self._ended.wait()
            await trio.sleep(SETTLE_SECONDS)
            self._ended = trio.Event()
            self._give_back()

    def _give_back(self) -> None:
        resident = resident_bytes()
        if resident >= self._least + GROWTH_BYTES_MIN:
            gc.collect()
            trim_heap()
            self._trims += 1
            self._least = resident_bytes()
        else:
            self._least = min(self._least, resident)


def resident_bytes() -> int:
    """What the process holds in memory (proc(5), statm)."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
