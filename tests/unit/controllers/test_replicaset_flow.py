"""ReplicaSets and ReplicationControllers over the real registry."""

import msgspec
import pytest

from edgekube.testing.cluster import FakeCluster
from edgekube.testing.fakekubelet import Script
from edgekube.testing.workloads import meta, pod, replica_set, template
from edgekube.types.apps_v1 import ReplicaSet
from edgekube.types.core_v1 import (
    Pod,
    ReplicationController,
    ReplicationControllerSpec,
    ServiceAccount,
)


def available(cluster: FakeCluster, count: int, name: str = "web") -> bool:
    rs = cluster.get(ReplicaSet, name)
    return rs.status.availableReplicas == rs.status.replicas == count and len(cluster.pods(app=name)) == count


async def scale(cluster: FakeCluster, count: int) -> None:
    await cluster.client.patch(ReplicaSet, "web", "default", patch={"spec": {"replicas": count}})


async def test_scales_up_and_down(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(replica_set("web", 3))
        await cluster.until(lambda: available(cluster, 3))
        for count in (7, 2, 0, 1):
            await scale(cluster, count)
            await cluster.until(lambda count=count: available(cluster, count))
        rs = cluster.get(ReplicaSet, "web")
        assert (rs.status.observedGeneration, rs.status.fullyLabeledReplicas) == (rs.metadata.generation, 1)
        reasons = cluster.reasons("web")
        assert (reasons.count("SuccessfulCreate"), reasons.count("SuccessfulDelete")) == (8, 7)


async def test_terminating_pods_are_counted_apart(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(stop=20)
        await cluster.client.create(replica_set("web", 2))
        await cluster.until(lambda: available(cluster, 2))
        await scale(cluster, 0)
        await cluster.until(lambda: cluster.get(ReplicaSet, "web").status.terminatingReplicas == 2)
        assert cluster.get(ReplicaSet, "web").status.replicas == 0
        await cluster.until(lambda: cluster.get(ReplicaSet, "web").status.terminatingReplicas == 0)


async def test_replaces_what_is_deleted_fails_or_is_evicted(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(replica_set("web", 2))
        await cluster.until(lambda: available(cluster, 2))
        one, two = (p.metadata.name for p in cluster.pods(app="web"))
        await cluster.client.delete(Pod, one, "default")
        failed = {"status": {"phase": "Failed"}}
        await cluster.client.patch(Pod, two, "default", patch=failed, subresource="status")
        await cluster.until(
            lambda: (
                cluster.get(ReplicaSet, "web").status.availableReplicas == 2
                and not {one, two} & {p.metadata.name for p in cluster.pods(app="web") if p.status.phase == "Running"}
            )
        )


async def test_adopts_matching_orphans_and_releases_what_no_longer_matches(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(pod("early", {"app": "web"}))
        await cluster.client.create(replica_set("web", 2))
        await cluster.until(lambda: available(cluster, 2))
        assert cluster.get(Pod, "early").metadata.ownerReferences[0].name == "web"
        # One more orphan is one too many: it is adopted first.
        await cluster.client.create(pod("late", {"app": "web"}))
        await cluster.until(lambda: available(cluster, 2) and "SuccessfulDelete" in cluster.reasons("web"))
        freed = cluster.pods(app="web")[0].metadata.name
        relabel = {"metadata": {"labels": {"app": "debug"}}}
        await cluster.client.patch(Pod, freed, "default", patch=relabel)
        await cluster.until(lambda: available(cluster, 2) and len(cluster.pods()) == 3)
        assert not cluster.get(Pod, freed).metadata.ownerReferences


async def test_min_ready_seconds_delays_availability(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(replica_set("web", 1, minReadySeconds=30))
        await cluster.until(lambda: cluster.get(ReplicaSet, "web").status.readyReplicas == 1)
        ready_at = cluster.now()
        assert cluster.get(ReplicaSet, "web").status.availableReplicas == 0
        await cluster.until(lambda: available(cluster, 1))
        assert 28 <= (cluster.now() - ready_at).total_seconds() <= 32


async def test_refused_pods_show_in_the_status_and_are_tried_ever_more_slowly(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        bare = template({"app": "web"}, serviceAccountName="missing")
        await cluster.client.create(replica_set("web", 50, template=bare))

        def failure() -> str:
            conditions = cluster.get(ReplicaSet, "web").status.conditions
            return next((f"{c.type} {c.status} {c.reason}" for c in conditions), "")

        await cluster.until(lambda: failure() == "ReplicaFailure True FailedCreate")
        await cluster.settle(60)
        events = [e for e in cluster.recorded("web") if e.reason == "FailedCreate"]
        assert all(e.message.partition("Error creating: pods ")[1] for e in events)
        assert all('serviceaccount "missing" not found' in e.message for e in events)
        assert sum(e.count for e in events) < 20
        await cluster.client.create(ServiceAccount(metadata=meta("missing")))
        await cluster.until(lambda: available(cluster, 50) and failure() == "")


async def test_scaling_down_takes_the_least_useful_first(autojump_clock: object) -> None:
    async with FakeCluster(nodes=1) as cluster:
        await cluster.client.create(replica_set("web", 4))
        await cluster.until(lambda: available(cluster, 4))
        cheap, unready, *kept = (p.metadata.name for p in cluster.pods(app="web"))
        cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}
        await cluster.client.patch(Pod, cheap, "default", patch=cost)
        current = cluster.get(Pod, unready)
        conditions = [
            msgspec.to_builtins(msgspec.structs.replace(c, status="False" if c.type == "Ready" else c.status))
            for c in current.status.conditions
        ]
        patch = {"status": {"conditions": conditions}}
        await cluster.client.patch(Pod, unready, "default", patch=patch, subresource="status")
        await scale(cluster, 3)
        await cluster.until(lambda: available(cluster, 3))
        assert {p.metadata.name for p in cluster.pods(app="web")} == {cheap, *kept}
        await scale(cluster, 2)
        await cluster.until(lambda: available(cluster, 2))
        assert {p.metadata.name for p in cluster.pods(app="web")} == set(kept)


@pytest.mark.parametrize(("policy", "left"), [("Background", 0), ("Foreground", 0), ("Orphan", 2)])
async def test_deletion_policies(autojump_clock: object, policy: str, left: int) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(replica_set("web", 2))
        await cluster.until(lambda: available(cluster, 2))
        await cluster.client.delete(ReplicaSet, "web", "default", propagation_policy=policy)
        if policy == "Foreground":
            assert cluster.get(ReplicaSet, "web").metadata.finalizers == ("foregroundDeletion",)
        await cluster.until(lambda: cluster.find(ReplicaSet, "web") is None and len(cluster.all(Pod)) == left)
        await cluster.settle(60)
        assert len(cluster.all(Pod)) == left
        assert not any(p.metadata.ownerReferences for p in cluster.all(Pod))


async def test_replication_controller(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        spec = ReplicationControllerSpec(replicas=2, selector={"app": "old"}, template=template({"app": "old"}))
        rc = ReplicationController(apiVersion="v1", kind="ReplicationController", metadata=meta("old"), spec=spec)
        await cluster.client.create(rc)
        await cluster.until(lambda: cluster.get(ReplicationController, "old").status.availableReplicas == 2)
        (ref,) = cluster.pods(app="old")[0].metadata.ownerReferences
        assert (ref.apiVersion, ref.kind, ref.name, ref.controller) == ("v1", "ReplicationController", "old", True)
        await cluster.client.patch(ReplicationController, "old", "default", patch={"spec": {"replicas": 1}})
        await cluster.until(lambda: cluster.get(ReplicationController, "old").status.replicas == 1)
