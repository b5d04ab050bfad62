"""Which nodes a pod can run on, and in kube-scheduler's words why not on the others. Pure."""

from collections.abc import Callable, Mapping

import msgspec

from edgekube.scheduler.affinity import (
    PodAffinityState,
    SpreadState,
    affinity_problem,
    affinity_state,
    spread_problem,
    spread_states,
)
from edgekube.scheduler.snapshot import NodeState, Snapshot, nonzero
from edgekube.types.core_v1 import Pod, Taint
from edgekube.types.placement import NO_EXECUTE, NO_SCHEDULE, node_fits_affinity, tolerates, untolerated
from edgekube.types.pod_resources import NANO, host_ports, pod_totals

UNSCHEDULABLE_TAINT = Taint(key="node.kubernetes.io/unschedulable", effect=NO_SCHEDULE)
ANY_ADDRESS = "0.0.0.0"


class Wanted(msgspec.Struct, frozen=True):
    """What is computed once per pod and used for every node."""

    pod: Pod
    requests: Mapping[str, int]
    nonzero: tuple[int, int]  # cpu and memory as scoring counts them
    ports: tuple[tuple[str, str, int], ...]
    affinity: PodAffinityState
    spread: tuple[SpreadState, ...]


def prepare(pod: Pod, snapshot: Snapshot) -> Wanted:
    return Wanted(
        pod,
        pod_totals(pod),
        nonzero(pod),
        tuple(host_ports(pod)),
        affinity_state(pod, snapshot),
        spread_states(pod, snapshot, "DoNotSchedule"),
    )


def node_unschedulable(wanted: Wanted, state: NodeState) -> str:
    if state.node.spec.unschedulable and not any(
        tolerates(t, UNSCHEDULABLE_TAINT) for t in wanted.pod.spec.tolerations
    ):
        return "node(s) were unschedulable"
    return ""


def taint_toleration(wanted: Wanted, state: NodeState) -> str:
    taint = untolerated(state.node.spec.taints, wanted.pod.spec.tolerations, (NO_SCHEDULE, NO_EXECUTE))
    return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}" if taint is not None else ""


def node_affinity(wanted: Wanted, state: NodeState) -> str:
    return "" if node_fits_affinity(wanted.pod, state.node) else "node(s) didn't match Pod's node affinity/selector"


def node_ports(wanted: Wanted, state: NodeState) -> str:
    for address, protocol, port in wanted.ports:
        for other_address, other_protocol, other_port in state.ports:
            if (protocol, port) == (other_protocol, other_port) and (
                address == other_address or ANY_ADDRESS in (address, other_address)
            ):
                return "node(s) didn't have free ports for the requested pod ports"
    return ""


def resources_fit(wanted: Wanted, state: NodeState) -> str:
    """All resources that lack, joined by ";": each counts on its own in the message."""
    problems = []
    if (len(state.pods) + 1) * NANO > state.allocatable.get("pods", 0):
        problems.append("Too many pods")
    for name, amount in wanted.requests.items():
        if amount and amount + state.requested.get(name, 0) > state.allocatable.get(name, 0):
            problems.append(f"Insufficient {name}")
    return ";".join(problems)


def topology_spread(wanted: Wanted, state: NodeState) -> str:
    return spread_problem(wanted.spread, state)


def inter_pod_affinity(wanted: Wanted, state: NodeState) -> str:
    return affinity_problem(wanted.affinity, state)


# In kube-scheduler's default order: cheap and decisive ones first. The first refusal is the one reported.
FILTERS: tuple[Callable[[Wanted, NodeState], str], ...] = (
    node_unschedulable,
    taint_toleration,
    node_affinity,
    node_ports,
    resources_fit,
    topology_spread,
    inter_pod_affinity,
)


def problem(wanted: Wanted, state: NodeState) -> str:
    """Why the pod cannot run on a node, or "" when it can."""
    for check in FILTERS:
        reason = check(wanted, state)
        if reason:
            return reason
    return ""
