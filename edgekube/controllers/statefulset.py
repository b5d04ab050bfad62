"""StatefulSet: pods with names that stay, started and updated in order (statefulset-controller).

Volume claims come with persistent volumes; until then volumeClaimTemplates are kept in the object and not acted on.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from edgekube.client.api import Key
from edgekube.client.patches import merge_patch
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.history import HASH_LABEL, History, template_of
from edgekube.controllers.owners import (
    claim,
    index_by_controller,
    is_available,
    is_ready,
    member_keys,
    next_available,
    owned_by,
    pod_from_template,
)
from edgekube.types.apps_v1 import ControllerRevision, StatefulSet, StatefulSetStatus
from edgekube.types.core_v1 import Pod, PodTemplateSpec
from edgekube.types.intstr import scaled
from edgekube.types.status import ApiError

API_VERSION, KIND = "apps/v1", "StatefulSet"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
ORDINAL = re.compile(r"(.+)-([0-9]+)$")


class StatefulSetController:
    name = "statefulset-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sets = context.informer(StatefulSet)
        self._pods = context.informer(Pod)
        index_by_controller(self._pods)
        self._history = History(context.client, context.informer(ControllerRevision), API_VERSION, KIND)

    def watches(self) -> Sequence[Watch]:
        return (Watch(StatefulSet), Watch(Pod, member_keys(KIND, self._sets)))

    async def reconcile(self, key: Key) -> float | None:
        sts = self._sets.get(*key)
        if sts is None:
            return None
        client, spec = self._context.client, sts.spec
        claimed = await claim(
            client,
            Pod,
            self._pods,
            sts,
            API_VERSION,
            KIND,
            spec.selector,
            adoptable=lambda pod: ordinal_of(sts, pod) is not None,
        )
        pods = {o: p for p in claimed if (o := ordinal_of(sts, p)) is not None}
        if sts.metadata.deletionTimestamp:
            return None
        revisions = await self._history.of(sts, spec.selector)
        update, collisions = await self._history.current(sts, spec.template, revisions, sts.status.collisionCount)
        if update is None:
            await self._patch_status(sts, msgspec.structs.replace(sts.status, collisionCount=collisions))
            return 0.05
        by_name = {r.metadata.name: r for r in revisions}
        current = by_name.get(sts.status.currentRevision, update)
        failure: ApiError | None = None
        try:
            await self._converge(sts, pods, current, update)
        except ApiError as error:
            failure = error
        fresh = self._sets.get(*key)
        if fresh is None or fresh.metadata.uid != sts.metadata.uid:
            return None
        now = self._context.now().timestamp()
        held = {o: p for p in self._owned(sts) if (o := ordinal_of(sts, p)) is not None}
        status = set_status(fresh, sts.metadata.generation, held, current, update, now)
        if status != fresh.status:
            await self._patch_status(fresh, status)
        if failure is not None:
            raise failure
        in_use = {status.currentRevision, status.updateRevision}
        in_use |= {p.metadata.labels.get(HASH_LABEL, "") for p in held.values()}
        await self._history.trim(revisions, in_use, spec.revisionHistoryLimit)
        return next_available(held.values(), spec.minReadySeconds, now)

    def _owned(self, sts: StatefulSet) -> Sequence[Pod]:
        return owned_by(self._pods, sts.metadata.uid)

    async def _patch_status(self, sts: StatefulSet, status: StatefulSetStatus) -> None:
        meta = sts.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": merge_patch(sts.status, status)}
        await self._context.client.patch(StatefulSet, meta.name, meta.namespace, patch=patch, subresource="status")

    async def _converge(
        self, sts: StatefulSet, pods: Mapping[int, Pod], current: ControllerRevision, update: ControllerRevision
    ) -> None:
        """Create from the lowest ordinal up, remove surplus and update from the highest down, one step at a time."""
        spec, now = sts.spec, self._context.now().timestamp()
        start = spec.ordinals.start if spec.ordinals is not None else 0
        wanted = range(start, start + (1 if spec.replicas is None else spec.replicas))
        parallel = spec.podManagementPolicy == "Parallel"
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is not None and pod.status.phase in ("Failed", "Succeeded") and not pod.metadata.deletionTimestamp:
                # A finished pod keeps its name: it has to go before its successor can come.
                where = f"StatefulSet {sts.metadata.namespace}/{_name(sts)}"
                if pod.status.phase == "Failed":
                    words = f"{where} is recreating failed Pod {pod.metadata.name}"
                    self._say(sts, "Warning", "RecreatingFailedPod", words)
                else:
                    words = f"{where} is recreating terminated Pod {pod.metadata.name}"
                    self._say(sts, "Normal", "RecreatingTerminatedPod", words)
                await self._delete(sts, pod)
                if not parallel:
                    return
                continue
            if pod is None:
                await self._create(sts, ordinal, self._revision_for(sts, ordinal, current, update))
                if not parallel:
                    return
                continue
            if parallel:
                continue
            if pod.metadata.deletionTimestamp:
                return  # its successor comes when it is gone
            if not is_available(pod, spec.minReadySeconds, now):
                return
        surplus = sorted((o for o in pods if o not in wanted), reverse=True)
        for ordinal in surplus:
            pod = pods[ordinal]
            if not pod.metadata.deletionTimestamp:
                if not parallel and ordinal != surplus[0]:
                    return
                await self._delete(sts, pod)
            if not parallel:
                return
        await self._roll(sts, pods, wanted, update, now)

    def _revision_for(
        self, sts: StatefulSet, ordinal: int, current: ControllerRevision, update: ControllerRevision
    ) -> ControllerRevision:
        """A pod below the partition is made of the old template, also when it is made again."""
        if sts.spec.updateStrategy.type == "OnDelete":
            return update
        start = sts.spec.ordinals.start if sts.spec.ordinals is not None else 0
        return current if ordinal < start + partition(sts) else update

    async def _roll(
        self, sts: StatefulSet, pods: Mapping[int, Pod], wanted: range, update: ControllerRevision, now: float
    ) -> None:
        if sts.spec.updateStrategy.type != "OnDelete":
            for pod in outdated(sts, pods, wanted, update.metadata.name, now):
                await self._delete(sts, pod)

    async def _create(self, sts: StatefulSet, ordinal: int, revision: ControllerRevision) -> None:
        pod = new_pod(sts, ordinal, template_of(revision), revision.metadata.name)
        name = pod.metadata.name
        try:
            await self._context.client.create(pod)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise
            words = f"create Pod {name} in StatefulSet {_name(sts)} failed error: {error}"
            self._say(sts, "Warning", "FailedCreate", words)
            raise
        self._say(sts, "Normal", "SuccessfulCreate", f"create Pod {name} in StatefulSet {_name(sts)} successful")

    async def _delete(self, sts: StatefulSet, pod: Pod) -> None:
        meta = pod.metadata
        await self._context.client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
        words = f"delete Pod {meta.name} in StatefulSet {_name(sts)} successful"
        self._say(sts, "Normal", "SuccessfulDelete", words)

    def _say(self, sts: StatefulSet, type_: str, reason: str, message: str) -> None:
        self._context.events.event(sts, type_, reason, message)


def _name(sts: StatefulSet) -> str:
    return sts.metadata.name


def ordinal_of(sts: StatefulSet, pod: Pod) -> int | None:
    """The number in a pod's name, when the name is one this set gives."""
    match = ORDINAL.fullmatch(pod.metadata.name)
    return int(match.group(2)) if match is not None and match.group(1) == sts.metadata.name else None


