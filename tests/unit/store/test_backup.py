"""The whole store in one stream of bytes, and back."""

from pathlib import Path

import pytest
import trio

from edgekube.store import backup as module
from edgekube.store.api import Compacted, Delete, Guard, Put, Store, StoreError
from edgekube.store.backup import REVISION_BUMP, BackupDamaged, finish_restore, restore, stream, verify
from edgekube.store.limits import Limits
from edgekube.store.opening import open_store
from edgekube.store.replicated import ReplicatedStore

SMALL = Limits(segment_size=16384, history_size_max=20_000, history_count_max=50)
KEYS = {"pki/ca.crt": b"certificate", "pki/ca.key": bytes(3000), "token": b""}


def at(path: Path) -> "trio.abc.AsyncResource":
    return open_store(path / "data", path / "run", limits=SMALL)  # type: ignore[return-value]


async def fill(store: ReplicatedStore, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        await store.txn([], [Put(b"/k/%04d" % n, b"v" * 100)])


async def write(store: Store, path: Path, files: dict[str, bytes] | None = None) -> module.Header:
    path.write_bytes(b"".join([part async for part in stream(store, files or {})]))
    return verify(path)


async def test_backup_and_restore(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    async with at(tmp_path) as store:
        await fill(store, 450)
        await store.txn([], [Delete(b"/k/0001")])
        header = await write(store, file, KEYS)
        assert header.revision == store.revision
        await fill(store, 5, first=9000)
        identity = store.cluster_id
    with pytest.raises(StoreError, match="replaced"):
        await restore(file, tmp_path / "data")
    await restore(file, tmp_path / "data", replace=True, segment_size=SMALL.segment_size)
    assert {name: (tmp_path / "data" / name).read_bytes() for name in KEYS} == KEYS
    assert (tmp_path / "data" / "pki/ca.key").stat().st_mode & 0o777 == 0o600
    async with at(tmp_path) as store:
        assert store.cluster_id != identity
        assert store.compacted == store.revision == header.revision + REVISION_BUMP
        assert store.count(b"/", b"0") == 449
        assert store.get(b"/k/9000") is None
        kv = store.get(b"/k/0002")
        assert kv is not None
        assert kv.mod_revision == 4
        with pytest.raises(Compacted):
            store.range(b"/", b"0", revision=header.revision)
        assert (await store.txn([Guard(b"/k/0002", 4)], [Put(b"/k/0002", b"")])).revision == store.revision
        await fill(store, 100)
        after = store.range(b"/", b"0")
    async with at(tmp_path) as store:
        assert store.range(b"/", b"0") == after


@pytest.mark.parametrize("place", [0, 10, 40, 200, -1, -40])
async def test_a_damaged_backup_changes_nothing(tmp_path: Path, place: int) -> None:
    file = tmp_path / "backup"
    async with at(tmp_path) as store:
        await fill(store, 20)
        await write(store, file)
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    for damaged in (bytes(data), bytes(data[:-1]), bytes(data[:50]), b""):
        file.write_bytes(damaged)
        with pytest.raises(BackupDamaged):
            await restore(file, tmp_path / "data", replace=True)
    async with at(tmp_path) as store:
        assert store.count(b"/", b"0") == 20


async def test_an_interrupted_restore_is_finished(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    data = tmp_path / "data"
    async with at(tmp_path) as store:
        await fill(store, 20)
        await write(store, file)
    await restore(file, tmp_path / "elsewhere", segment_size=SMALL.segment_size)
    (tmp_path / "elsewhere" / "store").rename(data / "store.restored")
    for place, content in ((data, b"old"), (data / "store.restored/files", b"new")):
        (place / "pki").mkdir(parents=True)
        (place / "pki/ca.key").write_bytes(content)
    async with at(tmp_path) as store:
        assert store.revision > REVISION_BUMP
    assert (data / "store.old").exists()
    assert (data / "pki/ca.key").read_bytes() == b"new"
    assert (data / "store.old/files/pki/ca.key").read_bytes() == b"old"
    finish_restore(data)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "pki/../x", "store/log", "store.restored/x", "a/b/c", ".x"])
async def test_no_file_leads_elsewhere(tmp_path: Path, name: str) -> None:
    async with at(tmp_path) as store:
        with pytest.raises(BackupDamaged, match="which no backup holds"):
            await write(store, tmp_path / "backup", {name: b"x"})


async def test_another_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with at(tmp_path) as store:
        monkeypatch.setattr(module, "_FORMAT", 2)
        await write(store, tmp_path / "backup")
    monkeypatch.undo()
    with pytest.raises(BackupDamaged, match="format 2, this version reads 1"):
        verify(tmp_path / "backup")


async def test_writes_that_outrun_it_are_noticed(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await fill(store, 450)
        parts = stream(store, {})
        for _ in range(3):
            await anext(parts)
        await fill(store, 200, first=450)
        with pytest.raises(StoreError, match="try again"):
            [part async for part in parts]
