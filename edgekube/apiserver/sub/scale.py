"""The scale subresource of workloads (autoscaling/v1 Scale)."""

from typing import TYPE_CHECKING, Any

import msgspec

from edgekube.apiserver import codec
from edgekube.apiserver.backend import decode_value
from edgekube.apiserver.call import Call
from edgekube.apiserver.patch.errors import PatchError, PatchUnprocessable
from edgekube.apiserver.patch.json_patch import json_patch
from edgekube.apiserver.patch.merge import merge_patch
from edgekube.apiserver.resources import Resource
from edgekube.client.api import PatchType
from edgekube.types import selectors, status
from edgekube.types.autoscaling_v1 import Scale
from edgekube.types.fieldpath import Path, invalid
from edgekube.types.meta_v1 import LabelSelector

if TYPE_CHECKING:
    from edgekube.apiserver.registry import Registry

Obj = dict[str, Any]

RESOURCE = Resource(
    group="autoscaling", version="v1", plural="scales", singular="scale", kind="Scale", namespaced=True
)  # for how it is shown; nothing is stored under that name


def decode(obj: Obj) -> Obj:
    """A Scale body, types checked."""
    checked: Obj = codec.decode_json(codec.encode_json(codec.typed_as(codec.encode_json(obj), Scale, "Scale", "v1")))
    return checked


def of(obj: Obj) -> Obj:
    """The Scale of a stored workload."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec = obj.get("spec") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": _selector(spec.get("selector")),
        },
    }


def _selector(selector: Any) -> str:
    if not isinstance(selector, dict):
        return ""
    if "matchLabels" in selector or "matchExpressions" in selector:
        chosen = selectors.from_label_selector(msgspec.convert(selector, LabelSelector))
    else:
        chosen = selectors.from_labels(selector)
    return str(chosen)


async def get(registry: "Registry", call: Call) -> Obj:
    kv = await registry.reader.get(call.resource, call.namespace, call.name)
    return of(decode_value(kv.value))


async def update(registry: "Registry", call: Call, wanted: Obj) -> Obj:
    return await _write(registry, call, lambda _scale: wanted)


async def patch(registry: "Registry", call: Call, value: Any, kind: PatchType) -> Obj:
    def change(scale: Obj) -> Obj:
        try:
            patched = json_patch(scale, value) if kind is PatchType.JSON else merge_patch(scale, value)
        except PatchUnprocessable as error:
            raise status.failure(422, "Invalid", str(error)) from None
        except (PatchError, RecursionError) as error:
            raise status.bad_request(f"error decoding patch: {error}") from None
        if not isinstance(patched, dict):
            raise status.bad_request("the patch leaves no Scale")
        return decode(patched)

    return await _write(registry, call, change)


async def _write(registry: "Registry", call: Call, change: Any) -> Obj:
    def scaled(old: Obj) -> Obj:
        wanted = change(of(old))
        metadata = wanted.get("metadata") or {}
        if metadata.get("name", call.name) != call.name:
            raise status.bad_request("the name of the object does not match the name on the URL")
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if replicas < 0:
            problem = invalid(Path("spec", "replicas"), replicas, "must be greater than or equal to 0")
            raise status.invalid("autoscaling", "Scale", call.name, [problem])
        before = old["metadata"]
        if metadata.get("uid", before["uid"]) != before["uid"]:
            raise status.conflict(
                call.resource.qualified,
                call.name,
                f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before['uid']}",
            )
        result = {**old, "metadata": dict(before), "spec": {**old["spec"], "replicas": replicas}}
        if metadata.get("resourceVersion"):
            result["metadata"]["resourceVersion"] = metadata["resourceVersion"]
        return result

    written = await registry.writer.update(call, scaled)
    return of(codec.decode_json(written.json))
