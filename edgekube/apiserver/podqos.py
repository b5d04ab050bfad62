"""The quality-of-service class of a pod (qos.ComputePodQOS)."""

from collections.abc import Iterable, Mapping
from typing import Any

from edgekube.types import quantity

_COUNTED = ("cpu", "memory")


def qos_class(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, by the cpu and memory requests and limits of all containers."""
    level = spec.get("resources") or {}
    blocks: Iterable[Mapping[str, Any]]
    if any(level.get(part) for part in ("requests", "limits")):
        blocks = [level]
    else:
        every = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        blocks = [container.get("resources") or {} for container in every]
    any_set = False
    guaranteed = True
    for block in blocks:
        requests, limits = _positive(block.get("requests")), _positive(block.get("limits"))
        any_set = any_set or bool(requests) or bool(limits)
        if set(limits) != set(_COUNTED) or any(requests.get(name, limits[name]) != limits[name] for name in limits):
            guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(amounts: Mapping[str, Any] | None) -> dict[str, int]:
    result = {}
    for name, text in (amounts or {}).items():
        if name in _COUNTED:
            try:
                value = quantity.nano(str(text))
            except quantity.QuantityError:
                continue
            if value > 0:
                result[name] = value
    return result
