"""The garbage collector: what has lost its owners goes, and owners wait for, or let go of, what they own.

Follows kube-controller-manager's garbagecollector: background deletion when the last owner is gone, foreground deletion
(dependents first, held by the foregroundDeletion finalizer), orphaning. It knows every resource by ownership alone.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import trio

from edgekube.client.api import Change, Client, PartialInformer, PartialObject
from edgekube.client.queue import WorkQueue
from edgekube.types.meta_v1 import OwnerReference
from edgekube.types.registry import class_of, split_api_version
from edgekube.types.resources import RESOURCES, Resource, by_kind
from edgekube.types.status import ApiError

log = logging.getLogger(__name__)

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
WORKERS = 4
# Kinds that nothing owns or that are not stored: watching them would cost and find nothing.
SKIPPED = frozenset({"bindings", "componentstatuses", "events"})


class Item(msgspec.Struct, frozen=True):
    """One object's place: which resource, where, and which incarnation."""

    resource: Resource
    namespace: str
    name: str
    uid: str

    def __hash__(self) -> int:
        return hash((self.resource.qualified, self.namespace, self.name, self.uid))

    def __str__(self) -> str:
        return f"{self.resource.qualified}/{self.namespace}/{self.name}"


class GarbageCollector:
    """Keeps who owns whom, by uid, and works through what a change makes doubtful."""

    name = "generic-garbage-collector"

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: WorkQueue[Item] = WorkQueue()
        self._informers: dict[str, PartialInformer] = {}
        self._objects: dict[str, Item] = {}  # by uid
        self._dependents: dict[str, set[Item]] = {}  # by the owner's uid

    async def run(self) -> None:
        """Collect until cancelled."""
        stops: list[Callable[[], None]] = []
        try:
            for resource in watched():
                informer = self._client.partial(resource.group, resource.version, resource.plural)
                self._informers[resource.qualified] = informer
                await informer.wait_synced()

                def on_change(change: Change[Any], resource: Resource = resource) -> None:
                    self._on_change(resource, change)

                stops.append(informer.subscribe(on_change))
            async with trio.open_nursery() as nursery:
                for _ in range(WORKERS):
                    nursery.start_soon(self._work)
        finally:
            for stop in stops:
                stop()

    def _on_change(self, resource: Resource, change: Change[Any]) -> None:
        old, new = change.old, change.new
        present = new or old
        assert present is not None
        item = Item(resource, present.metadata.namespace, present.metadata.name, present.metadata.uid)
        before = {r.uid for r in old.metadata.ownerReferences} if old is not None else set()
        after = {r.uid for r in new.metadata.ownerReferences} if new is not None else set()
        for uid in before - after:
            found = self._dependents.get(uid)
            if found is not None:
                found.discard(item)
                if not found:
                    del self._dependents[uid]
                # An owner that deletes in the foreground waits for this one.
                owner = self._objects.get(uid)
                if owner is not None:
                    self._queue.add(owner)
        for uid in after:
            self._dependents.setdefault(uid, set()).add(item)
        if new is None:
            self._objects.pop(item.uid, None)
            for dependent in self._dependents.get(item.uid, ()):
                self._queue.add(dependent)
            return
        self._objects[item.uid] = item
        meta = new.metadata
        if meta.deletionTimestamp:
            if FOREGROUND in meta.finalizers or ORPHAN in meta.finalizers:
                self._queue.add(item)
        elif any(r.uid not in self._objects for r in meta.ownerReferences):
            # Perhaps the owner's kind has not been read yet at start; the worker looks again.
            self._queue.add(item)

    async def _work(self) -> None:
        while True:
            item = await self._queue.get()
            try:
                await self._process(item)
            except ApiError as error:
                if error.code != 404:
                    level = logging.DEBUG if error.code == 409 else logging.WARNING
                    log.log(level, "collector object=%s retry=%d error=%s", item, self._queue.failures(item), error)
                    self._queue.retry(item)
            except Exception:
                # One odd object must not end collection for all others: said loudly, retried slowly.
                log.exception("collector object=%s", item)
                self._queue.retry(item)
            else:
                self._queue.forget(item)
            finally:
                self._queue.done(item)

    def _live(self, item: Item) -> PartialObject | None:
        found = self._informers[item.resource.qualified].get(item.namespace, item.name)
        return found if found is not None and found.metadata.uid == item.uid else None

    async def _process(self, item: Item) -> None:
        obj = self._live(item)
        if obj is None:
            return
        meta = obj.metadata
        if meta.deletionTimestamp and ORPHAN in meta.finalizers:
            await self._orphan_dependents(item, obj)
        elif meta.deletionTimestamp and FOREGROUND in meta.finalizers:
            await self._delete_dependents(item, obj)
        elif meta.ownerReferences and not meta.deletionTimestamp:
            await self._attempt_delete(item, obj)

    async def _attempt_delete(self, item: Item, obj: PartialObject) -> None:
        """Delete what has no owner left; drop references to owners that are gone while another one lives."""
        solid: list[OwnerReference] = []
        dangling: list[OwnerReference] = []
        waiting: list[OwnerReference] = []
        for ref in obj.metadata.ownerReferences:
            owner = self._owner(item, ref)
            if isinstance(owner, _Unknown):
                solid.append(ref)  # a kind this server does not know: not ours to judge
            elif owner is None:
                dangling.append(ref)
            elif owner.metadata.deletionTimestamp and FOREGROUND in owner.metadata.finalizers:
                waiting.append(ref)
            else:
                solid.append(ref)
        if solid:
            if dangling or waiting:
                await self._set_owners(item, solid)
            return
        if not dangling and not waiting:
            return
        policy = "Background"
        if waiting and self._dependents.get(item.uid):
            policy = "Foreground"
        if ORPHAN in obj.metadata.finalizers:
            policy = "Orphan"
        elif FOREGROUND in obj.metadata.finalizers:
            policy = "Foreground"
        await self._delete(item, policy)

    def _owner(self, item: Item, ref: OwnerReference) -> "PartialObject | _Unknown | None":
        """The owner as it is; None when it is gone or is another of the same name."""
        group, version = split_api_version(ref.apiVersion)
        resource = by_kind(group, version, ref.kind) or _any_version(group, ref.kind)
        if resource is None:
            return UNKNOWN
        informer = self._informers.get(resource.qualified)
        if informer is None:
            return UNKNOWN
        if resource.namespaced and not item.namespace:
            return UNKNOWN  # a namespaced owner of a cluster-scoped object means nothing: leave it alone
        found = informer.get(item.namespace if resource.namespaced else "", ref.name)
        return found if found is not None and found.metadata.uid == ref.uid else None

    async def _delete_dependents(self, item: Item, obj: PartialObject) -> None:
        """Foreground: dependents that block go first; when none is left the owner may go."""
        blocking = 0
        for dependent in tuple(self._dependents.get(item.uid, ())):
            child = self._live(dependent)
            if child is None:
                continue
            ref = next((r for r in child.metadata.ownerReferences if r.uid == item.uid), None)
            if ref is not None and ref.blockOwnerDeletion:
                blocking += 1
            if not child.metadata.deletionTimestamp:
                self._queue.add(dependent)
        if not blocking:
            await self._drop_finalizer(item, obj, FOREGROUND)

    async def _orphan_dependents(self, item: Item, obj: PartialObject) -> None:
        for dependent in tuple(self._dependents.get(item.uid, ())):
            child = self._live(dependent)
            if child is not None:
                await self._set_owners(dependent, [r for r in child.metadata.ownerReferences if r.uid != item.uid])
        await self._drop_finalizer(item, obj, ORPHAN)

    async def _set_owners(self, item: Item, refs: Sequence[OwnerReference]) -> None:
        await self._patch(item, {"ownerReferences": [msgspec.to_builtins(r) for r in refs] or None})

    async def _drop_finalizer(self, item: Item, obj: PartialObject, finalizer: str) -> None:
        left = [f for f in obj.metadata.finalizers if f != finalizer]
        # The resourceVersion guards against a finalizer that somebody added meanwhile.
        await self._patch(item, {"finalizers": left or None, "resourceVersion": obj.metadata.resourceVersion})

    async def _patch(self, item: Item, metadata: dict[str, Any]) -> None:
        cls: Any = class_of(item.resource.group, item.resource.version, item.resource.kind)
        patch = {"metadata": {"uid": item.uid, **metadata}}
        await self._client.patch(cls, item.name, item.namespace, patch=patch)

    async def _delete(self, item: Item, policy: str) -> None:
        cls: Any = class_of(item.resource.group, item.resource.version, item.resource.kind)
        await self._client.delete(cls, item.name, item.namespace, propagation_policy=policy, uid=item.uid)


class _Unknown:
    """An owner that cannot be looked up."""


UNKNOWN = _Unknown()


def watched() -> Iterator[Resource]:
    """One row for each stored resource: of several versions of a group's resource the last in the table is a view."""
    seen = set()
    for resource in RESOURCES:
        review = resource.kind.endswith("Review") or resource.plural in SKIPPED
        if resource.qualified not in seen and not review:
            seen.add(resource.qualified)
            yield resource


def _any_version(group: str, kind: str) -> Resource | None:
    return next((r for r in RESOURCES if r.group == group and r.kind == kind), None)
