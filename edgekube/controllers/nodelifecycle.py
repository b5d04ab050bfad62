"""Nodes in trouble: marked unknown when they fall silent, tainted by their conditions (node-lifecycle-controller)."""

from collections.abc import Mapping, Sequence

import msgspec

from edgekube.client.api import Key
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.owners import is_ready
from edgekube.types.coordination_v1 import Lease
from edgekube.types.core_v1 import Node, NodeCondition, Pod, Taint
from edgekube.types.placement import NO_EXECUTE, NO_SCHEDULE
from edgekube.types.status import ApiError
from edgekube.types.time import format_time, parse_time

GRACE_SECONDS = 40.0  # without a heartbeat before a node counts as unreachable; the cluster issue makes it quicker
CHECK_SECONDS = 10.0
LEASES = "kube-node-lease"
NODE_INDEX = "node"

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
# condition type -> (status that is bad, taint key), effect NoSchedule (KEP taint nodes by condition)
CONDITION_TAINTS: Mapping[str, tuple[str, str]] = {
    "MemoryPressure": ("True", "node.kubernetes.io/memory-pressure"),
    "DiskPressure": ("True", "node.kubernetes.io/disk-pressure"),
    "PIDPressure": ("True", "node.kubernetes.io/pid-pressure"),
    "NetworkUnavailable": ("True", "node.kubernetes.io/network-unavailable"),
}
OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *(key for _, key in CONDITION_TAINTS.values())})


class NodeLifecycleController:
    name = "node-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._nodes = context.informer(Node)
        self._leases = context.informer(Lease)
        self._pods = context.informer(Pod)
        self._pods.add_index(NODE_INDEX, lambda pod: (pod.spec.nodeName,) if pod.spec.nodeName else ())
        self._seen: dict[str, tuple[str, float]] = {}  # node -> (last sign of life, when it was first seen here)

    def watches(self) -> Sequence[Watch]:
        return (Watch(Node),)

    async def reconcile(self, key: Key) -> float | None:
        node = self._nodes.get(*key)
        if node is None:
            self._seen.pop(key[1], None)
            return None
        node = await self._check_heartbeat(node)
        if ready_status(node) != "True":
            await self._mark_pods(node)
        now = format_time(self._context.now())
        taints = wanted_taints(node, now)
        if taints != node.spec.taints:
            patch = {
                "metadata": {"resourceVersion": node.metadata.resourceVersion},
                "spec": {"taints": [msgspec.to_builtins(t) for t in taints] or None},
            }
            await self._context.client.patch(Node, key[1], patch=patch)
        return CHECK_SECONDS

    async def _check_heartbeat(self, node: Node) -> Node:
        """Conditions become Unknown when the lease has not moved for the grace period, by our own clock."""
        name = node.metadata.name
        lease = self._leases.get(LEASES, name)
        renewed = lease.spec.renewTime if lease is not None and lease.spec is not None else ""
        # A status report is a sign of life as good as a renewal.
        renewed += next((c.lastHeartbeatTime for c in node.status.conditions if c.type == "Ready"), "")
        now = self._context.now().timestamp()
        before = self._seen.get(name)
        if before is None or before[0] != renewed:
            self._seen[name] = (renewed, now)
            return node
        if now - before[1] < GRACE_SECONDS:
            return node
        conditions = silent_conditions(node, format_time(now))
        if conditions == node.status.conditions:
            return node
        self._context.events.event(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        patch = {"status": {"conditions": [msgspec.to_builtins(c) for c in conditions]}}
        return await self._context.client.patch(Node, name, patch=patch, subresource="status")

    async def _mark_pods(self, node: Node) -> None:
        """Pods of a node in trouble are not ready, whatever they last said: Services must not lead to them."""
        for pod in self._pods.by_index(NODE_INDEX, node.metadata.name):
            if not is_ready(pod):
                continue
            now = format_time(self._context.now())
            conditions = [
                msgspec.structs.replace(c, status="False", lastTransitionTime=now) if c.type == "Ready" else c
                for c in pod.status.conditions
            ]
            meta = pod.metadata
            patch = {"metadata": {"uid": meta.uid}, "status": {"conditions": msgspec.to_builtins(conditions)}}
            self._context.events.event(pod, "Warning", "NodeNotReady", "Node is not ready")
            try:
                await self._context.client.patch(Pod, meta.name, meta.namespace, patch=patch, subresource="status")
            except ApiError as error:
                if error.code not in (404, 409):
                    raise


def ready_status(node: Node) -> str:
    """The status of the Ready condition; "True" for a node that has not said, for it is only just registering."""
    return next((c.status for c in node.status.conditions if c.type == "Ready"), "True")


def silent_conditions(node: Node, now: str) -> tuple[NodeCondition, ...]:
    """All of the kubelet's conditions as Unknown."""
    return tuple(
        c
        if c.status == "Unknown"
        else msgspec.structs.replace(
            c,
            status="Unknown",
            reason="NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            lastTransitionTime=now,
        )
        for c in node.status.conditions
    )


def wanted_taints(node: Node, now: str) -> tuple[Taint, ...]:
    """The node's taints with ours as its conditions and spec.unschedulable ask for; others' stay."""
    status = {c.type: c.status for c in node.status.conditions}
    wanted: list[tuple[str, str]] = []
    if status.get("Ready") == "False":
        wanted += [(NOT_READY, NO_SCHEDULE), (NOT_READY, NO_EXECUTE)]
    elif status.get("Ready") == "Unknown":
        wanted += [(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)]
    wanted += [(key, NO_SCHEDULE) for type_, (bad, key) in CONDITION_TAINTS.items() if status.get(type_) == bad]
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, NO_SCHEDULE))
    have = {(t.key, t.effect): t for t in node.spec.taints}
    kept = tuple(t for t in node.spec.taints if t.key not in OURS or (t.key, t.effect) in wanted)
    added = tuple(Taint(key=key, effect=effect, timeAdded=now) for key, effect in wanted if (key, effect) not in have)
    return kept + added


def taint_age(taint: Taint, now: float) -> float:
    """Seconds since a taint was put on; one without a time counts from now."""
    return now - parse_time(taint.timeAdded) if taint.timeAdded else 0.0
