"""The Node object, and how often it is written."""

import os
from pathlib import Path

import trio
from trio.testing import MockClock

from edgekube.kubelet.pressure import Housekeeper
from edgekube.runtime.api import ContainerStats
from edgekube.types.core_v1 import Node
from tests.unit.kubelet.conftest import World, pod_of
from tests.unit.kubelet.test_limits import MIB, disk


async def node_of(world: World) -> Node:
    return await world.client.get(Node, "n1")


async def test_the_node_says_what_it_is(world: World, autojump_clock: MockClock) -> None:
    node = await node_of(world)
    labels = node.metadata.labels
    assert labels["kubernetes.io/hostname"] == "n1"
    assert labels["kubernetes.io/os"] == "linux"
    assert labels["kubernetes.io/arch"] == node.status.nodeInfo.architecture  # type: ignore[union-attr]
    assert [(a.type, a.address) for a in node.status.addresses] == [("InternalIP", "192.0.2.1"), ("Hostname", "n1")]
    assert {c.type: c.status for c in node.status.conditions}["Ready"] == "True"
    assert node.spec.podCIDR == "10.42.0.0/24"


async def test_an_idle_node_writes_nothing(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of())
    await trio.sleep(60)
    revision = world.registry.backend.store.revision
    node = await node_of(world)
    await trio.sleep(3600)
    assert world.registry.backend.store.revision == revision
    assert (await node_of(world)).metadata.resourceVersion == node.metadata.resourceVersion


async def test_problems_and_notes_become_conditions(world: World, autojump_clock: MockClock) -> None:
    world.problems, world.notes = ("runc is missing",), ("the host routes 10.42.0.0/16",)
    await trio.sleep(15)
    conditions = {c.type: c for c in (await node_of(world)).status.conditions}
    assert (conditions["Ready"].status, conditions["Ready"].message) == ("False", "runc is missing")
    assert conditions["NetworkDegraded"].message == "the host routes 10.42.0.0/16"
    world.problems = world.notes = ()
    await trio.sleep(15)
    conditions = {c.type: c for c in (await node_of(world)).status.conditions}
    assert conditions["Ready"].status == "True"
    assert conditions["NetworkDegraded"].status == "False"


async def test_a_node_deleted_by_hand_comes_back(world: World, autojump_clock: MockClock) -> None:
    await world.client.delete(Node, "n1")
    await trio.sleep(15)
    assert (await node_of(world)).metadata.name == "n1"


def keeper_of(world: World, *, memory: int = 500 * MIB, free: float = 0.5) -> Housekeeper:
    kubelet = world.kubelet
    assert kubelet is not None
    services = next(iter(kubelet.workers()))._services

    def look(_: Path) -> os.statvfs_result:
        return disk(free)

    return Housekeeper(services, kubelet.workers, lambda: None, memory=lambda: {"MemAvailable": memory}, disk=look)


def uses(world: World, name: str, amount: int) -> None:
    sandbox = next(s for s in world.runtime.sandboxes() if s.spec.name == f"default/{name}")
    figures = ContainerStats(
        cpu_usage_ns=0, memory_usage_bytes=amount, memory_working_set_bytes=amount, memory_rss_bytes=amount
    )
    world.runtime.set_stats(sandbox.spec.id, figures)


async def test_the_hungriest_pod_is_ended_when_memory_runs_out(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of("small"))
    await world.run(pod_of("large"))
    uses(world, "small", 10 * MIB)
    uses(world, "large", 300 * MIB)
    keeper = keeper_of(world, memory=20 * MIB)
    await keeper.look()
    pod = await world.until(lambda p: p.status.phase == "Failed", "large")
    assert pod.status.reason == "Evicted"
    assert pod.status.message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 20Mi. "
        "Pod was using 300Mi, request is 0, has larger consumption of memory. "
    )
    await keeper.look()  # the figures get time to settle
    await trio.sleep(5)
    assert (await world.pod("small")).status.phase == "Running"
    await trio.sleep(30)
    await keeper.look()
    await world.until(lambda p: p.status.reason == "Evicted", "small")


async def test_unused_images_go_before_pods_do(world: World, autojump_clock: MockClock) -> None:
    world.runtime.images.add("registry.test/old:1")
    await world.run(pod_of())
    await keeper_of(world, free=0.05).look()
    assert [i.tags for i in world.runtime.images.list()] == [("registry.test/app:1",)]
    assert (await world.pod()).status.phase == "Running"


async def test_a_volume_above_its_limit_ends_the_pod(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]))
    uid = (await world.pod()).metadata.uid
    folder = world.folder / "data" / "pods" / uid / "volumes" / "kubernetes.io~empty-dir" / "v"
    (folder / "big").write_bytes(b"x" * 2 * MIB)
    await keeper_of(world).look()
    pod = await world.until(lambda p: p.status.phase == "Failed")
    assert pod.status.message == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert not folder.exists()
