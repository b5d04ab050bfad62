"""Between a served version and the one stored: events.k8s.io/v1 over core Events, autoscaling/v1 over v2."""

from typing import Any

from edgekube.apiserver.resources import Resource

Obj = dict[str, Any]


def from_storage(res: Resource, obj: Obj) -> Obj:
    """The stored object in `res`'s version."""
    converted = _event_out(obj) if res.kind == "Event" else _hpa_out(obj)
    return {**converted, "apiVersion": res.api_version, "kind": res.kind}


def to_storage(res: Resource, obj: Obj, api_version: str) -> Obj:
    """An object of `res`'s version as it is stored."""
    converted = _event_in(obj) if res.kind == "Event" else _hpa_in(obj)
    return {**converted, "apiVersion": api_version, "kind": res.kind}


_EVENT_NAMES = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)


def _event_out(obj: Obj) -> Obj:
    return _renamed(obj, dict(_EVENT_NAMES))


def _event_in(obj: Obj) -> Obj:
    return _renamed(obj, {new: old for old, new in _EVENT_NAMES})


def _renamed(obj: Obj, names: dict[str, str]) -> Obj:
    return {names.get(key, key): value for key, value in obj.items()}


def _hpa_out(obj: Obj) -> Obj:
    """v2 to v1: the cpu utilization metric is the only one v1 can say."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    for metric in spec.pop("metrics", None) or ():
        target = (metric.get("resource") or {}).get("target") or {}
        if _is_cpu(metric) and "averageUtilization" in target:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
    spec.pop("behavior", None)
    for metric in status.pop("currentMetrics", None) or ():
        current = (metric.get("resource") or {}).get("current") or {}
        if _is_cpu(metric) and "averageUtilization" in current:
            status["currentCPUUtilizationPercentage"] = current["averageUtilization"]
    status.pop("conditions", None)
    return {**obj, "spec": spec, "status": status}


def _is_cpu(metric: Obj) -> bool:
    return metric.get("type") == "Resource" and (metric.get("resource") or {}).get("name") == "cpu"


def _hpa_in(obj: Obj) -> Obj:
    spec = dict(obj.get("spec") or {})
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    result = {**obj, "spec": spec}
    status = dict(obj.get("status") or {})
    current = status.pop("currentCPUUtilizationPercentage", None)
    if current is not None:
        status["currentMetrics"] = [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": current}}}
        ]
    if "status" in obj:
        result["status"] = status
    return result
