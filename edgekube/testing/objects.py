"""A cluster's objects in memory: informers and the few writes that nodes' roles make, without an API server.

Enough of `Client` for the service proxy, DNS and the cloud role; merge patches only, no admission, no validation.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec

from edgekube.client.api import Change, Informer, Key, KubeObject, PatchType, T


class MemoryInformer:
    """`Informer` over a dict; `put` and `remove` are the cluster changing."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        self._objects: dict[Key, Any] = {}
        self._indexes: dict[str, Callable[[Any], Iterable[str]]] = {}
        self._handlers: list[Callable[[Change[Any]], None]] = []

    def get(self, namespace: str, name: str) -> Any:
        return self._objects.get((namespace, name))

    def list(self, namespace: str | None = None) -> Sequence[Any]:
        return [found for (where, _), found in self._objects.items() if namespace in (None, where)]

    def add_index(self, name: str, keys_of: Callable[[Any], Iterable[str]]) -> None:
        self._indexes.setdefault(name, keys_of)

    def by_index(self, name: str, key: str) -> Sequence[Any]:
        return [found for found in self._objects.values() if key in self._indexes[name](found)]

    def subscribe(self, handler: Callable[[Change[Any]], None]) -> Callable[[], None]:
        self._handlers.append(handler)
        for found in self._objects.values():
            handler(Change(None, found))
        return lambda: self._handlers.remove(handler)

    async def wait_synced(self) -> None:
        return None

    def put(self, obj: Any) -> None:
        key = (obj.metadata.namespace, obj.metadata.name)
        old = self._objects.get(key)
        self._objects[key] = obj
        for handler in list(self._handlers):
            handler(Change(old, obj))

    def remove(self, namespace: str, name: str) -> None:
        old = self._objects.pop((namespace, name))
        for handler in list(self._handlers):
            handler(Change(old, None))


class MemoryCluster:
    """`Client` over MemoryInformers. Every write is remembered in `writes` as (verb, kind, key, body)."""

    user = "system:test"

    def __init__(self, *objects: KubeObject) -> None:
        self._informers: dict[type[Any], MemoryInformer] = {}
        self.writes: list[tuple[str, str, Key, Any]] = []
        self.put(*objects)

    def informer(self, cls: type[T]) -> Informer[T]:
        return cast("Informer[T]", self.memory(cls))

    def memory(self, cls: type[Any]) -> MemoryInformer:
        return self._informers.setdefault(cls, MemoryInformer(cls))

    def put(self, *objects: KubeObject) -> None:
        for obj in objects:
            self.memory(type(obj)).put(obj)

    def remove(self, obj: KubeObject) -> None:
        self.memory(type(obj)).remove(obj.metadata.namespace, obj.metadata.name)

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        found = self.memory(cls).get(namespace, name)
        if found is None:
            raise LookupError(f"{cls.__name__} {namespace}/{name} is not there")
        return cast(T, found)

    async def create(self, obj: T, *, field_manager: str = "", dry_run: bool = False) -> T:
        key = (obj.metadata.namespace, obj.metadata.name)
        self.writes.append(("create", type(obj).__name__, key, obj))
        self.put(obj)
        return obj

    async def patch(
        self,
        cls: type[T],
        name: str,
        namespace: str = "",
        *,
        patch: Mapping[str, Any] | Sequence[Any],
        type: PatchType = PatchType.MERGE,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> T:
        assert type == PatchType.MERGE
        assert isinstance(patch, Mapping)
        old = await self.get(cls, name, namespace)
        self.writes.append(("patch", cls.__name__, (namespace, name), patch))
        merged = merge_patch(msgspec.json.decode(msgspec.json.encode(old)), patch)
        new = msgspec.convert(merged, cls)
        if new.metadata.deletionTimestamp and not new.metadata.finalizers:
            self.memory(cls).remove(namespace, name)
        else:
            self.put(new)
        return new


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return msgspec.to_builtins(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, wanted in patch.items():
        if wanted is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), wanted)
    return merged
