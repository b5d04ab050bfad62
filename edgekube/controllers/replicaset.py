"""ReplicaSet and ReplicationController: keep a number of identical pods (replicaset- and replication-controller)."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio

from edgekube.client.api import Key
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
    is_terminating,
    member_keys,
    namespace_terminating,
    next_available,
    owned_by,
    pod_from_template,
)
from edgekube.types.apps_v1 import ReplicaSet, ReplicaSetCondition
from edgekube.types.core_v1 import Pod, ReplicationController, ReplicationControllerCondition
from edgekube.types.meta_v1 import LabelSelector
from edgekube.types.status import ApiError
from edgekube.types.time import format_time

BURST_REPLICAS = 500  # created or deleted in one go, as upstream limits it


class Flavour(msgspec.Struct, frozen=True):
    """What tells the two kinds apart."""

    name: str
    cls: type[Any]
    api_version: str
    kind: str
    condition: type[Any]
    selector: Callable[[Any], LabelSelector]
    counts_terminating: bool


REPLICA_SET = Flavour(
    name="replicaset-controller",
    cls=ReplicaSet,
    api_version="apps/v1",
    kind="ReplicaSet",
    condition=ReplicaSetCondition,
    selector=lambda rs: rs.spec.selector or LabelSelector(),
    counts_terminating=True,
)
REPLICATION_CONTROLLER = Flavour(
    name="replication-controller",
    cls=ReplicationController,
    api_version="v1",
    kind="ReplicationController",
    condition=ReplicationControllerCondition,
    selector=lambda rc: LabelSelector(matchLabels=rc.spec.selector),
    counts_terminating=False,
)


class ReplicaSetController:
    def __init__(self, context: Context, flavour: Flavour = REPLICA_SET) -> None:
        self.name = flavour.name
        self._flavour = flavour
        self._context = context
        self._sets = context.informer(flavour.cls)
        self._pods = context.informer(Pod)
        index_by_controller(self._pods)

    def watches(self) -> Sequence[Watch]:
        flavour = self._flavour
        return (Watch(flavour.cls), Watch(Pod, member_keys(flavour.kind, self._sets, flavour.selector)))

    async def reconcile(self, key: Key) -> float | None:
        rs = self._sets.get(*key)
        if rs is None:
            return None
        flavour = self._flavour
        pods = await claim(
            self._context.client, Pod, self._pods, rs, flavour.api_version, flavour.kind, flavour.selector(rs)
        )
        if not rs.metadata.deletionTimestamp:
            try:
                await self._scale(rs, [pod for pod in pods if is_active(pod)])
            except ApiError as error:
                await self._write_status(rs, str(error))
                raise
        return await self._write_status(rs, "")

    async def _scale(self, rs: Any, active: list[Pod]) -> None:
        missing = wanted(rs) - len(active)
        if missing > 0:
            await self._create(rs, min(missing, BURST_REPLICAS))
        elif missing < 0:
            for pod in self._victims(rs, active, min(-missing, BURST_REPLICAS)):
                await self._delete(rs, pod)

    async def _delete(self, rs: Any, pod: Pod) -> None:
        meta = pod.metadata
        try:
            await self._context.client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
        except ApiError as error:
            if error.code == 404:
                return
            self._context.events.event(rs, "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        self._context.events.event(rs, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")

    async def _create(self, rs: Any, count: int) -> None:
        """In batches of 1, 2, 4...: when pods cannot be created, one refusal says so instead of hundreds."""
        batch, left = 1, count
        while left > 0:
            batch = min(batch, left)
            errors: list[ApiError] = []
            async with trio.open_nursery() as nursery:
                for _ in range(batch):
                    nursery.start_soon(self._create_one, rs, errors)
            if errors:
                if all(map(namespace_terminating, errors)):
                    return
                raise errors[0]
            left -= batch
            batch *= 2

    async def _create_one(self, rs: Any, errors: list[ApiError]) -> None:
        made = pod_from_template(rs, self._flavour.api_version, self._flavour.kind, rs.spec.template)
        try:
            pod = await self._context.client.create(made)
        except ApiError as error:
            errors.append(error)
            if not namespace_terminating(error):
                self._context.events.event(rs, "Warning", "FailedCreate", f"Error creating: {error}")
        else:
            self._context.events.event(rs, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")

    def _victims(self, rs: Any, active: list[Pod], count: int) -> list[Pod]:
        """Prefer pods doubled up on a node with others of the same Deployment."""
        ref = controller_of(rs)
        related = active
        if ref is not None:
            family = [s for s in self._sets.list(rs.metadata.namespace) if _owner_uid(s) == ref.uid]
            related = [p for s in family for p in owned_by(self._pods, s.metadata.uid) if is_active(p)]
        per_node = Counter(pod.spec.nodeName for pod in related if pod.spec.nodeName)
        return sorted(active, key=lambda pod: deletion_rank(pod, per_node[pod.spec.nodeName]))[:count]

    async def _write_status(self, rs: Any, failure: str) -> float | None:
        """Patch what changed; returns when a pod will become available, if one is on its way."""
        now = self._context.now().timestamp()
        current = self._sets.get(rs.metadata.namespace, rs.metadata.name)
        if current is None or current.metadata.uid != rs.metadata.uid:
            return None
        pods = owned_by(self._pods, rs.metadata.uid)
        status = replica_status(self._flavour, current, rs.metadata.generation, pods, now, failure)
        if status != current.status:
            await self._context.client.patch(
                self._flavour.cls,
                rs.metadata.name,
                rs.metadata.namespace,
                patch={"metadata": {"uid": rs.metadata.uid}, "status": merge_patch(current.status, status)},
                subresource="status",
            )
        return next_available(pods, rs.spec.minReadySeconds, now)


def _owner_uid(rs: Any) -> str:
    ref = controller_of(rs)
    return ref.uid if ref is not None else ""


def wanted(rs: Any) -> int:
    count: int | None = rs.spec.replicas
    return 1 if count is None else count


def replica_status(flavour: Flavour, rs: Any, observed: int, pods: Sequence[Pod], now: float, failure: str) -> Any:
    """The status a set should show. `observed` is the generation that was acted on; `failure` is why that failed."""
    labels: Any = rs.spec.template.metadata.labels.items() if rs.spec.template is not None else frozenset()
    active = [pod for pod in pods if is_active(pod)]
    conditions = rs.status.conditions
    held = next((c for c in conditions if c.type == "ReplicaFailure"), None)
    if failure and held is None:
        condition = flavour.condition(
            type="ReplicaFailure",
            status="True",
            reason="FailedCreate" if len(active) < wanted(rs) else "FailedDelete",
            message=failure,
            lastTransitionTime=format_time(now),
        )
        conditions = (*conditions, condition)
    elif not failure and held is not None:
        conditions = tuple(c for c in conditions if c.type != "ReplicaFailure")
    status = msgspec.structs.replace(
        rs.status,
        replicas=len(active),
        fullyLabeledReplicas=sum(labels <= pod.metadata.labels.items() for pod in active),
        readyReplicas=sum(is_ready(pod) for pod in active),
        availableReplicas=sum(is_available(pod, rs.spec.minReadySeconds, now) for pod in active),
        observedGeneration=max(rs.status.observedGeneration, observed),
        conditions=conditions,
    )
    if flavour.counts_terminating:
        status = msgspec.structs.replace(status, terminatingReplicas=sum(is_terminating(pod) for pod in pods))
    return status
