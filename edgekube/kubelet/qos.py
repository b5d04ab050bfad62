"""Quality of service, cgroup limits and OOM scores of a pod, from its requests and limits (pkg/kubelet/qos)."""

from collections.abc import Mapping
from fractions import Fraction

from edgekube.runtime.api import Resources
from edgekube.types.core_v1 import Container, EphemeralContainer, Pod
from edgekube.types.quantity import parse

MIN_SHARES, MAX_SHARES = 2, 262_144
SHARES_PER_CPU = 1024
QUOTA_PERIOD_US = 100_000
MIN_QUOTA_US = 1000

COMPUTE = ("cpu", "memory")


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos)."""
    containers = (*pod.spec.initContainers, *pod.spec.containers)
    asked = False
    guaranteed = True
    for container in containers:
        requests, limits = container.resources.requests, container.resources.limits
        for resource in COMPUTE:
            request, limit = _amount(requests, resource), _amount(limits, resource)
            asked = asked or bool(request) or bool(limit)
            if not limit or (request and request != limit):
                guaranteed = False
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amount(values: Mapping[str, str], resource: str) -> Fraction:
    return Fraction(parse(values[resource])) if resource in values else Fraction(0)


def shares(cores: Fraction) -> int:
    """CPU shares of a request in cores."""
    return max(MIN_SHARES, min(MAX_SHARES, int(cores * SHARES_PER_CPU)))


def quota_us(cores: Fraction) -> int:
    """CFS quota of a limit in cores, for a period of 100 ms."""
    return max(MIN_QUOTA_US, int(cores * QUOTA_PERIOD_US))


def container_resources(container: Container | EphemeralContainer) -> Resources:
    """The container's own cgroup. A limit without a request was defaulted to a request by the API server."""
    requests, limits = container.resources.requests, container.resources.limits
    return Resources(
        cpu_shares=shares(_amount(requests, "cpu")),
        cpu_quota_us=quota_us(_amount(limits, "cpu")) if "cpu" in limits else None,
        memory_limit_bytes=int(_amount(limits, "memory")) or None,
        memory_request_bytes=int(_amount(requests, "memory")) or None,
    )


def pod_total(pod: Pod, which: str, resource: str) -> Fraction:
    """What a pod needs at once: containers and sidecars together, or one init container beside earlier sidecars.

    `which` is requests or limits (KEP-753's formula), overhead included.
    """
    spec = pod.spec
    total = sum((_amount(getattr(c.resources, which), resource) for c in spec.containers), Fraction(0))
    sidecars, peak = Fraction(0), Fraction(0)
    for init in spec.initContainers:
        amount = _amount(getattr(init.resources, which), resource)
        if init.restartPolicy == "Always":
            sidecars += amount
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + amount)
    return max(total + sidecars, peak) + _amount(spec.overhead, resource)


def pod_resources(pod: Pod) -> Resources:
    """The pod cgroup: limits only where every container has one, as the kubelet sets it."""
    everyone = (*pod.spec.containers, *pod.spec.initContainers)

    def limited(resource: str) -> bool:
        return all(resource in c.resources.limits for c in everyone)

    best_effort = qos_class(pod) == "BestEffort"
    return Resources(
        cpu_shares=MIN_SHARES if best_effort else shares(pod_total(pod, "requests", "cpu")),
        cpu_quota_us=quota_us(pod_total(pod, "limits", "cpu")) if limited("cpu") else None,
        memory_limit_bytes=int(pod_total(pod, "limits", "memory")) if limited("memory") else None,
    )


def oom_score_adj(pod: Pod, container: Container | EphemeralContainer, node_memory_bytes: int) -> int:
    """Who dies first when the node runs out of memory (pkg/kubelet/qos/policy.go)."""
    if (pod.spec.priority or 0) >= 2_000_000_000:
        return -997
    match qos_class(pod):
        case "Guaranteed":
            return -997
        case "BestEffort":
            return 1000
    request = int(_amount(container.resources.requests, "memory"))
    adjusted = 1000 - (1000 * request) // max(node_memory_bytes, 1)
    return max(3, min(999, adjusted))
