"""A member alone on files: restarts, fencing, limits, failures."""

import errno
import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edgekube.raft.messages import ConfState, Entry, HardState
from edgekube.raft.wal import Wal
from edgekube.raft.walfiles import LogFolder
from edgekube.store import requests
from edgekube.store.api import (
    Delete,
    Fenced,
    Put,
    ReadOnly,
    StoreError,
)
from edgekube.store.command import encode, forwarded
from edgekube.store.disk import Disk, Meta, StoreCorrupt, StoreFailed
from edgekube.store.limits import Limits
from edgekube.store.opening import open_store
from edgekube.store.replicated import ReplicatedStore
from edgekube.store.state import Position

SMALL = Limits(segment_size=16384, history_size_max=20_000, history_count_max=50)


def at(path: Path, limits: Limits | None = SMALL, *, run: str = "run") -> AbstractAsyncContextManager[ReplicatedStore]:
    return open_store(path / "data", path / run, limits=limits)


def log_of(store: ReplicatedStore) -> Wal:
    assert isinstance(store._log, Wal)
    return store._log


async def fill(store: ReplicatedStore, count: int, size: int = 100, first: int = 0) -> None:
    for n in range(first, first + count):
        await store.txn([], [Put(b"/k/%04d" % n, bytes(size))])


async def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        identity = store.cluster_id
        assert (store.revision, store.term, store.compacted) == (1, 1, 1)
        await fill(store, 200)
        await store.txn([], [Delete(b"/k/0007")])
        before = store.range(b"/", b"0"), store.revision, store.digest
        assert store.statistics().flushes
    async with at(tmp_path) as store:
        assert (store.range(b"/", b"0"), store.revision, store.digest) == before
        assert (store.cluster_id, store.term) == (identity, 2)
        assert store.count(b"/", b"0") == 199
        assert store.get(b"/k/0007") is None


