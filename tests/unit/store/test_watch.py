"""Watches, subscriptions and waits on the applied state."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edgekube.store.api import (
    Compacted,
    Delete,
    FutureRevision,
    Guard,
    NotLeader,
    Put,
    ReadOnly,
    StoreError,
    prefix_end,
)
from edgekube.testing.store import FakeStore


async def put(store: FakeStore, key: bytes, value: bytes = b"v") -> int:
    return (await store.txn([], [Put(key, value)])).revision


async def test_waiting_watchers_are_woken_in_order() -> None:
    store = FakeStore()
    seen: list[tuple[int, bytes]] = []

    async def follow(start: bytes, mark: bytes) -> None:
        async with store.watch(start, prefix_end(start), after=1) as watch:
            while len([1 for _, m in seen if m == mark]) < 2:
                seen.extend((event.revision, mark) for event in await watch.next())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, b"/a/", b"a")
        nursery.start_soon(follow, b"/", b"all")
        await wait_all_tasks_blocked()
        for key in (b"/b/1", b"/a/1", b"/a/2"):
            await put(store, key)
    assert [r for r, m in seen if m == b"a"] == [3, 4]
    assert [r for r, m in seen if m == b"all"][:2] == [2, 3]
    assert store._hub.watcher_count == 0


async def test_next_is_cancellable_without_loss() -> None:
    store = FakeStore()
    async with store.watch(b"/", b"0", after=1) as watch:
        with trio.move_on_after(0) as scope:
            await watch.next()
        assert scope.cancelled_caught
        await put(store, b"/a")
        with trio.CancelScope() as scope:
            scope.cancel()
            await watch.next()
        assert scope.cancelled_caught


async def test_cancelled_next_does_not_swallow_events() -> None:
    store = FakeStore()
    async with store.watch(b"/", b"0", after=1) as watch:
        await put(store, b"/a")
        with trio.CancelScope() as scope:
            scope.cancel()
            await watch.next()
        assert scope.cancelled_caught
        assert [event.key for event in watch.next_nowait()] == [b"/a"]


async def test_progress_moves_with_what_does_not_match() -> None:
    store = FakeStore()
    async with store.watch(b"/a/", b"/a0", after=1) as watch:
        assert watch.progress == 1
        await put(store, b"/b/1")
        assert list(watch.next_nowait()) == []
        assert watch.progress == 2
        await put(store, b"/a/1")
        await put(store, b"/b/2")
        assert watch.progress == 2
        assert len(await watch.next()) == 1
        assert watch.progress == 4


async def test_a_batch_holds_whole_transactions() -> None:
    store = FakeStore()
    await store.txn([], [Put(b"/%d" % n, b"") for n in range(5)])
    await put(store, b"/9")
    async with store.watch(b"/", b"0", after=1, batch_max=2) as watch:
        assert len(await watch.next()) == 5
        assert len(await watch.next()) == 1


async def test_a_watcher_left_behind_is_told() -> None:
    store = FakeStore()
    async with store.watch(b"/", b"0", after=1) as watch:
        await put(store, b"/a")
        await put(store, b"/b")
        store.compact(2)
        with pytest.raises(Compacted) as raised:
            watch.next_nowait()
        assert raised.value.oldest == 2
        assert watch.progress == 1
    for after in (1, 4):
        with pytest.raises(Compacted if after == 1 else FutureRevision):
            async with store.watch(b"/", b"0", after=after):
                pass
    async with store.watch(b"/", b"0", after=2) as watch:
        assert [event.key for event in await watch.next()] == [b"/b"]


async def test_a_delete_carries_its_last_state() -> None:
    store = FakeStore()
    await store.txn([], [Put(b"/a", b'{"rv":""}', 7)])
    await store.txn([], [Delete(b"/a", b'{"rv":"","gone":1}', 7), Delete(b"/absent")])
    async with store.watch(b"/", b"0", after=2) as watch:
        (event,) = await watch.next()
    assert (event.kv, event.deleted_value) == (None, b'{"rv":"3","gone":1}')
    assert event.previous is not None
    assert event.previous.value == b'{"rv":"2"}'


async def test_subscribe_keeps_only_the_latest() -> None:
    store = FakeStore()
    revisions = store.subscribe()
    await put(store, b"/a")
    await put(store, b"/b")
    assert await anext(revisions) == 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.wait_applied, 4)
        await wait_all_tasks_blocked()
        await put(store, b"/c")
    assert await anext(revisions) == 4


async def test_leadership_comes_and_goes() -> None:
    store = FakeStore()
    assert await store.wait_leader() == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.wait_not_leader, 1)
        await wait_all_tasks_blocked()
        store.step_down()
    assert store.term == 0
    with pytest.raises(NotLeader):
        await put(store, b"/a")
    with pytest.raises(NotLeader):
        await store.read_barrier()
    assert store.campaign() == 2
    with pytest.raises(StoreError, match="term 1"):
        await store.txn([], [Put(b"/a", b"")], term=1)
    assert (await store.txn([], [Put(b"/a", b"")], term=2)).succeeded
    store.read_only = True
    with pytest.raises(ReadOnly):
        await put(store, b"/a")
    assert (await store.txn([Guard(b"/a", 2)], [])).succeeded
