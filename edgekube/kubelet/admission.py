"""Whether this node takes a pod that was bound to it (pkg/kubelet/lifecycle/predicate.go). Pure.

The scheduler decided on what it knew; a pod may also name its node itself. What does not fit is refused for good: the
pod fails, and its controller makes another.
"""

from collections.abc import Iterable, Mapping

import msgspec

from edgekube.runtime.sandbox import sysctl_is_the_pods
from edgekube.types.core_v1 import Node, Pod
from edgekube.types.placement import NO_EXECUTE, node_fits_affinity, untolerated
from edgekube.types.pod_resources import NANO, host_ports, pod_totals
from edgekube.types.quantity import nano

MILLI = 10**6
RESOURCE_REASONS = {"cpu": "OutOfcpu", "memory": "OutOfmemory", "ephemeral-storage": "OutOfephemeral-storage"}
ENDED = ("Succeeded", "Failed")
ANY_ADDRESS = ("", "0.0.0.0", "::")


class Refusal(msgspec.Struct, frozen=True):
    """What the failed pod's status says."""

    reason: str
    message: str


def _refused(reason: str, words: str) -> Refusal:
    return Refusal(reason, f"Pod was rejected: {words}")


def admit(pod: Pod, node: Node, others: Iterable[Pod]) -> Refusal | None:
    """None when the pod may run. `others` are the pods that this node runs already."""
    neighbours = [p for p in others if p.status.phase not in ENDED and p.metadata.uid != pod.metadata.uid]
    allocatable = {name: nano(text) for name, text in node.status.allocatable.items()}
    room = allocatable.get("pods", 0) // NANO
    if "pods" in allocatable and len(neighbours) + 1 > room:
        return _refused(
            "OutOfpods",
            f"Node didn't have enough resource: pods, requested: 1, used: {len(neighbours)}, capacity: {room}",
        )
    if (short := shortage(pod, allocatable, neighbours)) is not None:
        return short
    if pod.spec.os is not None and pod.spec.os.name not in ("", "linux"):
        return _refused("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    if (name := forbidden_sysctl(pod)) is not None:
        return _refused("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
    if not node_fits_affinity(pod, node):
        return _refused(
            "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    taint = untolerated(node.spec.taints, pod.spec.tolerations, (NO_EXECUTE,))
    if taint is not None:
        words = f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
        return _refused("TaintToleration", f"Predicate TaintToleration failed: {words}")
    if (taken := port_conflict(pod, neighbours)) is not None:
        words = f"node(s) didn't have free ports for the requested pod ports ({taken})"
        return _refused("NodePorts", f"Predicate NodePorts failed: {words}")
    return None


def forbidden_sysctl(pod: Pod) -> str | None:
    """The first that would change more than the pod. What its own namespaces hold is allowed, the unsafe ones too."""
    context = pod.spec.securityContext
    for sysctl in context.sysctls if context is not None else ():
        if not sysctl_is_the_pods(sysctl.name, own_network=not pod.spec.hostNetwork, own_ipc=not pod.spec.hostIPC):
            return sysctl.name
    return None


def shortage(pod: Pod, allocatable: Mapping[str, int], neighbours: Iterable[Pod]) -> Refusal | None:
    """The first resource of which the node has not enough left; amounts are in nano-units."""
    used: dict[str, int] = {}
    for other in neighbours:
        for name, amount in pod_totals(other).items():
            used[name] = used.get(name, 0) + amount
    for name, amount in sorted(pod_totals(pod).items()):
        if amount > 0 and amount + used.get(name, 0) > allocatable.get(name, 0):
            unit = MILLI if name == "cpu" else NANO
            figures = f"requested: {amount // unit}, used: {used.get(name, 0) // unit}"
            words = f"Node didn't have enough resource: {name}, {figures}, capacity: {allocatable.get(name, 0) // unit}"
            return _refused(RESOURCE_REASONS.get(name, f"OutOf{name}"), words)
    return None


def port_conflict(pod: Pod, neighbours: Iterable[Pod]) -> str | None:
    """The first host port that another pod has; two addresses conflict when equal or when one of them is any."""
    taken = [port for other in neighbours for port in host_ports(other)]
    for address, protocol, number in host_ports(pod):
        for other_address, other_protocol, other_number in taken:
            same = address == other_address or address in ANY_ADDRESS or other_address in ANY_ADDRESS
            if (protocol, number) == (other_protocol, other_number) and same:
                return f"{number}/{protocol}"
    return None
