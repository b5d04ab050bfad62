"""Deployments over the real registry, with controllers, scheduler and fake kubelets."""

from typing import Any

import msgspec
import pytest

from edgekube.controllers.deployment import REVISION, REVISION_HISTORY
from edgekube.testing.cluster import FakeCluster
from edgekube.testing.fakekubelet import Script
from edgekube.testing.workloads import deployment, meta, replica_set, template
from edgekube.types.apps_v1 import Deployment, DeploymentStrategy, ReplicaSet, RollingUpdateDeployment
from edgekube.types.core_v1 import Pod
from edgekube.types.hashing import hash_of


def done(cluster: FakeCluster, name: str = "web") -> bool:
    d = cluster.get(Deployment, name)
    want = d.spec.replicas
    s = d.status
    return (
        s.observedGeneration == d.metadata.generation
        and (s.updatedReplicas, s.replicas, s.availableReplicas) == (want, want, want)
        and len(cluster.pods(app=name)) == want
        and progressing(cluster, name) in (("True", "NewReplicaSetAvailable"), ("", ""))
    )


def condition(cluster: FakeCluster, type_: str, name: str = "web") -> tuple[str, str]:
    found = next((c for c in cluster.get(Deployment, name).status.conditions if c.type == type_), None)
    return (found.status, found.reason) if found is not None else ("", "")


def progressing(cluster: FakeCluster, name: str = "web") -> tuple[str, str]:
    return condition(cluster, "Progressing", name)


async def change(cluster: FakeCluster, name: str = "web", **spec: Any) -> None:
    image = spec.pop("image", None)
    if image:
        spec["template"] = {"spec": {"containers": [{"name": "main", "image": image}]}}
    await cluster.client.patch(Deployment, name, "default", patch={"spec": spec})


def images(cluster: FakeCluster) -> set[str]:
    return {p.spec.containers[0].image for p in cluster.pods(app="web")}


def revision(cluster: FakeCluster) -> dict[str, str]:
    """Image -> revision of the set that runs it."""
    sets = cluster.all(ReplicaSet)
    return {rs.spec.template.spec.containers[0].image: rs.metadata.annotations[REVISION] for rs in sets}


async def test_rolls_out(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 3))
        await cluster.until(lambda: done(cluster))
        assert condition(cluster, "Available") == ("True", "MinimumReplicasAvailable")
        assert cluster.reasons("web") == ["ScalingReplicaSet"]
        d = cluster.get(Deployment, "web")
        (rs,) = cluster.all(ReplicaSet)
        assert cluster.recorded("web")[0].message == f"Scaled up replica set {rs.metadata.name} from 0 to 3"
        assert d.metadata.annotations[REVISION] == rs.metadata.annotations[REVISION] == "1"
        assert rs.metadata.name == f"web-{rs.metadata.labels['pod-template-hash']}"
        assert (d.status.readyReplicas, d.status.terminatingReplicas, d.status.unavailableReplicas) == (3, 0, 0)
        words = {c.type: c.message for c in d.status.conditions}
        assert words["Progressing"] == f'ReplicaSet "{rs.metadata.name}" has successfully progressed.'
        assert words["Available"] == "Deployment has minimum availability."


async def test_stays_quiet_once_it_is_complete(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 3))
        await cluster.until(lambda: done(cluster))
        await cluster.settle(30)
        before = cluster.store.revision
        await cluster.settle(7200)
        assert cluster.store.revision == before


