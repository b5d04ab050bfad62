"""How many replicas each ReplicaSet of a Deployment should have next. Pure (deployment-controller's rolling.go).

Availability never falls below `replicas - maxUnavailable`, and never more than `replicas + maxSurge` pods exist.
"""

from collections.abc import Mapping, Sequence

from edgekube.types.apps_v1 import Deployment, ReplicaSet, RollingUpdateDeployment
from edgekube.types.intstr import scaled

Scales = Mapping[str, int]  # ReplicaSet name -> replicas it should have

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
    new_unavailable = max(0, replicas_of(new) - new.status.availableReplicas)
    room = current - available_min - new_unavailable
    scales: dict[str, int] = {}
    if room <= 0 or not any(replicas_of(rs) for rs in old):
        return scales
    oldest_first = sorted(old, key=lambda rs: rs.metadata.creationTimestamp)
    for rs in oldest_first:
        unhealthy = replicas_of(rs) - rs.status.availableReplicas
        take = min(room, max(0, unhealthy))
        if take:
            scales[rs.metadata.name] = replicas_of(rs) - take
            room -= take
    available = new.status.availableReplicas + sum(rs.status.availableReplicas for rs in old)
    room = available - available_min
    for rs in oldest_first:
        left = scales.get(rs.metadata.name, replicas_of(rs))
        take = min(room, left)
        if take > 0:
            scales[rs.metadata.name] = left - take
            room -= take
    return scales


def recreate(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet], old_pods: int) -> Scales:
    """All old pods go before the first new one comes."""
    scales = {rs.metadata.name: 0 for rs in old if replicas_of(rs)}
    if not scales and old_pods == 0 and replicas_of(new) != wanted_replicas(deployment):
        scales[new.metadata.name] = wanted_replicas(deployment)
    return scales


def proportional(deployment: Deployment, sets: Sequence[ReplicaSet]) -> Scales:
    """A Deployment scaled in the middle of a rollout, or paused: every set grows or shrinks by its share."""
    active = [rs for rs in sets if replicas_of(rs) > 0]
    total = wanted_replicas(deployment)
    if not active:
        newest = max(sets, key=lambda rs: rs.metadata.creationTimestamp, default=None)
        return {newest.metadata.name: total} if newest is not None and replicas_of(newest) != total else {}
    if len(active) == 1:
        return {active[0].metadata.name: total} if replicas_of(active[0]) != total else {}
    surge, _ = bounds(deployment)
    allowed = total + surge if total > 0 else 0
    current = sum(replicas_of(rs) for rs in active)
    to_add = allowed - current
    # The largest first; among equals the newest grows first, the oldest shrinks first.
    ordered = sorted(active, key=lambda rs: rs.metadata.creationTimestamp, reverse=to_add > 0)
    ordered.sort(key=replicas_of, reverse=True)
    scales: dict[str, int] = {}
    added = 0
    for rs in ordered:
        share = 0
        if to_add != 0:
            before = int(rs.metadata.annotations.get(MAX_REPLICAS, "0") or 0) or current
            exact = replicas_of(rs) * allowed / before - replicas_of(rs)
            share = round(exact)
            rest = to_add - added
            share = min(share, rest) if to_add > 0 else max(share, rest)
            if (to_add > 0) != (share > 0):
                share = 0
        scales[rs.metadata.name] = replicas_of(rs) + share
        added += share
    first = ordered[0].metadata.name
    scales[first] = max(0, scales[first] + to_add - added)
    return {
        name: count
        for name, count in scales.items()
        if count != next(replicas_of(rs) for rs in active if rs.metadata.name == name)
    }


def complete(deployment: Deployment) -> bool:
    """All replicas are updated and available and no old one is left (DeploymentComplete)."""
    total, status = wanted_replicas(deployment), deployment.status
    return (
        status.updatedReplicas == total
        and status.replicas == total
        and status.availableReplicas == total
        and status.observedGeneration >= deployment.metadata.generation
    )
