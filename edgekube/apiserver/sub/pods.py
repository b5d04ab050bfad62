"""Binding and eviction."""

from typing import TYPE_CHECKING, Any

from edgekube.apiserver.call import Call
from edgekube.apiserver.resources import lookup
from edgekube.apiserver.writer import DeleteChoice
from edgekube.types import selectors, status
from edgekube.types.core_v1 import Binding
from edgekube.types.meta_v1 import StatusCause
from edgekube.types.policy_v1 import Eviction
from edgekube.types.time import format_time

if TYPE_CHECKING:
    from edgekube.apiserver.registry import Registry

Obj = dict[str, Any]


async def bind(registry: "Registry", call: Call, binding: Binding) -> Any:
    """Assign a pod to a node, once (BindingREST)."""
    target = binding.target
    if target.kind not in ("", "Node"):
        raise status.bad_request(f'target.kind: Unsupported value: "{target.kind}": supported values: "Node"')
    if not target.name:
        raise status.bad_request("target.name: Required value")
    pods = lookup("", "v1", "pods")
    assert pods is not None

    def change(old: Obj) -> Obj:
        metadata, spec = dict(old["metadata"]), dict(old["spec"])
        if binding.metadata.uid and binding.metadata.uid != metadata["uid"]:
            raise status.conflict(
                "pods",
                call.name,
                f"Precondition failed: UID in precondition: {binding.metadata.uid}, UID in object meta: "
                f"{metadata['uid']}",
            )
        if "deletionTimestamp" in metadata:
            raise status.conflict(
                "pods/binding", call.name, f"pod {call.name} is being deleted, cannot be assigned to a host"
            )
        if spec.get("nodeName"):
            raise status.conflict(
                "pods/binding", call.name, f'pod {call.name} is already assigned to node "{spec["nodeName"]}"'
            )
        if spec.get("schedulingGates"):
            raise status.conflict("pods/binding", call.name, f"pod {call.name} has non-empty .spec.schedulingGates")
        spec["nodeName"] = target.name
        if binding.metadata.annotations:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), **binding.metadata.annotations}
        if binding.metadata.labels:
            metadata["labels"] = {**(metadata.get("labels") or {}), **binding.metadata.labels}
        conditions = [c for c in (old.get("status") or {}).get("conditions") or () if c.get("type") != "PodScheduled"]
        conditions.append({"type": "PodScheduled", "status": "True",
                           "lastTransitionTime": format_time(registry.config.now())})  # fmt: skip
        return {**old, "metadata": metadata, "spec": spec,
                "status": {**(old.get("status") or {}), "conditions": conditions}}  # fmt: skip

    call.resource = pods
    await registry.writer.update(call, change)
    return status.success()


async def evict(registry: "Registry", call: Call, eviction: Eviction) -> Any:
    """Delete a pod unless a disruption budget says no (EvictionREST). Raises ApiError 429 with the budget's name."""
    if eviction.metadata.name not in ("", call.name):
        raise status.bad_request("name in URL does not match name in Eviction object")
    pod = registry.backend.read_object(call.resource, call.namespace, call.name)
    if pod is None:
        raise status.not_found("pods", call.name)
    options = eviction.deleteOptions
    call.dry_run = call.dry_run or bool(options and options.dryRun)
    if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed", "Pending") and (
        "deletionTimestamp" not in pod["metadata"]
    ):
        _check_budgets(registry, call, pod)
    choice = DeleteChoice(
        grace_seconds=options.gracePeriodSeconds if options else None,
        propagation=options.propagationPolicy if options else "",
        uid=(options.preconditions.uid or "") if options and options.preconditions else "",
        resource_version=(options.preconditions.resourceVersion or "") if options and options.preconditions else "",
    )
    await registry.writer.delete(call, choice)
    return status.success()


def _check_budgets(registry: "Registry", call: Call, pod: Obj) -> None:
    budgets = lookup("policy", "v1", "poddisruptionbudgets")
    assert budgets is not None
    labels = pod["metadata"].get("labels") or {}
    for budget in registry.backend.kind(budgets).list(call.namespace):
        if not selectors.from_label_selector(budget.spec.selector).matches(labels):
            continue
        if budget.status.disruptionsAllowed <= 0:
            name = budget.metadata.name
            cause = StatusCause(
                reason="DisruptionBudget",
                message=f"The disruption budget {name} needs {budget.status.desiredHealthy} healthy pods and has "
                f"{budget.status.currentHealthy} currently",
            )
            # No Retry-After: client-go would wait by itself, past the time limit of `kubectl drain`.
            raise status.too_many_requests(
                "Cannot evict pod as it would violate the pod's disruption budget.", 0, [cause]
            )
