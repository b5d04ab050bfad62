"""How good each feasible node is for a pod: 0 to 100 a score, weighted and summed. Pure.

Weights and formulas are kube-scheduler's defaults (plugins/*; default_plugins.go).
"""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

from edgekube.scheduler.affinity import preferred_affinity, spread_states
from edgekube.scheduler.filters import Wanted
from edgekube.scheduler.snapshot import NodeState, Snapshot
from edgekube.types.placement import PREFER_NO_SCHEDULE, term_matches, tolerates

SCORE_MAX = 100
MB = 1024 * 1024
IMAGE_MIN_BYTES, IMAGE_MAX_BYTES = 23 * MB, 1000 * MB

Scores = Mapping[str, float]
Score = Callable[[Wanted, Sequence[NodeState], Snapshot], Scores]


def _normalise(raw: Mapping[str, float], *, reverse: bool = False) -> Scores:
    """Stretch so that the best has 100; `reverse`: the fewest points are the best."""
    top = max(raw.values(), default=0.0)
    if top == 0:
        return dict.fromkeys(raw, SCORE_MAX if reverse else 0)
    return {name: SCORE_MAX * ((top - value) if reverse else value) / top for name, value in raw.items()}


def taints(wanted: Wanted, nodes: Sequence[NodeState], snapshot: Snapshot) -> Scores:
    """Fewer untolerated PreferNoSchedule taints are better."""
    tolerations = wanted.pod.spec.tolerations
    return _normalise(
        {
            n.name: sum(
                t.effect == PREFER_NO_SCHEDULE and not any(tolerates(own, t) for own in tolerations)
                for t in n.node.spec.taints
            )
            for n in nodes
        },
        reverse=True,
    )


def node_affinity(wanted: Wanted, nodes: Sequence[NodeState], snapshot: Snapshot) -> Scores:
    affinity = wanted.pod.spec.affinity.nodeAffinity if wanted.pod.spec.affinity is not None else None
    terms = affinity.preferredDuringSchedulingIgnoredDuringExecution if affinity is not None else ()
    if not terms:
        return {}
    return _normalise({n.name: sum(t.weight for t in terms if term_matches(t.preference, n.node)) for n in nodes})


def _usage(wanted: Wanted, node: NodeState) -> tuple[float, float]:
    """Shares of cpu and memory in use with the pod on the node, 0 to 1."""
    cpu, memory = wanted.nonzero
    have_cpu, have_memory = node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)
    return (
        min(1.0, (node.nonzero_cpu + cpu) / have_cpu) if have_cpu else 1.0,
        min(1.0, (node.nonzero_memory + memory) / have_memory) if have_memory else 1.0,
    )


def least_allocated(wanted: Wanted, nodes: Sequence[NodeState], snapshot: Snapshot) -> Scores:
    """Room left, averaged over cpu and memory."""
    return {n.name: SCORE_MAX * (1 - sum(_usage(wanted, n)) / 2) for n in nodes}


def balanced(wanted: Wanted, nodes: Sequence[NodeState], snapshot: Snapshot) -> Scores:
    """cpu and memory used evenly: 1 minus the standard deviation of their shares."""
    result = {}
    for n in nodes:
        cpu, memory = _usage(wanted, n)
        mean = (cpu + memory) / 2
        result[n.name] = SCORE_MAX * (1 - sqrt(((cpu - mean) ** 2 + (memory - mean) ** 2) / 2))
    return result


def spread(wanted: Wanted, nodes: Sequence[NodeState], snapshot: Snapshot) -> Scores:
    """Fewer matching pods in the node's domains are better, for ScheduleAnyway constraints."""
    states = spread_states(wanted.pod, snapshot, "ScheduleAnyway")
    if not states:
        return {}
    raw = {}
    for n in nodes:
        labels = n.node.metadata.labels
        raw[n.name] = sum(s.counts.get(labels.get(s.constraint.topologyKey, ""), 0) + s.self_match for s in states)
    low, high = min(raw.values()), max(raw.values())
    if high == 0:
        return dict.fromkeys(raw, SCORE_MAX)
    return {name: SCORE_MAX * (high + low - value) / high for name, value in raw.items()}


def pod_affinity(wanted: Wanted, nodes: Sequence[NodeState], snapshot: Snapshot) -> Scores:
    raw = preferred_affinity(wanted.pod, snapshot)
    values = [raw.get(n.name, 0) for n in nodes]
    low, high = min(values, default=0), max(values, default=0)
    if low == high:
        return {}
    return {n.name: SCORE_MAX * (raw.get(n.name, 0) - low) / (high - low) for n in nodes}


def image_locality(wanted: Wanted, nodes: Sequence[NodeState], snapshot: Snapshot) -> Scores:
    """Images that are there already need no pull."""
    count = len(wanted.pod.spec.containers) + len(wanted.pod.spec.initContainers)
    top = IMAGE_MAX_BYTES * max(count, 1)
    result = {}
    for n in nodes:
        have = sum(n.images.get(c.image, 0) for c in (*wanted.pod.spec.initContainers, *wanted.pod.spec.containers))
        clipped = min(max(have, IMAGE_MIN_BYTES), top)
        result[n.name] = SCORE_MAX * (clipped - IMAGE_MIN_BYTES) / (top - IMAGE_MIN_BYTES)
    return result


SCORES: tuple[tuple[int, Score], ...] = (
    (3, taints),
    (2, node_affinity),
    (2, spread),
    (2, pod_affinity),
    (1, least_allocated),
    (1, balanced),
    (1, image_locality),
)


def rank(wanted: Wanted, nodes: Sequence[NodeState], snapshot: Snapshot) -> dict[str, float]:
    """Total per node name."""
    totals = dict.fromkeys((n.name for n in nodes), 0.0)
    for weight, score in SCORES:
        for name, value in score(wanted, nodes, snapshot).items():
            totals[name] += weight * value
    return totals
