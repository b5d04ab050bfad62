"""The log on a simulated disk that fails: what a failed sync leaves behind."""

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from edgekube.raft.messages import Entry, HardState
from edgekube.raft.wal import LogFailed, Wal
from edgekube.testing.sim_files import SimDisk
from edgekube.testing.sim_os import SimPath, simulate_files
from edgekube.testing.sim_trio import deterministic, run, seeded

IDENTITY = bytes(16)


def simulated(main: Callable[[], Awaitable[None]]) -> None:
    with deterministic(1) as patches:
        simulate_files(patches, seeded(1))
        run(main)


def opened(disk: SimDisk) -> Wal:
    path: Any = SimPath(disk, "log")
    return Wal(path, identity=IDENTITY, segment_size=16 * 1024)


def test_what_a_failed_sync_left_in_the_page_cache_is_written_again() -> None:
    async def main() -> None:
        disk = SimDisk(seeded(2), 1.0)
        log = opened(disk)
        await log.sync(log.append([Entry(1, 1, 0, b"a")], HardState(1, 1, 0)))
        disk.failing = True
        with pytest.raises(LogFailed, match="failed") as caught:
            await log.sync(log.append([Entry(1, 2, 0, b"b")]))
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EIO
        disk = disk.kill()
        log = opened(disk)
        assert log.last_index() == 2  # read from the cache, and not on the disk
        await log.sync(log.append([Entry(1, 3, 0, b"c")]))
        for _ in range(3):
            log = opened(disk.cut_power())
            assert [bytes(entry.data) for entry in log.entries(1, 4, 1000)] == [b"a", b"b", b"c"]

    simulated(main)


@pytest.mark.parametrize("seed", range(6))
def test_segments_stay_until_the_one_after_them_has_begun_on_the_disk(seed: int) -> None:
    async def main() -> None:
        disk = SimDisk(seeded(seed), 10.0)
        log = opened(disk)
        entries = [Entry(1, index, 0, bytes(3000)) for index in range(1, 6)]
        await log.sync(log.append(entries, HardState(7, 3, 0)))
        disk.factor = 100
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.sync, log.append([Entry(1, 6, 0, bytes(3000))]))
            while log.segment_count < 2:  # noqa: ASYNC110
                await trio.sleep(0.0001)
            disk.factor = 0.01
            await log.compact(5)  # the second segment has a name, and nothing in it yet that is sure to stay
            log = opened(disk.cut_power())
            assert log.last_index() >= 5
            assert log.initial_state()[0] == HardState(7, 3, 0)
            nursery.cancel_scope.cancel()

    simulated(main)
