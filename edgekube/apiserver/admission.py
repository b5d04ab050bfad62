"""Admission: what may change or refuse a write after authorization (kube-apiserver's built-in plugins)."""

from typing import Any

from edgekube.apiserver.admit import nodes, pods
from edgekube.apiserver.backend import Backend
from edgekube.apiserver.call import Call
from edgekube.apiserver.errors import namespace_terminating
from edgekube.apiserver.resources import Resource, lookup
from edgekube.types import status

Obj = dict[str, Any]

IMMORTAL_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})


class Admission:
    """Runs the plugins that concern a call. `mutate` may change `new`; both raise ApiError to refuse."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        namespaces = lookup("", "v1", "namespaces")
        assert namespaces is not None
        self._namespaces: Resource = namespaces

    def namespace_key(self, name: str) -> bytes:
        return self._backend.key(self._namespaces, "", name)

    async def require_namespace(self, call: Call, name: str) -> None:
        """NamespaceLifecycle for creates: the namespace exists and is not going away."""
        found = self._backend.kind(self._namespaces).get("", name)
        if found is None:
            found_now = self._backend.read_object(self._namespaces, "", name)
            if found_now is None:
                raise status.not_found("namespaces", name)
            terminating = "deletionTimestamp" in found_now["metadata"]
        else:
            terminating = bool(found.metadata.deletionTimestamp)
        if terminating:
            raise namespace_terminating(call.resource, call.name, name)

    async def mutate(self, call: Call, new: Obj, old: Obj | None) -> None:
        if old is None and call.resource.namespaced:
            await self.require_namespace(call, call.namespace)
        if call.resource.kind == "Pod" and call.resource.group == "" and not call.subresource:
            pods.mutate(self._backend, call, new, old)

    async def validate(self, call: Call, new: Obj | None, old: Obj | None) -> None:
        nodes.check(call, new, old)
        if new is None and call.resource.plural == "namespaces" and call.name in IMMORTAL_NAMESPACES:
            raise status.forbidden("namespaces", call.name, "this namespace may not be deleted")
