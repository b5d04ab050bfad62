"""The store for Events: bounded by age, count and bytes."""

import pytest
import trio

from edgekube.store.api import Compacted, Guard, NotLeader, Put
from edgekube.store.volatile import VolatileLimits, open_volatile


async def test_keys_expire_and_watchers_see_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_volatile(term=3, limits=VolatileLimits(ttl=100)) as store:
        assert store.revision == 3 << 32
        await store.txn([], [Put(b"/e/1", b"x")])
        await trio.sleep(60)
        await store.txn([], [Put(b"/e/2", b"x")])
        await store.txn([Guard(b"/e/1", (3 << 32) + 1)], [Put(b"/e/1", b"y")])
        async with store.watch(b"/e/", b"/e0", after=store.revision) as watch:
            begin = trio.current_time()
            gone = list(await watch.next())
            while len(gone) < 2:
                gone += await watch.next()
        assert [(event.key, event.kv) for event in gone] == [(b"/e/2", None), (b"/e/1", None)]
        assert 100 <= trio.current_time() - begin <= 111
        assert store.count(b"/", b"0") == 0
        assert store.size_bytes == 0


async def test_count_and_bytes_are_bounded() -> None:
    async with open_volatile(limits=VolatileLimits(count_max=10, size_max=2000)) as store:
        for n in range(30):
            await store.txn([], [Put(b"/%02d" % n, b"x")])
        assert [kv.key for kv in store.range(b"/", b"0")] == [b"/%02d" % n for n in range(20, 30)]
        await store.txn([], [Put(b"/big", bytes(1900))])
        assert store.size_bytes <= 2000
        assert store.get(b"/big") is not None
        await store.txn([], [Put(b"/%d" % n, bytes(50)) for n in range(100)])
        assert store.count(b"/", b"0") == 10


async def test_a_new_term_numbers_on_and_compacts() -> None:
    async with open_volatile(term=0) as store:
        with pytest.raises(NotLeader):
            await store.txn([], [Put(b"/a", b"")])
        store.set_term(1)
        before = (await store.txn([], [Put(b"/a", b"")])).revision
        store.set_term(0)
        store.set_term(2)
        assert store.revision == 2 << 32
        assert store.get(b"/a") is not None
        with pytest.raises(Compacted):
            store.range(b"/", b"0", revision=before)
        assert (await store.txn([], [Put(b"/b", b"")], term=2)).revision == (2 << 32) + 1
