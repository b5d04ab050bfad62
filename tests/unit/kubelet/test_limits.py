"""Quality of service, cgroup limits, admission, resizing, eviction: figures in, decisions out."""

import os
from typing import Any

import msgspec
import pytest

from edgekube.kubelet import resize
from edgekube.kubelet.admission import admit
from edgekube.kubelet.pressure import Usage, eviction_order, over_limit, shortages, tree_bytes
from edgekube.kubelet.qos import container_resources, oom_score_adj, pod_resources, quota_us, shares
from edgekube.runtime.api import Resources
from edgekube.types.core_v1 import Node, Pod
from edgekube.types.pod_resources import qos_class
from tests.unit.kubelet.conftest import pod_of

MIB = 1024 * 1024


def asks(cpu: str = "", memory: str = "", cpu_limit: str = "", memory_limit: str = "") -> dict[str, Any]:
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    limits = {k: v for k, v in (("cpu", cpu_limit), ("memory", memory_limit)) if v}
    return {"resources": {"requests": requests, "limits": limits}}


def pod(*containers: dict[str, Any], **spec: Any) -> Pod:
    return pod_of(containers=[{"name": f"c{i}", **c} for i, c in enumerate(containers)], **spec)


FULL = asks("1", "64Mi", "1", "64Mi")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (pod({}), "BestEffort"),
        (pod(asks(cpu="0")), "BestEffort"),
        (pod(asks(cpu="none")), "BestEffort"),
        (pod(asks(cpu="1")), "Burstable"),
        (pod(FULL), "Guaranteed"),
        (pod(asks("1", "64Mi", "1000m", "65536Ki")), "Guaranteed"),
        (pod(asks(cpu_limit="1", memory_limit="1Gi")), "Guaranteed"),
        (pod(FULL, {}), "Burstable"),
        (pod(asks("1", "64Mi", "2", "64Mi")), "Burstable"),
        (pod({}, resources=FULL["resources"]), "Guaranteed"),
    ],
)
def test_quality_of_service(wanted: Pod, expected: str) -> None:
    assert qos_class(wanted.spec) == expected


def test_cgroup_figures() -> None:
    assert [shares(n * 10**6) for n in (0, 1, 100, 1000, 10**9)] == [2, 2, 102, 1024, 262_144]
    assert [quota_us(n * 10**6) for n in (1, 500, 2000)] == [1000, 50_000, 200_000]
    given = container_resources(pod(asks("250m", "32Mi", "500m", "64Mi")).spec.containers[0])
    assert given == Resources(
        cpu_shares=256, cpu_quota_us=50_000, memory_limit_bytes=64 * MIB, memory_request_bytes=32 * MIB
    )
    assert container_resources(pod({}).spec.containers[0]) == Resources(cpu_shares=2)


def test_the_pod_group_is_limited_where_all_containers_are() -> None:
    assert pod_resources(pod(FULL, FULL)) == Resources(
        cpu_shares=2048, cpu_quota_us=200_000, memory_limit_bytes=128 * MIB
    )
    assert pod_resources(pod(FULL, asks(cpu="1"))) == Resources(cpu_shares=2048)
    assert pod_resources(pod({})) == Resources(cpu_shares=2)
    level = {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}}
    assert pod_resources(pod({}, resources=level)).memory_limit_bytes == 1024 * MIB


def test_oom_scores() -> None:
    def score(wanted: Pod) -> int:
        return oom_score_adj(wanted, wanted.spec.containers[0], 1024 * MIB)

    assert score(pod(FULL)) == -997
    assert score(pod({})) == 1000
    assert score(pod(asks(memory="256Mi"))) == 750
    assert score(pod(asks(memory="1Gi"))) == 3
    assert score(pod(asks(cpu="1"))) == 999
    assert score(pod({}, priority=2_000_001_000)) == -997


def node(**status: str) -> Node:
    amounts = {"cpu": "2", "memory": "1Gi", "pods": "3"} | status
    body = {
        "metadata": {"name": "n1", "labels": {"disk": "ssd"}},
        "spec": {"taints": [{"key": "gone", "effect": "NoExecute"}, {"key": "full", "effect": "NoSchedule"}]},
        "status": {"allocatable": amounts},
    }
    return msgspec.convert(body, Node)


def named(wanted: Pod, uid: str) -> Pod:
    return msgspec.structs.replace(wanted, metadata=msgspec.structs.replace(wanted.metadata, uid=uid))


TOLERATES = {"tolerations": [{"key": "gone", "operator": "Exists"}]}
PORT = {"ports": [{"containerPort": 80, "hostPort": 80}]}


