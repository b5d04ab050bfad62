"""cgroup limits and OOM scores of a pod, from its requests and limits (pkg/kubelet/qos, pkg/kubelet/cm)."""

from collections.abc import Mapping

from edgekube.runtime.api import Resources
from edgekube.types.core_v1 import Container, EphemeralContainer, Pod
from edgekube.types.pod_resources import NANO, pod_totals, qos_class
from edgekube.types.quantity import nano

MIN_SHARES, MAX_SHARES = 2, 262_144
SHARES_PER_CPU = 1024
QUOTA_PERIOD_US = 100_000
MIN_QUOTA_US = 1000
MILLI = 10**6  # nano-units

SYSTEM_CRITICAL = 2_000_000_000  # priority of system-cluster-critical
OOM_GUARANTEED, OOM_BEST_EFFORT = -997, 1000


def _milli(amount: int) -> int:
    """Whole thousandths of a core, rounded up as Kubernetes does."""
    return -(-amount // MILLI)


def shares(cpu: int) -> int:
    """CPU shares of a request in nano-cores."""
    return max(MIN_SHARES, min(MAX_SHARES, _milli(cpu) * SHARES_PER_CPU // 1000))


def quota_us(cpu: int) -> int:
    """CFS quota of a limit in nano-cores, for a period of 100 ms."""
    return max(MIN_QUOTA_US, _milli(cpu) * QUOTA_PERIOD_US // 1000)


def _bytes(amounts: Mapping[str, str]) -> int | None:
    """Memory in whole bytes, rounded up; None for none."""
    return -(-nano(amounts["memory"]) // NANO) or None if "memory" in amounts else None


def container_resources(container: Container | EphemeralContainer) -> Resources:
    """The container's own cgroup. A limit without a request was defaulted to a request by the API server."""
    requests, limits = container.resources.requests, container.resources.limits
    return Resources(
        cpu_shares=shares(nano(requests.get("cpu", "0"))),
        cpu_quota_us=quota_us(nano(limits["cpu"])) if nano(limits.get("cpu", "0")) > 0 else None,
        memory_limit_bytes=_bytes(limits),
        memory_request_bytes=_bytes(requests),
    )


def pod_resources(pod: Pod) -> Resources:
    """The pod cgroup: a limit where the pod has one or every container has, as the kubelet sets it."""
    everyone = (*pod.spec.containers, *pod.spec.initContainers)
    level = pod.spec.resources
    limits = pod_totals(pod, "limits")

    def limited(resource: str) -> bool:
        at_pod = level is not None and resource in level.limits
        return at_pod or all(nano(c.resources.limits.get(resource, "0")) > 0 for c in everyone)

    best_effort = qos_class(pod.spec) == "BestEffort"
    return Resources(
        cpu_shares=MIN_SHARES if best_effort else shares(pod_totals(pod).get("cpu", 0)),
        cpu_quota_us=quota_us(limits["cpu"]) if limited("cpu") else None,
        memory_limit_bytes=-(-limits["memory"] // NANO) if limited("memory") else None,
    )


def oom_score_adj(pod: Pod, container: Container | EphemeralContainer, node_memory_bytes: int) -> int:
    """Who dies first when the node runs out of memory (pkg/kubelet/qos/policy.go)."""
    if (pod.spec.priority or 0) >= SYSTEM_CRITICAL:
        return OOM_GUARANTEED
    match qos_class(pod.spec):
        case "Guaranteed":
            return OOM_GUARANTEED
        case "BestEffort":
            return OOM_BEST_EFFORT
    adjusted = 1000 - (1000 * (_bytes(container.resources.requests) or 0)) // max(node_memory_bytes, 1)
    return max(1000 + OOM_GUARANTEED, min(OOM_BEST_EFFORT - 1, adjusted))
