"""Deployment: rolls a pod template out through ReplicaSets (kube-controller-manager's deployment-controller)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.client.api import Key
from edgekube.client.patches import merge_patch
from edgekube.controllers import rollout
from edgekube.controllers.deploystatus import condition_of, counted, has_deadline, progressed, with_condition
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.owners import (
    claim,
    controller_of,
    index_by_controller,
    member_keys,
    namespace_terminating,
    owned_by,
    owner_reference,
)
from edgekube.controllers.rollout import replicas_of, wanted_replicas
from edgekube.types.apps_v1 import Deployment, ReplicaSet, ReplicaSetSpec
from edgekube.types.core_v1 import Pod, PodTemplateSpec
from edgekube.types.hashing import hash_of
from edgekube.types.integers import natural
from edgekube.types.meta_v1 import LabelSelector, ObjectMeta
from edgekube.types.status import ApiError
from edgekube.types.time import format_time

API_VERSION, KIND = "apps/v1", "Deployment"
HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
# Annotations that describe the Deployment object itself and not what it rolls out.
NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    rollout.DESIRED_REPLICAS,
    rollout.MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
}


class DeploymentController:
    name = "deployment-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._deployments = context.informer(Deployment)
        self._sets = context.informer(ReplicaSet)
        self._pods = context.informer(Pod)
        index_by_controller(self._sets)
        index_by_controller(self._pods)

    def watches(self) -> Sequence[Watch]:
        return (
            Watch(Deployment),
            Watch(ReplicaSet, member_keys(KIND, self._deployments)),
            Watch(Pod, self._keys_of_pod),
        )

    def _keys_of_pod(self, change: Any) -> set[Key]:
        """Recreate waits for the last old pod: a pod's end concerns the Deployment two owners up."""
        if change.new is not None and not change.new.metadata.deletionTimestamp:
            return set()
        ref = controller_of(change.obj)
        if ref is None or ref.kind != "ReplicaSet":
            return set()
        rs = self._sets.get(change.obj.metadata.namespace, ref.name)
        owner = controller_of(rs) if rs is not None else None
        return {(change.obj.metadata.namespace, owner.name)} if owner is not None else set()

    async def reconcile(self, key: Key) -> float | None:
        deployment = self._deployments.get(*key)
        if deployment is None:
            return None
        context, spec = self._context, deployment.spec
        selector = spec.selector or LabelSelector()
        if not selector.matchLabels and not selector.matchExpressions:
            words = "This deployment is selecting all pods. A non-empty selector is required."
            context.events.event(deployment, "Warning", "SelectingAll", words)
            return None
        sets = await claim(context.client, ReplicaSet, self._sets, deployment, API_VERSION, KIND, spec.selector)
        if deployment.metadata.deletionTimestamp:
            return await self._write_status(deployment, sets, rolls=False)
        new = find_new(deployment, sets)
        if spec.paused or self._is_scaling(deployment, sets):
            if new is not None:
                new = await self._annotate(deployment, new, sets)
                sets = [new, *(rs for rs in sets if rs.metadata.uid != new.metadata.uid)]
            sets = await self._scale(deployment, sets, rollout.proportional(deployment, new, sets))
            if spec.paused:
                await self._clean_up(deployment, sets, new.metadata.uid if new is not None else "")
            return await self._write_status(deployment, sets, rolls=False)
        if spec.strategy.type == "Recreate" and await self._stop_old(deployment, new, sets):
            return await self._write_status(deployment, sets, rolls=True)
        if new is None:
            new = await self._create_new(deployment, sets)
            if new is None:
                return None  # the collision count changed, which brings us back
        else:
            new = await self._annotate(deployment, new, sets)
        old = [rs for rs in sets if rs.metadata.uid != new.metadata.uid]
        if spec.strategy.type == "Recreate":
            scales = rollout.grow(deployment, new)
        else:
            scales = rollout.rolling(deployment, new, old)
        sets = await self._scale(deployment, [new, *old], scales)
        await self._clean_up(deployment, sets, new.metadata.uid)
        return await self._write_status(deployment, sets, rolls=True)

    async def _stop_old(self, deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet]) -> bool:
        """Recreate: whether old pods are still there, which have been told to go, before the first new one may come."""
        old = [rs for rs in sets if new is None or rs.metadata.uid != new.metadata.uid]
        scales = {rs.metadata.name: 0 for rs in old if replicas_of(rs)}
        if scales:
            await self._scale(deployment, old, scales)
            return True
        return any(
            pod.status.phase not in ("Succeeded", "Failed")
            for rs in old
            for pod in owned_by(self._pods, rs.metadata.uid)
        )

    def _is_scaling(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> bool:
        """spec.replicas changed since a living set was last annotated with it."""
        wanted = str(wanted_replicas(deployment))
        return any(
            replicas_of(rs) > 0 and rs.metadata.annotations.get(rollout.DESIRED_REPLICAS, wanted) != wanted
            for rs in sets
        )

    async def _create_new(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
        """The ReplicaSet of the current template; None when its name is taken by another template (hash collision)."""
        meta, spec = deployment.metadata, deployment.spec
        digest = hash_of(spec.template, deployment.status.collisionCount)
        name = f"{meta.name}-{digest}"
        replicas = rollout.first_size(deployment, sets)
        labels = {**spec.template.metadata.labels, HASH_LABEL: digest}
        template_meta = msgspec.structs.replace(spec.template.metadata, labels=labels)
        selector = spec.selector or LabelSelector()
        rs = ReplicaSet(
            apiVersion="apps/v1",
            kind="ReplicaSet",
            metadata=ObjectMeta(
                name=name,
                namespace=meta.namespace,
                labels=labels,
                annotations={**self._copied(deployment), **self._bookkeeping(deployment, str(next_revision(sets)))},
                ownerReferences=(owner_reference(deployment, API_VERSION, KIND),),
            ),
            spec=ReplicaSetSpec(
                replicas=replicas,
                minReadySeconds=spec.minReadySeconds,
                selector=msgspec.structs.replace(selector, matchLabels={**selector.matchLabels, HASH_LABEL: digest}),
                template=msgspec.structs.replace(spec.template, metadata=template_meta),
            ),
        )
        try:
            created = await self._context.client.create(rs)
        except ApiError as error:
            existing: ReplicaSet | None = self._sets.get(meta.namespace, name)
            if error.reason == "AlreadyExists" and existing is not None:
                owner = controller_of(existing)
                if owner is not None and owner.uid == meta.uid and same_template(existing, deployment):
                    return existing
                count = (deployment.status.collisionCount or 0) + 1
                await self._patch_status(deployment, {"collisionCount": count})
                return None
            if namespace_terminating(error):
                raise
            words = f'Failed to create new replica set "{name}": {error}'
            await self._set_progressing(deployment, "False", "ReplicaSetCreateError", words)
            self._context.events.event(deployment, "Warning", "ReplicaSetCreateError", words)
            raise
        if replicas:
            words = f"Scaled up replica set {name} from 0 to {replicas}"
            self._context.events.event(deployment, "Normal", "ScalingReplicaSet", words)
        await self._set_progressing(deployment, "True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
        await self._set_revision(deployment, created.metadata.annotations[REVISION])
        return created

    def _copied(self, deployment: Deployment) -> dict[str, str]:
        return {k: v for k, v in deployment.metadata.annotations.items() if k not in NOT_COPIED}

    def _bookkeeping(self, deployment: Deployment, revision: str) -> dict[str, str]:
        surge, _ = rollout.bounds(deployment)
        wanted = wanted_replicas(deployment)
        return {rollout.DESIRED_REPLICAS: str(wanted), rollout.MAX_REPLICAS: str(wanted + surge), REVISION: revision}

    async def _annotate(self, deployment: Deployment, new: ReplicaSet, sets: Sequence[ReplicaSet]) -> ReplicaSet:
        """A set that is current again after a rollback gets the next revision number."""
        revision = revision_of(new)
        latest = next_revision([rs for rs in sets if rs.metadata.uid != new.metadata.uid])
        wanted = dict(self._copied(deployment))
        if revision < latest:
            past = new.metadata.annotations.get(REVISION_HISTORY, "")
            if revision:
                wanted[REVISION_HISTORY] = f"{past},{revision}" if past else str(revision)
            wanted[REVISION] = str(latest)
            revision = latest
        changed: dict[str, Any] = {}
        if any(new.metadata.annotations.get(k) != v for k, v in wanted.items()):
            changed["metadata"] = {"annotations": wanted}
        if new.spec.minReadySeconds != deployment.spec.minReadySeconds:
            changed["spec"] = {"minReadySeconds": deployment.spec.minReadySeconds}
        if changed:
            meta = new.metadata
            new = await self._context.client.patch(ReplicaSet, meta.name, meta.namespace, patch=changed)
        if condition_of(deployment.status, "Progressing") is None:
            words = f'Found new replica set "{new.metadata.name}"'
            await self._set_progressing(deployment, "True", "FoundNewReplicaSet", words)
        await self._set_revision(deployment, str(revision))
        return new

    async def _set_revision(self, deployment: Deployment, revision: str) -> None:
        current = self._deployments.get(deployment.metadata.namespace, deployment.metadata.name) or deployment
        if current.metadata.annotations.get(REVISION) != revision:
            meta = deployment.metadata
            patch = {"metadata": {"uid": meta.uid, "annotations": {REVISION: revision}}}
            await self._context.client.patch(Deployment, meta.name, meta.namespace, patch=patch)

    async def _scale(
        self, deployment: Deployment, sets: Sequence[ReplicaSet], scales: rollout.Scales
    ) -> list[ReplicaSet]:
        """Write the sizes, each with the bookkeeping proportional scaling needs; returns the sets as they are now."""
        result = []
        for rs in sets:
            count = scales.get(rs.metadata.name, replicas_of(rs))
            notes = self._bookkeeping(deployment, rs.metadata.annotations.get(REVISION, "1"))
            stale = any(rs.metadata.annotations.get(k) != v for k, v in notes.items())
            if count != replicas_of(rs) or (stale and replicas_of(rs) > 0):
                meta = rs.metadata
                patch: dict[str, Any] = {"metadata": {"annotations": notes}, "spec": {"replicas": count}}
                before = replicas_of(rs)
                rs = await self._context.client.patch(ReplicaSet, meta.name, meta.namespace, patch=patch)
                if count != before:
                    direction = "up" if count > before else "down"
                    words = f"Scaled {direction} replica set {meta.name} from {before} to {count}"
                    self._context.events.event(deployment, "Normal", "ScalingReplicaSet", words)
            result.append(rs)
        return result

    async def _clean_up(self, deployment: Deployment, sets: Sequence[ReplicaSet], new_uid: str) -> None:
        """Delete the oldest empty sets beyond revisionHistoryLimit, once the rollout is complete."""
        current = self._deployments.get(deployment.metadata.namespace, deployment.metadata.name) or deployment
        limit = deployment.spec.revisionHistoryLimit
        if limit is None or not rollout.complete(current):
            return
        empty = [
            rs
            for rs in sets
            if rs.metadata.uid != new_uid
            and replicas_of(rs) == 0
            and rs.status.replicas == 0
            and rs.status.observedGeneration >= rs.metadata.generation
            and not rs.metadata.deletionTimestamp
        ]
        empty.sort(key=revision_of)
        for rs in empty[: max(0, len(empty) - limit)]:
            meta = rs.metadata
            await self._context.client.delete(ReplicaSet, meta.name, meta.namespace, uid=meta.uid)

    async def _set_progressing(self, deployment: Deployment, status: str, reason: str, message: str) -> None:
        if not has_deadline(deployment):
            return
        current = self._deployments.get(deployment.metadata.namespace, deployment.metadata.name) or deployment
        now = format_time(self._context.now())
        updated = with_condition(current.status, "Progressing", status, reason, message, now)
        if updated != current.status:
            await self._patch_status(current, {"conditions": [msgspec.to_builtins(c) for c in updated.conditions]})

    async def _patch_status(self, deployment: Deployment, status: dict[str, Any]) -> None:
        meta = deployment.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": status}
        await self._context.client.patch(Deployment, meta.name, meta.namespace, patch=patch, subresource="status")

    async def _write_status(self, deployment: Deployment, sets: Sequence[ReplicaSet], *, rolls: bool) -> float | None:
        """Counts and conditions; returns when the progress deadline should be looked at. `rolls`: progress is judged,
        which a Deployment that is paused, being scaled or deleted is spared.
        """
        current = self._deployments.get(deployment.metadata.namespace, deployment.metadata.name)
        if current is None or current.metadata.uid != deployment.metadata.uid:
            return None
        if current.metadata.generation != deployment.metadata.generation:
            return None  # what was done here was done for an older spec; the newer one is queued
        fresh = [self._sets.get(rs.metadata.namespace, rs.metadata.name) or rs for rs in sets]
        new, now = find_new(current, fresh), self._context.now().timestamp()
        again: float | None = None
        if rolls:
            status, again = progressed(current, fresh, new, now)
        else:
            status = counted(current, fresh, new, now)
        if status != current.status:
            await self._patch_status(current, merge_patch(current.status, status))
        return again


def same_template(rs: ReplicaSet, deployment: Deployment) -> bool:
    """Equal but for the hash label the controller adds."""
    labels = {k: v for k, v in rs.spec.template.metadata.labels.items() if k != HASH_LABEL}
    bare: PodTemplateSpec = msgspec.structs.replace(
        rs.spec.template, metadata=msgspec.structs.replace(rs.spec.template.metadata, labels=labels)
    )
    return bare == deployment.spec.template


def find_new(deployment: Deployment, sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The set of the current template; the oldest, should there be two."""
    for rs in sorted(sets, key=lambda rs: (rs.metadata.creationTimestamp, rs.metadata.name)):
        if same_template(rs, deployment):
            return rs
    return None


def revision_of(rs: ReplicaSet) -> int:
    """0 when there is none, or nothing that could be one."""
    return natural(rs.metadata.annotations.get(REVISION, "")) or 0


def next_revision(sets: Sequence[ReplicaSet]) -> int:
    return max(map(revision_of, sets), default=0) + 1
