"""What a pod asks for in all, by resource (KEP-753's formula for sidecars, KEP-2837 for pod-level resources).

And the quality of service that follows from it. Shared by the scheduler, the kubelet and the API server.
"""

from collections.abc import Mapping

import msgspec

from edgekube.types.core_v1 import Pod, PodSpec, ResourceRequirements
from edgekube.types.quantity import QuantityError, nano

NANO = 10**9
COMPUTE = ("cpu", "memory")  # what quality of service is judged by


class ContainerAsks(msgspec.Struct, frozen=True):
    """What a container asks for."""

    resources: ResourceRequirements = ResourceRequirements()


class PodAsks(msgspec.Struct, frozen=True):
    """The part of a PodSpec that quality of service follows from, to be read without the rest."""

    containers: tuple[ContainerAsks, ...] = ()
    initContainers: tuple[ContainerAsks, ...] = ()
    resources: ResourceRequirements | None = None


def qos_class(spec: PodSpec | PodAsks) -> str:
    """Guaranteed, Burstable or BestEffort: by pod-level resources where there are any, else by every container's.

    Amounts that are no quantities count for nothing: validation refuses them.
    """
    level = spec.resources
    if level is not None and (level.requests or level.limits):
        blocks = [level]
    else:
        blocks = [c.resources for c in (*spec.containers, *spec.initContainers)]
    asked, guaranteed = False, True
    for block in blocks:
        requests, limits = _positive(block.requests), _positive(block.limits)
        asked = asked or bool(requests) or bool(limits)
        if set(limits) != set(COMPUTE) or any(requests.get(name, limit) != limit for name, limit in limits.items()):
            guaranteed = False
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(amounts: Mapping[str, str]) -> dict[str, int]:
    found = {}
    for name in amounts.keys() & set(COMPUTE):
        try:
            amount = nano(amounts[name])
        except QuantityError:
            continue
        if amount > 0:
            found[name] = amount
    return found


def pod_totals(pod: Pod, which: str = "requests") -> dict[str, int]:
    """Nano-units by resource name: containers and sidecars together, or one init container beside earlier sidecars.

    `which` is requests or limits. Pod-level resources replace the sum; overhead comes on top.
    """
    spec = pod.spec
    total: dict[str, int] = {}
    for container in spec.containers:
        _add(total, getattr(container.resources, which))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for init in spec.initContainers:
        own: Mapping[str, str] = getattr(init.resources, which)
        if init.restartPolicy == "Always":
            _add(sidecars, own)
            _raise(peak, sidecars)
        else:
            beside = dict(sidecars)
            _add(beside, own)
            _raise(peak, beside)
    for name, amount in sidecars.items():
        total[name] = total.get(name, 0) + amount
    _raise(total, peak)
    if spec.resources is not None:
        for name, text in getattr(spec.resources, which).items():
            total[name] = nano(text)
    _add(total, spec.overhead)
    return total


def _add(total: dict[str, int], amounts: Mapping[str, str]) -> None:
    for name, text in amounts.items():
        total[name] = total.get(name, 0) + nano(text)


def _raise(total: dict[str, int], floor: Mapping[str, int]) -> None:
    for name, amount in floor.items():
        total[name] = max(total.get(name, 0), amount)


def host_ports(pod: Pod) -> list[tuple[str, str, int]]:
    """(host IP, protocol, port) of every host port; on the host network container ports are host ports."""
    found = []
    for container in (*pod.spec.containers, *(c for c in pod.spec.initContainers if c.restartPolicy == "Always")):
        for port in container.ports:
            number = port.hostPort or (port.containerPort if pod.spec.hostNetwork else 0)
            if number:
                found.append((port.hostIP or "0.0.0.0", port.protocol or "TCP", number))
    return found
