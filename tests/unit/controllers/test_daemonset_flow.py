"""DaemonSets over the real registry: nodes that come, go, are tainted or cordoned, and updates."""

from typing import Any

from edgekube.controllers.history import HASH_LABEL
from edgekube.testing.cluster import FakeCluster
from edgekube.testing.fakekubelet import Script
from edgekube.testing.workloads import daemon_set, template
from edgekube.types.apps_v1 import ControllerRevision, DaemonSet, DaemonSetUpdateStrategy, RollingUpdateDaemonSet
from edgekube.types.core_v1 import Node, Pod, Taint


def status(cluster: FakeCluster) -> Any:
    return cluster.get(DaemonSet, "log").status


def settled(cluster: FakeCluster, count: int) -> bool:
    ds = cluster.get(DaemonSet, "log")
    s = ds.status
    numbers = (s.desiredNumberScheduled, s.currentNumberScheduled, s.numberAvailable, s.updatedNumberScheduled)
    return (
        s.observedGeneration == ds.metadata.generation
        and numbers == (count,) * 4
        and len(cluster.all(Pod)) == count + s.numberMisscheduled
    )


def where(cluster: FakeCluster) -> list[str]:
    return sorted(p.spec.nodeName for p in cluster.pods())


def images(cluster: FakeCluster) -> set[str]:
    return {p.spec.containers[0].image for p in cluster.all(Pod)}


async def set_image(cluster: FakeCluster, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
    await cluster.client.patch(DaemonSet, "log", "default", patch=patch)


async def test_one_pod_a_node_that_comes_and_goes(autojump_clock: object) -> None:
    async with FakeCluster(nodes=2) as cluster:
        await cluster.client.create(daemon_set("log"))
        await cluster.until(lambda: settled(cluster, 2))
        assert where(cluster) == ["node-0", "node-1"]
        await cluster.kubelet.add_node("late")
        await cluster.until(lambda: settled(cluster, 3))
        await cluster.client.delete(Node, "node-0")
        await cluster.until(lambda: settled(cluster, 2) and where(cluster) == ["late", "node-1"])
        (revision,) = cluster.all(ControllerRevision)
        digest = revision.metadata.labels[HASH_LABEL]
        assert revision.metadata.name == f"log-{digest}"
        assert {p.metadata.labels[HASH_LABEL] for p in cluster.pods()} == {digest}


async def test_runs_where_its_selector_and_tolerations_allow(autojump_clock: object) -> None:
    async with FakeCluster(nodes=1) as cluster:
        await cluster.kubelet.add_node("ssd", labels={"disk": "ssd"})
        await cluster.kubelet.add_node("own", labels={"disk": "ssd"}, taints=(Taint(key="own", effect="NoSchedule"),))
        await cluster.client.create(daemon_set("log", template=template({"app": "log"}, nodeSelector={"disk": "ssd"})))
        await cluster.until(lambda: settled(cluster, 1) and where(cluster) == ["ssd"])
        # A NoSchedule taint keeps what runs, and counts it as misplaced.
        taint = {"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}}
        await cluster.client.patch(Node, "ssd", patch=taint)
        await cluster.until(lambda: settled(cluster, 0) and status(cluster).numberMisscheduled == 1)
        assert where(cluster) == ["ssd"]
        await cluster.client.patch(
            Node, "ssd", patch={"spec": {"taints": None}, "metadata": {"labels": {"disk": None}}}
        )
        await cluster.until(lambda: settled(cluster, 0) and where(cluster) == [])


async def test_cordoned_and_silent_nodes_keep_their_daemons(autojump_clock: object) -> None:
    async with FakeCluster(nodes=2) as cluster:
        await cluster.client.create(daemon_set("log"))
        await cluster.until(lambda: settled(cluster, 2))
        uids = {p.metadata.uid for p in cluster.pods()}
        await cluster.client.patch(Node, "node-0", patch={"spec": {"unschedulable": True}})
        cluster.kubelet.silence("node-1")
        await cluster.until(lambda: any(t.effect == "NoExecute" for t in cluster.get(Node, "node-1", "").spec.taints))
        await cluster.settle(900)
        assert {p.metadata.uid for p in cluster.pods()} == uids
        # A daemon that is made anew goes to a cordoned node, too.
        (there,) = [p for p in cluster.pods() if p.spec.nodeName == "node-0"]
        await cluster.client.delete(Pod, there.metadata.name, "default")
        await cluster.until(lambda: where(cluster) == ["node-0", "node-1"] and there.metadata.uid not in
                            {p.metadata.uid for p in cluster.pods()})  # fmt: skip


async def test_rolling_update_one_node_at_a_time(autojump_clock: object) -> None:
    async with FakeCluster(nodes=4) as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=1, ready_after=5)
        await cluster.client.create(daemon_set("log"))
        await cluster.until(lambda: settled(cluster, 4))
        least = 4

        def look() -> bool:
            nonlocal least
            least = min(least, status(cluster).numberAvailable)
            return settled(cluster, 4) and images(cluster) == {"log:2"}

        await set_image(cluster, "log:2")
        await cluster.until(look)
        assert least == 3
        assert len(cluster.all(ControllerRevision)) == 2


async def test_surge_starts_the_new_before_it_stops_the_old(autojump_clock: object) -> None:
    async with FakeCluster(nodes=3) as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=1, ready_after=5)
        rolling = RollingUpdateDaemonSet(maxSurge=1, maxUnavailable=0)
        strategy = DaemonSetUpdateStrategy(type="RollingUpdate", rollingUpdate=rolling)
        await cluster.client.create(daemon_set("log", updateStrategy=strategy))
        await cluster.until(lambda: settled(cluster, 3))
        most, least = 3, 3

        def look() -> bool:
            nonlocal most, least
            standing = cluster.pods()
            ready = [p for p in standing if any(c.type == "Ready" and c.status == "True" for c in p.status.conditions)]
            most, least = max(most, len(standing)), min(least, len({p.spec.nodeName for p in ready}))
            return settled(cluster, 3) and images(cluster) == {"log:2"}

        await set_image(cluster, "log:2")
        await cluster.until(look)
        assert (most, least) == (4, 3)


