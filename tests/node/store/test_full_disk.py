"""A really full file system: the store refuses writes with a clear reason, reads on, and works again with space."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekube.store.api import Put, ReadOnly
from edgekube.store.limits import Limits
from edgekube.store.opening import open_store
from edgekube.store.replicated import ReplicatedStore

pytestmark = pytest.mark.root

LIMITS = Limits(segment_size=65536, history_size_max=100_000, history_count_max=1000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "edgekube-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill_up(ballast: Path, left: int) -> None:
    """Take all space but `left` bytes."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - left)


async def fill(store: ReplicatedStore, count: int, first: int = 0) -> int:
    for n in range(first, first + count):
        await store.txn([], [Put(b"/%06d" % n, bytes(900))])
    return first + count


async def until_refused(store: ReplicatedStore) -> str:
    with pytest.raises(ReadOnly) as raised:
        await fill(store, 20_000, first=store.revision)
    return str(raised.value)


@pytest.mark.parametrize("left", [0, 70_000])
async def test_a_full_disk_makes_it_read_only(small_disk: Path, tmp_path: Path, left: int) -> None:
    ballast = small_disk / "ballast"
    async with open_store(small_disk, tmp_path / "run", limits=LIMITS) as store:
        await fill(store, 40)
        fill_up(ballast, left)
        reason = await until_refused(store)
        assert "space" in reason
        before = store.range(b"/", b"0"), store.revision
        assert before[1] > 41
        await store.read_barrier()
    async with open_store(small_disk, tmp_path / "run", limits=LIMITS) as store:
        assert (store.range(b"/", b"0"), store.revision) == before
    ballast.unlink()
    async with open_store(small_disk, tmp_path / "run", limits=LIMITS) as store:
        assert (store.range(b"/", b"0"), store.revision) == before
        await fill(store, 300, first=store.revision)
        assert not store.read_only


async def test_a_disk_too_small_to_begin_with_is_said_so(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(15 * 1024 * 1024))
    with pytest.raises(ReadOnly, match="no space"):
        async with open_store(small_disk, tmp_path / "run", limits=LIMITS):
            pass
    (small_disk / "ballast").unlink()
    async with open_store(small_disk, tmp_path / "run", limits=LIMITS) as store:
        await fill(store, 1)