def sysctl(name: str) -> dict[str, Any]:
    return {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}, **TOLERATES}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (pod({}, **TOLERATES), ""),
        (pod({}), "TaintToleration"),
        (pod(asks(cpu="1500m"), **TOLERATES), "OutOfcpu"),
        (pod(asks(memory="2Gi"), **TOLERATES), "OutOfmemory"),
        (pod({}, nodeSelector={"disk": "hdd"}, **TOLERATES), "NodeAffinity"),
        (pod({}, nodeSelector={"disk": "ssd"}, **TOLERATES), ""),
        (pod(PORT, **TOLERATES), "NodePorts"),
        (pod({"ports": [{"containerPort": 80, "hostPort": 80, "protocol": "UDP"}]}, **TOLERATES), ""),
        (pod({"ports": [{"containerPort": 80, "hostPort": 81}]}, **TOLERATES), ""),
        (pod({}, os={"name": "windows"}, **TOLERATES), "PodOSNotSupported"),
        (pod({}, **sysctl("kernel.panic")), "SysctlForbidden"),
        (pod({}, **sysctl("net.ipv4.ip_forward")), ""),
        (pod({}, **sysctl("net/ipv4/ip_forward"), hostNetwork=True), "SysctlForbidden"),
        (pod({}, **sysctl("kernel.shm_rmid_forced")), ""),
        (pod({}, **sysctl("kernel.shm_rmid_forced"), hostIPC=True), "SysctlForbidden"),
    ],
)
def test_admission(wanted: Pod, reason: str) -> None:
    other = named(pod(asks(cpu="1") | PORT), "other")
    found = admit(named(wanted, "mine"), node(), [other])
    assert (found.reason if found is not None else "") == reason


def test_a_node_takes_only_so_many_pods() -> None:
    others = [named(pod({}), str(i)) for i in range(3)]
    found = admit(named(pod({}), "mine"), node(), others)
    assert found is not None
    assert found.reason == "OutOfpods"
    assert found.message == (
        "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"
    )
    ended = [msgspec.structs.replace(p, status=msgspec.structs.replace(p.status, phase="Failed")) for p in others]
    assert admit(named(pod({}, **TOLERATES), "mine"), node(), ended) is None


def test_resize_steps() -> None:
    have = {"c0": Resources(cpu_shares=1024, cpu_quota_us=100_000, memory_limit_bytes=64 * MIB)}
    assert resize.steps(pod(FULL).spec.containers, have) == []
    (step,) = resize.steps(pod(asks("2", "64Mi", "2", "64Mi")).spec.containers, have)
    assert (step.name, step.restart, step.grows, step.resources.cpu_quota_us) == ("c0", False, True, 200_000)
    (step,) = resize.steps(pod(asks("1", "32Mi", "1", "32Mi")).spec.containers, have)
    assert (step.grows, step.resources.memory_limit_bytes) == (False, 32 * MIB)
    (step,) = resize.steps(pod(asks("1", "64Mi", "1")).spec.containers, have)
    assert (step.grows, step.resources.memory_limit_bytes) == (True, resize.UNLIMITED)
    restarts = {"resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}
    (step,) = resize.steps(pod(asks("1", "128Mi", "1", "128Mi") | restarts).spec.containers, have)
    assert step.restart
    (step,) = resize.steps(pod(asks("2", "64Mi", "2", "64Mi") | restarts).spec.containers, have)
    assert not step.restart
    lifted = {"c0": msgspec.structs.replace(have["c0"], memory_limit_bytes=resize.UNLIMITED)}
    assert resize.steps(pod(asks("1", "", "1")).spec.containers, lifted) == []


def test_resizes_the_node_cannot_give() -> None:
    room = {"cpu": 2 * 10**9, "memory": 2**30 * 10**9}
    big = resize.refusal(pod(asks(cpu="3")), room, [])
    assert big is not None
    assert (big.type, big.reason) == ("PodResizePending", "Infeasible")
    later = resize.refusal(pod(asks(cpu="1500m")), room, [pod(asks(cpu="1"))])
    assert later is not None
    assert later.reason == "Deferred"
    assert resize.refusal(pod(asks(cpu="1")), room, [pod(asks(cpu="1"))]) is None


def test_who_is_evicted_first() -> None:
    modest = Usage(uid="modest", priority=0, used=10, requested=20)
    greedy = Usage(uid="greedy", priority=0, used=100, requested=20)
    greedier = Usage(uid="greedier", priority=0, used=300, requested=20)
    important = Usage(uid="important", priority=5, used=1000, requested=20)
    order = [u.uid for u in eviction_order([modest, greedy, important, greedier])]
    assert order == ["greedier", "greedy", "important", "modest"]


def disk(free: float, inodes: float = 0.5) -> os.statvfs_result:
    blocks, files = 1_000_000, 1000
    left = int(blocks * free)
    return os.statvfs_result((4096, 4096, blocks, left, left, files, int(files * inodes), int(files * inodes), 0, 255))


def test_shortages() -> None:
    assert shortages({"MemAvailable": 200 * MIB}, disk(0.5)) == []
    (memory,) = shortages({"MemAvailable": 50 * MIB}, disk(0.5))
    assert (memory.resource, memory.threshold, memory.available) == ("memory", "100Mi", "50Mi")
    assert [s.resource for s in shortages({}, disk(0.05))] == ["ephemeral-storage"]
    assert [s.resource for s in shortages({}, disk(0.5, inodes=0.01))] == ["inodes"]


def test_limits_on_local_storage() -> None:
    limited = pod({}, volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}])
    assert over_limit(limited, {"v": MIB, "": 10**9}) == ""
    assert over_limit(limited, {"v": MIB + 1}) == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    container = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    assert over_limit(pod(container), {"": MIB}) == ""
    assert "exceeds the total limit of containers 1Mi" in over_limit(pod(container), {"": MIB, "v": 1})


async def test_trees_are_measured_without_following_links(tmp_path: Any) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"x" * 100_000)
    (tmp_path / "out").symlink_to("/usr")
    assert 100_000 <= await tree_bytes(str(tmp_path)) < 200_000
    assert await tree_bytes(str(tmp_path / "none")) == 0
