"""Create, replace and delete: from a canonical object to a transaction, for HTTP and in-process callers alike.

Every write runs admission, the kind's strategy, managedFields and validation, and is guarded by the revision it was
computed from; a lost race computes again. Objects are plain dicts; an `old` is never changed.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Protocol

import msgspec

from edgekube.apiserver import managedfields, storage
from edgekube.apiserver.admission import Admission
from edgekube.apiserver.alloc import Allocator
from edgekube.apiserver.backend import Backend, decode_value
from edgekube.apiserver.call import Call, Written
from edgekube.apiserver.errors import from_store
from edgekube.apiserver.leases import NODE_LEASE_NAMESPACE
from edgekube.apiserver.resources import Resource, storage_of
from edgekube.apiserver.strategies import new_uid
from edgekube.store.api import Delete, Guard, GuardKind, KeyValue, Op, Put, StoreError, TxnResult
from edgekube.types import names, status
from edgekube.types.codec import decoder
from edgekube.types.fieldpath import FieldError
from edgekube.types.status import ApiError
from edgekube.types.time import format_time

RETRIES_MAX = 8  # lost races with other writers of the same object, before the caller is told to try again
GENERATED_NAMES_MAX = 8  # draws for generateName (KEP-4420)

Obj = dict[str, Any]
Change = Callable[[Obj], Obj]
"""Given the stored object, the canonical new one, in a dict of its own."""

_encode = msgspec.json.Encoder().encode


class Validator(Protocol):
    """A module of `edgekube.apiserver.validation`: problems of a new object, or of a change when `old` is given."""

    def validate(self, new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]: ...


@cache
def _validator(name: str) -> Validator:
    module: Any = import_module(f"edgekube.apiserver.validation.{name or 'any'}")
    validator: Validator = module
    return validator


@cache
def _zero(res: Resource) -> Obj:
    """What the kind's empty value encodes to: fields it always has are nobody's (managedFields of a create)."""
    zero: Obj = msgspec.json.decode(_encode(res.cls()))
    return zero


class Writer:
    """Writes objects of every kind."""

    def __init__(self, backend: Backend, admission: Admission, allocator: Allocator, now: Callable[[], float]) -> None:
        self._backend = backend
        self._admission = admission
        self._allocator = allocator
        self._now = now

    def timestamp(self) -> str:
        """Now, as objects carry it."""
        return format_time(self._now())

    # -- create

    async def create(self, call: Call, obj: Obj, *, applied: Sequence[managedfields.Entry] | None = None) -> Written:
        """Store a new object. `applied`: its managedFields are known already (server-side apply)."""
        res = call.resource
        metadata = self._creation_metadata(call, obj)
        base = metadata.get("generateName", "") if not metadata.get("name") else ""
        for _ in range(GENERATED_NAMES_MAX if base else 1):
            attempt: Obj = {**obj, "metadata": dict(metadata)} if base else obj
            if base:
                attempt["metadata"]["name"] = names.generate(base)
            written = await self._create(call, attempt, applied)
            if written is not None:
                return written
        if base:
            raise status.generate_name_conflict(res.qualified, attempt["metadata"]["name"])
        raise status.already_exists(res.qualified, metadata["name"])

    def _creation_metadata(self, call: Call, obj: Obj) -> Obj:
        """Checked and stripped of what only the server sets (rest.BeforeCreate)."""
        res = call.resource
        metadata: Obj = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        namespace = metadata.get("namespace", "")
        if res.namespaced:
            if namespace and namespace != call.namespace:
                raise status.bad_request(
                    f"the namespace of the provided object does not match the namespace sent on the request "
                    f"(object: {namespace!r}, request: {call.namespace!r})".replace("'", '"')
                )
            metadata["namespace"] = call.namespace
        elif namespace:
            raise status.bad_request("namespace may not be set on cluster-scoped objects")
        if not metadata.get("name") and not metadata.get("generateName"):
            raise status.invalid(res.group, res.kind, "", [_name_required()])
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"):
            metadata.pop(key, None)
        metadata["uid"] = new_uid()
        metadata["creationTimestamp"] = format_time(self._now())
        if res.generation:
            metadata["generation"] = 1
        return metadata

    async def _create(self, call: Call, obj: Obj, applied: Sequence[managedfields.Entry] | None) -> Written | None:
        """None: the name is taken."""
        res = storage_of(call.resource)
        metadata: Obj = obj["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace", "")
        key = self._backend.key(res, namespace, name)
        call.name = name
        given = metadata.pop("managedFields", None) or ()
        if not managedfields.usable(given):
            given = ()
        # Before admission and the strategy: what they add is nobody's, so that nobody takes it away by applying less.
        entries = applied if applied is not None else managedfields.updated(
            _zero(res), obj, given or (), res.schema,
            manager=call.field_manager, api_version=call.resource.api_version, subresource="",
            now=metadata["creationTimestamp"], reset=("status",) if res.has_status else (),
        )  # fmt: skip
        await self._admission.mutate(call, obj, None)
        res.behaviour.prepare_create(obj)
        res.behaviour.record_creator(obj, call.user)
        if "status" not in obj and "status" in _zero(res):
            obj["status"] = _zero(res)["status"]
        if entries:
            metadata["managedFields"] = list(entries)
        self._validate(call, obj, None)
        await self._admission.validate(call, obj, None)
        store = self._backend.store_of(res)
        for _ in range(RETRIES_MAX):
            if store.get(key) is not None:
                return None
            guards = [Guard(key)]
            ops: list[Op] = []
            if self._allocator.concerns(res):
                obj = copy.deepcopy(obj)  # a lost race draws anew
            allocation = self._allocator.allocate(res, obj, None)
            if allocation is not None:
                guards += allocation.guards
                ops += allocation.ops
            if res.namespaced and not res.volatile:
                guards.append(Guard(self._admission.namespace_key(namespace), 0, GuardKind.EXISTS))
            value, splice = storage.seal(obj)
            if call.dry_run:
                return Written(json=storage.without_revision(storage.body(value)), obj=obj, revision=0, created=True)
            result = await self._txn(call, res, guards, [*ops, Put(key, value, splice)])
            if result.succeeded:
                return await self._written(res, value, splice, obj, result.revision, created=True)
            if res.namespaced:
                await self._admission.require_namespace(call, namespace)
        raise status.conflict(res.qualified, name)

    # -- update

    async def update(self, call: Call, change: Change, *, precondition: Callable[[Obj], None] | None = None,
                     keeps_entries: bool = False) -> Written:  # fmt: skip
        """Replace the stored object by what `change` makes of it; computed again when another write came between.

        `keeps_entries`: the change has set managedFields itself (server-side apply).
        """
        res = storage_of(call.resource)
        key = self._backend.key(res, call.namespace, call.name)
        store = self._backend.store_of(res)
        for _ in range(RETRIES_MAX):
            kv = store.get(key)
            if kv is None:
                raise status.not_found(call.resource.qualified, call.name)
            old = decode_value(kv.value)
            if precondition is not None:
                precondition(old)
            new = change(old)
            written = await self._replace(call, res, kv, old, new, keeps_entries)
            if written is not None:
                return written
        raise status.conflict(call.resource.qualified, call.name)

    async def _replace(
        self, call: Call, res: Resource, kv: KeyValue, old: Obj, new: Obj, keeps_entries: bool
    ) -> Written | None:
        """None: somebody else wrote first."""
        metadata = self._update_metadata(call, old, new)
        entries = None if call.subresource else self._entries(call, res, old, new, keeps_entries)
        await self._admission.mutate(call, new, old)
        strategy = res.behaviour
        if call.subresource in ("status", "approval"):
            strategy.prepare_status(new, old)
        elif call.subresource:
            strategy.prepare_sub(call.subresource, new, old)
        else:
            strategy.prepare_update(new, old)
        if entries is None:  # of a subresource the strategy leaves what may be changed
            entries = self._entries(call, res, old, new, keeps_entries)
        if entries:
            metadata["managedFields"] = entries
        if res.generation and call.subresource != "binding" and _desired(new) != _desired(old):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        if _same(old, new):
            return Written(json=storage.body(kv.value), obj=old, revision=kv.mod_revision, changed=False)
        self._validate(call, new, old)
        await self._admission.validate(call, new, old)
        if res.plural == "leases" and self._renewed(call, res, kv, old, new):
            value, splice = storage.seal(new)
            json = storage.body(storage.spliced(value, splice, kv.mod_revision))
            return Written(json=json, obj=new, revision=kv.mod_revision, changed=False)
        if _ended(new) and strategy.may_remove(new):
            return await self._remove(call, res, kv, new)
        guards = [Guard(kv.key, kv.mod_revision)]
        ops: list[Op] = []
        if not call.subresource:
            allocation = self._allocator.allocate(res, new, old)
            if allocation is not None:
                guards += allocation.guards
                ops += allocation.ops
        value, splice = storage.seal(new)
        if call.dry_run:
            return Written(json=storage.body(storage.spliced(value, splice, kv.mod_revision)), obj=new,
                           revision=kv.mod_revision)  # fmt: skip
        result = await self._txn(call, res, guards, [*ops, Put(kv.key, value, splice)])
        if not result.succeeded:
            return None
        return await self._written(res, value, splice, new, result.revision)

    def _entries(self, call: Call, res: Resource, old: Obj, new: Obj, keeps: bool) -> Sequence[managedfields.Entry]:
        """The managedFields after this update, taken out of `new`; `keeps`: those in `new` say it already."""
        entries: Sequence[managedfields.Entry] | None = new["metadata"].pop("managedFields", None)
        if entries == [{}]:
            entries = []
        elif not entries or not (keeps or managedfields.usable(entries)):
            entries = old["metadata"].get("managedFields", [])
        if keeps:
            return entries
        reset: tuple[str, ...] = ("spec",) if call.subresource == "status" else ()
        if not call.subresource and res.has_status:
            reset = ("status",)
        return managedfields.updated(
            old, new, entries, res.schema, manager=call.field_manager, api_version=call.resource.api_version,
            subresource=call.subresource, now=format_time(self._now()), reset=reset,
        )  # fmt: skip

    def _renewed(self, call: Call, res: Resource, kv: KeyValue, old: Obj, new: Obj) -> bool:
        """Whether this is a node's heartbeat, which is kept in memory."""
        if call.dry_run or new["metadata"].get("namespace") != NODE_LEASE_NAMESPACE:
            return False
        if not self._backend.leases.renew(kv.key, old, new):
            return False
        cache = self._backend.kind(res)
        key = (new["metadata"]["namespace"], new["metadata"]["name"])
        held = cache.get(*key)
        if held is not None:
            cache.replace_volatile(key, self._backend.leases.fill_struct(kv.key, held))
        return True

    def _update_metadata(self, call: Call, old: Obj, new: Obj) -> Obj:
        """Names, uid and version must agree; what the server keeps is carried over (rest.BeforeUpdate)."""
        res = call.resource
        metadata: Obj = new["metadata"]
        before: Obj = old["metadata"]
        if metadata.get("name") != before["name"]:
            raise status.bad_request(
                f"the name of the object ({metadata.get('name', '')}) does not match the name on the URL "
                f"({before['name']})"
            )
        if metadata.get("namespace", "") != before.get("namespace", ""):
            if metadata.get("namespace"):
                raise status.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = before["namespace"]
        uid = metadata.get("uid")
        if uid and uid != before["uid"]:
            raise status.conflict(
                res.qualified,
                before["name"],
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before['uid']}",
            )
        if names_version(metadata) and metadata["resourceVersion"] != before["resourceVersion"]:
            raise status.conflict(res.qualified, before["name"])
        for key in (
            "uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName",
            "resourceVersion",
        ):  # fmt: skip
            if key in before:
                metadata[key] = before[key]
            else:
                metadata.pop(key, None)
        metadata.pop("selfLink", None)
        return metadata

    # -- delete

    async def delete(self, call: Call, options: "DeleteChoice") -> Written:
        """Mark or remove the object; `deleted` tells which (rest.BeforeDelete, registry.Store.Delete)."""
        res = storage_of(call.resource)
        store = self._backend.store_of(res)
        key = self._backend.key(res, call.namespace, call.name)
        for _ in range(RETRIES_MAX):
            kv = store.get(key)
            if kv is None:
                raise status.not_found(call.resource.qualified, call.name)
            old = decode_value(kv.value)
            options.check(call.resource, old)
            await self._admission.validate(call, None, old)
            written = await self._delete(call, res, kv, old, options)
            if written is not None:
                return written
        raise status.conflict(call.resource.qualified, call.name)

    async def _delete(
        self, call: Call, res: Resource, kv: KeyValue, old: Obj, options: "DeleteChoice"
    ) -> Written | None:
        strategy = res.behaviour
        before = old["metadata"]
        metadata = dict(before)
        new = {**old, "metadata": metadata}
        finalizers = options.finalizers(before.get("finalizers", []), strategy.default_propagation)
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        grace = strategy.grace_seconds(old, options.grace_seconds)
        marked = "deletionTimestamp" in before
        if marked:
            # A second delete may only shorten what the first one granted.
            left = before.get("deletionGracePeriodSeconds", 0)
            if options.grace_seconds is None and res.strategy == "pod" and grace:
                grace = left
            grace = min(grace, left)
            if (
                grace == left
                and finalizers == before.get("finalizers", [])
                and (grace or finalizers or not strategy.may_remove(new))
            ):
                return Written(json=storage.body(kv.value), obj=old, revision=kv.mod_revision, changed=False)
        remove = grace == 0 and not finalizers and strategy.may_remove(new)
        now = self._now()
        if not marked or grace < before.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = format_time(now + grace)
            metadata["deletionGracePeriodSeconds"] = grace
            if res.generation and not marked and not remove:
                metadata["generation"] = before.get("generation", 0) + 1
            strategy.after_delete_mark(new)
        if remove:
            return await self._remove(call, res, kv, old if not marked else new)
        value, splice = storage.seal(new)
        if call.dry_run:
            return Written(json=storage.body(storage.spliced(value, splice, kv.mod_revision)), obj=new,
                           revision=kv.mod_revision)  # fmt: skip
        result = await self._txn(call, res, [Guard(kv.key, kv.mod_revision)], [Put(kv.key, value, splice)])
        return await self._written(res, value, splice, new, result.revision) if result.succeeded else None

    async def _remove(self, call: Call, res: Resource, kv: KeyValue, last: Obj) -> Written | None:
        value, splice = storage.seal(last)
        if call.dry_run:
            json = storage.body(storage.spliced(value, splice, kv.mod_revision))
            return Written(json=json, obj=last, revision=kv.mod_revision, deleted=True)
        ops: list[Op] = [Delete(kv.key, value, splice)]
        guards = [Guard(kv.key, kv.mod_revision)]
        release = self._allocator.release(res, last)
        if release is not None:
            guards += release.guards
            ops += release.ops
        result = await self._txn(call, res, guards, ops)
        if not result.succeeded:
            return None
        return await self._written(res, value, splice, last, result.revision, deleted=True)

    # -- shared

    async def _txn(self, call: Call, res: Resource, guards: Sequence[Guard], ops: Sequence[Op]) -> TxnResult:
        try:
            return await self._backend.store_of(res).txn(guards, ops, term=call.term if not res.volatile else 0)
        except StoreError as error:
            raise from_store(error) from None

    async def _written(self, res: Resource, value: bytes, splice: int, obj: Obj, revision: int, *,
                       created: bool = False, deleted: bool = False) -> Written:  # fmt: skip
        if res.plural == "leases":
            metadata = obj["metadata"]
            self._backend.leases.forget(self._backend.key(res, metadata.get("namespace", ""), metadata["name"]))
        await self._backend.cache_of(res).wait_revision(revision)
        json = storage.body(storage.spliced(value, splice, revision))
        return Written(json=json, obj=obj, revision=revision, created=created, deleted=deleted)

    def _validate(self, call: Call, new: Obj, old: Obj | None) -> None:
        res = storage_of(call.resource)
        decode = decoder(res.cls).decode
        problems = _validator(res.validation).validate(
            decode(_encode(new)), None if old is None else decode(_encode(old)), call.subresource
        )
        if problems:
            raise invalid(call.resource, new["metadata"].get("name", ""), problems)