@pytest.mark.parametrize(
    ("surge", "unavailable"), [(1, 0), (0, 1), ("25%", "25%"), (2, 2), ("100%", 0), (0, "100%"), ("50%", 3)]
)
async def test_rolling_update_keeps_its_bounds(
    autojump_clock: object, surge: int | str, unavailable: int | str
) -> None:
    async with FakeCluster(nodes=2) as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=2, ready_after=3, stop=2)
        rolling = RollingUpdateDeployment(maxSurge=surge, maxUnavailable=unavailable)
        await cluster.client.create(
            deployment("web", 4, strategy=DeploymentStrategy(type="RollingUpdate", rollingUpdate=rolling))
        )
        await cluster.until(lambda: done(cluster))
        most, least = 4, 4

        def look() -> bool:
            nonlocal most, least
            living = cluster.pods(app="web")
            ready = [p for p in living if any(c.type == "Ready" and c.status == "True" for c in p.status.conditions)]
            most, least = max(most, len(living)), min(least, len(ready))
            return done(cluster) and images(cluster) == {"app:2"}

        await change(cluster, image="app:2")
        await cluster.until(look)

        def number(value: int | str) -> int:
            return value if isinstance(value, int) else int(value[:-1]) * 4 // 100

        assert most <= 4 + number(surge)
        assert least >= 4 - number(unavailable)
        assert revision(cluster) == {"registry.test/app:1": "1", "app:2": "2"}


async def test_rolls_back_to_a_set_it_has_and_numbers_it_anew(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 2))
        await cluster.until(lambda: done(cluster))
        first = {rs.metadata.name for rs in cluster.all(ReplicaSet)}
        await change(cluster, image="app:2")
        await cluster.until(lambda: done(cluster) and images(cluster) == {"app:2"})
        await change(cluster, image="registry.test/app:1")
        await cluster.until(lambda: done(cluster) and images(cluster) == {"registry.test/app:1"})
        assert len(cluster.all(ReplicaSet)) == 2
        assert revision(cluster) == {"registry.test/app:1": "3", "app:2": "2"}
        assert cluster.get(Deployment, "web").metadata.annotations[REVISION] == "3"
        (back,) = [rs for rs in cluster.all(ReplicaSet) if rs.metadata.name in first]
        assert back.metadata.annotations[REVISION_HISTORY] == "1"


async def test_stuck_rollout_times_out_and_keeps_the_old_pods(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda pod: Script(ready_after=None if pod.spec.containers[0].image == "bad:1" else 0)
        await cluster.client.create(deployment("web", 4, progressDeadlineSeconds=60))
        await cluster.until(lambda: done(cluster))
        await change(cluster, image="bad:1")
        await cluster.until(lambda: progressing(cluster) == ("False", "ProgressDeadlineExceeded"), seconds=120)
        assert condition(cluster, "Available") == ("True", "MinimumReplicasAvailable")
        old = [p for p in cluster.pods(app="web") if p.spec.containers[0].image == "registry.test/app:1"]
        assert len(old) == 3
        await change(cluster, image="app:3")
        await cluster.until(lambda: done(cluster) and images(cluster) == {"app:3"})


async def test_without_a_deadline_there_is_no_progressing_condition(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 1, progressDeadlineSeconds=2**31 - 1))
        await cluster.until(lambda: done(cluster))
        await cluster.settle()
        assert progressing(cluster) == ("", "")


async def test_paused_deployment_scales_but_does_not_roll_out(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 2))
        await cluster.until(lambda: done(cluster))
        await change(cluster, paused=True, image="app:2")
        await cluster.until(lambda: progressing(cluster) == ("Unknown", "DeploymentPaused"))
        await change(cluster, replicas=4)
        await cluster.until(lambda: len(cluster.pods(app="web")) == 4)
        await cluster.settle(60)
        assert images(cluster) == {"registry.test/app:1"}
        assert cluster.get(Deployment, "web").status.updatedReplicas == 0
        await change(cluster, paused=False)
        await cluster.until(lambda: done(cluster) and images(cluster) == {"app:2"})