def outdated(sts: StatefulSet, pods: Mapping[int, Pod], wanted: range, update: str, now: float) -> list[Pod]:
    """The pods to replace now, from the highest ordinal down to the partition.

    Old ones that serve nobody come first; of the others as many as leaves no more than maxUnavailable unavailable.
    """
    rolling = sts.spec.updateStrategy.rollingUpdate
    allowed = 1
    if rolling is not None and rolling.maxUnavailable is not None:
        allowed = max(1, scaled(rolling.maxUnavailable, len(wanted), round_up=False))
    living = {o: p for o in wanted if (p := pods.get(o)) is not None and not p.metadata.deletionTimestamp}
    available = {o for o, p in living.items() if is_available(p, sts.spec.minReadySeconds, now)}
    old = [
        o
        for o in reversed(wanted)
        if o in living and o >= wanted.start + partition(sts) and living[o].metadata.labels.get(HASH_LABEL) != update
    ]
    useless = [o for o in old if o not in available][:allowed]
    room = max(0, allowed - (len(wanted) - len(available)))
    return [living[o] for o in (*useless, *[o for o in old if o in available][:room])]


def partition(sts: StatefulSet) -> int:
    rolling = sts.spec.updateStrategy.rollingUpdate
    return rolling.partition or 0 if rolling is not None else 0


def new_pod(sts: StatefulSet, ordinal: int, template: PodTemplateSpec, revision: str) -> Pod:
    """The pod of one ordinal: stable name, host name and labels."""
    name = f"{sts.metadata.name}-{ordinal}"
    pod = pod_from_template(sts, API_VERSION, KIND, template, name=name)
    labels = {
        **pod.metadata.labels,
        HASH_LABEL: revision,
        POD_NAME_LABEL: name,
        POD_INDEX_LABEL: str(ordinal),
    }
    return msgspec.structs.replace(
        pod,
        metadata=msgspec.structs.replace(pod.metadata, labels=labels),
        spec=msgspec.structs.replace(pod.spec, hostname=name, subdomain=sts.spec.serviceName),
    )


def set_status(
    sts: StatefulSet,
    observed: int,
    pods: Mapping[int, Pod],
    current: ControllerRevision,
    update: ControllerRevision,
    now: float,
) -> StatefulSetStatus:
    """Counts and revisions; when every pod is updated the update revision becomes the current one.

    `observed` is the generation that was acted on.
    """
    living = [p for p in pods.values() if not p.metadata.deletionTimestamp]
    at_update = sum(p.metadata.labels.get(HASH_LABEL) == update.metadata.name for p in living)
    at_current = sum(p.metadata.labels.get(HASH_LABEL) == current.metadata.name for p in living)
    wanted = 1 if sts.spec.replicas is None else sts.spec.replicas
    ready = sum(is_ready(p) for p in pods.values())
    status = msgspec.structs.replace(
        sts.status,
        observedGeneration=max(sts.status.observedGeneration, observed),
        replicas=len(pods),
        readyReplicas=ready,
        availableReplicas=sum(is_available(p, sts.spec.minReadySeconds, now) for p in pods.values()),
        currentReplicas=at_current,
        updatedReplicas=at_update,
        currentRevision=current.metadata.name,
        updateRevision=update.metadata.name,
    )
    done = at_update == wanted and len(pods) == wanted and ready == wanted
    if done and sts.spec.updateStrategy.type != "OnDelete":
        status = msgspec.structs.replace(status, currentReplicas=at_update, currentRevision=update.metadata.name)
    return status
