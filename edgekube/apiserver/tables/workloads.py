"""Deployments and the like, jobs, autoscalers, disruption budgets."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.tables.cells import NONE, UNKNOWN, UNSET, age, duration, labels
from edgekube.apiserver.tables.columns import Spec, spec
from edgekube.types import selectors
from edgekube.types.time import TimeError, parse_time


def _age(obj: Any, now: float) -> str:
    return age(obj.metadata.creationTimestamp, now)


def _selector(selector: Any) -> str:
    if selector is None:
        return NONE
    try:
        return str(selectors.from_label_selector(selector)) or NONE
    except selectors.SelectorError:
        return "<error>"


def _containers(template: Any) -> tuple[str, str]:
    containers = template.spec.containers
    return ",".join(c.name for c in containers), ",".join(c.image for c in containers)


def _scale(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, obj.spec.replicas, obj.status.replicas, _age(obj, now))


def _deployment(obj: Any, now: float) -> Sequence[Any]:
    status = obj.status
    wanted = 1 if obj.spec.replicas is None else obj.spec.replicas
    return (
        obj.metadata.name, f"{status.readyReplicas}/{wanted}", status.updatedReplicas, status.availableReplicas,
        _age(obj, now), *_containers(obj.spec.template), _selector(obj.spec.selector),
    )  # fmt: skip


def _replica_set(obj: Any, now: float) -> Sequence[Any]:
    selector = obj.spec.selector
    shown = _selector(selector) if hasattr(selector, "matchLabels") or selector is None else labels(selector)
    template = obj.spec.template
    return (
        obj.metadata.name, 1 if obj.spec.replicas is None else obj.spec.replicas, obj.status.replicas,
        obj.status.readyReplicas, _age(obj, now), *(_containers(template) if template else (NONE, NONE)), shown,
    )  # fmt: skip


def _stateful_set(obj: Any, now: float) -> Sequence[Any]:
    wanted = 1 if obj.spec.replicas is None else obj.spec.replicas
    ready = f"{obj.status.readyReplicas}/{wanted}"
    return (obj.metadata.name, ready, _age(obj, now), *_containers(obj.spec.template))


def _daemon_set(obj: Any, now: float) -> Sequence[Any]:
    status = obj.status
    return (
        obj.metadata.name, status.desiredNumberScheduled, status.currentNumberScheduled, status.numberReady,
        status.updatedNumberScheduled, status.numberAvailable, labels(obj.spec.template.spec.nodeSelector),
        _age(obj, now), *_containers(obj.spec.template), _selector(obj.spec.selector),
    )  # fmt: skip


def _job(obj: Any, now: float) -> Sequence[Any]:
    spec_, status = obj.spec, obj.status
    if spec_.completions is not None:
        completions = f"{status.succeeded}/{spec_.completions}"
    else:
        parallelism = spec_.parallelism or 0
        completions = f"{status.succeeded}/1 of {parallelism}" if parallelism > 1 else f"{status.succeeded}/1"
    took = ""
    if status.startTime:
        try:
            end = parse_time(status.completionTime) if status.completionTime else now
            took = duration(end - parse_time(status.startTime))
        except TimeError:
            took = UNKNOWN
    return (
        obj.metadata.name, _job_status(obj), completions, took, _age(obj, now), *_containers(spec_.template),
        _selector(spec_.selector),
    )  # fmt: skip


def _job_status(obj: Any) -> str:
    true = {c.type for c in obj.status.conditions if c.status == "True"}
    if "Complete" in true:
        return "Complete"
    if "Failed" in true:
        return "Failed"
    if obj.metadata.deletionTimestamp:
        return "Terminating"
    if "Suspended" in true:
        return "Suspended"
    if "FailureTarget" in true:
        return "FailureTarget"
    return "SuccessCriteriaMet" if "SuccessCriteriaMet" in true else "Running"


def _cron_job(obj: Any, now: float) -> Sequence[Any]:
    last = age(obj.status.lastScheduleTime, now) if obj.status.lastScheduleTime else NONE
    template = obj.spec.jobTemplate.spec
    return (
        obj.metadata.name, obj.spec.schedule, obj.spec.timeZone or NONE, "True" if obj.spec.suspend else "False",
        len(obj.status.active), last, _age(obj, now), *_containers(template.template), _selector(template.selector),
    )  # fmt: skip


def _autoscaler(obj: Any, now: float) -> Sequence[Any]:
    ref = obj.spec.scaleTargetRef
    minimum = UNSET if obj.spec.minReplicas is None else str(obj.spec.minReplicas)
    return (
        obj.metadata.name, f"{ref.kind}/{ref.name}", _targets(obj), minimum, obj.spec.maxReplicas,
        obj.status.currentReplicas if obj.status is not None else 0, _age(obj, now),
    )  # fmt: skip


def _targets(obj: Any) -> str:
    if not hasattr(obj.spec, "metrics"):
        target = obj.spec.targetCPUUtilizationPercentage
        current = obj.status.currentCPUUtilizationPercentage if obj.status is not None else None
        now = UNKNOWN if current is None else f"{current}%"
        return NONE if target is None else f"cpu: {now}/{target}%"
    shown = []
    current_metrics = obj.status.currentMetrics if obj.status is not None else ()
    for index, metric in enumerate(obj.spec.metrics):
        current = current_metrics[index] if index < len(current_metrics) else None
        source = {"Resource": metric.resource, "ContainerResource": metric.containerResource, "Pods": metric.pods,
                  "Object": metric.object, "External": metric.external}.get(metric.type)  # fmt: skip
        if source is None:
            shown.append("<unknown type>")
            continue
        at = getattr(current, {"Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods",
                               "Object": "object", "External": "external"}[metric.type], None)  # fmt: skip
        have = at.current if at is not None else None
        want = source.target
        name = f"{source.name}: " if metric.type in ("Resource", "ContainerResource") else ""
        if want.averageUtilization is not None:
            held = have.averageUtilization if have is not None else None
            shown.append(f"{name}{UNKNOWN if held is None else f'{held}%'}/{want.averageUtilization}%")
        elif want.averageValue:
            suffix = "" if metric.type in ("Resource", "ContainerResource", "Pods") else " (avg)"
            held_value = (have.averageValue if have is not None else None) or UNKNOWN
            shown.append(f"{name}{held_value}/{want.averageValue}{suffix}")
        else:
            held_value = (have.value if have is not None else None) or UNKNOWN
            shown.append(f"{name}{held_value}/{want.value}")
    if not shown:
        return NONE
    return ", ".join(shown[:2]) + (f" + {len(shown) - 2} more..." if len(shown) > 2 else "")


def _budget(obj: Any, now: float) -> Sequence[Any]:
    spec_ = obj.spec
    least = "N/A" if spec_.minAvailable is None else str(spec_.minAvailable)
    most = "N/A" if spec_.maxUnavailable is None else str(spec_.maxUnavailable)
    return (obj.metadata.name, least, most, obj.status.disruptionsAllowed, _age(obj, now))


def _revision(obj: Any, now: float) -> Sequence[Any]:
    owner = next((ref for ref in obj.metadata.ownerReferences if ref.controller), None)
    shown = NONE
    if owner is not None:
        group = owner.apiVersion.rpartition("/")[0]
        shown = f"{owner.kind.lower()}{'.' + group if group else ''}/{owner.name}"
    return (obj.metadata.name, shown, obj.revision, _age(obj, now))


_REPLICAS = spec("Desired:integer Current:integer Ready:integer Age Containers+ Images+ Selector+", _replica_set)

TABLES: dict[str, Spec] = {
    "Scale": spec("Desired:integer Available:integer Age", _scale),
    "Deployment": spec("Ready Up-to-date Available Age Containers+ Images+ Selector+", _deployment),
    "ReplicaSet": _REPLICAS,
    "ReplicationController": _REPLICAS,
    "StatefulSet": spec("Ready Age Containers+ Images+", _stateful_set),
    "DaemonSet": spec(
        "Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer Node_Selector Age"
        " Containers+ Images+ Selector+",
        _daemon_set,
    ),
    "Job": spec("Status Completions Duration Age Containers+ Images+ Selector+", _job),
    "CronJob": spec(
        "Schedule Timezone Suspend:boolean Active:integer Last_Schedule Age Containers+ Images+ Selector+", _cron_job
    ),
    "HorizontalPodAutoscaler": spec("Reference Targets MinPods MaxPods Replicas Age", _autoscaler),
    "PodDisruptionBudget": spec("Min_Available Max_Unavailable Allowed_Disruptions:integer Age", _budget),
    "ControllerRevision": spec("Controller Revision:integer Age", _revision),
}
