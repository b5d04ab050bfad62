"""The log on disk: what comes back after a reopen, what is cut, what is refused."""

import contextlib
import errno
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from edgekube.raft.errors import CompactedError, UnavailableError
from edgekube.raft.messages import ConfState, Entry, HardState
from edgekube.raft.wal import LogCorrupt, LogFailed, LogFull, Wal

IDENTITY = b"0123456789abcdef"
SEGMENT = 8192
ALL = 1 << 30


def opened(path: Path, attested: int = 0, segment_size: int = SEGMENT) -> Wal:
    return Wal(path, identity=IDENTITY, attested=attested, segment_size=segment_size)


async def write(wal: Wal, entries: Sequence[Entry], hard_state: HardState | None = None) -> None:
    await wal.sync(wal.append(entries, hard_state))


def some(term: int, first: int, count: int, size: int = 100) -> list[Entry]:
    return [Entry(term, first + n, 0, bytes([n % 256]) * size) for n in range(count)]


def held(wal: Wal) -> list[Entry]:
    return list(wal.entries(wal.first_index(), wal.last_index() + 1, ALL))


def segments(path: Path) -> list[Path]:
    return sorted(path.glob("*.log"))


async def test_everything_comes_back(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    entries = some(1, 1, 5) + some(2, 6, 3, size=0)
    conf = ConfState(voters=(1, 2), learners=(3,))
    await wal.sync(wal.append(entries, HardState(2, 1, 4), conf))
    assert held(wal) == entries
    wal.close()
    wal = opened(tmp_path)
    assert held(wal) == entries
    assert wal.initial_state() == (HardState(2, 1, 4), conf)
    assert [wal.term(n) for n in range(9)] == [0, 1, 1, 1, 1, 1, 2, 2, 2]
    with pytest.raises(UnavailableError):
        wal.term(9)
    with pytest.raises(UnavailableError):
        wal.entries(8, 10, ALL)
    wal.close()


async def test_unsynced_entries_are_readable_at_once(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    wal.append(some(1, 1, 3))
    assert held(wal) == some(1, 1, 3)
    wal.close()
    assert opened(tmp_path).last_index() == 0


async def test_entries_are_cut_to_size_but_never_to_nothing(tmp_path: Path) -> None:
    wal = opened(tmp_path, segment_size=1 << 20)
    await write(wal, some(1, 1, 400, size=1000))  # more than the tail held in memory
    assert len(wal.entries(1, 401, 0)) == 1
    assert 4 <= len(wal.entries(1, 401, 5000)) <= 5
    assert list(wal.entries(1, 401, ALL)) == some(1, 1, 400, size=1000)
    wal.close()


async def test_a_conflict_replaces_what_follows(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    await write(wal, some(1, 1, 10))
    await write(wal, some(2, 4, 2))
    expected = some(1, 1, 3) + some(2, 4, 2)
    assert held(wal) == expected
    await write(wal, some(3, 6, 1))
    wal.close()
    wal = opened(tmp_path)
    assert held(wal) == expected + some(3, 6, 1)
    with pytest.raises(ValueError, match="cannot follow"):
        wal.append(some(3, 9, 1))
    with pytest.raises(ValueError, match="term"):
        wal.append(some(2, 7, 1))
    wal.close()


async def test_segments_roll_and_are_used_again(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    inodes = set()
    for first in range(1, 400, 4):
        await write(wal, some(1, first, 4, size=300), HardState(1, 1, first))
        await wal.compact(first - 10)
        inodes |= {path.stat().st_ino for path in [*segments(tmp_path), *tmp_path.glob("spare")]}
    assert wal.statistics().segments <= 4
    assert len(inodes) <= 6
    assert 370 < wal.first_index() <= 388
    with pytest.raises(CompactedError):
        wal.entries(wal.first_index() - 1, 400, ALL)
    expected = held(wal), wal.term(wal.first_index() - 1)
    wal.close()
    wal = opened(tmp_path)
    assert (held(wal), wal.term(wal.first_index() - 1)) == expected
    assert wal.initial_state()[0] == HardState(1, 1, 397)
    wal.close()


async def test_a_replaced_base_keeps_its_true_term(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    await write(wal, some(1, 1, 22, size=300))  # ends close to the end of the first segment
    await write(wal, some(1, 23, 3, size=300))
    boundary = next(n for n in range(1, 26) if wal._index.position(n) > 2 * SEGMENT) - 1
    await write(wal, some(2, boundary - 1, 6, size=10))
    await wal.compact(boundary)
    assert wal.first_index() == boundary + 1
    assert wal.term(boundary) == 2
    expected = held(wal)
    wal.close()
    wal = opened(tmp_path)
    assert (wal.first_index(), wal.term(boundary), held(wal)) == (boundary + 1, 2, expected)
    wal.close()


async def test_a_snapshot_empties_the_log(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    await write(wal, some(1, 1, 30))
    await wal.sync(wal.restore(100, 3, ConfState(voters=(1,)), HardState(3, 0, 100)))
    assert (wal.first_index(), wal.last_index(), wal.term(100)) == (101, 100, 3)
    await write(wal, some(3, 101, 60))
    wal.close()
    wal = opened(tmp_path)
    assert (wal.first_index(), wal.term(100), held(wal)) == (101, 3, some(3, 101, 60))
    await wal.compact(110)
    wal.close()
    wal = opened(tmp_path)
    assert held(wal)[-1] == some(3, 101, 60)[-1]
    wal.close()


async def test_callers_share_a_sync(tmp_path: Path) -> None:
    wal = opened(tmp_path, segment_size=1 << 20)
    async with trio.open_nursery() as nursery:
        for n in range(50):
            nursery.start_soon(wal.sync, wal.append(some(1, 1 + n, 1)))
    assert wal.statistics().syncs <= 3
    wal.close()
    assert opened(tmp_path, segment_size=1 << 20).last_index() == 50


async def test_a_torn_tail_is_cut_and_never_comes_back(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    await write(wal, some(1, 1, 2))
    end = wal.synced_position % SEGMENT
    # One sync wrote two frames' worth; the first sectors are lost, the later ones reached the disk.
    await write(wal, some(1, 3, 8))
    wal.close()
    path = segments(tmp_path)[0]
    with path.open("r+b") as file:
        file.seek(end)
        file.write(bytes(512))
    wal = opened(tmp_path)
    assert held(wal) == some(1, 1, 2)
    await write(wal, some(1, 3, 1))
    wal.close()
    wal = opened(tmp_path)
    assert held(wal) == some(1, 1, 2) + some(1, 3, 1)
    wal.close()


@pytest.mark.parametrize("victim", range(512, 3072, 97))
async def test_damage_before_the_last_sync_is_refused(tmp_path: Path, victim: int) -> None:
    wal = opened(tmp_path)
    for n in range(1, 6):
        await write(wal, some(1, n, 1, size=380))
    assert wal.synced_position == SEGMENT + 512 + 5 * 512
    wal.close()
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    assert len(data) == SEGMENT
    if not data[victim]:
        data[victim] = 1
    data[victim] ^= 0x40
    path.write_bytes(data)
    if (victim - 512) // 512 < 4:
        try:
            wal = opened(tmp_path)
        except LogCorrupt as error:
            complaint = str(error)
        else:
            assert held(wal) == [entry for n in range(1, 6) for entry in some(1, n, 1, size=380)], (
                "only padding may rot"
            )
            complaint = "damaged at position"
        assert "damaged at position" in complaint
    else:
        # The last frame: only the database knows that it had been synced.
        with contextlib.suppress(LogCorrupt):
            wal = opened(tmp_path, attested=SEGMENT + 512 + 5 * 512)
            assert wal.last_index() == 5
            wal.close()
        wal = opened(tmp_path)
        assert wal.last_index() in (4, 5)
    wal.close()


async def test_damage_of_a_whole_segment_is_refused(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    for n in range(1, 60):
        await write(wal, some(1, n, 1, size=380))
    wal.close()
    first, second, *_ = segments(tmp_path)
    data = second.read_bytes()
    second.write_bytes(bytes(len(data)))
    with pytest.raises(LogCorrupt, match="damaged header"):
        opened(tmp_path)
    second.write_bytes(data[:512] + bytes(len(data) - 512))
    with pytest.raises(LogCorrupt, match="although it had been synced"):
        opened(tmp_path)
    second.write_bytes(data[:-512])
    with pytest.raises(LogCorrupt, match="cut short"):
        opened(tmp_path)
    second.write_bytes(data)
    first.rename(tmp_path / "elsewhere")
    with pytest.raises(LogCorrupt, match="another store"):
        Wal(tmp_path, identity=b"x" * 16, segment_size=SEGMENT)
    for path in segments(tmp_path):
        path.unlink()
    with pytest.raises(LogCorrupt, match="missing"):
        opened(tmp_path, attested=SEGMENT + 1024)


async def test_a_rotten_entry_is_noticed_when_read(tmp_path: Path) -> None:
    wal = opened(tmp_path, segment_size=1 << 20)
    await write(wal, some(1, 1, 400, size=1000))
    path = segments(tmp_path)[0]
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"rot")
    with pytest.raises(LogCorrupt, match="was damaged after it was written"):
        wal.entries(1, 100, ALL)
    wal.close()


async def test_random_histories_with_torn_tails(tmp_path: Path) -> None:
    """Any subset of the last batch's sectors may be lost: all before it must be there, and nothing invented."""
    rng = random.Random(7)
    wal = opened(tmp_path)
    known: list[Entry] = []
    for _ in range(300):
        before = {path: path.read_bytes() for path in segments(tmp_path)}
        last = known[-1].index if known else 0
        keep = max(wal.first_index() - 1, last - rng.choice([0, 0, 0, 1, 3]))
        term = (known[-1].term if known else 1) + rng.choice([0, 0, 1])
        fresh = [Entry(term, keep + 1 + n, 0, rng.randbytes(rng.randrange(900))) for n in range(rng.randrange(1, 8))]
        await write(wal, fresh)
        wanted = [entry for entry in known if entry.index <= keep] + fresh
        action = rng.choice(["go on", "reopen", "tear", "tear", "compact"])
        if action == "compact":
            await wal.compact(rng.randrange(wanted[-1].index))
        elif action == "reopen":
            wal.close()
            wal = opened(tmp_path)
        elif action == "tear":
            wal.close()
            for path in segments(tmp_path):
                old = before.get(path)
                new = path.read_bytes()
                if old is None or old == new:
                    continue
                torn = bytearray(new)
                for at in range(0, SEGMENT, 512):
                    if old[at : at + 512] != new[at : at + 512] and rng.random() < 0.4:
                        torn[at : at + 512] = old[at : at + 512]
                path.write_bytes(torn)
            attempts = segments(tmp_path)
            rolled = [path for path in attempts if path not in before]
            if rolled and any(before[path] != path.read_bytes() for path in attempts if path in before):
                for path in rolled:
                    path.unlink()
            try:
                wal = opened(tmp_path)
            except LogCorrupt:
                # A roll syncs what is before it; tearing that is damage, and must be called so.
                assert rolled
                for path, data in before.items():
                    path.write_bytes(data)
                for path in rolled:
                    path.unlink(missing_ok=True)
                wal = opened(tmp_path)
        found = held(wal)
        first = wal.first_index()
        kept = [entry for entry in known if entry.index <= keep]
        possible = [known, wanted] if action == "tear" else [wanted]
        if action == "tear" and wal.statistics().segments > len(before) - 1:
            possible += [kept + fresh[:count] for count in range(1, len(fresh))]  # a roll syncs what is before it
        assert found in [[entry for entry in log if entry.index >= first] for log in possible], action
        known = [entry for entry in known if entry.index < first] + found
    wal.close()


async def test_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = opened(tmp_path)
    await write(wal, some(1, 1, 1))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(LogFailed, match="Input/output error"):
            await write(wal, some(1, 2, 1))
    with pytest.raises(LogFailed):
        await write(wal, some(1, 3, 1))
    with pytest.raises(LogFailed):
        wal.append(some(1, 3, 1))
    with pytest.raises(LogFailed):
        await wal.reserve(10)
    wal.close()


async def test_a_full_disk_is_met_before_anything_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = opened(tmp_path)
    await wal.reserve(1000)
    await write(wal, some(1, 1, 1, size=6000))

    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(LogFull, match="no space"):
            await wal.reserve(3000)
    assert not list(tmp_path.glob("spare*"))
    await wal.reserve(3000)
    await write(wal, some(1, 2, 1, size=3000))
    wal.close()
    wal = opened(tmp_path)
    assert wal.last_index() == 2
    wal.close()