async def test_scaling_during_a_rollout_is_shared_by_all_sets(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda pod: Script(ready_after=None if pod.spec.containers[0].image == "bad:1" else 0)
        rolling = RollingUpdateDeployment(maxSurge=3, maxUnavailable=2)
        await cluster.client.create(
            deployment("web", 10, strategy=DeploymentStrategy(type="RollingUpdate", rollingUpdate=rolling))
        )
        await cluster.until(lambda: done(cluster))
        await change(cluster, image="bad:1")
        sizes = lambda: {  # noqa: E731
            rs.spec.template.spec.containers[0].image: rs.spec.replicas for rs in cluster.all(ReplicaSet)
        }
        await cluster.until(lambda: sizes() == {"registry.test/app:1": 8, "bad:1": 5})
        # The example of the Kubernetes documentation: 10 -> 15 in the middle of this very rollout.
        await change(cluster, replicas=15)
        await cluster.until(lambda: sizes() == {"registry.test/app:1": 11, "bad:1": 7})


async def test_recreate_never_runs_two_templates_at_once(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(stop=20)
        await cluster.client.create(deployment("web", 3, strategy=DeploymentStrategy(type="Recreate")))
        await cluster.until(lambda: done(cluster))

        def look() -> bool:
            assert len({p.spec.containers[0].image for p in cluster.all(Pod, app="web")}) <= 1
            return done(cluster) and images(cluster) == {"app:2"}

        await change(cluster, image="app:2")
        await cluster.until(look)


async def test_recreate_does_not_wait_for_pods_that_have_ended(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 1, strategy=DeploymentStrategy(type="Recreate")))
        await cluster.until(lambda: done(cluster))
        (evicted,) = cluster.pods(app="web")
        gone = {"status": {"phase": "Failed", "reason": "Evicted"}}
        await cluster.client.patch(Pod, evicted.metadata.name, "default", patch=gone, subresource="status")
        await cluster.until(lambda: len(cluster.pods(app="web")) == 2)
        await change(cluster, image="app:2")
        await cluster.until(
            lambda: (
                {p.spec.containers[0].image for p in cluster.pods(app="web") if p.status.phase == "Running"}
                == {"app:2"}
            ),
            seconds=60,
        )


async def test_old_sets_beyond_the_limit_go(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 1, revisionHistoryLimit=2))
        await cluster.until(lambda: done(cluster))
        for number in range(2, 6):
            await change(cluster, image=f"app:{number}")
            await cluster.until(lambda number=number: done(cluster) and images(cluster) == {f"app:{number}"})
        await cluster.until(lambda: revision(cluster) == {"app:3": "3", "app:4": "4", "app:5": "5"})


async def test_taken_name_raises_the_collision_count(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        wanted = deployment("web", 1)
        dry = await cluster.client.create(wanted, dry_run=True)
        name = f"web-{hash_of(dry.spec.template)}"
        stranger = replica_set(name, 0, template=template({"app": name}, image="other:1"))
        await cluster.client.create(stranger)
        await cluster.client.create(wanted)
        await cluster.until(lambda: done(cluster))
        assert cluster.get(Deployment, "web").status.collisionCount == 1
        assert len(cluster.all(ReplicaSet)) == 2


async def test_annotations_of_the_deployment_reach_its_set(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 1))
        await cluster.until(lambda: done(cluster))
        notes = {"kubernetes.io/change-cause": "first", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
        await cluster.client.patch(Deployment, "web", "default", patch={"metadata": {"annotations": notes}})
        await cluster.until(
            lambda: cluster.all(ReplicaSet)[0].metadata.annotations.get("kubernetes.io/change-cause") == "first"
        )
        assert "kubectl.kubernetes.io/last-applied-configuration" not in cluster.all(ReplicaSet)[0].metadata.annotations


async def test_scaled_to_zero_and_back(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 3))
        await cluster.until(lambda: done(cluster))
        for count in (0, 5, 1):
            await change(cluster, replicas=count)
            await cluster.until(lambda: done(cluster))
            assert progressing(cluster) == ("True", "NewReplicaSetAvailable")


async def test_takes_over_a_matching_set_of_the_same_template(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        orphan = replica_set("web-old", 1, selector=deployment("web").spec.selector, template=template({"app": "web"}))
        orphan = msgspec.structs.replace(orphan, metadata=meta("web-old", labels={"app": "web"}))
        await cluster.client.create(orphan)
        await cluster.until(lambda: cluster.get(ReplicaSet, "web-old").status.availableReplicas == 1)
        await cluster.client.create(deployment("web", 2))
        await cluster.until(lambda: done(cluster))
        (rs,) = cluster.all(ReplicaSet)
        assert rs.metadata.name == "web-old"
        assert rs.metadata.ownerReferences[0].name == "web"
