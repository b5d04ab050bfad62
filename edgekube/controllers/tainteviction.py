"""Pods leave nodes with NoExecute taints they do not tolerate, or no longer (taint-eviction-controller)."""

from collections.abc import Iterable, Sequence

import msgspec

from edgekube.client.api import Change, Key
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.nodelifecycle import NODE_INDEX, NOT_READY, UNREACHABLE, taint_age
from edgekube.types.core_v1 import Node, Pod, PodCondition, Taint, Toleration
from edgekube.types.placement import NO_EXECUTE, tolerates
from edgekube.types.status import ApiError
from edgekube.types.time import format_time


class TaintEvictionController:
    """Keyed by pod. When every node is silent the fault is ours, and nobody is evicted (full disruption)."""

    name = "taint-eviction-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._nodes = context.informer(Node)
        self._pods = context.informer(Pod)
        self._since: dict[str, dict[tuple[str, str, str], float]] = {}  # node -> taint -> when it was first seen here
        self._pods.add_index(NODE_INDEX, lambda pod: (pod.spec.nodeName,) if pod.spec.nodeName else ())

    def watches(self) -> Sequence[Watch]:
        return (Watch(Pod, self._on_pod), Watch(Node, self._on_node))

    def _on_pod(self, change: Change[Pod]) -> tuple[Key, ...]:
        pod = change.new
        if pod is None or not pod.spec.nodeName or (change.old is not None and change.old.spec == pod.spec):
            return ()
        return ((pod.metadata.namespace, pod.metadata.name),)

    def _on_node(self, change: Change[Node]) -> Iterable[Key]:
        old, new = change.old, change.new
        if new is None or (old is not None and no_execute(old) == no_execute(new)):
            return ()
        return [(p.metadata.namespace, p.metadata.name) for p in self._pods.by_index(NODE_INDEX, new.metadata.name)]

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(*key)
        if pod is None or pod.metadata.deletionTimestamp or not pod.spec.nodeName:
            return None
        node = self._nodes.get("", pod.spec.nodeName)
        taints = no_execute(node) if node is not None else ()
        if node is None or not taints:
            self._since.pop(pod.spec.nodeName, None)
            return None
        left = seconds_left(self._dated(node, taints), pod.spec.tolerations, self._context.now().timestamp())
        if left is None:
            return None
        if left > 0:
            return left
        if self._all_silent():
            return 5.0
        self._context.events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key[0]}/{key[1]}")
        await self._mark(pod, taints)
        meta = pod.metadata
        await self._context.client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
        return None

    def _dated(self, node: Node, taints: Sequence[Taint]) -> list[Taint]:
        """The taints with a time each: one that carries none, as kubectl's do, counts from when it was first seen."""
        now, name = self._context.now().timestamp(), node.metadata.name
        held = self._since.get(name, {})
        seen = {(t.key, t.value, t.effect): held.get((t.key, t.value, t.effect), now) for t in taints}
        self._since[name] = seen
        return [
            t if t.timeAdded else msgspec.structs.replace(t, timeAdded=format_time(seen[t.key, t.value, t.effect]))
            for t in taints
        ]

    def _all_silent(self) -> bool:
        nodes = self._nodes.list()
        return len(nodes) > 1 and all(any(t.key in (UNREACHABLE, NOT_READY) for t in n.spec.taints) for n in nodes)

    async def _mark(self, pod: Pod, taints: Sequence[Taint]) -> None:
        """The DisruptionTarget condition says why the pod went (KEP-3329)."""
        condition = PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="DeletionByTaintManager",
            message="Taint manager: deleting due to NoExecute taint",
            lastTransitionTime=format_time(self._context.now()),
        )
        conditions = [*(c for c in pod.status.conditions if c.type != condition.type), condition]
        meta = pod.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": {"conditions": msgspec.to_builtins(conditions)}}
        try:
            await self._context.client.patch(Pod, meta.name, meta.namespace, patch=patch, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise


def no_execute(node: Node) -> tuple[Taint, ...]:
    return tuple(t for t in node.spec.taints if t.effect == NO_EXECUTE)


def seconds_left(taints: Sequence[Taint], tolerations: Sequence[Toleration], now: float) -> float | None:
    """How long the pod may stay: 0 for a taint nothing tolerates, None for ever."""
    shortest: float | None = None
    for taint in taints:
        covering = [t for t in tolerations if tolerates(t, taint)]
        if not covering:
            return 0.0
        limits = [t.tolerationSeconds for t in covering if t.tolerationSeconds is not None]
        if limits:
            left = max(0, min(limits)) - taint_age(taint, now)
            shortest = left if shortest is None else min(shortest, left)
    return shortest
