"""`describe node`: conditions, capacity, and what its pods ask for."""

from edgekube.cli.ages import age, local
from edgekube.cli.api import Json, path_of
from edgekube.cli.describe import Writer, head, started
from edgekube.cli.pods import PODS
from edgekube.cli.sorting import ordered


def node(writer: Writer, obj: Json) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    labels = obj["metadata"].get("labels") or {}
    prefix = "node-role.kubernetes.io/"
    writer.field("Roles", ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))))
    head(writer, obj)
    started(writer, obj)
    taints = [f"{t['key']}{'=' + t['value'] if t.get('value') else ''}:{t['effect']}" for t in spec.get("taints") or ()]
    writer.many("Taints", taints)
    writer.field("Unschedulable", bool(spec.get("unschedulable")))
    writer.title("Conditions")
    rows = [["Type", "Status", "LastTransitionTime", "Reason", "Message"]]
    for each in status.get("conditions") or ():
        changed = local(each.get("lastTransitionTime"))
        rows.append([each["type"], each["status"], changed, each.get("reason") or "", each.get("message") or ""])
    writer.table(rows)
    writer.title("Addresses")
    with writer.inside():
        for each in status.get("addresses") or ():
            writer.field(each["type"], each["address"])
    for title in ("capacity", "allocatable"):
        writer.title(title.title())
        with writer.inside():
            for name, value in sorted((status.get(title) or {}).items()):
                writer.field(name, value)
    writer.title("System Info")
    with writer.inside():
        for key, value in (status.get("nodeInfo") or {}).items():
            writer.field(key[:1].upper() + key[1:], value)
    writer.field("PodCIDR", spec.get("podCIDR"))
    _pods(writer, obj)


def _pods(writer: Writer, obj: Json) -> None:
    if writer.api is None:
        return
    query = {"fieldSelector": f"spec.nodeName={obj['metadata']['name']},status.phase!=Succeeded,status.phase!=Failed"}
    pods = writer.api.list(path_of(PODS), query).get("items") or []
    allocatable = (obj.get("status") or {}).get("allocatable") or {}
    writer.title(f"Non-terminated Pods ({len(pods)} in total)")
    rows = [["Namespace", "Name", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits", "Age"]]
    totals = [0.0] * 4
    wanted = [(kind, name) for name in ("cpu", "memory") for kind in ("requests", "limits")]
    for pod in pods:
        cells = []
        for index, (kind, name) in enumerate(wanted):
            total = sum(_amount(c, kind, name) for c in pod["spec"].get("containers") or ())
            totals[index] += total
            cells.append(_share(name, total, allocatable))
        metadata = pod["metadata"]
        rows.append([metadata["namespace"], metadata["name"], *cells, age(metadata.get("creationTimestamp"))])
    writer.table(rows)
    writer.title("Allocated resources")
    shares = [_share(name, totals[index], allocatable) for index, (_, name) in enumerate(wanted)]
    writer.table([["Resource", "Requests", "Limits"], ["cpu", *shares[:2]], ["memory", *shares[2:]]])


def _amount(container: Json, kind: str, name: str) -> float:
    return amount(((container.get("resources") or {}).get(kind) or {}).get(name) or "0")


def amount(quantity: str) -> float:
    """A quantity in cores or bytes; 0 for what is none."""
    kind, value = ordered(quantity)
    return float(value) if kind == 1 else 0.0


def _share(name: str, total: float, allocatable: Json) -> str:
    whole = amount(str(allocatable.get(name) or "0"))
    shown = f"{total * 1000:.0f}m" if name == "cpu" else f"{total / 1048576:.0f}Mi"
    return f"{shown if total else '0'} ({total * 100 / whole if whole else 0:.0f}%)"
