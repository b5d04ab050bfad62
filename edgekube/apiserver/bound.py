"""Whether what a ServiceAccount token is bound to still exists: the account, and its pod, secret or node."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final

from edgekube.apiserver.lookup import NamedObject, find_object
from edgekube.apiserver.request import Registry
from edgekube.apiserver.tokens import BoundTo, ObjectRef

_FRESH_SECONDS: Final = 10.0  # as long as kube-apiserver remembers a good token
_CACHE_MAX: Final = 512
_DELETED_GRACE_SECONDS: Final = 60.0  # so that a pod can use its token while it terminates

_BoundKey = tuple[str, ObjectRef, ObjectRef | None, ObjectRef | None, ObjectRef | None]


class BoundObjects:
    """The `check_bound` of ServiceAccountTokens, over the registry. A yes is remembered for a few seconds."""

    def __init__(self, registry: Registry, *, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._registry = registry
        self._now = now
        self._monotonic = monotonic
        self._good: OrderedDict[_BoundKey, float] = OrderedDict()

    async def check(self, bound: BoundTo) -> str:
        """Why the token is void, or "". Raises ApiError when the registry cannot answer."""
        key = (bound.namespace, bound.serviceaccount, bound.pod, bound.secret, bound.node)
        until = self._good.get(key)
        if until is not None and self._monotonic() < until:
            return ""
        for resource, ref in (
            ("serviceaccounts", bound.serviceaccount),
            ("pods", bound.pod),
            ("secrets", bound.secret),
            ("nodes", bound.node if bound.pod is None else None),
        ):
            problem = "" if ref is None else await self._check(resource, bound.namespace, ref)
            if problem:
                self._good.pop(key, None)
                return problem
        self._good[key] = self._monotonic() + _FRESH_SECONDS
        self._good.move_to_end(key)
        if len(self._good) > _CACHE_MAX:
            self._good.popitem(last=False)
        return ""

    async def _check(self, resource: str, namespace: str, ref: ObjectRef) -> str:
        scope = "" if resource == "nodes" else namespace
        found = await find_object(self._registry, NamedObject, resource, ref.name, scope)
        if found is None:
            return f"the token is bound to {resource}/{ref.name}, which has been deleted"
        if ref.uid and found.metadata.uid != ref.uid:
            return f"the token is bound to another {resource}/{ref.name} than the present one"
        deleted = found.metadata.deletionTimestamp
        if deleted and self._now() > datetime.fromisoformat(deleted).timestamp() + _DELETED_GRACE_SECONDS:
            return f"the token is bound to {resource}/{ref.name}, which has been deleted"
        return ""
