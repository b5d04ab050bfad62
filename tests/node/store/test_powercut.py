"""A power cut at any moment, with any subset of unsynced sectors on disk, loses nothing that was acknowledged."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from edgekube.store.api import KeyValue, Op, Put, StoreError
from edgekube.store.opening import open_store

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE))

import powercut  # noqa: E402
import workload  # noqa: E402

WRITERS = 3


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    source = str(HERE / "recorder.c")
    subprocess.run(["gcc", "-O1", "-Wall", "-shared", "-fPIC", "-o", str(library), source, "-ldl"], check=True)
    return library


@dataclass
class Recording:
    folder: Path
    records: list[powercut.Record]
    transactions: dict[int, list[Op]]  # by revision


def recorded(recorder: Path, folder: Path, count: int, starts: int) -> Recording:
    """Run the workload so often on the same files, every write recorded."""
    data, log = folder / "data", folder / "log"
    data.mkdir(parents=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(recorder),
        "RECORD_DIR": str(data),
        "RECORD_LOG": str(log),
        "PYTHONPATH": f"{ROOT}:{HERE}",
    }
    for _ in range(starts):
        command = [sys.executable, str(HERE / "workload.py"), str(data), str(folder / "run"), str(count)]
        subprocess.run([*command, str(data / "acks")], env=environment, check=True, timeout=120)
    records = list(powercut.records(log))
    transactions = {}
    for record in records:
        for writer, number, revision in _acknowledged(record):
            transactions[revision] = workload.transaction(writer, number)
    assert sorted(transactions) == list(range(2, len(transactions) + 2))
    return Recording(data, records, transactions)


def _acknowledged(record: powercut.Record) -> Iterator[tuple[int, int, int]]:
    if record.kind == powercut.WRITE and record.path.endswith("/acks"):
        for line in record.data.splitlines():
            writer, number, revision = map(int, line.split())
            yield writer, number, revision


def expected_at(recording: Recording, revision: int) -> dict[bytes, bytes]:
    state: dict[bytes, bytes] = {}
    for n in range(2, revision + 1):
        for op in recording.transactions[n]:
            if isinstance(op, Put):
                state[op.key] = op.value
            else:
                state.pop(op.key, None)
    return state


async def check(folder: Path, recording: Recording, acknowledged: int, *, go_on: bool) -> int:
    """Open what a cut left: it must be the state at some revision not before the last acknowledged one."""
    async with open_store(folder, folder / "run", limits=workload.LIMITS) as store:
        revision = store.revision
        assert revision >= acknowledged, f"acknowledged {acknowledged}, found {revision}"
        found: dict[bytes, KeyValue] = {kv.key: kv for kv in store.range(b"/", b"0")}
        assert {key: kv.value for key, kv in found.items()} == expected_at(recording, revision)
        if go_on:
            await store.txn([], [Put(b"/after", b"x" * 700)])
    if go_on:
        async with open_store(folder, folder / "run", limits=workload.LIMITS) as store:
            assert store.revision == revision + 1, "something came back from behind the cut"
            kept = {kv.key: kv for kv in store.range(b"/", b"0") if kv.key != b"/after"}
            assert kept == found
    return revision


def cut_everywhere(recording: Recording, scratch: Path, seed: int, stride: int, *, lies: str = "") -> dict[str, int]:
    """Cut behind every `stride`-th record, in three ways each."""
    rng = random.Random(seed)
    disk = powercut.Disk(recording.folder, lies=lies)
    figures = {"cuts": 0, "beyond": 0}
    acknowledged = 1
    begin = rng.randrange(stride)
    for place, record in enumerate(recording.records):
        for *_, revision in _acknowledged(record):
            acknowledged = max(acknowledged, revision)
        disk.follow(record)
        if place % stride != begin:
            continue
        for how in ("none", "some", "all"):
            folder = scratch / "cut"
            disk.leave(folder, rng, how)
            (folder / "acks").unlink(missing_ok=True)
            try:
                revision = trio.run(
                    lambda f, a, g: check(f, recording, a, go_on=g), folder, acknowledged, rng.random() < 0.3
                )
            except (StoreError, AssertionError) as error:
                raise AssertionError(
                    f"cut behind record {place} ({record.kind} {record.path}), {how}: {error}"
                ) from error
            figures["cuts"] += 1
            figures["beyond"] += revision > acknowledged
            shutil.rmtree(folder)
    return figures


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: the images are many and need not survive anything."""
    folder = Path("/dev/shm") / f"powercut-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_power_cuts(recorder: Path, memory: Path) -> None:
    recording = recorded(recorder, memory / "recorded", 25, starts=2)
    kinds = {record.kind for record in recording.records}
    assert {powercut.WRITE, powercut.SYNC_END, powercut.RENAME, powercut.FOLDER_SYNC, powercut.SIZE} <= kinds
    assert any(record.dsync for record in recording.records), "LMDB's meta page goes through O_DSYNC"
    stride = max(1, len(recording.records) // 250)
    figures = cut_everywhere(recording, memory, 1, stride)
    assert figures["cuts"] > 500
    assert figures["beyond"], "no cut fell between a write and its acknowledgement"


@pytest.mark.parametrize("suffix", [".log", ".mdb"])
def test_a_disk_that_lies_is_found_out(recorder: Path, memory: Path, suffix: str) -> None:
    """The check itself: if syncs of one kind of file did nothing, it would say so."""
    recording = recorded(recorder, memory / "recorded", 25, starts=1)
    with pytest.raises(AssertionError, match=r"acknowledged|damaged|missing|belong together"):
        cut_everywhere(recording, memory, 1, 3, lies=suffix)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_power_cuts_at_every_record(recorder: Path, memory: Path, seed: int) -> None:
    recording = recorded(recorder, memory / "recorded", 40, starts=3)
    assert cut_everywhere(recording, memory, seed, 1)["cuts"] == 3 * len(recording.records)
