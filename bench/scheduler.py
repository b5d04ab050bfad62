"""What a scheduling decision costs: microseconds each and pods a second, for a cluster of nodes and running pods.

python bench/scheduler.py [NODES] [PODS]
"""

import random
import sys
import time

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


def main() -> None:
    given = [int(text) for text in sys.argv[1:3]]
    nodes, pods = [*given, *(100, 2000)[len(given) :]]
    machines = [node(n) for n in range(nodes)]
    running = [pod(n, f"n{n % nodes}") for n in range(pods)]
    rng = random.Random(1)
    began = time.perf_counter()
    snapshot: Snapshot = take(machines, running, [])
    taken = time.perf_counter() - began
    fresh = [pod(pods + number) for number in range(SLICE)]
    began = time.perf_counter()
    for one in fresh:
        decision = decide(one, snapshot, rng)
        snapshot.assume(one, decision.node)
    decided = time.perf_counter() - began
    each = decided / SLICE
    print(f"nodes={nodes} pods={pods} snapshot_ms={taken * 1e3:.1f} decision_us={each * 1e6:.0f} "
          f"pass_ms={(taken + decided) * 1e3:.1f} pods_per_s={SLICE / (taken + decided):.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
