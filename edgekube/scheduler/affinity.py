"""Inter-pod affinity and topology spread over a snapshot. Pure (interpodaffinity and podtopologyspread plugins)."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from edgekube.scheduler.snapshot import NodeState, Snapshot
from edgekube.types.core_v1 import Pod, PodAffinityTerm, TopologySpreadConstraint
from edgekube.types.meta_v1 import LabelSelector, LabelSelectorRequirement
from edgekube.types.placement import NO_EXECUTE, NO_SCHEDULE, node_fits_affinity, untolerated
from edgekube.types.selectors import from_label_selector

Matches = Callable[[Pod], bool]


def term_matcher(owner: Pod, term: PodAffinityTerm, namespaces: Mapping[str, Mapping[str, str]]) -> Matches:
    """Which pods a term of `owner` speaks of: its namespaces and its label selector."""
    labels = from_label_selector(_with_keys(term.labelSelector, owner, term.matchLabelKeys, term.mismatchLabelKeys))
    nothing = term.labelSelector is None
    by_labels = from_label_selector(term.namespaceSelector) if term.namespaceSelector is not None else None
    named = frozenset(term.namespaces)
    if not named and by_labels is None:
        named = frozenset((owner.metadata.namespace,))

    def matches(pod: Pod) -> bool:
        namespace = pod.metadata.namespace
        if nothing or not labels.matches(pod.metadata.labels):
            return False
        return namespace in named or (by_labels is not None and by_labels.matches(namespaces.get(namespace, {})))

    return matches


def _with_keys(
    selector: LabelSelector | None, owner: Pod, match: Iterable[str], mismatch: Iterable[str]
) -> LabelSelector | None:
    """matchLabelKeys and mismatchLabelKeys add the owner's own values to the selector (KEP-3633)."""
    extra = [
        LabelSelectorRequirement(key=key, operator=operator, values=(owner.metadata.labels[key],))
        for operator, keys in (("In", match), ("NotIn", mismatch))
        for key in keys
        if key in owner.metadata.labels
    ]
    if selector is None or not extra:
        return selector
    return msgspec.structs.replace(selector, matchExpressions=(*selector.matchExpressions, *extra))


def required_affinity(pod: Pod) -> tuple[PodAffinityTerm, ...]:
    affinity = pod.spec.affinity.podAffinity if pod.spec.affinity is not None else None
    return affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity is not None else ()


def required_anti_affinity(pod: Pod) -> tuple[PodAffinityTerm, ...]:
    affinity = pod.spec.affinity.podAntiAffinity if pod.spec.affinity is not None else None
    return affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity is not None else ()


class PodAffinityState(msgspec.Struct, frozen=True):
    """What affinity terms say of the whole cluster, computed once per pod to be placed.

    Each list has one entry a term: (topology key, values of that key under which a matching pod runs).
    """

    wanted: tuple[tuple[str, frozenset[str]], ...]
    avoided: tuple[tuple[str, frozenset[str]], ...]
    forbidden: frozenset[tuple[str, str]]  # topologies in which an existing pod refuses the new one
    alone: bool  # no pod matches any wanted term, but the pod matches them itself: the first of its group


def affinity_state(pod: Pod, snapshot: Snapshot) -> PodAffinityState:
    def places(term: PodAffinityTerm) -> tuple[str, frozenset[str]]:
        matches = term_matcher(pod, term, snapshot.namespaces)
        key = term.topologyKey
        found = {
            state.node.metadata.labels[key]
            for state in snapshot.nodes.values()
            if key in state.node.metadata.labels and any(matches(other) for other in state.pods)
        }
        return key, frozenset(found)

    wanted_terms = required_affinity(pod)
    wanted = tuple(places(term) for term in wanted_terms)
    alone = (
        bool(wanted)
        and not any(values for _, values in wanted)
        and all(term_matcher(pod, term, snapshot.namespaces)(pod) for term in wanted_terms)
    )
    forbidden = set()
    for state in snapshot.nodes.values():
        if not state.affine:
            continue
        for other in state.pods:
            for term in required_anti_affinity(other):
                value = state.node.metadata.labels.get(term.topologyKey)
                if value is not None and term_matcher(other, term, snapshot.namespaces)(pod):
                    forbidden.add((term.topologyKey, value))
    avoided = tuple(places(term) for term in required_anti_affinity(pod))
    return PodAffinityState(wanted, avoided, frozenset(forbidden), alone)


