"""`describe` for Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs."""

from edgekube.cli.ages import human, local, parse
from edgekube.cli.api import Json, path_of
from edgekube.cli.describe import Writer, conditions, controlled_by, head, started
from edgekube.cli.describe_pod import template
from edgekube.cli.pods import selected, selector_of
from edgekube.types.resources import Resource, by_plural


def _row(plural: str, group: str = "apps") -> Resource:
    row = by_plural(group, "v1", plural)
    assert row is not None
    return row


def _selector(obj: Json) -> str:
    selector = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in selector.items())


def deployment(writer: Writer, obj: Json) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    started(writer, obj)
    head(writer, obj)
    writer.field("Selector", _selector(obj))
    counts = [
        f"{spec.get('replicas', 1)} desired",
        f"{status.get('updatedReplicas', 0)} updated",
        f"{status.get('replicas', 0)} total",
        f"{status.get('availableReplicas', 0)} available",
        f"{status.get('unavailableReplicas', 0)} unavailable",
    ]
    writer.field("Replicas", " | ".join(counts))
    strategy = spec.get("strategy") or {}
    writer.field("StrategyType", strategy.get("type"))
    writer.field("MinReadySeconds", spec.get("minReadySeconds", 0))
    rolling = strategy.get("rollingUpdate")
    if rolling:
        limits = f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge"
        writer.field("RollingUpdateStrategy", limits)
    template(writer, spec)
    conditions(writer, obj)
    _replica_sets(writer, obj)


def _replica_sets(writer: Writer, obj: Json) -> None:
    if writer.api is None:
        return
    found = writer.api.list(path_of(_row("replicasets"), obj["metadata"]["namespace"])).get("items") or ()
    hash_now = (obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
    old: list[str] = []
    new: list[str] = []
    for each in found:
        if not any(o.get("uid") == obj["metadata"]["uid"] for o in each["metadata"].get("ownerReferences") or ()):
            continue
        text = f"{each['metadata']['name']} ({(each.get('status') or {}).get('replicas', 0)}/{each['spec']['replicas']}"
        revision = (each["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
        (new if revision == hash_now else old).append(f"{text} replicas created)")
    writer.field("OldReplicaSets", ", ".join(old))
    writer.field("NewReplicaSet", ", ".join(new))


def replicaset(writer: Writer, obj: Json) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    if obj.get("kind") == "StatefulSet":
        started(writer, obj)
    writer.field("Selector", _selector(obj))
    head(writer, obj)
    controlled_by(writer, obj)
    replicas = status.get("currentReplicas", 0) if obj.get("kind") == "StatefulSet" else status.get("replicas", 0)
    writer.field("Replicas", f"{replicas} current / {spec.get('replicas', 1)} desired")
    _pod_phases(writer, obj)
    template(writer, spec)
    conditions(writer, obj)


def daemonset(writer: Writer, obj: Json) -> None:
    status = obj.get("status") or {}
    writer.field("Selector", _selector(obj))
    head(writer, obj)
    for title, field in (
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ):
        writer.field(title, status.get(field, 0))
    _pod_phases(writer, obj)
    template(writer, obj["spec"])


def _pod_phases(writer: Writer, obj: Json) -> None:
    if writer.api is None:
        return
    plural = {"ReplicaSet": "replicasets", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}[obj["kind"]]
    pods = selected(writer.api, obj["metadata"]["namespace"], selector_of(_row(plural), obj))
    phases = [(pod.get("status") or {}).get("phase", "Pending") for pod in pods]
    counts = [f"{phases.count(name)} {name}" for name in ("Running", "Pending", "Succeeded", "Failed")]
    # kubectl's spelling: Waiting for Pending
    writer.field("Pods Status", " / ".join(counts).replace("Pending", "Waiting"))


def job(writer: Writer, obj: Json) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    writer.field("Selector", _selector(obj))
    head(writer, obj)
    controlled_by(writer, obj)
    for title, field in (
        ("Parallelism", "parallelism"),
        ("Completions", "completions"),
        ("Completion Mode", "completionMode"),
        ("Suspend", "suspend"),
        ("Backoff Limit", "backoffLimit"),
    ):
        writer.field(title, spec.get(field))
    for title, field in (("Start Time", "startTime"), ("Completed At", "completionTime")):
        if status.get(field):
            writer.field(title, local(status[field]))
    begin, end = parse(status.get("startTime") or ""), parse(status.get("completionTime") or "")
    if begin and end:
        writer.field("Duration", human((end - begin).total_seconds()))
    if spec.get("activeDeadlineSeconds"):
        writer.field("Active Deadline Seconds", f"{spec['activeDeadlineSeconds']}s")
    counts = [("active", "Active"), ("succeeded", "Succeeded"), ("failed", "Failed")]
    writer.field("Pods Statuses", " / ".join(f"{status.get(field, 0)} {title}" for field, title in counts))
    template(writer, spec)
    conditions(writer, obj)
