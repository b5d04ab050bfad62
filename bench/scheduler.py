"""What a scheduling decision costs, in a cluster of nodes and running pods."""

import random
import time

from bench import Options, row
from edgekube.scheduler.decide import decide
from edgekube.scheduler.snapshot import Snapshot, take
from edgekube.types.core_v1 import Container, Node, NodeStatus, Pod, PodSpec, ResourceRequirements
from edgekube.types.meta_v1 import ObjectMeta

SLICE = 16


def node(number: int) -> Node:
    room = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    return Node(metadata=ObjectMeta(name=f"n{number}"), status=NodeStatus(capacity=room, allocatable=room))


def pod(number: int, where: str = "") -> Pod:
    asks = ResourceRequirements(requests={"cpu": "100m", "memory": "128Mi"})
    spec = PodSpec(nodeName=where, containers=(Container(name="c", image="app:1", resources=asks),))
    return Pod(metadata=ObjectMeta(name=f"p{number}", namespace="default", labels={"app": "x"}), spec=spec)


def run(options: Options) -> None:
    measure(10, 100)
    if not options.quick:
        measure(100, 2000)


def measure(nodes: int, pods: int) -> None:
    machines = [node(n) for n in range(nodes)]
    running = [pod(n, f"n{n % nodes}") for n in range(pods)]
    rng = random.Random(1)
    began = time.process_time()
    snapshot: Snapshot = take(machines, running, [])
    taken = time.process_time() - began
    fresh = [pod(pods + number) for number in range(SLICE)]
    began = time.process_time()
    for one in fresh:
        decision = decide(one, snapshot, rng)
        snapshot.assume(one, decision.node)
    decided = time.process_time() - began
    note = f"snapshot {taken * 1e3:.1f} ms, {SLICE / (taken + decided):.0f} pods a second"
    row(f"decision, {nodes} nodes, {pods} pods", decided / SLICE * 1e3, "ms CPU", note=note)
    row(f"pass over {SLICE} pods", (taken + decided) * 1e3, "ms CPU", goal=50)
