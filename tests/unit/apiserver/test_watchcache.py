"""The cache of decoded objects: who writes sees the own write at once, and a failing handler stays no secret."""

import pytest
import trio
import trio.testing

from edgekube.apiserver import storage
from edgekube.apiserver.watchcache import KindCache, WatchCache
from edgekube.client.api import Change
from edgekube.store.api import Put, prefix_end
from edgekube.testing.store import FakeStore
from edgekube.types.core_v1 import ConfigMap

PREFIX = storage.collection_prefix("", "configmaps")


def put(name: str) -> Put:
    value, splice = storage.seal(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}}
    )
    return Put(storage.object_key("", "configmaps", "a", name), value, splice)


def names(kind: KindCache[ConfigMap]) -> list[str]:
    return [obj.metadata.name for obj in kind.list("a")]


async def test_what_is_applied_is_seen_without_waiting_and_once() -> None:
    store = FakeStore()
    cache = WatchCache(store)
    kind = cache.kind(PREFIX, True, ConfigMap)
    told: list[Change[ConfigMap]] = []
    kind.subscribe(told.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(cache.run)
        for name in ("one", "two"):
            result = await store.txn([], [put(name)])
            with trio.testing.assert_no_checkpoints():
                await cache.wait_revision(result.revision)
        assert names(kind) == ["one", "two"]
        await trio.testing.wait_all_tasks_blocked()
        assert (names(kind), len(told)) == (["one", "two"], 2)
        nursery.cancel_scope.cancel()


async def test_what_others_write_is_seen_as_well() -> None:
    store = FakeStore()
    cache = WatchCache(store)
    kind = cache.kind(PREFIX, True, ConfigMap)
    async with trio.open_nursery() as nursery:
        await nursery.start(cache.run)
        await store.txn([], [put("one")])
        await trio.testing.wait_all_tasks_blocked()
        assert names(kind) == ["one"]
        async with store.watch(PREFIX, prefix_end(PREFIX), after=1) as watch:
            assert len(await watch.next()) == 1
        nursery.cancel_scope.cancel()


async def test_a_handler_that_fails_ends_the_cache_whoever_wrote() -> None:
    store = FakeStore()
    cache = WatchCache(store)

    def handler(_: Change[ConfigMap]) -> None:
        raise ZeroDivisionError

    cache.kind(PREFIX, True, ConfigMap).subscribe(handler)

    async def write() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(cache.run)
            result = await store.txn([], [put("one")])
            with pytest.raises(ZeroDivisionError):
                await cache.wait_revision(result.revision)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as raised:
        await write()
    assert raised.group_contains(ZeroDivisionError)