def affinity_problem(state: PodAffinityState, node: NodeState) -> str:
    """Why a node is out of the question, or ""."""
    labels = node.node.metadata.labels
    if any((key, value) in state.forbidden for key, value in labels.items()):
        return "node(s) didn't satisfy existing pods anti-affinity rules"
    if any(labels.get(key) in values for key, values in state.avoided):
        return "node(s) didn't match pod anti-affinity rules"
    for key, values in state.wanted:
        if key not in labels or (labels[key] not in values and not state.alone):
            return "node(s) didn't match pod affinity rules"
    return ""


class SpreadState(msgspec.Struct, frozen=True):
    """One hard (or soft) constraint over the cluster: matching pods by value of its topology key."""

    constraint: TopologySpreadConstraint
    counts: Mapping[str, int]
    minimum: int
    self_match: int


def spread_states(pod: Pod, snapshot: Snapshot, when: str) -> tuple[SpreadState, ...]:
    """For the constraints with whenUnsatisfiable `when` (DoNotSchedule or ScheduleAnyway)."""
    constraints = [c for c in pod.spec.topologySpreadConstraints if c.whenUnsatisfiable == when]
    result = []
    for constraint in constraints:
        selector = _with_keys(constraint.labelSelector, pod, constraint.matchLabelKeys, ())
        labels = from_label_selector(selector)
        counts: dict[str, int] = {}
        for state in snapshot.nodes.values():
            value = state.node.metadata.labels.get(constraint.topologyKey)
            if value is None or not _counts(constraint, pod, state):
                continue
            counts[value] = counts.get(value, 0) + sum(
                other.metadata.namespace == pod.metadata.namespace
                and not other.metadata.deletionTimestamp
                and selector is not None
                and labels.matches(other.metadata.labels)
                for other in state.pods
            )
        minimum = min(counts.values(), default=0)
        if len(counts) < (constraint.minDomains or 1):
            minimum = 0
        own = selector is not None and labels.matches(pod.metadata.labels)
        result.append(SpreadState(constraint, counts, minimum, int(own)))
    return tuple(result)


def _counts(constraint: TopologySpreadConstraint, pod: Pod, state: NodeState) -> bool:
    """Whether a node is one of the domains: by default one the pod's node affinity allows, taints aside (KEP-3094)."""
    if constraint.nodeAffinityPolicy != "Ignore" and not node_fits_affinity(pod, state.node):
        return False
    if constraint.nodeTaintsPolicy == "Honor":
        return untolerated(state.node.spec.taints, pod.spec.tolerations, (NO_SCHEDULE, NO_EXECUTE)) is None
    return True


def spread_problem(states: Iterable[SpreadState], node: NodeState) -> str:
    """Why placing the pod here would tilt the spread too far, or ""."""
    for state in states:
        value = node.node.metadata.labels.get(state.constraint.topologyKey)
        if value is None:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        if state.counts.get(value, 0) + state.self_match - state.minimum > state.constraint.maxSkew:
            return "node(s) didn't match pod topology spread constraints"
    return ""


def preferred_affinity(pod: Pod, snapshot: Snapshot) -> dict[str, int]:
    """Raw weight per node of the soft affinity terms of the pod and, towards it, of the pods that run."""
    weights: dict[tuple[str, str], int] = {}

    def credit(term: PodAffinityTerm, owner: Pod, weight: int, towards: Iterable[tuple[NodeState, Pod]]) -> None:
        matches = term_matcher(owner, term, snapshot.namespaces)
        for state, other in towards:
            value = state.node.metadata.labels.get(term.topologyKey)
            if value is not None and matches(other):
                place = (term.topologyKey, value)
                weights[place] = weights.get(place, 0) + weight

    running = [(state, other) for state in snapshot.nodes.values() for other in state.pods]
    for term, weight in _soft_terms(pod):
        credit(term, pod, weight, running)
    for state, other in running:
        if other.spec.affinity is None:
            continue
        for term, weight in _soft_terms(other):
            credit(term, other, weight, ((state, pod),))
        for hard in required_affinity(other):
            credit(hard, other, 1, ((state, pod),))
    if not weights:
        return {}
    return {
        name: sum(weights.get(place, 0) for place in state.node.metadata.labels.items())
        for name, state in snapshot.nodes.items()
    }


def _soft_terms(pod: Pod) -> list[tuple[PodAffinityTerm, int]]:
    affinity = pod.spec.affinity
    if affinity is None:
        return []
    found: list[tuple[PodAffinityTerm, int]] = []
    if affinity.podAffinity is not None:
        soft = affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution
        found += [(t.podAffinityTerm, t.weight) for t in soft]
    if affinity.podAntiAffinity is not None:
        soft = affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution
        found += [(t.podAffinityTerm, -t.weight) for t in soft]
    return found
