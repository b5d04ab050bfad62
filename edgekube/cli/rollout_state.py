"""How far a rollout is, from the object alone: what `rollout status` says. Pure.

Source: the conditions and counters of apps/v1 status; wording as kubectl has it.
"""

from typing import Any, NamedTuple

from edgekube.cli.api import Json

REVISION = "deployment.kubernetes.io/revision"


class RolloutState(NamedTuple):
    message: str
    done: bool = False
    failed: bool = False


def rollout_state(kind: str, obj: Json, revision: int = 0) -> RolloutState:
    """`revision` (Deployments only; 0 is any) must be the one that is being rolled out."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    name = metadata["name"]
    if (metadata.get("generation") or 0) > (status.get("observedGeneration") or 0):
        what = {"Deployment": "deployment", "StatefulSet": "statefulset", "DaemonSet": "daemon set"}[kind]
        return RolloutState(f"Waiting for {what} spec update to be observed...")
    return {"Deployment": _deployment, "StatefulSet": _statefulset, "DaemonSet": _daemonset}[kind](
        name, spec, status, metadata, revision
    )


def _deployment(name: str, spec: Json, status: Json, metadata: Json, revision: int) -> RolloutState:
    if revision:
        now = int((metadata.get("annotations") or {}).get(REVISION) or 0)
        if now != revision:
            return RolloutState(
                f"desired revision ({revision}) is different from the running revision ({now})", failed=True
            )
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return RolloutState(f'deployment "{name}" exceeded its progress deadline', failed=True)
    wanted, updated = _count(spec, "replicas", 1), _count(status, "updatedReplicas")
    total, available = _count(status, "replicas"), _count(status, "availableReplicas")
    begin = f'Waiting for deployment "{name}" rollout to finish:'
    if updated < wanted:
        return RolloutState(f"{begin} {updated} out of {wanted} new replicas have been updated...")
    if total > updated:
        return RolloutState(f"{begin} {total - updated} old replicas are pending termination...")
    if available < updated:
        return RolloutState(f"{begin} {available} of {updated} updated replicas are available...")
    return RolloutState(f'deployment "{name}" successfully rolled out', done=True)


def _statefulset(name: str, spec: Json, status: Json, _: Json, __: int) -> RolloutState:
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return RolloutState("rollout status is only available for RollingUpdate strategy type", failed=True)
    wanted, ready, updated = (
        _count(spec, "replicas", 1),
        _count(status, "readyReplicas"),
        _count(status, "updatedReplicas"),
    )
    if ready < wanted:
        return RolloutState(f"Waiting for {wanted - ready} pods to be ready...")
    partition = _count(strategy.get("rollingUpdate") or {}, "partition")
    if partition:
        if updated < wanted - partition:
            return RolloutState(
                f"Waiting for partitioned roll out to finish: {updated} out of {wanted - partition} new pods have been "
                "updated..."
            )
        return RolloutState(f"partitioned roll out complete: {updated} new pods have been updated...", done=True)
    if status.get("updateRevision") != status.get("currentRevision"):
        return RolloutState(
            f"waiting for statefulset rolling update to complete {updated} pods at revision "
            f"{status.get('updateRevision')}..."
        )
    return RolloutState(
        f"statefulset rolling update complete {_count(status, 'currentReplicas')} pods at revision "
        f"{status.get('currentRevision')}...",
        done=True,
    )


def _daemonset(name: str, spec: Json, status: Json, _: Json, __: int) -> RolloutState:
    if (spec.get("updateStrategy") or {}).get("type", "RollingUpdate") != "RollingUpdate":
        return RolloutState("rollout status is only available for RollingUpdate strategy type", failed=True)
    wanted = _count(status, "desiredNumberScheduled")
    updated, available = _count(status, "updatedNumberScheduled"), _count(status, "numberAvailable")
    begin = f'Waiting for daemon set "{name}" rollout to finish:'
    if updated < wanted:
        return RolloutState(f"{begin} {updated} out of {wanted} new pods have been updated...")
    if available < wanted:
        return RolloutState(f"{begin} {available} of {wanted} updated pods are available...")
    return RolloutState(f'daemon set "{name}" successfully rolled out', done=True)


def _count(holder: Json, name: str, default: int = 0) -> int:
    value: Any = holder.get(name)
    return default if value is None else int(value)
