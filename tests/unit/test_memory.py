"""When memory is given back: once after things have ended, and only when there is something to give."""

import mmap

import pytest
import trio
from trio.testing import MockClock

from edgekube import memory
from edgekube.memory import GROWTH_BYTES_MIN, SETTLE_SECONDS, MemoryKeeper

BASE = 30 * 1024 * 1024


class Process:
    """What the process holds, and what a trim brings it down to."""

    def __init__(self) -> None:
        self.resident = BASE
        self.after = BASE
        self.looks = 0

    def look(self) -> int:
        self.looks += 1
        return self.resident

    def trim(self) -> None:
        self.resident = self.after


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    made = Process()
    monkeypatch.setattr(memory, "resident_bytes", made.look)
    monkeypatch.setattr(memory, "trim_heap", made.trim)
    return made


async def test_a_burst_is_given_back_once(process: Process, autojump_clock: MockClock) -> None:
    keeper = MemoryKeeper()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(3600)
        assert process.looks == 1  # with nothing ending it never looks
        process.resident = BASE + 3 * GROWTH_BYTES_MIN
        process.after = BASE + GROWTH_BYTES_MIN // 2
        for _ in range(1000):
            keeper.ended()
            await trio.sleep(0.005)
        await trio.sleep(SETTLE_SECONDS)
        assert process.resident == process.after
        assert keeper.statistics()["trims_total"] == 1
        for _ in range(5):
            keeper.ended()
            await trio.sleep(2 * SETTLE_SECONDS)
        assert keeper.statistics()["trims_total"] == 1  # what could not be given back is not tried again
        process.resident += GROWTH_BYTES_MIN
        keeper.ended()
        await trio.sleep(2 * SETTLE_SECONDS)
        assert keeper.statistics()["trims_total"] == 2
        nursery.cancel_scope.cancel()


def test_what_a_process_holds_is_the_kernels_figure() -> None:
    before = memory.resident_bytes()
    with mmap.mmap(-1, 16 * 1024 * 1024) as block:  # not from the heap, which may have as much to spare
        for start in range(0, len(block), mmap.PAGESIZE):
            block[start] = 1
        assert memory.resident_bytes() - before > 12 * 1024 * 1024
