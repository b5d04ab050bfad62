"""Whether a pod may be on a node: taints and tolerations, node selectors and affinity (component-helpers/scheduling).

Shared by the scheduler, the DaemonSet controller, the node lifecycle controller and the kubelet.
"""

from collections.abc import Iterable, Sequence

from edgekube.types.core_v1 import Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration
from edgekube.types.integers import integer

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration covers one taint; an empty key with Exists covers all."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    if not toleration.key:
        return False
    if toleration.operator in ("Lt", "Gt"):
        return _numeric(toleration, taint)
    return toleration.value == taint.value


def _numeric(toleration: Toleration, taint: Taint) -> bool:
    """Gt and Lt compare as integers (KEP-5471)."""
    bound, value = integer(toleration.value), integer(taint.value)
    if bound is None or value is None:
        return False
    return value > bound if toleration.operator == "Gt" else value < bound


def untolerated(taints: Iterable[Taint], tolerations: Sequence[Toleration], effects: Iterable[str]) -> Taint | None:
    """The first taint with one of `effects` that nothing tolerates."""
    wanted = frozenset(effects)
    for taint in taints:
        if taint.effect in wanted and not any(tolerates(t, taint) for t in tolerations):
            return taint
    return None


def requirement_holds(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    """One node selector requirement against a label's (or field's) value; None when it is absent."""
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            have, bound = integer(value or ""), integer("".join(requirement.values[:1]))
            if have is None or bound is None:
                return False
            return have > bound if requirement.operator == "Gt" else have < bound
    return False


def term_matches(term: NodeSelectorTerm, node: Node) -> bool:
    """All expressions of a term; a term without any matches nothing."""
    if not term.matchExpressions and not term.matchFields:
        return False
    labels = node.metadata.labels
    return all(requirement_holds(r, labels.get(r.key)) for r in term.matchExpressions) and all(
        r.key == "metadata.name" and requirement_holds(r, node.metadata.name) for r in term.matchFields
    )


def node_fits_affinity(pod: Pod, node: Node) -> bool:
    """nodeSelector and required node affinity; terms are alternatives."""
    if not pod.spec.nodeSelector.items() <= node.metadata.labels.items():
        return False
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity is not None else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity is not None else None
    return required is None or any(term_matches(term, node) for term in required.nodeSelectorTerms)
