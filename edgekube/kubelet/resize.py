"""Resizing a running pod (KEP-1287): what differs, whether the node can give it, in which order. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from edgekube.kubelet.admission import shortage
from edgekube.kubelet.qos import container_resources
from edgekube.kubelet.spec import AnyContainer
from edgekube.runtime.api import Resources
from edgekube.types.core_v1 import Pod, PodCondition
from edgekube.types.pod_resources import pod_totals

UNLIMITED = -1  # lifts a limit; None leaves it as it is


class Step(msgspec.Struct, frozen=True):
    """Give a running container these limits, or restart it because its resizePolicy asks for that."""

    name: str
    resources: Resources
    restart: bool = False
    grows: bool = False


def same(a: Resources, b: Resources) -> bool:
    """Whether two sets of limits mean the same; memory requests are no limit."""
    return _key(a) == _key(b)


def _key(given: Resources) -> tuple[int, ...]:
    limits = (given.cpu_shares, given.cpu_quota_us, given.memory_limit_bytes)
    return tuple(UNLIMITED if amount is None else amount for amount in limits)


def _lifting(wanted: Resources) -> Resources:
    """Limits that are gone are lifted, not left."""
    return msgspec.structs.replace(
        wanted,
        cpu_quota_us=UNLIMITED if wanted.cpu_quota_us is None else wanted.cpu_quota_us,
        memory_limit_bytes=UNLIMITED if wanted.memory_limit_bytes is None else wanted.memory_limit_bytes,
    )


def _grows(old: Resources, new: Resources) -> bool:
    before, after = _key(old), _key(new)
    return any(b != UNLIMITED and (a == UNLIMITED or a > b) for b, a in zip(before, after, strict=True))


def steps(containers: Iterable[AnyContainer], running: Mapping[str, Resources]) -> list[Step]:
    """What to change; `running` holds the limits that running containers have now."""
    result = []
    for container in containers:
        have = running.get(container.name)
        if have is None:
            continue
        want = container_resources(container)
        if same(have, want):
            continue
        changed = set()
        if _key(have)[:2] != _key(want)[:2]:
            changed.add("cpu")
        if _key(have)[2] != _key(want)[2]:
            changed.add("memory")
        restart = any(
            p.resourceName in changed and p.restartPolicy == "RestartContainer" for p in container.resizePolicy
        )
        result.append(Step(container.name, _lifting(want), restart, _grows(have, want)))
    return result


def pod_limits(limits: Resources) -> Resources:
    """The pod cgroup's new limits."""
    return _lifting(limits)


def refusal(pod: Pod, allocatable: Mapping[str, int], neighbours: Iterable[Pod]) -> PodCondition | None:
    """The PodResizePending condition of a resize that the node cannot give: Infeasible ever, Deferred for now."""
    totals = pod_totals(pod)
    for name in ("cpu", "memory"):
        if totals.get(name, 0) > allocatable.get(name, 0):
            unit = 10**6 if name == "cpu" else 10**9
            words = (
                f"Node didn't have enough capacity: {name}, requested: {totals[name] // unit}, "
                f"capacity: {allocatable.get(name, 0) // unit}"
            )
            return PodCondition(type="PodResizePending", status="True", reason="Infeasible", message=words)
    short = shortage(pod, allocatable, neighbours)
    if short is None:
        return None
    words = short.message.removeprefix("Pod was rejected: ")
    return PodCondition(type="PodResizePending", status="True", reason="Deferred", message=words)


def in_progress(problem: str = "") -> PodCondition:
    """The PodResizeInProgress condition; with `problem`, of a resize that does not go through."""
    reason = "Error" if problem else ""
    return PodCondition(type="PodResizeInProgress", status="True", reason=reason, message=problem)