async def test_watches_resume_over_a_restart(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await fill(store, 30)
        middle = store.revision - 10
        await store.txn([], [Delete(b"/k/0003", b"last")])
        async with store.watch(b"/", b"0", after=middle) as watch:
            expected = list(await watch.next())
        older = store.range(b"/", b"0", revision=middle)
    async with at(tmp_path) as store:
        async with store.watch(b"/", b"0", after=middle) as watch:
            assert list(await watch.next()) == expected
        assert store.range(b"/", b"0", revision=middle) == older


async def test_an_idle_store_settles_and_then_sleeps(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    async with at(tmp_path, Limits(segment_size=16384, history_size_idle=0)) as store:
        await fill(store, 5)
        await wait_all_tasks_blocked()
        assert store.statistics().flushes == 0
        mock_clock.jump(119)
        await wait_all_tasks_blocked()
        assert store.statistics().flushes == 0
        mock_clock.jump(2)
        await store._flushed_lot.park()
        figures = store.statistics()
        assert (figures.flushes, figures.unflushed_transactions, figures.recent_keys) == (1, 0, 0)
        assert figures.history_transactions == 5
        await wait_all_tasks_blocked()
        mock_clock.jump(200)
        await wait_all_tasks_blocked()
        assert (store.statistics().history_transactions, store.compacted) == (0, store.revision)
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")


async def test_leadership_fences(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        assert (await store.txn([], [Put(b"/a", b"")], term=1)).succeeded
    async with at(tmp_path) as store:
        with pytest.raises(Fenced):
            await store.txn([], [Put(b"/a", b"")], term=1)
        assert await store.wait_leader() == 2
        assert await store.read_barrier() == 2
        await store.wait_not_leader(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.wait_not_leader, 2)
            await wait_all_tasks_blocked()
            store._failed(OSError("end"))


async def test_a_cancelled_write_happens_at_most_once(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        with trio.move_on_after(0):
            await store.txn([], [Put(b"/a", b"")])
        await store.txn([], [Put(b"/b", b"")])
        kv = store.get(b"/a")
        assert kv is None or kv.version == 1


async def test_many_writers_share_syncs(tmp_path: Path) -> None:
    async with at(tmp_path, None) as store:
        async with trio.open_nursery() as nursery:
            for n in range(64):
                nursery.start_soon(fill, store, 4, 100, 4 * n)
        assert store.count(b"/", b"0") == 256
        assert store.statistics().log_syncs < 64


async def test_large_values_fit(tmp_path: Path) -> None:
    async with at(tmp_path, None) as store:
        await store.txn([], [Put(b"/a", bytes(3 * 1024 * 1024))])
        await store.txn([], [Put(b"/b", bytes(3 * 1024 * 1024))])
    async with at(tmp_path, None) as store:
        assert [len(kv.value) for kv in store.range(b"/", b"0")] == [3 * 1024 * 1024] * 2


async def test_the_database_limit_refuses_puts_and_lets_deletes_pass(tmp_path: Path) -> None:
    limits = msgspec.structs.replace(SMALL, database_size_max=200_000)
    async with at(tmp_path, limits) as store:
        with pytest.raises(ReadOnly, match="delete objects"):
            await fill(store, 1000, 1000)
        count = store.count(b"/", b"0")
        assert 50 < count < 250
        for kv in list(store.range(b"/", b"0"))[: count // 2]:
            await store.txn([], [Delete(kv.key)])
        for _ in range(100):
            if not store.read_only:
                break
            await store.txn([], [Delete(store.range(b"/", b"0", limit=1)[0].key)])
        assert not store.read_only
        await fill(store, 1)


async def test_a_failing_disk_stops_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def use() -> None:
        async with at(tmp_path) as store:
            await store.txn([], [Put(b"/a", b"")])
            with monkeypatch.context() as patch:
                patch.setattr(os, "fdatasync", fail)
                with pytest.raises(StoreFailed):
                    await store.txn([], [Put(b"/b", b"")])
            with pytest.raises(StoreError):
                await store.txn([], [Put(b"/c", b"")])
            await trio.sleep_forever()

    with pytest.raises(StoreFailed, match="Input/output error"):
        await use()
    async with at(tmp_path) as store:
        assert store.get(b"/a") is not None
        assert store.get(b"/c") is None


async def test_no_space_for_the_log_makes_it_read_only_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: LogFolder) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with at(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(LogFolder, "make_spare", full)
            with pytest.raises(ReadOnly, match="no space"):
                await fill(store, 1000)
            count = store.count(b"/", b"0")
            assert count
        await fill(store, 1, first=5000)
        assert store.count(b"/", b"0") == count + 1


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    async with at(tmp_path):
        with pytest.raises(StoreError, match="in use"):
            async with at(tmp_path, run="other"):
                pass


async def test_a_store_of_several_members_is_not_opened_alone(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        log = log_of(store)
        await log.sync(log.append((), HardState(9, 1, 0), ConfState(voters=(1, 2, 3))))
    with pytest.raises(StoreCorrupt, match="members"):
        async with at(tmp_path):
            pass


async def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await fill(store, 300)
    folder = tmp_path / "data" / "store"
    (folder / "log").rename(tmp_path / "log")
    with pytest.raises(StoreCorrupt, match="missing"):
        async with at(tmp_path):
            pass
    (folder / "log").rmdir()
    (tmp_path / "log").rename(folder / "log")
    (folder / "state.mdb").unlink()
    with pytest.raises(StoreCorrupt, match="another store"):
        async with at(tmp_path):
            pass


async def test_the_callers_own_exception_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with at(tmp_path):
            raise KeyError("mine")


async def test_the_database_is_read_back_as_written(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "data", tmp_path / "run")
    meta = disk.meta
    disk.close()
    disk = Disk(tmp_path / "data", tmp_path / "run")
    assert disk.meta == meta
    disk.close()


async def test_files_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    """Its database names no membership, and the log begins with the empty entry of the first term."""
    folder = tmp_path / "data" / "store"
    meta = Meta(Position(), "f" * 32, bytes(range(16)))
    Disk(folder, tmp_path / "run", first=meta).close()
    log = Wal(folder / "log", identity=meta.identity, segment_size=SMALL.segment_size)
    conf_state = ConfState(voters=(1,))
    entries = [Entry(1, 1), *(Entry(1, 2 + n, 0, encode([], [Put(b"/k/%04d" % n, b"")])[1]) for n in range(5))]
    await log.sync(log.append(entries[:1], HardState(1, 1, 0), conf_state))
    await log.sync(log.append(entries[1:]))
    log.close()
    for n in range(3):
        async with at(tmp_path) as store:
            assert (store.revision, store.term) == (6 + 5 * n, 2 + n)
            assert store.cluster_id == meta.cluster_id
            assert store.conf_state == conf_state
            assert store.count(b"/k/", b"/k0") == 5
            await fill(store, 5)


LOADS = """
import sys, pathlib, trio
from edgekube.store.api import Put
from edgekube.store.opening import open_store

async def main(folder):
    async with open_store(folder, folder / "run") as store:
        await store.txn([], [Put(b"/a", b"")])
        await store.txn([], [])
        await store.read_barrier()
        assert store.members.voters == (1,)
        store.statistics()

trio.run(main, pathlib.Path(sys.argv[1]))
print(*sorted(name for name in sys.modules if name.startswith("edgekube.store")))
"""


def test_what_is_for_several_members_is_not_even_loaded(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOADS, str(tmp_path)], capture_output=True, text=True, check=True)
    loaded = {name.rpartition(".")[2] for name in done.stdout.split()}
    assert {"replicated", "opening", "writes"} <= loaded
    assert not loaded & {"peers", "forwarding", "barriers", "comparing", "snapshots", "transfer", "changes", "requests"}


async def test_a_leader_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    """In the log it would stop every member of this version."""
    command, newer = encode((), (Put(b"/k/1", b"1"),))
    async with at(tmp_path) as store:
        for data in (b"\x94\x07" + newer[2:], b"", newer[:-1]):
            request = requests.Propose(
                store.term, nonce=9, floor=0, commands=((1, forwarded(command, 9, 1)), (2, data))
            )
            answer = requests.decode_answer(await store.answer(2, requests.encode(request)))
            assert answer.verdict == requests.Verdict.READ_ONLY
            assert "upgrade this member" in answer.reason
        assert (store.revision, store.get(b"/k/1")) == (1, None)
        request = requests.Propose(store.term, nonce=9, floor=0, commands=((1, forwarded(command, 9, 1)),))
        answer = requests.decode_answer(await store.answer(2, requests.encode(request)))
        assert answer.verdict == requests.Verdict.ACCEPTED
        await store.txn([], [Put(b"/k/2", b"2")])
        assert (store.revision, store.get(b"/k/1") is not None) == (3, True)
