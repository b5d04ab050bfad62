"""What answers resource requests: the verbs over one store, for HTTP (`handle`) and for the roles in this process.

Built once by the composition root. `run` follows the store; without it writes would wait for a cache that stands still.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from edgekube.apiserver import codec, subresources
from edgekube.apiserver.admission import Admission
from edgekube.apiserver.alloc import Allocator
from edgekube.apiserver.authz import Attributes, Authorizer
from edgekube.apiserver.backend import Backend
from edgekube.apiserver.bootstrap import bootstrap
from edgekube.apiserver.call import Call, call_of
from edgekube.apiserver.negotiate import Form, form_of
from edgekube.apiserver.reader import Reader
from edgekube.apiserver.request import ApiRequest, ApiResponse, User
from edgekube.apiserver.resources import Resource, lookup
from edgekube.apiserver.verbs import Verbs
from edgekube.apiserver.writer import Writer
from edgekube.store.api import Store
from edgekube.types import status

if TYPE_CHECKING:
    from edgekube.apiserver.client import InProcessClient

# Told with every answer (the Warning header), in kube-apiserver's words.
DEPRECATED = {
    ("", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}

SignToken = Callable[[Mapping[str, Any]], str]


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`now` is cluster time in seconds since 1970; `sign_token` makes a JWT of claims (None: no tokens are issued)."""

    service_cidr: str = "10.43.0.0/16"
    node_port_range: tuple[int, int] = (30000, 32767)
    sign_token: SignToken | None = None
    token_issuer: str = "https://kubernetes.default.svc.cluster.local"
    token_audiences: tuple[str, ...] = ("https://kubernetes.default.svc.cluster.local",)
    now: Callable[[], float] = time.time


class Registry:
    """Implements `edgekube.apiserver.request.Registry`."""

    def __init__(self, *, store: Store, events: Store, config: RegistryConfig) -> None:
        self.config = config
        self.backend = Backend(store, events)
        self.authorizer = Authorizer(self.backend)
        admission = Admission(self.backend)
        allocator = Allocator(store, config.service_cidr, config.node_port_range)
        self.writer = Writer(self.backend, admission, allocator, config.now)
        self.reader = Reader(self.backend)
        self.verbs = Verbs(self.backend, self.reader, self.writer, config.now)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Keep the caches current while the block runs."""
        async with trio.open_nursery() as nursery:
            for cache in self.backend.caches:
                await nursery.start(cache.run)
            yield
            nursery.cancel_scope.cancel()

    async def bootstrap(self) -> None:
        """Create what every cluster has; what exists is left as it is."""
        await bootstrap(self)

    def client(self, user: User, *, fenced: bool = False) -> "InProcessClient":
        """The in-process Client of an identity. `fenced`: its writes are refused once this leadership has ended."""
        from edgekube.apiserver.client import InProcessClient

        return InProcessClient(self, user, self.backend.store.term if fenced else 0)

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """Answer one request. Raises ApiError."""
        resource = lookup(request.group, request.version, request.resource)
        if resource is None:
            raise status.unknown_resource()
        self.check_verb(resource, request.verb, request.subresource)
        self.authorizer.require(attributes(request))
        form = form_of(request.accept, request.query)
        call = call_of(request, resource)
        deprecated = DEPRECATED.get((resource.group, resource.plural))
        if deprecated:
            call.warn(deprecated)
        if request.subresource and request.subresource not in ("status", "approval"):
            response = await subresources.handle(self, call, request, form)
        elif request.verb == "create" and resource.verbs == ("create",):
            response = await subresources.review(self, call, request)
        else:
            response = await self._verb(call, request, form)
        if call.warnings:
            return msgspec.structs.replace(response, warnings=(*response.warnings, *call.warnings))
        return response

    def check_verb(self, resource: Resource, verb: str, subresource: str) -> None:
        """404 for an unknown subresource, 405 for a verb the resource does not know."""
        if not subresource:
            if verb not in resource.verbs:
                raise status.method_not_supported(resource.qualified, verb)
            return
        known = resource.subresources.get(subresource)
        if known is None or not known.served:
            raise status.unknown_resource()
        if verb not in known.verbs:
            raise status.method_not_supported(f"{resource.qualified}/{subresource}", verb)

    async def _verb(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        match request.verb:
            case "get":
                return await self.verbs.get(call, request, form)
            case "list":
                return await self.verbs.list(call, request, form)
            case "watch":
                return await self.verbs.watch(call, request, form)
            case "create":
                return await self.verbs.create(call, request, form)
            case "update":
                return await self.verbs.update(call, request, form)
            case "patch":
                return await self.verbs.patch(call, request, form)
            case "delete":
                return await self.verbs.delete(call, request, form)
            case "deletecollection":
                return await self.verbs.delete_collection(call, request, form)
        raise status.method_not_supported(call.resource.qualified, request.verb)

    def defaulted(self, call: Call, obj: dict[str, Any]) -> dict[str, Any]:
        return codec.canonical(call, obj, call.resource)


def attributes(request: ApiRequest) -> Attributes:
    """What the authorizer is asked for a request."""
    return Attributes(
        user=request.user,
        verb=request.verb,
        group=request.group,
        resource=request.resource,
        subresource=request.subresource,
        namespace=request.namespace,
        name=request.name,
        field_selector=request.query.get("fieldSelector", ""),
    )
