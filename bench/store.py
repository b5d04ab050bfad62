"""What the store costs: CPU and device bytes a transaction, LIST of 1,000, watch fan-out, replay, beside a bare LMDB.

    sudo .venv/bin/python bench/store.py [--dir FOLDER]

Device bytes are read from a loop device with ext4 on it (root), journal included. Wall times are shown, not judged.
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import trio

from edgekube.store.api import Put
from edgekube.store.single import Limits, SingleStore, open_store
from edgekube.testing.store import FakeStore

VALUE = bytes(1000)
TRANSACTIONS = 2000


class Disk:
    """A mounted file system; `written` is what its device has been asked to write so far (0 when unknown)."""

    def __init__(self, folder: Path, device: str = "") -> None:
        self.folder = folder
        self._stat = Path(f"/sys/block/{Path(device).name}/stat") if device else None

    def written(self) -> int:
        if self._stat is None:
            return 0
        os.sync()
        return int(self._stat.read_text().split()[6]) * 512


@contextmanager
def loop_disk() -> Iterator[Disk]:
    """ext4 on a loop device, with the defaults of mke2fs."""
    with tempfile.TemporaryDirectory() as scratch:
        image, folder = Path(scratch) / "image", Path(scratch) / "mount"
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(512 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        device = subprocess.run(
            ["losetup", "-f", "--show", str(image)], check=True, capture_output=True, text=True
        ).stdout.strip()
        try:
            subprocess.run(["mount", device, str(folder)], check=True)
            try:
                yield Disk(folder, device)
            finally:
                subprocess.run(["umount", str(folder)], check=True)
        finally:
            subprocess.run(["losetup", "-d", device], check=True)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def report(name: str, *, count: int, cpu_s: float, wall_s: float, written: int = 0, note: str = "") -> None:
    size = f"{written / count:10.0f} B" if written else " " * 12
    print(f"{name:34} {cpu_s / count * 1e6:9.1f} us CPU {wall_s / count * 1e6:9.1f} us wall {size}  {note}")


async def writers(store: SingleStore | FakeStore, amount: int, count: int, value: bytes) -> None:
    async def one(writer: int) -> None:
        for n in range(count // amount):
            await store.txn([], [Put(b"/bench/%02d/%05d" % (writer, n), value, 3)])

    async with trio.open_nursery() as nursery:
        for writer in range(amount):
            nursery.start_soon(one, writer)


async def transactions(disk: Disk, run_dir: Path) -> None:
    for size in (100, 1000):
        for amount in (1, 16, 64):
            data = disk.folder / f"data-{size}-{amount}"
            async with open_store(data, run_dir) as store:
                await writers(store, amount, 64, VALUE[:size])
                syncs, before = store.statistics().log_syncs, disk.written()
                begin, used = time.perf_counter(), cpu()
                await writers(store, amount, TRANSACTIONS, VALUE[:size])
                used, wall = cpu() - used, time.perf_counter() - begin
                count = TRANSACTIONS // amount * amount
                report(
                    f"txn of {size} B, {amount} writers",
                    count=count,
                    cpu_s=used,
                    wall_s=wall,
                    written=disk.written() - before,
                    note=f"{count / (store.statistics().log_syncs - syncs):.1f} a sync",
                )
    begin, used = time.perf_counter(), cpu()
    await writers(FakeStore(), 1, TRANSACTIONS, VALUE)
    report("state machine alone, 1000 B", count=TRANSACTIONS, cpu_s=cpu() - used, wall_s=time.perf_counter() - begin)


def bare_lmdb(disk: Disk) -> None:
    for batch in (1, 16, 64):
        env = lmdb.open(str(disk.folder / f"floor-{batch}"), map_size=1 << 28)
        before, begin, used = disk.written(), time.perf_counter(), cpu()
        for n in range(0, TRANSACTIONS, batch):
            with env.begin(write=True) as txn:
                for k in range(n, n + batch):
                    txn.put(b"/bench/%05d" % k, VALUE)
        used, wall = cpu() - used, time.perf_counter() - begin
        written = disk.written() - before
        report(f"bare LMDB, 1000 B, {batch} a commit", count=TRANSACTIONS, cpu_s=used, wall_s=wall, written=written)
        env.close()


async def settled(store: SingleStore) -> None:
    """Wait until the database has everything."""
    for delay in range(100):
        await trio.sleep(0.01 * delay)
        if not store.statistics().unflushed_transactions:
            return
    raise RuntimeError("the store does not settle")


async def reads(disk: Disk, run_dir: Path) -> None:
    async with open_store(disk.folder / "reads", run_dir, limits=Limits(history_age_kept=0.01)) as store:
        await writers(store, 50, 5000, bytes(2000))
        await settled(store)
        timed("LIST 1,000 x 2 kB, settled", lambda: store.range(b"/bench/10/", b"/bench/2"))
        revision = store.revision
        for n in range(200):
            await store.txn([], [Put(b"/bench/%02d/%05d" % (10 + n % 10, n % 100), VALUE)])
        timed("LIST 1,000, 200 just changed", lambda: store.range(b"/bench/10/", b"/bench/2"))
        timed("LIST 1,000 at an older revision", lambda: store.range(b"/bench/10/", b"/bench/2", revision=revision))
        timed("LIST page of 100", lambda: store.range(b"/bench/10/", b"/bench/2", limit=100))
        timed("count of 5,000", lambda: store.count(b"/bench/", b"/bench0"))
        timed("get, settled", lambda: store.get(b"/bench/30/00001"), 20000)
        timed("get, recent", lambda: store.get(b"/bench/10/00000"), 20000)


def timed(name: str, call: object, times: int = 50) -> None:
    assert callable(call)
    begin, used = time.perf_counter(), cpu()
    for _ in range(times):
        call()
    report(name, count=times, cpu_s=cpu() - used, wall_s=time.perf_counter() - begin)


async def fan_out() -> None:
    for watchers in (0, 1, 100, 1000):
        store = FakeStore()
        count = 200

        async def follow(started: trio.Event, store: FakeStore = store, left: int = count) -> None:
            async with store.watch(b"/bench/", b"/bench0", after=1) as watch:
                started.set()
                while left:
                    left -= len(await watch.next())

        begin = used = 0.0
        async with trio.open_nursery() as nursery:
            for _ in range(watchers):
                started = trio.Event()
                nursery.start_soon(follow, started)
                await started.wait()
            begin, used = time.perf_counter(), cpu()
            for n in range(count):
                await store.txn([], [Put(b"/bench/%d" % n, VALUE)])
                await trio.lowlevel.checkpoint()
        report(f"txn seen by {watchers} watchers", count=count, cpu_s=cpu() - used, wall_s=time.perf_counter() - begin)


async def replay(disk: Disk, run_dir: Path) -> None:
    limits = Limits(history_count_max=100_000, history_size_max=64 << 20, segments_max=64)
    async with open_store(disk.folder / "replay", run_dir, limits=limits) as store:
        await writers(store, 64, 6400, VALUE)
    begin, used = time.perf_counter(), cpu()
    async with open_store(disk.folder / "replay", run_dir, limits=limits) as store:
        count = store.statistics().unflushed_transactions
        report(
            "replay at start", count=count, cpu_s=cpu() - used, wall_s=time.perf_counter() - begin, note=f"{count} txns"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", help="measure here instead of on a loop device (no device bytes)")
    options = parser.parse_args()

    def run(disk: Disk) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as run_dir:
            trio.run(transactions, disk, Path(run_dir))
            bare_lmdb(disk)
            trio.run(reads, disk, Path(run_dir))
            trio.run(fan_out)
            trio.run(replay, disk, Path(run_dir))

    if options.dir:
        run(Disk(Path(options.dir)))
    else:
        with loop_disk() as disk:
            run(disk)


if __name__ == "__main__":
    main()
