"""The decoded objects of this process: one cache a kind, fed by one watch of the store.

A kind is decoded when the first informer asks for it, from then on kept current. Reads and handlers are synchronous;
`wait_revision` is what lets the in-process client return only when its own write is to be seen here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import trio

from edgekube.apiserver import storage
from edgekube.client.api import Change, Key, KubeObject, PartialObject
from edgekube.store.api import Compacted, Event, Store, StoreError, Watch, prefix_end

T = TypeVar("T", bound=KubeObject)


class KindCache(Generic[T]):
    """All objects of one kind, decoded (client.Informer)."""

    #: Told every object that is shown; tests look there for somebody who changes a shared object.
    witness: ClassVar[Callable[[Any], None] | None] = None

    def __init__(self, store: Store, prefix: bytes, namespaced: bool, cls: type[T]) -> None:
        self._store = store
        self._prefix = prefix
        self._namespaced = namespaced
        self._decoder = msgspec.json.Decoder(cls)
        self._objects: dict[Key, T] = {}
        self._indexes: dict[str, tuple[Callable[[T], Iterable[str]], dict[str, dict[Key, T]]]] = {}
        self._handlers: dict[int, Callable[[Change[T]], None]] = {}
        self._handler_ids = 0
        self._overlay: Callable[[bytes, T], T] | None = None
        self._start = 0
        self.fill()

    # -- reads

    def get(self, namespace: str, name: str) -> T | None:
        return self._objects.get((namespace, name))

    def list(self, namespace: str | None = None) -> Sequence[T]:
        if namespace is None:
            return list(self._objects.values())
        return [obj for key, obj in self._objects.items() if key[0] == namespace]

    def add_index(self, name: str, keys_of: Callable[[T], Iterable[str]]) -> None:
        if name in self._indexes:
            return
        index: dict[str, dict[Key, T]] = {}
        self._indexes[name] = (keys_of, index)
        for key, obj in self._objects.items():
            for term in keys_of(obj):
                index.setdefault(term, {})[key] = obj

    def by_index(self, name: str, key: str) -> Sequence[T]:
        found = self._indexes[name][1].get(key)
        return list(found.values()) if found else []

    def subscribe(self, handler: Callable[[Change[T]], None]) -> Callable[[], None]:
        self._handler_ids += 1
        ident = self._handler_ids
        self._handlers[ident] = handler
        for obj in list(self._objects.values()):
            handler(Change(old=None, new=obj))

        def unsubscribe() -> None:
            self._handlers.pop(ident, None)

        return unsubscribe

    async def wait_synced(self) -> None:
        await trio.lowlevel.checkpoint()

    # -- what keeps it current

    def fill(self) -> None:
        """Make the cache equal to the store as it is now; later events up to this revision are no news."""
        self._start = self._store.revision
        seen = set()
        for kv in self._store.range(self._prefix, prefix_end(self._prefix)):
            key = storage.split_key(kv.key, self._namespaced)
            seen.add(key)
            obj = self._decode(kv.key, kv.value)
            old = self._objects.get(key)
            if old is None or old.metadata.resourceVersion != obj.metadata.resourceVersion:
                self._set(key, old, obj)
        for key in [key for key in self._objects if key not in seen]:
            self._set(key, self._objects[key], None)

    def apply(self, event: Event) -> None:
        if event.revision <= self._start:
            return
        key = storage.split_key(event.key, self._namespaced)
        old = self._objects.get(key)
        if event.kv is not None:
            self._set(key, old, self._decode(event.key, event.kv.value))
        elif old is not None:
            last = old if event.deleted_value is None else self._decode(event.key, event.deleted_value)
            self._set(key, old, None, last)

    def overlay(self, fill_in: Callable[[bytes, T], T]) -> None:
        """Pass every decoded object through `fill_in` (volatile fields that are not in the store)."""
        self._overlay = fill_in

    def replace_volatile(self, key: Key, obj: T) -> None:
        """Show an object whose volatile fields changed without a write."""
        old = self._objects.get(key)
        if old is not None:
            self._set(key, old, obj)

    def _decode(self, key: bytes, value: bytes) -> T:
        obj = self._decoder.decode(memoryview(value)[storage.HEADER_SIZE_BYTES :])
        return obj if self._overlay is None else self._overlay(key, obj)

    def _set(self, key: Key, old: T | None, new: T | None, last: T | None = None) -> None:
        if new is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = new
            if KindCache.witness is not None:
                KindCache.witness(new)
        for keys_of, index in self._indexes.values():
            if old is not None:
                for term in keys_of(old):
                    bucket = index.get(term)
                    if bucket is not None:
                        bucket.pop(key, None)
                        if not bucket:
                            del index[term]
            if new is not None:
                for term in keys_of(new):
                    index.setdefault(term, {})[key] = new
        if self._handlers:
            change: Change[T] = Change(old=old if new is not None else (last or old), new=new)
            for handler in list(self._handlers.values()):
                handler(change)


class WatchCache:
    """All kind caches over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kinds: dict[bytes, KindCache[Any]] = {}
        self._partial: dict[bytes, KindCache[Any]] = {}
        self._revision = store.revision
        self._advanced = trio.lowlevel.ParkingLot()
        self._watch: Watch | None = None  # while the store is followed
        self._following = trio.CancelScope()
        self._failure: Exception | None = None

    @property
    def revision(self) -> int:
        """Every change up to this revision is to be seen in the caches."""
        return self._revision

    def kind(self, prefix: bytes, namespaced: bool, cls: type[T]) -> KindCache[T]:
        """The cache of the resource whose keys begin with `prefix` (`/registry/<group>/<resource>/`)."""
        cache = self._kinds.get(prefix)
        if cache is None:
            cache = self._kinds[prefix] = KindCache(self._store, prefix, namespaced, cls)
        return cache

    def partial(self, prefix: bytes, namespaced: bool) -> KindCache[Any]:
        """The ownership of a resource's objects (client.PartialInformer), whether or not they are decoded as a kind."""
        cache = self._partial.get(prefix)
        if cache is None:
            made: KindCache[Any] = KindCache(self._store, prefix, namespaced, PartialObject)
            cache = self._partial[prefix] = made
        return cache

    def peek(self, prefix: bytes) -> KindCache[Any] | None:
        """The cache of a kind that is being kept, else None."""
        return self._kinds.get(prefix)

    async def wait_revision(self, revision: int) -> None:
        """Wait until every change up to `revision` is to be seen. What the store has applied already is at once."""
        if self._revision < revision:
            self._catch_up()
        while self._revision < revision:
            await self._advanced.park()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled. When it falls behind the kept history it reads everything again."""
        started = False
        while True:
            for cache in (*self._kinds.values(), *self._partial.values()):
                cache.fill()
            after = self._store.revision
            try:
                async with self._store.watch(storage.PREFIX, prefix_end(storage.PREFIX), after=after) as watch:
                    self._advance(after)
                    if not started:
                        started = True
                        task_status.started()
                    await self._follow(watch)
            except Compacted:
                await trio.lowlevel.checkpoint()

    async def _follow(self, watch: Watch) -> None:
        """Take in what comes. A failure met by `_catch_up` in another task is this one's, too."""
        with trio.CancelScope() as self._following:
            self._watch = watch
            try:
                while True:
                    self._take(watch, await watch.next())
            finally:
                self._watch = None
        if self._failure is not None:
            raise self._failure

    def _catch_up(self) -> None:
        """Take in what is there now, in the task of whoever cannot go on without it: that saves it two turns."""
        watch = self._watch
        if watch is None:
            return
        try:
            self._take(watch, watch.next_nowait())
        except (Compacted, StoreError):
            pass  # the following task meets it as well
        except Exception as error:
            self._failure = error
            self._following.cancel()
            raise

    def _take(self, watch: Watch, events: Sequence[Event]) -> None:
        for event in events:
            self._dispatch(event)
        self._advance(watch.progress)

    def _advance(self, revision: int) -> None:
        self._revision = revision
        if self._advanced:
            self._advanced.unpark_all()

    def _dispatch(self, event: Event) -> None:
        # /registry/<group>/<resource>/...
        key = event.key
        end = key.find(b"/", key.find(b"/", len(storage.PREFIX)) + 1) + 1
        for caches in (self._kinds, self._partial):
            cache = caches.get(key[:end])
            if cache is not None:
                cache.apply(event)
