"""ReplicaSet: keeps a number of identical pods (kube-controller-manager's replicaset-controller)."""

from collections import Counter
from collections.abc import Sequence

import trio

from edgekube.client.api import Change, Key
from edgekube.client.patches import merge_patch
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.owners import (
    claim,
    controller_of,
    deletion_rank,
    index_by_controller,
    is_active,
    is_available,
    is_ready,
    owned_by,
    pod_from_template,
    ready_since,
)
from edgekube.types.apps_v1 import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from edgekube.types.core_v1 import Pod
from edgekube.types.selectors import from_label_selector
from edgekube.types.status import ApiError
from edgekube.types.time import format_time

API_VERSION, KIND = "apps/v1", "ReplicaSet"
BURST_REPLICAS = 500  # created or deleted in one go, as upstream limits it


class ReplicaSetController:
    name = "replicaset-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sets = context.informer(ReplicaSet)
        self._pods = context.informer(Pod)
        index_by_controller(self._pods)

    def watches(self) -> Sequence[Watch]:
        return (Watch(ReplicaSet), Watch(Pod, self._keys_of_pod))

    def _keys_of_pod(self, change: Change[Pod]) -> set[Key]:
        """The owner of a pod; for an orphan every set of its namespace that might adopt it."""
        keys: set[Key] = set()
        for pod in (change.old, change.new):
            if pod is None:
                continue
            ref = controller_of(pod)
            if ref is not None:
                if ref.kind == KIND:
                    keys.add((pod.metadata.namespace, ref.name))
            elif pod.metadata.labels:
                for rs in self._sets.list(pod.metadata.namespace):
                    if from_label_selector(rs.spec.selector).matches(pod.metadata.labels):
                        keys.add((pod.metadata.namespace, rs.metadata.name))
        return keys

    async def reconcile(self, key: Key) -> float | None:
        rs = self._sets.get(*key)
        if rs is None:
            return None
        context = self._context
        pods = await claim(context.client, Pod, self._pods, rs, API_VERSION, KIND, rs.spec.selector)
        active = [pod for pod in pods if is_active(pod)]
        failure = ""
        if not rs.metadata.deletionTimestamp:
            wanted = 1 if rs.spec.replicas is None else rs.spec.replicas
            try:
                await self._scale(rs, active, wanted)
            except ApiError as error:
                failure = "FailedCreate" if len(active) < wanted else "FailedDelete"
                await self._write_status(rs, failure, str(error))
                raise
        return await self._write_status(rs, failure, "")

    async def _scale(self, rs: ReplicaSet, active: list[Pod], wanted: int) -> None:
        missing = wanted - len(active)
        if missing > 0:
            await self._create(rs, min(missing, BURST_REPLICAS))
        elif missing < 0:
            for pod in self._victims(rs, active, min(-missing, BURST_REPLICAS)):
                meta = pod.metadata
                await self._context.client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
                self._context.events.event(rs, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")

    async def _create(self, rs: ReplicaSet, count: int) -> None:
        """In batches of 1, 2, 4...: when pods cannot be created, one refusal says so instead of hundreds."""
        batch, left = 1, count
        while left > 0:
            batch = min(batch, left)
            errors: list[ApiError] = []

            async def one(errors: list[ApiError] = errors) -> None:
                try:
                    pod = await self._context.client.create(pod_from_template(rs, API_VERSION, KIND, rs.spec.template))
                except ApiError as error:
                    errors.append(error)
                    self._context.events.event(rs, "Warning", "FailedCreate", f"Error creating: {error}")
                else:
                    words = f"Created pod: {pod.metadata.name}"
                    self._context.events.event(rs, "Normal", "SuccessfulCreate", words)

            async with trio.open_nursery() as nursery:
                for _ in range(batch):
                    nursery.start_soon(one)
            if errors:
                raise errors[0]
            left -= batch
            batch *= 2

    def _victims(self, rs: ReplicaSet, active: list[Pod], count: int) -> list[Pod]:
        """Prefer pods doubled up on a node with others of the same Deployment."""
        ref = controller_of(rs)
        related = active
        if ref is not None:
            family = [s for s in self._sets.list(rs.metadata.namespace) if (controller_of(s) or ref).uid == ref.uid]
            related = [p for s in family for p in owned_by(self._pods, s.metadata.uid) if is_active(p)]
        per_node = Counter(pod.spec.nodeName for pod in related if pod.spec.nodeName)
        return sorted(active, key=lambda pod: deletion_rank(pod, per_node[pod.spec.nodeName]))[:count]

    async def _write_status(self, rs: ReplicaSet, failure: str, message: str) -> float | None:
        """Patch what changed; returns when a pod will become available, if one is on its way."""
        now = self._context.now().timestamp()
        current = self._sets.get(rs.metadata.namespace, rs.metadata.name)
        if current is None or current.metadata.uid != rs.metadata.uid:
            return None
        pods = [p for p in owned_by(self._pods, rs.metadata.uid) if is_active(p)]
        status = replica_status(current, pods, now, failure, message)
        if status != current.status:
            await self._context.client.patch(
                ReplicaSet,
                rs.metadata.name,
                rs.metadata.namespace,
                patch={"metadata": {"uid": rs.metadata.uid}, "status": merge_patch(current.status, status)},
                subresource="status",
            )
        return next_available(pods, rs.spec.minReadySeconds, now)


def replica_status(rs: ReplicaSet, pods: Sequence[Pod], now: float, failure: str, message: str) -> ReplicaSetStatus:
    """The status a ReplicaSet should show."""
    labels = rs.spec.template.metadata.labels.items()
    conditions = [c for c in rs.status.conditions if c.type != "ReplicaFailure"]
    if failure:
        old = next((c for c in rs.status.conditions if c.type == "ReplicaFailure"), None)
        since = old.lastTransitionTime if old is not None and old.reason == failure else format_time(now)
        conditions.append(
            ReplicaSetCondition(
                type="ReplicaFailure", status="True", reason=failure, message=message, lastTransitionTime=since
            )
        )
    return ReplicaSetStatus(
        replicas=len(pods),
        fullyLabeledReplicas=sum(labels <= pod.metadata.labels.items() for pod in pods),
        readyReplicas=sum(is_ready(pod) for pod in pods),
        availableReplicas=sum(is_available(pod, rs.spec.minReadySeconds, now) for pod in pods),
        observedGeneration=rs.metadata.generation,
        conditions=tuple(conditions),
    )


def next_available(pods: Sequence[Pod], min_ready_seconds: int, now: float) -> float | None:
    """Seconds until the next ready pod counts as available."""
    waits = [
        since + min_ready_seconds - now
        for pod in pods
        if min_ready_seconds and (since := ready_since(pod)) is not None and since + min_ready_seconds > now
    ]
    return min(waits) + 0.01 if waits else None
