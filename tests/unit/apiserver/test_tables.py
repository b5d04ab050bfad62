"""What `kubectl get` shows."""

import json
from typing import Any

import pytest

from edgekube.apiserver.negotiate import form_of
from edgekube.apiserver.resources import RESOURCES
from edgekube.apiserver.tables import table
from edgekube.apiserver.tables.cells import duration
from edgekube.types import codec

from .conftest import NOW, Api

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (600, "10m"),
     (10_799, "179m"), (10_800, "3h"), (10_860, "3h1m"), (28_800, "8h"), (172_799, "47h"), (172_800, "2d"),
     (176_400, "2d1h"), (691_200, "8d"), (63_071_999, "729d"), (63_072_000, "2y"), (63_158_400, "2y1d")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def rows(kind: str, version: str, obj: dict[str, Any]) -> list[Any]:
    group, _, ver = version.rpartition("/")
    res = next(r for r in RESOURCES if (r.group, r.version, r.kind) == (group, ver, kind))
    whole = {"apiVersion": version, "kind": kind, **obj}
    shown = table.render(res, [json.dumps(whole).encode()], form_of(TABLE, {}), NOW)
    assert len(shown["columnDefinitions"]) == len(shown["rows"][0]["cells"])
    cells: list[Any] = shown["rows"][0]["cells"]
    return cells


META = {"name": "x", "namespace": "default", "creationTimestamp": "2023-11-14T22:12:20Z"}


def container_status(name: str, ready: bool, state: dict[str, Any], restarts: int = 0) -> dict[str, Any]:
    last = {"terminated": {"exitCode": 1, "finishedAt": "2023-11-14T22:13:10Z"}} if restarts else {}
    head = {"name": name, "ready": ready, "restartCount": restarts, "state": state}
    return {**head, "image": "i", "imageID": "", "lastState": last}


@pytest.mark.parametrize(
    ("status", "deleting", "expected"),
    [
        ({"phase": "Pending"}, False, ["0/2", "Pending", "0"]),
        (
            {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [
                container_status("a", True, {"running": {}}), container_status("b", True, {"running": {}}, 3)]},
            False, ["2/2", "Running", "3 (10s ago)"],
        ),
        (
            {"phase": "Running", "containerStatuses": [
                container_status("a", False, {"waiting": {"reason": "CrashLoopBackOff"}}, 1),
                container_status("b", True, {"running": {}})]},
            False, ["1/2", "CrashLoopBackOff", "1 (10s ago)"],
        ),
        (
            {"phase": "Succeeded", "containerStatuses": [
                container_status("a", False, {"terminated": {"exitCode": 0, "reason": "Completed"}})]},
            False, ["0/2", "Completed", "0"],
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [container_status("i", False, {"running": {}})]},
            False, ["0/2", "Init:0/1", "0"],
        ),
        ({"phase": "Running"}, True, ["0/2", "Terminating", "0"]),
        ({"phase": "Failed", "reason": "Evicted"}, False, ["0/2", "Evicted", "0"]),
    ],
)  # fmt: skip
def test_pod_states(status: dict[str, Any], deleting: bool, expected: list[str]) -> None:
    metadata = {**META, **({"deletionTimestamp": "2023-11-14T22:13:00Z"} if deleting else {})}
    spec = {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}], "nodeName": "n"}
    cells = rows("Pod", "v1", {"metadata": metadata, "spec": spec, "status": status})
    assert cells[1:4] == expected
    assert cells[4] == "60s"
    assert cells[6] == "n"


def test_services() -> None:
    spec = {"type": "NodePort", "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"], "selector": {"b": "2", "a": "1"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}  # fmt: skip
    assert rows("Service", "v1", {"metadata": META, "spec": spec}) == [
        "x", "NodePort", "10.43.0.9", "<none>", "80:30080/TCP,53/UDP", "60s", "a=1,b=2"
    ]  # fmt: skip


def test_deployments_and_jobs() -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    selector = {"matchLabels": {"app": "x"}}
    deployment = {"spec": {"replicas": 3, "selector": selector, "template": template},
                  "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}  # fmt: skip
    assert rows("Deployment", "apps/v1", {"metadata": META, **deployment}) == [
        "x", "2/3", 3, 2, "60s", "c", "nginx", "app=x"
    ]  # fmt: skip
    job = {"spec": {"completions": 1, "template": template},
           "status": {"succeeded": 1, "startTime": "2023-11-14T22:12:20Z", "completionTime": "2023-11-14T22:12:25Z",
                      "conditions": [{"type": "Complete", "status": "True"}]}}  # fmt: skip
    assert rows("Job", "batch/v1", {"metadata": META, **job})[:5] == ["x", "Complete", "1/1", "5s", "60s"]


@pytest.mark.parametrize("res", [r for r in RESOURCES if "list" in r.verbs], ids=lambda r: f"{r.qualified}.{r.version}")
def test_every_kind_prints_its_empty_value(res: Any) -> None:
    obj = json.loads(codec.encode(res.cls()))
    obj["metadata"] = META
    shown = table.render(res, [json.dumps(obj).encode()], form_of(TABLE, {}), NOW)
    assert len(shown["columnDefinitions"]) == len(shown["rows"][0]["cells"])
    json.dumps(shown["rows"][0]["cells"])


async def test_list_as_table(api: Api) -> None:
    shown = json.loads((await api("list", "core/v1/namespaces", accept=TABLE)).body)
    assert [c["name"] for c in shown["columnDefinitions"]] == ["Name", "Status", "Age"]
    assert shown["rows"][0]["cells"] == ["default", "Active", "0s"]
    assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_list_as_metadata(api: Api) -> None:
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    shown = json.loads((await api("list", "core/v1/namespaces", accept=accept)).body)
    assert shown["kind"] == "PartialObjectMetadataList"
    assert set(shown["items"][0]) == {"kind", "apiVersion", "metadata"}
