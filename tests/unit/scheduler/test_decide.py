"""Filters, scores, affinity, spread and the sentence that explains a refusal."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.scheduler.decide import decide, explain
from edgekube.scheduler.snapshot import take
from edgekube.testing.workloads import pod
from edgekube.types.core_v1 import (
    Affinity,
    Container,
    ContainerPort,
    Node,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PreferredSchedulingTerm,
    ResourceRequirements,
    Taint,
    Toleration,
    TopologySpreadConstraint,
)
from edgekube.types.meta_v1 import LabelSelector, ObjectMeta

ZONE = "topology.kubernetes.io/zone"
WEB = LabelSelector(matchLabels={"app": "web"})


def node(name: str, zone: str = "a", *, cpu: str = "4", pods: str = "110", taints: tuple[Taint, ...] = (),
         **more: Any) -> Node:  # fmt: skip
    labels = {"kubernetes.io/hostname": name, ZONE: zone, **more.pop("labels", {})}
    room = {"cpu": cpu, "memory": "8Gi", "pods": pods}
    return Node(
        metadata=ObjectMeta(name=name, labels=labels),
        spec=NodeSpec(taints=taints, **more),
        status=NodeStatus(capacity=room, allocatable=room),
    )


def asking(name: str, cpu: str = "", where: str = "", port: int = 0, **spec: Any) -> Pod:
    requests = {"cpu": cpu} if cpu else {}
    ports = (ContainerPort(containerPort=port, hostPort=port),) if port else ()
    container = Container(name="c", image="app:1", resources=ResourceRequirements(requests=requests), ports=ports)
    return pod(name, {"app": "web"}, nodeName=where, containers=(container,), **spec)


def place(wanted: Pod, nodes: list[Node], running: tuple[Pod, ...] = ()) -> str:
    """The node, or the message."""
    decision = decide(wanted, take(nodes, running, []), random.Random(1))
    return decision.node or decision.message


REFUSALS = [
    ([], asking("p"), (), "no nodes available to schedule pods"),
    ([node("n", unschedulable=True)], asking("p"), (), "0/1 nodes are available: 1 node(s) were unschedulable."),
    ([node("n", cpu="1")], asking("p", "2"), (), "0/1 nodes are available: 1 Insufficient cpu."),
    ([node("n", pods="1")], asking("p"), (asking("q", where="n"),), "0/1 nodes are available: 1 Too many pods."),
    ([node("n", taints=(Taint(key="k", value="v", effect="NoSchedule"),))], asking("p"), (),
     "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}."),
    ([node("n")], asking("p", nodeSelector={"disk": "ssd"}), (),
     "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
    ([node("n")], asking("p", port=80), (asking("q", where="n", port=80),),
     "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."),
    ([node("a", cpu="1"), node("b", cpu="1"), node("c", unschedulable=True)], asking("p", "2"), (),
     "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "wanted", "running", "message"), REFUSALS)
def test_refusals_are_explained(nodes: list[Node], wanted: Pod, running: tuple[Pod, ...], message: str) -> None:
    assert place(wanted, nodes, running) == message


def test_explain_sorts_as_upstream_does() -> None:
    assert explain(12, Counter({"b": 10, "a": 2})) == "0/12 nodes are available: 10 b, 2 a."


def test_a_toleration_opens_a_tainted_node() -> None:
    tainted = node("n", taints=(Taint(key="k", value="v", effect="NoSchedule"),))
    assert place(asking("p", tolerations=(Toleration(key="k", operator="Exists"),)), [tainted]) == "n"


def test_finished_pods_take_no_room() -> None:
    import msgspec

    done = asking("q", "4", where="n")
    done = msgspec.structs.replace(done, status=msgspec.structs.replace(done.status, phase="Succeeded"))
    assert place(asking("p", "4"), [node("n")], (done,)) == "n"


def test_emptier_nodes_are_better() -> None:
    running = (asking("q", "2", where="busy"),)
    assert place(asking("p", "1"), [node("busy"), node("idle")], running) == "idle"


def test_preferred_node_affinity_and_soft_taints_weigh() -> None:
    ssd = NodeSelectorTerm(matchExpressions=(NodeSelectorRequirement(key="disk", operator="In", values=("ssd",)),))
    preferred = (PreferredSchedulingTerm(weight=100, preference=ssd),)
    wanted = asking("p", affinity=Affinity(
        nodeAffinity=NodeAffinity(preferredDuringSchedulingIgnoredDuringExecution=preferred)))  # fmt: skip
    assert place(wanted, [node("hdd"), node("ssd", labels={"disk": "ssd"})]) == "ssd"
    soft = (Taint(key="k", effect="PreferNoSchedule"),)
    assert place(asking("p"), [node("soft", taints=soft), node("free")]) == "free"


def _near(affinity: bool, key: str = ZONE) -> Affinity:
    terms = (PodAffinityTerm(labelSelector=WEB, topologyKey=key),)
    if affinity:
        return Affinity(podAffinity=PodAffinity(requiredDuringSchedulingIgnoredDuringExecution=terms))
    return Affinity(podAntiAffinity=PodAntiAffinity(requiredDuringSchedulingIgnoredDuringExecution=terms))


def test_pod_affinity_goes_where_the_others_are_and_the_first_may_go_anywhere() -> None:
    nodes = [node("a1", "a"), node("b1", "b"), node("b2", "b")]
    wanted = asking("p", affinity=_near(True))
    assert place(wanted, nodes) in {"a1", "b1", "b2"}
    assert place(wanted, nodes, (asking("q", where="a1"),)) == "a1"
    loner = pod("p", {"app": "other"}, affinity=_near(True))
    assert place(loner, nodes) == "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."


def test_anti_affinity_works_both_ways() -> None:
    nodes = [node("a1", "a"), node("b1", "b")]
    there = asking("q", where="a1")
    assert place(asking("p", affinity=_near(False)), nodes, (there,)) == "b1"
    shy = asking("q", where="b1", affinity=_near(False))
    assert place(asking("p"), nodes, (shy,)) == "a1"
    assert place(asking("p"), nodes[1:], (shy,)) == (
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    )


def _spread(when: str = "DoNotSchedule", **more: Any) -> tuple[TopologySpreadConstraint, ...]:
    return (TopologySpreadConstraint(maxSkew=1, topologyKey=ZONE, whenUnsatisfiable=when, labelSelector=WEB, **more),)


def test_topology_spread() -> None:
    nodes = [node("a1", "a"), node("b1", "b")]
    running = (asking("q", where="a1"),)
    assert place(asking("p", topologySpreadConstraints=_spread()), nodes, running) == "b1"
    full = [node("a1", "a"), node("b1", "b", unschedulable=True)]
    assert place(asking("p", topologySpreadConstraints=_spread()), full, running) == (
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable."
    )
    assert place(asking("p", topologySpreadConstraints=_spread("ScheduleAnyway")), nodes, running) == "b1"
    bare = [Node(metadata=ObjectMeta(name="x"), status=nodes[0].status)]
    assert "missing required label" in place(asking("p", topologySpreadConstraints=_spread()), bare)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 30))
def test_spread_is_kept_and_no_node_is_overfilled(zones: int, per_zone: int, count: int) -> None:
    nodes = [node(f"n{z}-{i}", f"z{z}", cpu="3") for z in range(zones) for i in range(per_zone)]
    snapshot = take(nodes, [], [])
    rng = random.Random(count)
    placed: Counter[str] = Counter()
    for number in range(count):
        wanted = asking(f"p{number}", "1", topologySpreadConstraints=_spread())
        decision = decide(wanted, snapshot, rng)
        if not decision.node:
            break
        snapshot.assume(wanted, decision.node)
        placed[decision.node[1:].partition("-")[0]] += 1
    per = [placed[str(z)] for z in range(zones)]
    assert max(per) - min(per) <= 1
    assert sum(per) == min(count, 3 * len(nodes))
    assert all(len(s.pods) <= 3 for s in snapshot.nodes.values())
