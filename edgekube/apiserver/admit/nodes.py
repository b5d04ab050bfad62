"""NodeRestriction: what a kubelet may write, beyond being allowed to write it (KEP-279; kube-apiserver's plugin)."""

from typing import Any

from edgekube.apiserver.admit.pods import MIRROR_ANNOTATION
from edgekube.apiserver.authz import NODE_PREFIX
from edgekube.apiserver.call import Call
from edgekube.apiserver.request import GROUP_NODES
from edgekube.types import nodelabels, status

Obj = dict[str, Any]


def check(call: Call, new: Obj | None, old: Obj | None) -> None:
    """Raises ApiError 403. Calls of others than nodes pass."""
    user = call.user
    if GROUP_NODES not in user.groups or not user.name.startswith(NODE_PREFIX):
        return
    node = user.name.removeprefix(NODE_PREFIX)
    match call.resource.group, call.resource.plural:
        case "", "pods" if call.verb == "create" and not call.subresource and new is not None:
            _mirror_pod(call, new, node)
        case "", "nodes" if new is not None:
            _node(call, new, old, node)


def _mirror_pod(call: Call, pod: Obj, node: str) -> None:
    """A node creates pods only as mirrors of its static ones, bound to itself and holding no secrets."""
    metadata, spec = pod["metadata"], pod["spec"]
    if MIRROR_ANNOTATION not in (metadata.get("annotations") or {}):
        raise status.forbidden(
            "pods",
            call.name,
            f'pod does not have "{MIRROR_ANNOTATION}" annotation, node {node!r} can only create mirror pods',
        )
    if spec.get("nodeName") != node:
        raise status.forbidden(
            "pods", call.name, f"node {node!r} can only create pods with spec.nodeName set to itself"
        )
    owners = metadata.get("ownerReferences") or []
    if (
        any((o.get("apiVersion"), o.get("kind"), o.get("name")) != ("v1", "Node", node) for o in owners)
        or len(owners) > 1
    ):
        raise status.forbidden(
            "pods", call.name, f"node {node!r} can only create pods with an owner reference set to itself"
        )
    if spec.get("serviceAccountName"):
        raise status.forbidden("pods", call.name, f"node {node!r} can not create pods that reference a service account")
    for volume in spec.get("volumes") or ():
        for kind in ("secret", "configMap", "projected", "persistentVolumeClaim"):
            if kind in volume:
                raise status.forbidden("pods", call.name, f"node {node!r} can not create pods that reference {kind}s")


def _node(call: Call, new: Obj, old: Obj | None, node: str) -> None:
    """Its own Node only; labels that others schedule by are not its own to set, nor taints to lift."""
    if new["metadata"].get("name") != node:
        raise status.forbidden(
            "nodes", call.name, f"node {node!r} is not allowed to modify node {new['metadata'].get('name')!r}"
        )
    before = (old or {}).get("metadata", {}).get("labels") or {}
    after = new["metadata"].get("labels") or {}
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    refused = [key for key in changed if nodelabels.reserved(key)]
    if refused:
        raise status.forbidden("nodes", node, f"is not allowed to modify labels: {', '.join(refused)}")
    if old is not None and not call.subresource:
        if (new.get("spec") or {}).get("taints") != (old.get("spec") or {}).get("taints"):
            raise status.forbidden("nodes", node, f"node {node!r} is not allowed to modify taints")
        if new["metadata"].get("ownerReferences") != old["metadata"].get("ownerReferences"):
            raise status.forbidden("nodes", node, f"node {node!r} is not allowed to modify ownerReferences")
