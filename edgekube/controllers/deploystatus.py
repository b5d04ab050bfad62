"""What a Deployment's status should say: counts, Available, Progressing, ReplicaFailure. Pure.

Follows deployment-controller's sync.go and progress.go.
"""

from collections.abc import Sequence

import msgspec

from edgekube.controllers import rollout
from edgekube.controllers.rollout import replicas_of, wanted_replicas
from edgekube.types.apps_v1 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetCondition
from edgekube.types.time import format_time, parse_time

NO_DEADLINE = 2**31 - 1

PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"
AVAILABLE, UPDATED, TIMED_OUT = "NewReplicaSetAvailable", "ReplicaSetUpdated", "ProgressDeadlineExceeded"


def has_deadline(deployment: Deployment) -> bool:
    """Without a deadline there is no Progressing condition."""
    limit = deployment.spec.progressDeadlineSeconds
    return limit is not None and limit < NO_DEADLINE


def condition_of(status: DeploymentStatus, type_: str) -> DeploymentCondition | None:
    return next((c for c in status.conditions if c.type == type_), None)


def with_condition(
    status: DeploymentStatus, type_: str, value: str, reason: str, message: str, now: str
) -> DeploymentStatus:
    """The status with one condition set; with the status and reason it has already it keeps its times and its place."""
    old = condition_of(status, type_)
    if old is not None and (old.status, old.reason) == (value, reason):
        return status
    condition = DeploymentCondition(
        type=type_,
        status=value,
        reason=reason,
        message=message,
        lastUpdateTime=now,
        lastTransitionTime=old.lastTransitionTime if old is not None and old.status == value else now,
    )
    return msgspec.structs.replace(status, conditions=(*_without(status, type_), condition))


def _without(status: DeploymentStatus, type_: str) -> tuple[DeploymentCondition, ...]:
    return tuple(c for c in status.conditions if c.type != type_)


def pause_shown(deployment: Deployment, now: float) -> DeploymentStatus:
    """The status with Progressing Unknown while the rollout is paused, and once more when it is resumed."""
    status, stamp = deployment.status, format_time(now)
    old = condition_of(status, "Progressing")
    if not has_deadline(deployment) or (old is not None and old.reason == TIMED_OUT):
        return status
    shown = old is not None and old.reason == PAUSED
    if deployment.spec.paused and not shown:
        return with_condition(status, "Progressing", "Unknown", PAUSED, "Deployment is paused", stamp)
    if shown and not deployment.spec.paused:
        return with_condition(status, "Progressing", "Unknown", RESUMED, "Deployment is resumed", stamp)
    return status


def counted(deployment: Deployment, sets: Sequence[ReplicaSet], new: ReplicaSet | None, now: float) -> DeploymentStatus:
    """Counts and the Available condition; the others as they are (calculateStatus)."""
    available = sum(rs.status.availableReplicas for rs in sets)
    terminating = [rs.status.terminatingReplicas for rs in sets]
    status = msgspec.structs.replace(
        pause_shown(deployment, now),
        observedGeneration=deployment.metadata.generation,
        replicas=sum(rs.status.replicas for rs in sets),
        updatedReplicas=new.status.replicas if new is not None else 0,
        readyReplicas=sum(rs.status.readyReplicas for rs in sets),
        availableReplicas=available,
        unavailableReplicas=max(0, sum(replicas_of(rs) for rs in sets) - available),
        # Unknown as long as one set has not said.
        terminatingReplicas=None if None in terminating else sum(t or 0 for t in terminating),
    )
    _, unavailable_max = rollout.bounds(deployment)
    if available >= wanted_replicas(deployment) - unavailable_max:
        words = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        words = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    return with_condition(status, "Available", *words, format_time(now))


def progressed(
    deployment: Deployment, sets: Sequence[ReplicaSet], new: ReplicaSet | None, now: float
) -> tuple[DeploymentStatus, float | None]:
    """The status of a rollout that is under way, and in how many seconds its deadline is to be looked at."""
    before = deployment.status
    status = _progress(deployment, counted(deployment, sets, new, now), new, now)
    failure = _failure(sets, new)
    if failure is not None:
        status = with_condition(
            status, "ReplicaFailure", failure.status, failure.reason, failure.message, format_time(now)
        )
    else:
        status = msgspec.structs.replace(status, conditions=_without(status, "ReplicaFailure"))
    return status, _deadline_left(deployment, status, before, now)


def _progress(deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, now: float) -> DeploymentStatus:
    if not has_deadline(deployment):
        return msgspec.structs.replace(status, conditions=_without(status, "Progressing"))
    before = deployment.status
    old = condition_of(status, "Progressing")
    if status.replicas == status.updatedReplicas and old is not None and old.reason == AVAILABLE:
        return status  # complete already: losing or adding replicas of the same template is no rollout
    stamp = format_time(now)
    what = f'ReplicaSet "{new.metadata.name}"' if new is not None else f'Deployment "{deployment.metadata.name}"'
    if rollout.complete(msgspec.structs.replace(deployment, status=status)):
        return with_condition(status, "Progressing", "True", AVAILABLE, f"{what} has successfully progressed.", stamp)
    moved = (
        status.updatedReplicas > before.updatedReplicas
        or status.readyReplicas > before.readyReplicas
        or status.availableReplicas > before.availableReplicas
        or status.replicas - status.updatedReplicas < before.replicas - before.updatedReplicas
    )
    if moved:
        condition = DeploymentCondition(
            type="Progressing",
            status="True",
            reason=UPDATED,
            message=f"{what} is progressing.",
            lastUpdateTime=stamp,
            lastTransitionTime=old.lastTransitionTime if old is not None and old.status == "True" else stamp,
        )
        return msgspec.structs.replace(status, conditions=(*_without(status, "Progressing"), condition))
    if _timed_out(deployment, old, now):
        return with_condition(status, "Progressing", "False", TIMED_OUT, f"{what} has timed out progressing.", stamp)
    return status


def _timed_out(deployment: Deployment, condition: DeploymentCondition | None, now: float) -> bool:
    if condition is None or condition.reason == AVAILABLE:
        return False
    limit = deployment.spec.progressDeadlineSeconds or 0
    return condition.reason == TIMED_OUT or parse_time(condition.lastUpdateTime) + limit < now


def _failure(sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> ReplicaSetCondition | None:
    """Why pods cannot be made: the new set's word before the old ones'."""
    ordered = sorted(sets, key=lambda rs: new is None or rs.metadata.uid != new.metadata.uid)
    failures = (c for rs in ordered for c in rs.status.conditions if c.type == "ReplicaFailure")
    return next((c for c in failures if c.status == "True"), None)


def _deadline_left(
    deployment: Deployment, status: DeploymentStatus, before: DeploymentStatus, now: float
) -> float | None:
    """Seconds until the deadline ends, when nothing else will happen that would have us look."""
    condition = condition_of(status, "Progressing")
    if not has_deadline(deployment) or condition is None or condition.reason in (TIMED_OUT, PAUSED):
        return None
    complete = rollout.complete(msgspec.structs.replace(deployment, status=status))
    if complete or condition.reason == AVAILABLE:
        return None
    limit = deployment.spec.progressDeadlineSeconds or 0
    # One second more, for times are cut to whole seconds.
    return max(1.0, parse_time(condition.lastUpdateTime) + limit - now + 1.0)
