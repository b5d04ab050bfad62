"""Pod garbage: finished pods beyond a limit, pods of lost nodes, deleted pods nobody runs (podgc-controller)."""

from collections.abc import Sequence

from edgekube.client.api import Change, Key
from edgekube.controllers.framework import Context, Watch
from edgekube.types.core_v1 import Node, Pod
from edgekube.types.status import ApiError

FINISHED_MAX = 1000  # kube-controller-manager's default is 12,500: more than a Pi wants to keep
NODE_GONE_SECONDS = 40.0  # a node that registers anew within this keeps its pods
SWEEP: Key = ("", "sweep")


class PodGarbageController:
    """One key for everything: each sweep is a pass over the cached pods."""

    name = "pod-garbage-collector"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods = context.informer(Pod)
        self._nodes = context.informer(Node)
        self._missing_since: dict[str, float] = {}

    def watches(self) -> Sequence[Watch]:
        return (Watch(Node, self._on_node), Watch(Pod, self._on_pod))

    def _on_node(self, change: Change[Node]) -> tuple[Key, ...]:
        return (SWEEP,) if change.old is None or change.new is None else ()

    def _on_pod(self, change: Change[Pod]) -> tuple[Key, ...]:
        pod = change.new
        if pod is None:
            return ()
        finished = pod.status.phase in ("Succeeded", "Failed")
        lost = pod.spec.nodeName and self._nodes.get("", pod.spec.nodeName) is None
        return (SWEEP,) if finished or lost or (pod.metadata.deletionTimestamp and not pod.spec.nodeName) else ()

    async def reconcile(self, key: Key) -> float | None:
        now = self._context.now().timestamp()
        pods = self._pods.list()
        finished = [p for p in pods if p.status.phase in ("Succeeded", "Failed")]
        surplus = sorted(finished, key=lambda p: p.metadata.creationTimestamp)[: max(0, len(finished) - FINISHED_MAX)]
        for pod in surplus:
            await self._remove(pod)
        again: float | None = None
        lost = {p.spec.nodeName for p in pods if p.spec.nodeName and self._nodes.get("", p.spec.nodeName) is None}
        self._missing_since = {n: self._missing_since.get(n, now) for n in lost}
        for pod in pods:
            node = pod.spec.nodeName
            if node in lost:
                left = self._missing_since[node] + NODE_GONE_SECONDS - now
                if left <= 0:
                    await self._fail(pod, "PodGC: node no longer exists")
                    await self._remove(pod)
                else:
                    again = min(again or left, left)
            elif not node and pod.metadata.deletionTimestamp:
                await self._remove(pod)
        return again

    async def _fail(self, pod: Pod, message: str) -> None:
        """A pod that will not run again says so before it goes, for those who count failures (KEP-3329)."""
        if pod.status.phase in ("Succeeded", "Failed"):
            return
        meta = pod.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": {"phase": "Failed", "message": message}}
        try:
            await self._context.client.patch(Pod, meta.name, meta.namespace, patch=patch, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise

    async def _remove(self, pod: Pod) -> None:
        meta = pod.metadata
        try:
            await self._context.client.delete(Pod, meta.name, meta.namespace, grace_period_seconds=0, uid=meta.uid)
        except ApiError as error:
            if error.code not in (404, 409):
                raise
