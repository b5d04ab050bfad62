"""Where a resource lies: which store, which keys, which cache."""

from typing import Any

import msgspec

from edgekube.apiserver import storage
from edgekube.apiserver.errors import from_store
from edgekube.apiserver.leases import LeaseOverlay
from edgekube.apiserver.resources import Resource, storage_of
from edgekube.apiserver.watchcache import KindCache, WatchCache
from edgekube.store.api import KeyValue, Store, StoreError

_decode = msgspec.json.Decoder().decode


class Backend:
    """The two stores (durable, volatile) and the caches over them."""

    def __init__(self, store: Store, events: Store) -> None:
        self.store = store
        self.events = events
        self.leases = LeaseOverlay()
        self._kinds: dict[Resource, KindCache[Any]] = {}
        self._caches = {id(store): WatchCache(store), id(events): WatchCache(events)}

    def store_of(self, res: Resource) -> Store:
        return self.events if res.volatile else self.store

    def cache_of(self, res: Resource) -> WatchCache:
        return self._caches[id(self.store_of(res))]

    @property
    def caches(self) -> list[WatchCache]:
        return list(self._caches.values())

    def key(self, res: Resource, namespace: str, name: str) -> bytes:
        at = storage_of(res)
        return storage.object_key(at.group, at.plural, namespace if at.namespaced else "", name)

    def prefix(self, res: Resource, namespace: str = "") -> bytes:
        at = storage_of(res)
        return storage.collection_prefix(at.group, at.plural, namespace if at.namespaced else "")

    def read(self, res: Resource, namespace: str, name: str) -> KeyValue | None:
        try:
            kv = self.store_of(res).get(self.key(res, namespace, name))
        except StoreError as error:
            raise from_store(error) from None
        return self.leases.fill(kv) if kv is not None and res.plural == "leases" else kv

    def read_object(self, res: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as a plain dict of its own, or None."""
        kv = self.read(res, namespace, name)
        return None if kv is None else decode_value(kv.value)

    def kind(self, res: Resource) -> KindCache[Any]:
        cache = self._kinds.get(res)
        if cache is None:
            at = storage_of(res)
            cache = self._kinds[res] = self.cache_of(at).kind(self.prefix(at), at.namespaced, at.cls)
            if at.plural == "leases":
                cache.overlay(self.leases.fill_struct)
        return cache

    def partial(self, res: Resource) -> KindCache[Any]:
        at = storage_of(res)
        return self.cache_of(at).partial(self.prefix(at), at.namespaced)


def decode_value(value: bytes) -> dict[str, Any]:
    obj: dict[str, Any] = _decode(memoryview(value)[storage.HEADER_SIZE_BYTES :])
    return obj