async def test_broken_update_is_replaced_without_waiting_for_it(autojump_clock: object) -> None:
    async with FakeCluster(nodes=3) as cluster:
        cluster.kubelet.script = lambda pod: Script(ready_after=None if pod.spec.containers[0].image == "bad:1" else 0)
        await cluster.client.create(daemon_set("log"))
        await cluster.until(lambda: settled(cluster, 3))
        await set_image(cluster, "bad:1")
        await cluster.until(lambda: status(cluster).numberUnavailable == 1)
        await cluster.settle(120)
        assert status(cluster).numberAvailable == 2
        await set_image(cluster, "log:3")
        await cluster.until(lambda: settled(cluster, 3) and images(cluster) == {"log:3"})


async def test_pods_that_keep_failing_are_replaced_ever_more_slowly(autojump_clock: object) -> None:
    async with FakeCluster(nodes=1) as cluster:
        await cluster.client.create(daemon_set("log"))
        await cluster.until(lambda: settled(cluster, 1))
        seen: set[str] = set()

        async def fail() -> None:
            for p in cluster.pods():
                if p.status.phase == "Running":
                    seen.add(p.metadata.uid)
                    failed = {"status": {"phase": "Failed", "reason": "NodeAffinity"}}
                    await cluster.client.patch(Pod, p.metadata.name, "default", patch=failed, subresource="status")

        for _ in range(300):
            await fail()
            await cluster.settle(1)
        assert 5 <= len(seen) <= 10
        assert "FailedDaemonPod" in cluster.reasons("log")
