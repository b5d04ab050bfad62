"""The scheduler over the real registry: waiting, retrying, priorities, failing bindings."""

from typing import Any

import pytest

from edgekube.client.api import Client
from edgekube.scheduler import role
from edgekube.testing.cluster import FakeCluster
from edgekube.testing.workloads import pod
from edgekube.types.core_v1 import Container, Node, Pod, PodSchedulingGate, ResourceRequirements
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.scheduling_v1 import PriorityClass
from edgekube.types.status import failure


def asking(name: str, cpu: str = "1", **spec: Any) -> Pod:
    resources = ResourceRequirements(requests={"cpu": cpu})
    return pod(name, containers=(Container(name="c", image="app:1", resources=resources),), **spec)


def where(cluster: FakeCluster) -> dict[str, str]:
    return {p.metadata.name: p.spec.nodeName for p in cluster.all(Pod)}


async def test_binds_says_so_and_explains_what_it_cannot(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(asking("fits"))
        await cluster.client.create(asking("large", "100"))
        await cluster.until(lambda: where(cluster)["fits"] == "node-0")
        await cluster.until(lambda: "FailedScheduling" in cluster.reasons("large"))
        await cluster.until(lambda: bool(cluster.get(Pod, "large").status.conditions))
        (condition,) = [c for c in cluster.get(Pod, "large").status.conditions if c.type == "PodScheduled"]
        assert (condition.status, condition.reason) == ("False", "Unschedulable")
        assert condition.message == "0/1 nodes are available: 1 Insufficient cpu."
        await cluster.until(lambda: cluster.reasons("fits") == ["Scheduled"])
        (event,) = cluster.recorded("fits")
        assert event.message == "Successfully assigned default/fits to node-0"


async def test_waits_quietly_and_tries_again_when_a_node_comes_or_a_pod_goes(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(asking("first", "3"))
        await cluster.client.create(asking("second", "3"))
        await cluster.client.create(asking("third", "8"))
        await cluster.until(lambda: list(where(cluster).values()).count("node-0") == 1)
        await cluster.settle(30)
        before = cluster.store.revision
        await cluster.settle(250)
        assert cluster.store.revision == before
        (bound,) = [n for n, node in where(cluster).items() if node]
        await cluster.client.delete(Pod, bound, "default")
        await cluster.until(lambda: list(where(cluster).values()).count("node-0") == 1, seconds=30)
        await cluster.kubelet.add_node("big", cpu="16")
        await cluster.until(lambda: where(cluster)["third"] == "big", seconds=30)


async def test_the_more_important_pod_goes_first(autojump_clock: object) -> None:
    async with FakeCluster(nodes=0) as cluster:
        await cluster.client.create(PriorityClass(metadata=ObjectMeta(name="high"), value=1000))
        await cluster.client.create(asking("low", "3"))
        await cluster.settle(60)
        await cluster.client.create(asking("urgent", "3", priorityClassName="high"))
        await cluster.settle(60)
        await cluster.kubelet.add_node("only")
        await cluster.until(lambda: where(cluster) == {"low": "", "urgent": "only"}, seconds=30)


async def test_gated_pods_and_those_of_other_schedulers_are_left_alone(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(asking("gated", schedulingGates=(PodSchedulingGate(name="example.com/wait"),)))
        await cluster.client.create(asking("foreign", schedulerName="other"))
        await cluster.settle(60)
        assert where(cluster) == {"gated": "", "foreign": ""}
        await cluster.client.patch(Pod, "gated", "default", patch={"spec": {"schedulingGates": None}})
        await cluster.until(lambda: where(cluster)["gated"] == "node-0")


async def test_never_overfills_a_node_however_many_come_at_once(autojump_clock: object) -> None:
    async with FakeCluster(nodes=3) as cluster:
        for number in range(40):
            await cluster.client.create(asking(f"p{number:02}"))
        await cluster.settle(60)
        placed = list(where(cluster).values())
        assert [placed.count(f"node-{n}") for n in range(3)] == [4, 4, 4]


class _Refusing:
    """A client whose first bindings fail."""

    def __init__(self, inner: Client, refusals: int) -> None:
        self._inner = inner
        self.left = refusals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create_sub(self, *args: Any) -> Any:
        if self.left:
            self.left -= 1
            raise failure(500, "InternalError", "the store is busy")
        return await self._inner.create_sub(*args)


@pytest.mark.parametrize("refusals", [1, 3])
async def test_a_binding_that_fails_frees_its_room_and_is_tried_again_soon(
    autojump_clock: object, refusals: int
) -> None:
    async with FakeCluster(run_scheduler=False) as cluster:
        client: Any = _Refusing(cluster.client_for("kube-scheduler"), refusals)
        scheduler = role.Scheduler(client, now=cluster.now)
        await cluster.nursery.start(scheduler.run)
        await cluster.client.create(asking("one", "4"))
        await cluster.until(lambda: where(cluster)["one"] == "node-0", seconds=30)
        assert client.left == 0


async def test_cordoned_node_takes_nobody(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.patch(Node, "node-0", patch={"spec": {"unschedulable": True}})
        await cluster.client.create(asking("p"))
        await cluster.settle(30)
        assert where(cluster) == {"p": ""}
        await cluster.client.patch(Node, "node-0", patch={"spec": {"unschedulable": None}})
        await cluster.until(lambda: where(cluster) == {"p": "node-0"}, seconds=30)
