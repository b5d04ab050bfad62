"""StatefulSets over the real registry: order, identity, updates."""

from typing import Any

import pytest

from edgekube.controllers.history import REVISION_HASH_LABEL
from edgekube.testing.cluster import FakeCluster
from edgekube.testing.fakekubelet import Script
from edgekube.testing.workloads import pod, stateful_set
from edgekube.types.apps_v1 import (
    ControllerRevision,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetOrdinals,
    StatefulSetUpdateStrategy,
)
from edgekube.types.core_v1 import Pod


def status(cluster: FakeCluster) -> Any:
    return cluster.get(StatefulSet, "db").status


def settled(cluster: FakeCluster, count: int) -> bool:
    sts = cluster.get(StatefulSet, "db")
    s = sts.status
    return (
        s.observedGeneration == sts.metadata.generation
        and s.replicas == s.availableReplicas == s.readyReplicas == count
        and len(cluster.all(Pod)) == count
    )


def images(cluster: FakeCluster) -> list[str]:
    return [p.spec.containers[0].image.rpartition(":")[2] for p in cluster.all(Pod)]


async def set_image(cluster: FakeCluster, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
    await cluster.client.patch(StatefulSet, "db", "default", patch=patch)


async def test_starts_in_order_and_stops_in_reverse(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=2, ready_after=3)
        await cluster.client.create(stateful_set("db", 3))

        def in_order() -> bool:
            pods = cluster.all(Pod)
            ready = [any(c.type == "Ready" and c.status == "True" for c in p.status.conditions) for p in pods]
            assert [p.metadata.name for p in pods] == [f"db-{n}" for n in range(len(pods))]
            assert all(ready[:-1])
            return settled(cluster, 3)

        await cluster.until(in_order)
        gone: list[str] = []

        def in_reverse() -> bool:
            going = [p.metadata.name for p in cluster.all(Pod) if p.metadata.deletionTimestamp]
            assert len(going) <= 1
            gone.extend(n for n in going if n not in gone)
            return settled(cluster, 0)

        await cluster.client.patch(StatefulSet, "db", "default", patch={"spec": {"replicas": 0}})
        await cluster.until(in_reverse)
        assert gone == ["db-2", "db-1", "db-0"]


async def test_parallel_starts_all_at_once(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(ready_after=None)
        await cluster.client.create(stateful_set("db", 3, podManagementPolicy="Parallel"))
        await cluster.until(lambda: len(cluster.all(Pod)) == 3)
        await cluster.settle()
        assert status(cluster).readyReplicas == 0


async def test_identity(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(stateful_set("db", 2, ordinals=StatefulSetOrdinals(start=5)))
        await cluster.until(lambda: settled(cluster, 2))
        five, six = cluster.all(Pod)
        assert (five.metadata.name, six.metadata.name) == ("db-5", "db-6")
        assert (five.spec.hostname, five.spec.subdomain) == ("db-5", "db")
        labels = five.metadata.labels
        assert labels["statefulset.kubernetes.io/pod-name"] == "db-5"
        assert labels["apps.kubernetes.io/pod-index"] == "5"
        assert labels["controller-revision-hash"] == status(cluster).currentRevision
        (revision,) = cluster.all(ControllerRevision)
        assert revision.metadata.name == f"db-{revision.metadata.labels[REVISION_HASH_LABEL]}"
        # The successor of a deleted pod has its name.
        await cluster.client.delete(Pod, "db-5", "default")
        await cluster.until(lambda: settled(cluster, 2) and cluster.get(Pod, "db-5").metadata.uid != five.metadata.uid)


async def test_rolls_from_the_highest_ordinal_down(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(stateful_set("db", 3))
        await cluster.until(lambda: settled(cluster, 3))
        before = status(cluster).currentRevision
        seen: list[list[str]] = []

        def look() -> bool:
            if len(cluster.all(Pod)) == 3 and (not seen or seen[-1] != images(cluster)):
                seen.append(images(cluster))
            return settled(cluster, 3) and status(cluster).currentRevision == status(cluster).updateRevision != before

        await set_image(cluster, "db:2")
        await cluster.until(look)
        assert seen == [["1", "1", "1"], ["1", "1", "2"], ["1", "2", "2"], ["2", "2", "2"]]
        assert (status(cluster).currentReplicas, status(cluster).updatedReplicas) == (3, 3)
        assert [r.revision for r in sorted(cluster.all(ControllerRevision), key=lambda r: r.revision)] == [1, 2]


async def test_partition_holds_back_the_lower_ordinals_even_when_they_are_made_again(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        rolling = RollingUpdateStatefulSetStrategy(partition=2)
        strategy = StatefulSetUpdateStrategy(type="RollingUpdate", rollingUpdate=rolling)
        await cluster.client.create(stateful_set("db", 4, updateStrategy=strategy))
        await cluster.until(lambda: settled(cluster, 4))
        await set_image(cluster, "db:2")
        await cluster.until(lambda: settled(cluster, 4) and images(cluster) == ["1", "1", "2", "2"])
        uid = cluster.get(Pod, "db-0").metadata.uid
        await cluster.client.delete(Pod, "db-0", "default")
        await cluster.until(lambda: settled(cluster, 4) and cluster.get(Pod, "db-0").metadata.uid != uid)
        assert images(cluster) == ["1", "1", "2", "2"]
        await cluster.until(lambda: (status(cluster).currentReplicas, status(cluster).updatedReplicas) == (2, 2))
        patch = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
        await cluster.client.patch(StatefulSet, "db", "default", patch=patch)
        await cluster.until(lambda: settled(cluster, 4) and images(cluster) == ["2"] * 4)


async def test_on_delete_waits_for_somebody_to_delete(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(stateful_set("db", 2, updateStrategy=StatefulSetUpdateStrategy(type="OnDelete")))
        await cluster.until(lambda: settled(cluster, 2))
        await set_image(cluster, "db:2")
        await cluster.settle(60)
        assert images(cluster) == ["1", "1"]
        await cluster.client.delete(Pod, "db-0", "default")
        await cluster.until(lambda: settled(cluster, 2) and images(cluster) == ["2", "1"])


@pytest.mark.parametrize(("code", "reason"), [(1, "RecreatingFailedPod"), (0, "RecreatingTerminatedPod")])
async def test_ended_pod_is_made_again(autojump_clock: object, code: int, reason: str) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(stateful_set("db", 1))
        await cluster.until(lambda: settled(cluster, 1))
        uid = cluster.get(Pod, "db-0").metadata.uid
        ended = {"status": {"phase": "Failed" if code else "Succeeded"}}
        await cluster.client.patch(Pod, "db-0", "default", patch=ended, subresource="status")
        await cluster.until(lambda: settled(cluster, 1) and cluster.get(Pod, "db-0").metadata.uid != uid)
        assert reason in cluster.reasons("db")


async def test_adopts_only_pods_with_its_names(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(pod("stray", {"app": "db"}))
        await cluster.client.create(pod("db-0", {"app": "db"}))
        await cluster.client.create(stateful_set("db", 1))
        await cluster.until(lambda: status(cluster).replicas == 1)
        await cluster.settle()
        assert not cluster.get(Pod, "stray").metadata.ownerReferences
        assert cluster.get(Pod, "db-0").metadata.ownerReferences[0].kind == "StatefulSet"
