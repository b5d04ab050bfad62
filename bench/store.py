"""What the store costs: CPU and device bytes a transaction, LIST of 1,000, watch fan-out, replay, beside a bare LMDB.

Device bytes are read from a loop device with ext4 on it, journal included.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lmdb
import trio

from bench import Options, row
from bench.machine import Disk, loop_disk, own_cpu_seconds
from edgekube.store.api import Put
from edgekube.store.limits import Limits
from edgekube.store.opening import open_store
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing.store import FakeStore

VALUE = bytes(1000)
TRANSACTIONS = 2000


async def writers(store: ReplicatedStore | FakeStore, amount: int, count: int, value: bytes) -> None:
    async def one(writer: int) -> None:
        for n in range(count // amount):
            await store.txn([], [Put(b"/bench/%02d/%05d" % (writer, n), value, 3)])

    async with trio.open_nursery() as nursery:
        for writer in range(amount):
            nursery.start_soon(one, writer)


async def transactions(disk: Disk, run_dir: Path) -> None:
    for size in (100, 1000):
        for amount in (1, 16, 64):
            async with open_store(disk.folder / f"data-{size}-{amount}", run_dir) as store:
                await writers(store, amount, 64, VALUE[:size])
                syncs, before = store.statistics().log_syncs, disk.written()
                begin, used = time.perf_counter(), own_cpu_seconds()
                await writers(store, amount, TRANSACTIONS, VALUE[:size])
                used, wall = own_cpu_seconds() - used, time.perf_counter() - begin
                count = TRANSACTIONS // amount * amount
                written = (disk.written() - before) / count
                what = f"txn of {size} B, {amount} writers"
                together = count / (store.statistics().log_syncs - syncs)
                row(what, used / count * 1e6, "us CPU", note=f"{wall / count * 1e6:.0f} us, {together:.1f} a sync")
                floor = ("a bare LMDB", bare_lmdb(disk, VALUE[:size], amount))
                goal = {1: 6000, 16: 1000}.get(amount) if size == 100 else None
                row(what, written, "device bytes", goal=goal, beside=floor)
    used = own_cpu_seconds()
    await writers(FakeStore(), 1, TRANSACTIONS, VALUE)
    row("floor: the state machine alone, 1000 B", (own_cpu_seconds() - used) / TRANSACTIONS * 1e6, "us CPU")


def bare_lmdb(disk: Disk, value: bytes, batch: int) -> float:
    """Device bytes a put, `batch` puts a commit."""
    with lmdb.open(str(disk.folder / f"floor-{batch}-{len(value)}"), map_size=1 << 27) as env:
        before = disk.written()
        count = max(200, batch * 10)
        for n in range(0, count, batch):
            with env.begin(write=True) as txn:
                for k in range(n, n + batch):
                    txn.put(b"/bench/%05d" % k, value)
        return (disk.written() - before) / count


async def settled(store: ReplicatedStore) -> None:
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


def timed(name: str, call: Callable[[], object], times: int = 50) -> None:
    used = own_cpu_seconds()
    for _ in range(times):
        call()
    row(name, (own_cpu_seconds() - used) / times * 1e6, "us CPU")


async def fan_out() -> None:
    for watchers in (0, 1, 100, 1000):
        store = FakeStore()
        count = 200

        async def follow(started: trio.Event, store: FakeStore = store, left: int = count) -> None:
            async with store.watch(b"/bench/", b"/bench0", after=1) as watch:
                started.set()
                while left:
                    left -= len(await watch.next())

        used = 0.0
        async with trio.open_nursery() as nursery:
            for _ in range(watchers):
                started = trio.Event()
                nursery.start_soon(follow, started)
                await started.wait()
            used = own_cpu_seconds()
            for n in range(count):
                await store.txn([], [Put(b"/bench/%d" % n, VALUE)])
                await trio.lowlevel.checkpoint()
        row(f"txn seen by {watchers} watchers", (own_cpu_seconds() - used) / count * 1e6, "us CPU")


async def replay(disk: Disk, run_dir: Path) -> None:
    limits = Limits(history_count_max=100_000, history_size_max=64 << 20, segments_max=64)
    async with open_store(disk.folder / "replay", run_dir, limits=limits) as store:
        await writers(store, 64, 6400, VALUE)
    used = own_cpu_seconds()
    async with open_store(disk.folder / "replay", run_dir, limits=limits) as store:
        count = store.statistics().unflushed_transactions
        row(
            "replay of a txn at start", (own_cpu_seconds() - used) / max(count, 1) * 1e6, "us CPU", note=f"{count} txns"
        )


def run(options: Options) -> None:
    with loop_disk() as disk, tempfile.TemporaryDirectory(dir="/dev/shm") as run_dir:
        trio.run(transactions, disk, Path(run_dir))
        if not options.quick:
            trio.run(reads, disk, Path(run_dir))
            trio.run(fan_out)
            trio.run(replay, disk, Path(run_dir))
