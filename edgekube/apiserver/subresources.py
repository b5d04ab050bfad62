"""Subresources that are not plain status: scale, binding, eviction, token, finalize, ephemeralcontainers, resize; and
the reviews, which are created but never stored.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from edgekube.apiserver import codec
from edgekube.apiserver.call import Call, Written
from edgekube.apiserver.negotiate import Form
from edgekube.apiserver.patching import PATCH_CONTENT_TYPES
from edgekube.apiserver.request import ApiRequest, ApiResponse
from edgekube.apiserver.sub import pods, reviews, scale, token
from edgekube.apiserver.views import view_object
from edgekube.client.api import PatchType
from edgekube.types import registry as kinds
from edgekube.types import status

if TYPE_CHECKING:
    from edgekube.apiserver.registry import Registry

_CREATES: dict[str, Callable[["Registry", Call, Any], Awaitable[Any]]] = {
    "binding": pods.bind,
    "eviction": pods.evict,
    "token": token.create,
}


async def handle(registry: "Registry", call: Call, request: ApiRequest, form: Form) -> ApiResponse:
    """A request on a subresource."""
    sub = call.resource.subresources[call.subresource]
    if call.subresource == "scale":
        if request.verb == "get":
            json = codec.encode_json(await scale.get(registry, call))
            return ApiResponse(body=view_object(scale.RESOURCE, json, form, registry.config.now()))
        if request.verb == "update":
            obj = codec.object_body(call, request.body, request.content_type, "autoscaling/v1", "Scale")
            answer = await scale.update(registry, call, scale.decode(obj))
        else:
            kind = codec.media_type(request.content_type)
            if kind not in PATCH_CONTENT_TYPES:
                raise status.unsupported_media_type(PATCH_CONTENT_TYPES)
            patch = codec.plain_body(request.body, request.content_type)
            answer = await scale.patch(registry, call, patch, PatchType(kind))
        return ApiResponse(body=codec.encode_json(answer) + b"\n")
    if request.verb == "get":
        return await registry.verbs.get(call, request, form)
    if request.verb == "create":
        api_version = f"{sub.group}/{sub.version}" if sub.group else sub.version
        obj = codec.object_body(call, request.body, request.content_type, api_version, sub.kind)
        cls = kinds.class_of(sub.group, sub.version, sub.kind)
        body = codec.typed_as(codec.encode_json(obj), cls, sub.kind, sub.version)
        answer = await create_sub(registry, call, body)
        return ApiResponse(status=201, body=codec.encode_json(answer) + b"\n")
    if request.verb == "update":
        res = call.resource
        obj = codec.object_body(call, request.body, request.content_type, res.api_version, res.kind)
        return registry.verbs.answer(call, await update_sub(registry, call, registry.defaulted(call, obj)), form)
    return await registry.verbs.patch(call, request, form)


async def create_sub(registry: "Registry", call: Call, body: Any) -> Any:
    """POST of a Struct; the answer is a Struct."""
    return await _CREATES[call.subresource](registry, call, body)


async def update_sub(registry: "Registry", call: Call, obj: dict[str, Any]) -> Written:
    """PUT of a canonical object to finalize, ephemeralcontainers or resize."""
    encoded = codec.encode_json(obj)
    return await registry.writer.update(call, lambda _old: codec.decode_json(encoded))


async def patch_any(registry: "Registry", call: Call, patch: Any, kind: PatchType) -> Written:
    """PATCH of the object or of a subresource which speaks the object's own kind."""
    if call.subresource == "scale":
        raise status.bad_request("patch the scale through spec.replicas of the object itself")
    return await registry.verbs.patcher.apply_patch(call, patch, kind)


async def review(registry: "Registry", call: Call, request: ApiRequest) -> ApiResponse:
    res = call.resource
    obj = codec.object_body(call, request.body, request.content_type, res.api_version, res.kind)
    body = codec.typed_as(codec.encode_json(obj), res.cls, res.kind, res.version)
    answer = await answer_review(registry, call, body)
    return ApiResponse(status=201, body=codec.encode_json(answer) + b"\n")


async def answer_review(registry: "Registry", call: Call, body: Any) -> Any:
    """A review (or a Binding, which is created like one) as a Struct."""
    if call.resource.kind == "Binding":
        call.name = body.metadata.name
        call.subresource = "binding"
        return await pods.bind(registry, call, body)
    return reviews.answer(registry.authorizer, call, body)
