"""Namespaces, accounts, garbage, lost nodes: what keeps a cluster tidy."""

import logging

import msgspec
import pytest

from edgekube.testing.cluster import FakeCluster
from edgekube.testing.workloads import deployment, meta, pod, replica_set, service
from edgekube.types.apps_v1 import Deployment, ReplicaSet
from edgekube.types.core_v1 import ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount, Toleration
from edgekube.types.discovery_v1 import EndpointSlice
from edgekube.types.meta_v1 import ObjectMeta, OwnerReference
from edgekube.types.status import ApiError


def config(
    name: str, *owners: OwnerReference, finalizers: tuple[str, ...] = (), namespace: str = "default"
) -> ConfigMap:
    return ConfigMap(metadata=meta(name, namespace, ownerReferences=owners, finalizers=finalizers))


def owned(by: ConfigMap, *, block: bool = False) -> OwnerReference:
    m = by.metadata
    return OwnerReference(apiVersion="v1", kind="ConfigMap", name=m.name, uid=m.uid, blockOwnerDeletion=block)


def names(cluster: FakeCluster) -> set[str]:
    return {c.metadata.name for c in cluster.all(ConfigMap)} - {"kube-root-ca.crt"}


# -- nodes


async def test_who_holds_the_control_plane_is_labelled_so(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        for name in ("server", "agent"):
            await cluster.client.create(Node(metadata=ObjectMeta(name=name)))
        role = "node-role.kubernetes.io/control-plane"
        await cluster.until(lambda: role in cluster.get(Node, "server", "").metadata.labels)
        await cluster.client.patch(Node, "server", patch={"metadata": {"labels": {role: None}}})
        await cluster.until(lambda: role in cluster.get(Node, "server", "").metadata.labels)
        assert role not in cluster.get(Node, "agent", "").metadata.labels


# -- namespaces and accounts


async def test_every_namespace_gets_an_account_and_the_root_certificate(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(Namespace(metadata=ObjectMeta(name="team")))
        await cluster.until(lambda: cluster.find(ConfigMap, "kube-root-ca.crt", "team") is not None)
        assert cluster.get(ServiceAccount, "default", "team")
        assert cluster.get(ConfigMap, "kube-root-ca.crt", "team").data["ca.crt"].startswith("-----BEGIN")
        # What is deleted comes back, what is changed is set right.
        await cluster.client.delete(ServiceAccount, "default", "team")
        await cluster.until(lambda: cluster.find(ServiceAccount, "default", "team") is not None)
        await cluster.client.patch(ConfigMap, "kube-root-ca.crt", "team", patch={"data": {"ca.crt": "x", "y": "z"}})
        await cluster.until(lambda: cluster.get(ConfigMap, "kube-root-ca.crt", "team").data.keys() == {"ca.crt"})
        assert cluster.get(ConfigMap, "kube-root-ca.crt", "team").data["ca.crt"] != "x"


async def test_deleted_namespace_goes_with_everything_in_it(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(Namespace(metadata=ObjectMeta(name="team")))
        await cluster.until(lambda: cluster.find(ServiceAccount, "default", "team") is not None)
        for number in range(3):
            await cluster.client.create(pod(f"p{number}", namespace="team"))
        await cluster.until(lambda: all(p.status.phase == "Running" for p in cluster.all(Pod, "team")))
        await cluster.client.create(config("held", namespace="team", finalizers=("example.com/hold",)))
        await cluster.client.delete(Namespace, "team")
        await cluster.until(lambda: not cluster.all(Pod, "team"))
        await cluster.settle(30)
        namespace = cluster.get(Namespace, "team", "")
        assert namespace.status.phase == "Terminating"
        told = {c.type: (c.status, c.message) for c in namespace.status.conditions}
        assert told["NamespaceContentRemaining"] == (
            "True",
            "Some resources are remaining: configmaps. has 1 resource instances",
        )
        assert told["NamespaceFinalizersRemaining"] == (
            "True",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
        )
        with pytest.raises(ApiError, match="being terminated"):
            await cluster.client.create(config("more", namespace="team"))
        await cluster.client.patch(ConfigMap, "held", "team", patch={"metadata": {"finalizers": None}})
        await cluster.until(lambda: cluster.find(Namespace, "team", "") is None)
        assert not cluster.all(ConfigMap, "team")


async def test_a_namespace_goes_quietly(autojump_clock: object, caplog: pytest.LogCaptureFixture) -> None:
    """Its slices go before its Services: nobody complains that they cannot be made again."""
    caplog.set_level(logging.WARNING)
    async with FakeCluster() as cluster:
        await cluster.client.create(Namespace(metadata=meta("team", "")))
        await cluster.until(lambda: cluster.find(ServiceAccount, "default", "team") is not None)
        made = service("web", {"app": "web"})
        await cluster.client.create(
            msgspec.structs.replace(made, metadata=meta("web", "team", finalizers=("a.test/x",)))
        )
        await cluster.until(lambda: bool(cluster.all(EndpointSlice, "team")))
        await cluster.client.delete(Namespace, "team")
        await cluster.until(lambda: not cluster.all(EndpointSlice, "team"))
        await cluster.settle(30)
        await cluster.client.patch(Service, "web", "team", patch={"metadata": {"finalizers": None}})
        await cluster.until(lambda: cluster.find(Namespace, "team", "") is None)
    assert [record.getMessage() for record in caplog.records] == []


# -- garbage


async def test_dependents_go_when_their_last_owner_is_gone(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        one = await cluster.client.create(config("one"))
        two = await cluster.client.create(config("two"))
        await cluster.client.create(config("both", owned(one), owned(two)))
        child = await cluster.client.create(config("child", owned(one)))
        await cluster.client.create(config("grandchild", owned(child)))
        await cluster.client.delete(ConfigMap, "one", "default")
        await cluster.until(lambda: names(cluster) == {"two", "both"})
        await cluster.until(lambda: len(cluster.get(ConfigMap, "both").metadata.ownerReferences) == 1)
        await cluster.client.delete(ConfigMap, "two", "default")
        await cluster.until(lambda: names(cluster) == set())


async def test_foreground_waits_for_dependents_that_block(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        owner = await cluster.client.create(config("owner"))
        await cluster.client.create(config("slow", owned(owner, block=True), finalizers=("example.com/hold",)))
        await cluster.client.create(config("free", owned(owner), finalizers=("example.com/hold",)))
        await cluster.client.delete(ConfigMap, "owner", "default", propagation_policy="Foreground")
        await cluster.until(lambda: all(c.metadata.deletionTimestamp for c in cluster.all(ConfigMap) if
                                        c.metadata.name in names(cluster)))  # fmt: skip
        await cluster.settle(30)
        assert names(cluster) == {"owner", "slow", "free"}
        await cluster.client.patch(ConfigMap, "slow", "default", patch={"metadata": {"finalizers": None}})
        await cluster.until(lambda: names(cluster) == {"free"})


async def test_orphaned_dependents_stay_and_forget_their_owner(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        owner = await cluster.client.create(config("owner"))
        await cluster.client.create(config("child", owned(owner)))
        await cluster.client.delete(ConfigMap, "owner", "default", propagation_policy="Orphan")
        await cluster.until(lambda: names(cluster) == {"child"})
        assert cluster.get(ConfigMap, "child").metadata.ownerReferences == ()


async def test_an_owner_that_never_was_is_no_owner(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        gone = OwnerReference(
            apiVersion="v1", kind="ConfigMap", name="never", uid="00000000-0000-0000-0000-000000000000"
        )
        foreign = OwnerReference(apiVersion="example.com/v1", kind="Thing", name="x", uid="u-1")
        await cluster.client.create(config("child", gone))
        await cluster.client.create(config("kept", foreign))
        await cluster.until(lambda: names(cluster) == {"kept"})
        await cluster.settle(60)
        assert names(cluster) == {"kept"}


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_deployment_takes_sets_and_pods_along(autojump_clock: object, policy: str) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(deployment("web", 3))
        await cluster.until(lambda: cluster.get(Deployment, "web").status.availableReplicas == 3)
        await cluster.client.delete(Deployment, "web", "default", propagation_policy=policy)
        if policy == "Foreground":
            seen: list[int] = []
            await cluster.until(lambda: seen.append(len(cluster.all(Pod))) or cluster.find(Deployment, "web") is None)
            assert seen[-1] == 0
        await cluster.until(
            lambda: not cluster.all(Deployment) and not cluster.all(ReplicaSet) and not cluster.all(Pod)
        )


# -- nodes


def taints(cluster: FakeCluster, node: str = "node-0") -> set[tuple[str, str]]:
    return {(t.key.rpartition("/")[2], t.effect) for t in cluster.get(Node, node, "").spec.taints}


async def test_silent_node_is_tainted_its_pods_leave_and_it_is_welcome_back(autojump_clock: object) -> None:
    async with FakeCluster(nodes=2) as cluster:
        await cluster.client.create(replica_set("web", 4))
        await cluster.until(lambda: cluster.get(ReplicaSet, "web").status.availableReplicas == 4)
        lost = [p.metadata.name for p in cluster.pods() if p.spec.nodeName == "node-0"]
        assert len(lost) == 2
        cluster.kubelet.silence("node-0")
        await cluster.until(lambda: taints(cluster) == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")})
        ready = next(c for c in cluster.get(Node, "node-0", "").status.conditions if c.type == "Ready")
        assert (ready.status, ready.reason) == ("Unknown", "NodeStatusUnknown")
        # Its pods are not ready any more, whatever they last said.
        for name in lost:
            (condition,) = [c for c in cluster.get(Pod, name).status.conditions if c.type == "Ready"]
            assert condition.status == "False"
        went_silent = cluster.now()
        await cluster.until(lambda: all(cluster.get(Pod, n).metadata.deletionTimestamp for n in lost))
        assert 295 <= (cluster.now() - went_silent).total_seconds() <= 310
        await cluster.until(lambda: len([p for p in cluster.pods() if p.spec.nodeName == "node-1"]) == 4)
        await cluster.kubelet.restore("node-0")
        await cluster.until(lambda: taints(cluster) == set() and not any(cluster.find(Pod, n) for n in lost))


async def test_nobody_is_evicted_when_all_nodes_are_silent(autojump_clock: object) -> None:
    async with FakeCluster(nodes=2) as cluster:
        await cluster.client.create(replica_set("web", 2))
        await cluster.until(lambda: cluster.get(ReplicaSet, "web").status.availableReplicas == 2)
        uids = {p.metadata.uid for p in cluster.pods()}
        for node in ("node-0", "node-1"):
            cluster.kubelet.silence(node)
        await cluster.settle(1200)
        assert {p.metadata.uid for p in cluster.pods()} == uids


async def test_no_execute_taint_honours_tolerations(autojump_clock: object) -> None:
    async with FakeCluster(nodes=1) as cluster:
        key = {"key": "maintenance", "operator": "Exists", "effect": "NoExecute"}
        await cluster.client.create(pod("stays", tolerations=(Toleration(**key),)))
        await cluster.client.create(pod("later", tolerations=(Toleration(**key, tolerationSeconds=60),)))
        await cluster.client.create(pod("goes"))
        await cluster.until(
            lambda: all(p.status.phase == "Running" for p in cluster.all(Pod)) and len(cluster.pods()) == 3
        )
        taint = {"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}}
        await cluster.client.patch(Node, "node-0", patch=taint)
        await cluster.until(lambda: {p.metadata.name for p in cluster.pods()} == {"stays", "later"}, seconds=10)
        await cluster.settle(40)
        assert {p.metadata.name for p in cluster.pods()} == {"stays", "later"}
        await cluster.until(lambda: {p.metadata.name for p in cluster.pods()} == {"stays"}, seconds=40)
        assert "TaintManagerEviction" in cluster.reasons("goes")


async def test_cordon_taints_and_uncordon_clears(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.patch(Node, "node-0", patch={"spec": {"unschedulable": True}})
        await cluster.until(lambda: taints(cluster) == {("unschedulable", "NoSchedule")})
        await cluster.client.patch(Node, "node-0", patch={"spec": {"unschedulable": None}})
        await cluster.until(lambda: taints(cluster) == set())


async def test_pods_of_a_deleted_node_fail_and_go(autojump_clock: object) -> None:
    async with FakeCluster(nodes=2) as cluster:
        await cluster.client.create(replica_set("web", 2))
        await cluster.until(lambda: cluster.get(ReplicaSet, "web").status.availableReplicas == 2)
        await cluster.client.delete(Node, "node-0")
        cluster.kubelet.silence("node-0")
        await cluster.until(lambda: len([p for p in cluster.all(Pod) if p.spec.nodeName == "node-1"]) == 2 and
                            len(cluster.all(Pod)) == 2)  # fmt: skip


# -- the Service of the API itself


async def test_kubernetes_service_is_kept(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        assert cluster.get(Service, "kubernetes").spec.clusterIP == "10.43.0.1"
        await cluster.client.delete(Endpoints, "kubernetes", "default")
        await cluster.client.delete(EndpointSlice, "kubernetes", "default")
        await cluster.client.delete(Service, "kubernetes", "default")
        await cluster.until(
            lambda: (
                cluster.find(Service, "kubernetes") is not None
                and cluster.find(Endpoints, "kubernetes") is not None
                and cluster.find(EndpointSlice, "kubernetes") is not None
            )
        )
        (endpoint,) = cluster.get(EndpointSlice, "kubernetes").endpoints
        assert endpoint.addresses == ("192.0.2.250",)
