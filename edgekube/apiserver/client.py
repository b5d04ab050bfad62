"""The in-process Client: the registry's verbs without HTTP. Identity, authorization, admission, validation and
managedFields run as they do for anyone; a write returns when the caches of this process show it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from edgekube.apiserver import codec, subresources
from edgekube.apiserver.authz import Attributes
from edgekube.apiserver.call import Call, Written
from edgekube.apiserver.request import GROUP_NODES, User
from edgekube.apiserver.resources import Resource, lookup, of_class, storage_of
from edgekube.apiserver.selection import selection
from edgekube.apiserver.views import convert_json
from edgekube.apiserver.writer import DeleteChoice
from edgekube.client.api import Informer, KubeObject, ObjectList, PartialInformer, PatchType
from edgekube.types import codec as types_codec
from edgekube.types.registry import typed
from edgekube.types.status import unknown_resource

if TYPE_CHECKING:
    from edgekube.apiserver.registry import Registry

T = TypeVar("T", bound=KubeObject)


class InProcessClient:
    """Implements `edgekube.client.api.Client` as one identity. Raises ApiError."""

    def __init__(self, registry: "Registry", user: User, term: int) -> None:
        self._registry = registry
        self._user = user
        self._term = term
        self._manager = _field_manager(user)

    @property
    def user(self) -> str:
        return self._user.name

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        res = of_class(cls)
        self._require(res, "get", namespace, name)
        kv = await self._registry.reader.get(res, namespace, name)
        return self._struct(res, cls, namespace, name, str(kv.mod_revision), kv.value[codec.HEADER :])

    async def list(
        self,
        cls: type[T],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> ObjectList[T]:
        res = of_class(cls)
        self._require(res, "list", namespace, "", fields=field_selector)
        chosen = selection(res, label_selector, field_selector)
        page = await self._registry.reader.list(res, namespace, chosen, limit=limit, continue_=continue_)
        items = tuple(types_codec.decode(cls, self._json(res, kv.value[codec.HEADER :])) for kv in page.items)
        return ObjectList(
            items=items, resourceVersion=str(page.revision), continue_=page.continue_, remaining=page.remaining
        )

    async def create(self, obj: T, *, field_manager: str = "", dry_run: bool = False) -> T:
        res = of_class(type(obj))
        namespace = obj.metadata.namespace if res.namespaced else ""
        call = self._call(res, "create", namespace, "", manager=field_manager, dry_run=dry_run)
        self._require(res, "create", namespace, "")
        if res.verbs == ("create",):
            answer = await subresources.answer_review(self._registry, call, typed(obj))  # type: ignore[type-var]
            reviewed: T = answer
            return reviewed
        written = await self._registry.writer.create(call, self._plain(res, obj))
        return self._result(res, type(obj), written)

    async def create_sub(self, cls: type[T], name: str, namespace: str, subresource: str, body: Any) -> Any:
        res = of_class(cls)
        self._registry.check_verb(res, "create", subresource)
        self._require(res, "create", namespace, name, subresource)
        call = self._call(res, "create", namespace, name, subresource)
        return await subresources.create_sub(self._registry, call, body)

    async def update(self, obj: T, *, subresource: str = "", field_manager: str = "") -> T:
        res = of_class(type(obj))
        namespace, name = (obj.metadata.namespace if res.namespaced else ""), obj.metadata.name
        self._require(res, "update", namespace, name, subresource)
        call = self._call(res, "update", namespace, name, subresource, manager=field_manager)
        if subresource and subresource not in ("status", "approval"):
            self._registry.check_verb(res, "update", subresource)
            written = await subresources.update_sub(self._registry, call, self._plain(res, obj))
        else:
            written = await self._registry.verbs.replace(call, self._plain(res, obj))
        return self._result(res, type(obj), written)

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
        res = of_class(cls)
        self._require(res, "patch", namespace, name, subresource)
        call = self._call(res, "patch", namespace, name, subresource, manager=field_manager)
        if type is PatchType.APPLY:
            call.force = force
        # The writer owns what it is given, and Structs may stand in a patch.
        value = codec.decode_json(codec.encode_json(patch))
        written = await subresources.patch_any(self._registry, call, value, type)
        return self._result(res, cls, written)

    async def delete(
        self,
        cls: type[T],
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        uid: str = "",
        resource_version: str = "",
    ) -> None:
        res = of_class(cls)
        self._require(res, "delete", namespace, name)
        choice = DeleteChoice(
            grace_seconds=grace_period_seconds,
            propagation=propagation_policy or "",
            uid=uid,
            resource_version=resource_version,
        )
        await self._registry.writer.delete(self._call(res, "delete", namespace, name), choice)

    def partial(self, group: str, version: str, plural: str) -> PartialInformer:
        res = lookup(group, version, plural)
        if res is None:
            raise unknown_resource()
        return self._registry.backend.partial(res)

    def informer(self, cls: type[T]) -> Informer[T]:
        res = of_class(cls)
        assert res.stored_as is None, f"{cls} is another version's view: ask for the storage version"
        informer: Informer[T] = self._registry.backend.kind(res)
        return informer

    # -- shared

    def _call(
        self,
        res: Resource,
        verb: str,
        namespace: str,
        name: str,
        subresource: str = "",
        *,
        manager: str = "",
        dry_run: bool = False,
    ) -> Call:
        return Call(
            user=self._user,
            verb=verb,
            resource=res,
            namespace=namespace,
            name=name,
            subresource=subresource,
            manager=manager or self._manager,
            dry_run=dry_run,
            field_validation="Ignore",
            term=self._term,
        )

    def _require(
        self, res: Resource, verb: str, namespace: str, name: str, subresource: str = "", *, fields: str = ""
    ) -> None:
        self._registry.authorizer.require(
            Attributes(
                user=self._user,
                verb=verb,
                group=res.group,
                resource=res.plural,
                subresource=subresource,
                namespace=namespace,
                name=name,
                field_selector=fields,
            )
        )

    @staticmethod
    def _plain(res: Resource, obj: Any) -> dict[str, Any]:
        whole = typed(obj)
        return codec.defaulted(whole)

    @staticmethod
    def _json(res: Resource, json: bytes) -> bytes:
        return convert_json(res, json)

    def _result(self, res: Resource, cls: type[T], written: Written) -> T:
        metadata = written.obj["metadata"]
        return self._struct(
            res, cls, metadata.get("namespace", ""), metadata["name"], str(written.revision), written.json
        )

    def _struct(self, res: Resource, cls: type[T], namespace: str, name: str, version: str, json: bytes) -> T:
        """The cache's own object when it is this one: nobody needs a second copy."""
        if res.stored_as is None:
            cache = self._registry.backend.cache_of(res).peek(self._registry.backend.prefix(storage_of(res)))
            held = cache.get(namespace if res.namespaced else "", name) if cache is not None else None
            if held is not None and held.metadata.resourceVersion == version:
                found: T = held
                return found
        return types_codec.decode(cls, self._json(res, json))


def _field_manager(user: User) -> str:
    """Whose name stands in managedFields: the program's, as if it had come by HTTP."""
    if GROUP_NODES in user.groups:
        return "kubelet"
    return user.name.rpartition(":")[2] if user.name.startswith("system:") else user.name
