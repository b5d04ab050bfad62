"""The cluster as one scheduling decision sees it. A value: built once a pass, extended by what the pass assumes."""

from collections.abc import Iterable, Mapping

import msgspec

from edgekube.types.core_v1 import Namespace, Node, Pod
from edgekube.types.pod_resources import NANO, host_ports, pod_totals
from edgekube.types.quantity import nano

# A container without requests still takes something: what scoring assumes for it (schedutil.GetNonzeroRequests).
DEFAULT_CPU_NANO = 100_000_000
DEFAULT_MEMORY_NANO = 200 * 1024 * 1024 * NANO


class NodeState(msgspec.Struct):
    """One node, the pods on it, and sums kept so that a filter is a few comparisons."""

    node: Node
    allocatable: dict[str, int]
    pods: list[Pod]
    requested: dict[str, int]
    nonzero_cpu: int = 0
    nonzero_memory: int = 0
    ports: set[tuple[str, str, int]] = msgspec.field(default_factory=set)
    images: dict[str, int] = msgspec.field(default_factory=dict)
    affine: int = 0  # pods with required anti-affinity: most clusters have none, and then nobody looks

    @property
    def name(self) -> str:
        return self.node.metadata.name

    def add(self, pod: Pod) -> None:
        self.pods.append(pod)
        for name, amount in pod_totals(pod).items():
            self.requested[name] = self.requested.get(name, 0) + amount
        cpu, memory = nonzero(pod)
        self.nonzero_cpu += cpu
        self.nonzero_memory += memory
        self.ports.update(host_ports(pod))
        affinity = pod.spec.affinity
        if affinity is not None and affinity.podAntiAffinity is not None:
            self.affine += 1


def nonzero(pod: Pod) -> tuple[int, int]:
    """(cpu, memory) in nano-units with defaults for containers that ask for none."""
    totals = pod_totals(pod)
    cpu, memory = totals.get("cpu", 0), totals.get("memory", 0)
    for container in pod.spec.containers:
        if "cpu" not in container.resources.requests:
            cpu += DEFAULT_CPU_NANO
        if "memory" not in container.resources.requests:
            memory += DEFAULT_MEMORY_NANO
    return cpu, memory


class Snapshot(msgspec.Struct):
    """`namespaces` are labels by name, for namespace selectors in affinity terms."""

    nodes: dict[str, NodeState]
    namespaces: Mapping[str, Mapping[str, str]]

    def assume(self, pod: Pod, node_name: str) -> None:
        """Count a pod as bound although the API does not show it yet."""
        state = self.nodes.get(node_name)
        if state is not None:
            state.add(pod)


def take(nodes: Iterable[Node], pods: Iterable[Pod], namespaces: Iterable[Namespace]) -> Snapshot:
    """From what the caches show now; finished pods take no room."""
    states: dict[str, NodeState] = {}
    for node in nodes:
        images = {name: image.sizeBytes for image in node.status.images for name in image.names}
        allocatable = {name: nano(text) for name, text in (node.status.allocatable or node.status.capacity).items()}
        states[node.metadata.name] = NodeState(node, allocatable, [], {}, images=images)
    for pod in pods:
        state = states.get(pod.spec.nodeName) if pod.spec.nodeName else None
        if state is not None and pod.status.phase not in ("Succeeded", "Failed"):
            state.add(pod)
    return Snapshot(states, {n.metadata.name: n.metadata.labels for n in namespaces})