def names_version(metadata: Obj) -> bool:
    """Whether an update is of one version: "0" is any, as none is (storage.APIObjectVersioner)."""
    return metadata.get("resourceVersion", "") not in ("", "0")


def invalid(res: Resource, name: str, problems: Sequence[FieldError]) -> ApiError:
    return status.invalid(res.group, res.kind, name, problems)


def _name_required() -> FieldError:
    from edgekube.types.fieldpath import Path, required

    return required(Path("metadata", "name"), "name or generateName is required")


def _desired(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _same(old: Obj, new: Obj) -> bool:
    """Whether a write would change nothing but timestamps of managedFields."""
    if old == new:
        return True
    for key in old.keys() | new.keys():
        if key != "metadata" and old.get(key) != new.get(key):
            return False
    before, after = dict(old["metadata"]), dict(new["metadata"])
    entries = before.pop("managedFields", []), after.pop("managedFields", [])
    if before != after:
        return False
    return managedfields.without_times(entries[0]) == managedfields.without_times(entries[1])


def _ended(obj: Obj) -> bool:
    """Marked for deletion with nothing left to wait for."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds", 0)
    )


class DeleteChoice(msgspec.Struct, frozen=True, kw_only=True):
    """DeleteOptions, decided: grace in seconds (None: the kind's own), propagation policy, preconditions."""

    grace_seconds: int | None = None
    propagation: str = ""  # Foreground, Background, Orphan; "" is the kind's default
    uid: str = ""
    resource_version: str = ""

    def check(self, res: Resource, old: Obj) -> None:
        metadata = old["metadata"]
        if self.uid and self.uid != metadata["uid"]:
            raise status.conflict(
                res.qualified,
                metadata["name"],
                f"Precondition failed: UID in precondition: {self.uid}, UID in object meta: {metadata['uid']}",
            )
        if self.resource_version and self.resource_version != metadata["resourceVersion"]:
            raise status.conflict(
                res.qualified,
                metadata["name"],
                f"Precondition failed: ResourceVersion in precondition: {self.resource_version}, "
                f"ResourceVersion in object meta: {metadata['resourceVersion']}",
            )

    def finalizers(self, held: Sequence[str], default: str) -> list[str]:
        """The finalizers after this delete: the policy adds or takes away the garbage collector's two."""
        if self.propagation:
            wanted = self.propagation
        elif "orphan" in held:
            wanted = "Orphan"
        elif "foregroundDeletion" in held:
            wanted = "Foreground"
        else:
            wanted = "Orphan" if default == "orphan" else "Background"
        rest = [f for f in held if f not in ("orphan", "foregroundDeletion")]
        if wanted == "Orphan":
            rest.append("orphan")
        elif wanted == "Foreground":
            rest.append("foregroundDeletion")
        return rest
