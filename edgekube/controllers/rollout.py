"""How many replicas each ReplicaSet of a Deployment should have next. Pure (deployment-controller's rolling.go).

Availability never falls below `replicas - maxUnavailable`, and never more than `replicas + maxSurge` pods exist.
"""

from collections.abc import Mapping, Sequence

from edgekube.types.apps_v1 import Deployment, ReplicaSet, RollingUpdateDeployment
from edgekube.types.integers import natural
from edgekube.types.intstr import scaled

Scales = Mapping[str, int]  # ReplicaSet name -> replicas it should have

DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"


def wanted_replicas(deployment: Deployment) -> int:
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def replicas_of(rs: ReplicaSet) -> int:
    return 1 if rs.spec.replicas is None else rs.spec.replicas


def bounds(deployment: Deployment) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers; both zero would never move, so one may then be unavailable."""
    strategy = deployment.spec.strategy
    if strategy.type == "Recreate":
        return 0, 0
    rolling = strategy.rollingUpdate or RollingUpdateDeployment(maxSurge="25%", maxUnavailable="25%")
    total = wanted_replicas(deployment)
    surge = scaled(rolling.maxSurge if rolling.maxSurge is not None else "25%", total, round_up=True)
    unavailable = scaled(rolling.maxUnavailable if rolling.maxUnavailable is not None else "25%", total, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, total)


def rolling(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Scales:
    """One step of a rolling update: up if there is room, else down as far as availability allows."""
    surge, unavailable = bounds(deployment)
    total = wanted_replicas(deployment)
    current = replicas_of(new) + sum(replicas_of(rs) for rs in old)
    if replicas_of(new) > total:
        return {new.metadata.name: total}
    if replicas_of(new) < total:
        room = total + surge - current
        if room > 0:
            return {new.metadata.name: min(total, replicas_of(new) + room)}
    return _shrink_old(total - unavailable, new, old, current)


def _shrink_old(available_min: int, new: ReplicaSet, old: Sequence[ReplicaSet], current: int) -> Scales:
    """Take unhealthy replicas away first: they serve nobody; then healthy ones while enough remain."""
    new_unavailable = replicas_of(new) - _available(new)
    room = current - available_min - new_unavailable
    scales: dict[str, int] = {}
    if room <= 0 or not any(replicas_of(rs) for rs in old):
        return scales
    oldest_first = sorted(old, key=lambda rs: rs.metadata.creationTimestamp)
    for rs in oldest_first:
        take = min(room, replicas_of(rs) - _available(rs))
        if take:
            scales[rs.metadata.name] = replicas_of(rs) - take
            room -= take
    available = _available(new) + sum(map(_available, old))
    room = available - available_min
    for rs in oldest_first:
        left = scales.get(rs.metadata.name, replicas_of(rs))
        take = min(room, left)
        if take > 0:
            scales[rs.metadata.name] = left - take
            room -= take
    return scales


def _available(rs: ReplicaSet) -> int:
    """Never more than it should have: its status may still count replicas it was just told to give up."""
    return min(rs.status.availableReplicas, replicas_of(rs))


def grow(deployment: Deployment, new: ReplicaSet) -> Scales:
    """The whole of the new set at once."""
    total = wanted_replicas(deployment)
    return {new.metadata.name: total} if replicas_of(new) != total else {}


def first_size(deployment: Deployment, old: Sequence[ReplicaSet]) -> int:
    """How many replicas a new set begins with (NewRSNewReplicas)."""
    total = wanted_replicas(deployment)
    if deployment.spec.strategy.type == "Recreate":
        return total
    surge, _ = bounds(deployment)
    return min(total, max(0, total + surge - sum(replicas_of(rs) for rs in old)))


def proportional(deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet]) -> Scales:
    """A Deployment scaled in the middle of a rollout, or paused: every set grows or shrinks by its share."""
    active = [rs for rs in sets if replicas_of(rs) > 0]
    total = wanted_replicas(deployment)
    if len(active) <= 1:
        newest = new or max(sets, key=lambda rs: rs.metadata.creationTimestamp, default=None)
        only = active[0] if active else newest
        return {only.metadata.name: total} if only is not None and replicas_of(only) != total else {}
    if new is not None and _saturated(deployment, new):
        return {rs.metadata.name: 0 for rs in active if rs.metadata.uid != new.metadata.uid}
    if deployment.spec.strategy.type == "Recreate":
        return {}
    surge, _ = bounds(deployment)
    allowed = total + surge if total > 0 else 0
    to_add = allowed - sum(replicas_of(rs) for rs in active)
    if not to_add:
        return {}
    # The largest first; among equals the newest grows first, the oldest shrinks first.
    ordered = sorted(active, key=lambda rs: rs.metadata.creationTimestamp, reverse=to_add > 0)
    ordered.sort(key=replicas_of, reverse=True)
    scales: dict[str, int] = {}
    added = 0
    for rs in ordered:
        share = _share(deployment, rs, total + surge, to_add - added)
        scales[rs.metadata.name] = replicas_of(rs) + share
        added += share
    # What rounding left over goes to the first.
    first = ordered[0].metadata.name
    scales[first] = max(0, scales[first] + to_add - added)
    held = {rs.metadata.name: replicas_of(rs) for rs in active}
    return {name: count for name, count in scales.items() if count != held[name]}


def _saturated(deployment: Deployment, new: ReplicaSet) -> bool:
    """The new set does all the work already."""
    total = wanted_replicas(deployment)
    desired = new.metadata.annotations.get(DESIRED_REPLICAS, "")
    return (replicas_of(new), desired, new.status.availableReplicas) == (total, str(total), total)


def _share(deployment: Deployment, rs: ReplicaSet, limit: int, left: int) -> int:
    """What one set gets of the `left` replicas to add (or, below zero, to take): in proportion to its size in the
    Deployment as it was (GetReplicaSetProportion).
    """
    if left == 0:
        return 0
    if wanted_replicas(deployment) == 0:
        return max(-replicas_of(rs), left)
    before = natural(rs.metadata.annotations.get(MAX_REPLICAS, "")) or deployment.status.replicas or replicas_of(rs)
    share = (2 * replicas_of(rs) * limit + before) // (2 * before) - replicas_of(rs)  # halves are rounded up
    return min(share, left) if left > 0 else max(share, left)


def complete(deployment: Deployment) -> bool:
    """All replicas are updated and available and no old one is left (DeploymentComplete)."""
    total, status = wanted_replicas(deployment), deployment.status
    return (
        status.updatedReplicas == total
        and status.replicas == total
        and status.availableReplicas == total
        and status.observedGeneration >= deployment.metadata.generation
    )
