"""Watches, deletion, subresources, addresses, leases, and who may do what."""

import json
import tracemalloc
from typing import Any

import pytest
import trio

from edgekube.apiserver.authz import Attributes
from edgekube.apiserver.reader import LIST_WHOLE_ITEMS_MAX, SELECT_ITEMS
from edgekube.apiserver.registry import Registry
from edgekube.apiserver.request import User
from edgekube.apiserver.requestinfo import RequestInfo
from edgekube.types.apps_v1 import Deployment
from edgekube.types.codec import convert
from edgekube.types.coordination_v1 import Lease, LeaseSpec
from edgekube.types.core_v1 import (
    Binding,
    ConfigMap,
    Event,
    Namespace,
    Node,
    ObjectReference,
    Pod,
    Service,
    ServiceAccount,
    ServicePort,
    ServiceSpec,
)
from edgekube.types.meta_v1 import ObjectMeta, OwnerReference
from edgekube.types.policy_v1 import Eviction
from edgekube.types.status import ApiError

from .conftest import ADMIN, Api

NODE_USER = User("system:node:n1", ("system:nodes", "system:authenticated"))


def body(response: Any) -> Any:
    return json.loads(response.body)


async def account(registry: Registry) -> None:
    await registry.client(ADMIN).create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))


def pod(name: str = "p", **spec: Any) -> Pod:
    value = {"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
             "spec": {"containers": [{"name": "c", "image": "x:1"}], **spec}}  # fmt: skip
    return convert(Pod, value)


async def bound_pod(registry: Registry, name: str = "p", **spec: Any) -> Pod:
    client = registry.client(ADMIN)
    await client.create(pod(name, **spec))
    target = ObjectReference(kind="Node", name="n1")
    await client.create_sub(Pod, name, "default", "binding", Binding(metadata=ObjectMeta(name=name), target=target))
    return await client.get(Pod, name, "default")


# -- watch


async def lines(response: Any, count: int) -> list[Any]:
    found: list[Any] = []
    with trio.fail_after(200):
        async for chunk in response.body:
            found += [json.loads(line) for line in chunk.splitlines()]
            if len(found) >= count:
                break
    await response.body.aclose()
    return found


def named(event: Any) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"].get("name", "")


async def test_watch_from_a_revision(api: Api) -> None:
    client = api.registry.client(ADMIN)
    before = body(await api("list", "default:core/v1/configmaps"))["metadata"]["resourceVersion"]
    await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
    await client.patch(ConfigMap, "a", "default", patch={"data": {"x": "1"}})
    await client.delete(ConfigMap, "a", "default")
    watch = await api("watch", "default:core/v1/configmaps", resourceVersion=before)
    events = await lines(watch, 3)
    assert [named(e) for e in events] == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
    assert versions == sorted(versions)


async def test_watch_shows_what_enters_and_leaves_a_selection(api: Api) -> None:
    client = api.registry.client(ADMIN)
    start = str(api.registry.backend.store.revision)
    for labels in ({"app": "a"}, {"app": "b"}):
        name = labels["app"]
        await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels=labels)))
    await client.patch(ConfigMap, "a", "default", patch={"metadata": {"labels": {"app": "b"}}})
    await client.patch(ConfigMap, "b", "default", patch={"metadata": {"labels": {"app": "a"}}})
    watch = await api("watch", "default:core/v1/configmaps", resourceVersion=start, labelSelector="app=a")
    events = await lines(watch, 3)
    assert [named(e) for e in events] == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]
    assert events[1]["object"]["metadata"]["labels"] == {"app": "a"}


async def test_initial_events_end_with_a_bookmark(api: Api) -> None:
    options = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    events = await lines(await api("watch", "core/v1/namespaces", **options), 5)
    assert [e["type"] for e in events] == ["ADDED"] * 4 + ["BOOKMARK"]
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_holds_no_copy_of_what_it_began_with(api: Api) -> None:
    client = api.registry.client(ADMIN)
    for index in range(100):
        name = f"c{index}"
        await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data={"x": "x" * 20_000}))
    options = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    watch = await api("watch", "default:core/v1/configmaps", **options)
    tracemalloc.start()
    try:
        async for chunk in watch.body:
            if b"initial-events-end" in chunk:
                break
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await watch.body.aclose()
    assert held < 500_000  # of 2 MB


async def test_bookmarks_come_while_nothing_happens(api: Api, autojump_clock: trio.testing.MockClock) -> None:
    start = str(api.registry.backend.store.revision)
    watch = await api("watch", "core/v1/pods", resourceVersion=start, allowWatchBookmarks="true", timeoutSeconds="90")
    events = await lines(watch, 99)
    assert [e["type"] for e in events] == ["BOOKMARK"]
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) >= int(start)


async def test_a_watch_from_forgotten_history_says_so(api: Api) -> None:
    for index in range(3):
        name = f"c{index}"
        await api.registry.client(ADMIN).create(ConfigMap(metadata=ObjectMeta(name=name, namespace="default")))
    api.registry.backend.store.compact()  # type: ignore[attr-defined]
    events = await lines(await api("watch", "core/v1/configmaps", resourceVersion="2"), 1)
    assert (events[0]["type"], events[0]["object"]["code"], events[0]["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_long_lists_come_in_pieces(api: Api) -> None:
    client = api.registry.client(ADMIN)
    count = LIST_WHOLE_ITEMS_MAX + 1
    for index in range(count):
        await client.create(ConfigMap(metadata=ObjectMeta(name=f"c{index:04}", namespace="default")))
    response = await api("list", "default:core/v1/configmaps")
    assert not isinstance(response.body, bytes)
    whole = json.loads(b"".join([chunk async for chunk in response.body]))
    assert [o["metadata"]["name"] for o in whole["items"]] == [f"c{index:04}" for index in range(count)]
    assert whole["kind"] == "ConfigMapList"


async def test_a_large_list_by_label_lets_others_run(api: Api) -> None:
    client = api.registry.client(ADMIN)
    for index in range(4 * SELECT_ITEMS):
        labels = {"app": "ab"[index % 2]}
        await client.create(ConfigMap(metadata=ObjectMeta(name=f"c{index:04}", namespace="default", labels=labels)))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        revision = api.registry.backend.store.revision
        response = await api("list", "default:core/v1/configmaps", labelSelector="app=a")
        seen = turns
        nursery.cancel_scope.cancel()
    assert seen >= 2  # of three at least; who runs first in a round is chance
    found = body(response)
    assert found["metadata"]["resourceVersion"] == str(revision)
    assert [o["metadata"]["name"] for o in found["items"]] == [f"c{i:04}" for i in range(0, 4 * SELECT_ITEMS, 2)]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"resourceVersion": "x"}, 400),
        ({"limit": "x"}, 400),
        ({"limit": "-1"}, 400),
        ({"continue": "!!"}, 400),
        ({"labelSelector": "a in b"}, 400),
        ({"fieldSelector": "spec.foo=1"}, 400),
        ({"resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersionMatch": "Sometimes", "resourceVersion": "1"}, 422),
        ({"resourceVersion": "999999"}, 504),
    ],
)
async def test_bad_list_options(api: Api, query: dict[str, str], code: int) -> None:
    with pytest.raises(ApiError) as caught:
        await api("list", "core/v1/pods", **query)
    assert caught.value.code == code


async def test_field_selectors(api: Api) -> None:
    await account(api.registry)
    await api.registry.client(ADMIN).create(pod("free"))
    await bound_pod(api.registry, "bound")
    for selector, expected in (
        ("spec.nodeName=n1", ["bound"]),
        ("spec.nodeName=", ["free"]),
        ("status.phase!=Pending", []),
        ("metadata.name=free", ["free"]),
        ("metadata.name=free,spec.nodeName=n1", []),
    ):
        found = body(await api("list", "default:core/v1/pods", fieldSelector=selector))["items"]
        assert [o["metadata"]["name"] for o in found] == expected, selector


# -- deletion


async def test_a_bound_pod_is_deleted_gracefully(registry: Registry) -> None:
    await account(registry)
    client = registry.client(ADMIN)
    made = await bound_pod(registry)
    assert made.metadata.generation == 1
    await client.delete(Pod, "p", "default")
    marked = await client.get(Pod, "p", "default")
    assert marked.metadata.deletionTimestamp == "2023-11-14T22:13:50Z"
    assert marked.metadata.deletionGracePeriodSeconds == 30
    assert marked.metadata.generation == 2
    await client.delete(Pod, "p", "default", grace_period_seconds=5)
    assert (await client.get(Pod, "p", "default")).metadata.deletionGracePeriodSeconds == 5
    await client.delete(Pod, "p", "default", grace_period_seconds=60)
    assert (await client.get(Pod, "p", "default")).metadata.deletionGracePeriodSeconds == 5
    await client.delete(Pod, "p", "default", grace_period_seconds=0)
    with pytest.raises(ApiError, match="not found"):
        await client.get(Pod, "p", "default")


async def test_a_pod_without_a_node_goes_at_once(registry: Registry) -> None:
    await account(registry)
    client = registry.client(ADMIN)
    await client.create(pod())
    await client.delete(Pod, "p", "default")
    with pytest.raises(ApiError, match="not found"):
        await client.get(Pod, "p", "default")


async def test_finalizers_hold_an_object(registry: Registry) -> None:
    client = registry.client(ADMIN)
    metadata = ObjectMeta(name="a", namespace="default", finalizers=("x.io/hold",))
    await client.create(ConfigMap(metadata=metadata))
    await client.delete(ConfigMap, "a", "default")
    assert (await client.get(ConfigMap, "a", "default")).metadata.deletionTimestamp
    with pytest.raises(ApiError, match="no new finalizers can be added"):
        await client.patch(ConfigMap, "a", "default", patch={"metadata": {"finalizers": ["x.io/hold", "y.io/more"]}})
    await client.patch(ConfigMap, "a", "default", patch={"metadata": {"finalizers": None}})
    with pytest.raises(ApiError, match="not found"):
        await client.get(ConfigMap, "a", "default")


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_propagation_is_a_finalizer(registry: Registry, policy: str, finalizer: str) -> None:
    client = registry.client(ADMIN)
    await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
    await client.delete(ConfigMap, "a", "default", propagation_policy=policy)
    assert (await client.get(ConfigMap, "a", "default")).metadata.finalizers == (finalizer,)


async def test_delete_preconditions(registry: Registry) -> None:
    client = registry.client(ADMIN)
    made = await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
    with pytest.raises(ApiError, match="Precondition failed: UID in precondition: other"):
        await client.delete(ConfigMap, "a", "default", uid="other")
    with pytest.raises(ApiError, match="ResourceVersion in precondition: 1"):
        await client.delete(ConfigMap, "a", "default", resource_version="1")
    await client.delete(ConfigMap, "a", "default", uid=made.metadata.uid)


async def test_delete_collection(api: Api) -> None:
    client = api.registry.client(ADMIN)
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels={"app": app})))
    gone = body(await api("deletecollection", "default:core/v1/configmaps", labelSelector="app=x"))
    assert [o["metadata"]["name"] for o in gone["items"]] == ["a", "c"]
    assert [o.metadata.name for o in (await client.list(ConfigMap, "default")).items] == ["b"]


# -- subresources


async def test_status_and_spec_keep_apart(registry: Registry) -> None:
    client = registry.client(ADMIN)
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "x"}]}}}  # fmt: skip
    metadata = {"name": "d", "namespace": "default"}
    made = await client.create(convert(Deployment, {"metadata": metadata, "spec": spec, "status": {"replicas": 9}}))
    assert made.status.replicas == 0
    patch = {"spec": {"replicas": 7}, "status": {"replicas": 2, "observedGeneration": 1}}
    after = await client.patch(Deployment, "d", "default", patch=patch, subresource="status")
    assert (after.spec.replicas, after.status.replicas, after.metadata.generation) == (1, 2, 1)
    after = await client.patch(Deployment, "d", "default", patch=patch)
    assert (after.spec.replicas, after.status.replicas, after.metadata.generation) == (7, 2, 2)
    owners = {(e.manager, e.subresource) for e in after.metadata.managedFields}
    assert owners == {("admin", ""), ("admin", "status")}


async def test_scale(api: Api) -> None:
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "x"}]}}}  # fmt: skip
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    await api("create", "default:apps/v1/deployments", json.dumps(deployment).encode())
    scale = body(await api("get", "default:apps/v1/deployments/d/scale"))
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 0, "selector": "a=b"},
    )
    shown = body(
        await api("get", "default:apps/v1/deployments/d/scale", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    )
    assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert shown["rows"][0]["cells"][:3] == ["d", scale["spec"]["replicas"], 0]
    scale["spec"]["replicas"] = 4
    changed = body(await api("update", "default:apps/v1/deployments/d/scale", json.dumps(scale).encode()))
    assert changed["spec"] == {"replicas": 4}
    scale["spec"]["replicas"] = -1
    scale["metadata"].pop("resourceVersion")
    with pytest.raises(ApiError, match="must be greater than or equal to 0"):
        await api("update", "default:apps/v1/deployments/d/scale", json.dumps(scale).encode())


async def test_an_update_of_a_pod_keeps_what_admission_gave_it(api: Api) -> None:
    await account(api.registry)
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "serviceAccountName": "default", "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "i:1"}]}}  # fmt: skip
    made = body(await api("create", "default:core/v1/pods", json.dumps(bare).encode()))
    bare["metadata"] = {"name": "p", "labels": {"a": "b"}}
    replaced = body(await api("update", "default:core/v1/pods/p", json.dumps(bare).encode()))
    assert replaced["metadata"]["labels"] == {"a": "b"}
    assert replaced["spec"] == made["spec"]


async def test_a_pod_is_bound_once(registry: Registry) -> None:
    await account(registry)
    made = await bound_pod(registry)
    assert made.spec.nodeName == "n1"
    assert [(c.type, c.status) for c in made.status.conditions] == [("PodScheduled", "True")]
    target = ObjectReference(kind="Node", name="n2")
    with pytest.raises(ApiError, match='pod p is already assigned to node "n1"'):
        await registry.client(ADMIN).create_sub(
            Pod, "p", "default", "binding", Binding(metadata=ObjectMeta(name="p"), target=target)
        )


async def test_eviction_deletes(registry: Registry) -> None:
    await account(registry)
    await bound_pod(registry)
    client = registry.client(ADMIN)
    await client.create_sub(Pod, "p", "default", "eviction", Eviction(metadata=ObjectMeta(name="p")))
    assert (await client.get(Pod, "p", "default")).metadata.deletionTimestamp


async def test_unknown_subresources_and_verbs(api: Api) -> None:
    for path, verb, code in (
        ("default:core/v1/configmaps/a/status", "get", 404),
        ("default:core/v1/pods/a/eviction", "get", 405),
        ("core/v1/componentstatuses", "create", 405),
        ("core/v1/nothings", "list", 404),
    ):
        with pytest.raises(ApiError) as caught:
            await api(verb, path)
        assert caught.value.code == code, path


# -- addresses and ports


def service(name: str, **spec: Any) -> Service:
    ports = (ServicePort(port=80),)
    return Service(metadata=ObjectMeta(name=name, namespace="default"), spec=ServiceSpec(**{"ports": ports, **spec}))


async def test_addresses_are_given_and_given_back(registry: Registry) -> None:
    client = registry.client(ADMIN)
    made = await client.create(service("a", type="NodePort"))
    assert made.spec.clusterIP.startswith("10.43.")
    assert made.spec.clusterIPs == (made.spec.clusterIP,)
    assert 30000 <= made.spec.ports[0].nodePort <= 32767
    with pytest.raises(ApiError, match="provided IP is already allocated"):
        await client.create(service("b", clusterIP=made.spec.clusterIP))
    with pytest.raises(ApiError, match="provided port is already allocated"):
        await client.create(
            service("b", type="NodePort", ports=(ServicePort(port=80, nodePort=made.spec.ports[0].nodePort),))
        )
    with pytest.raises(ApiError, match="is not in the valid range"):
        await client.create(service("b", clusterIP="192.0.2.1"))
    await client.delete(Service, "a", "default")
    again = await client.create(service("b", clusterIP=made.spec.clusterIP))
    assert again.spec.clusterIP == made.spec.clusterIP


async def test_changing_the_type_of_a_service(registry: Registry) -> None:
    client = registry.client(ADMIN)
    made = await client.create(service("a", type="NodePort"))
    plain = await client.patch(Service, "a", "default", patch={"spec": {"type": "ClusterIP"}})
    assert plain.spec.ports[0].nodePort == 0
    assert plain.spec.clusterIP == made.spec.clusterIP
    port = made.spec.ports[0].nodePort
    await client.create(service("b", type="NodePort", ports=(ServicePort(port=80, nodePort=port),)))


async def test_headless_services_take_no_address(registry: Registry) -> None:
    made = await registry.client(ADMIN).create(service("a", clusterIP="None"))
    assert made.spec.clusterIPs == ("None",)


async def test_health_check_port(registry: Registry) -> None:
    made = await registry.client(ADMIN).create(service("a", type="LoadBalancer", externalTrafficPolicy="Local"))
    assert 30000 <= made.spec.healthCheckNodePort <= 32767
    assert made.spec.healthCheckNodePort != made.spec.ports[0].nodePort


# -- what is kept in memory


async def test_a_heartbeat_writes_nothing(registry: Registry) -> None:
    client = registry.client(ADMIN)
    lease = Lease(
        metadata=ObjectMeta(name="n1", namespace="kube-node-lease"),
        spec=LeaseSpec(holderIdentity="n1", renewTime="2023-11-14T22:13:20.000000Z", leaseDurationSeconds=40),
    )
    await client.create(lease)
    informer = client.informer(Lease)
    before = registry.backend.store.revision
    patch = {"spec": {"renewTime": "2023-11-14T22:14:20.000000Z"}}
    await client.patch(Lease, "n1", "kube-node-lease", patch=patch)
    assert registry.backend.store.revision == before
    held = informer.get("kube-node-lease", "n1")
    for found in (held, await client.get(Lease, "n1", "kube-node-lease")):
        assert found is not None
        assert found.spec is not None
        assert found.spec.renewTime == "2023-11-14T22:14:20.000000Z"
    await client.patch(Lease, "n1", "kube-node-lease", patch={"spec": {"holderIdentity": "n2"}})
    assert registry.backend.store.revision > before


async def test_events_leave_the_durable_store_alone(api: Api) -> None:
    before = api.registry.backend.store.revision
    about = ObjectReference(kind="Pod", name="p", namespace="default")
    metadata = ObjectMeta(name="e", namespace="default")
    await api.registry.client(ADMIN).create(Event(metadata=metadata, involvedObject=about, message="hello", reason="R"))
    assert api.registry.backend.store.revision == before
    seen = body(await api("get", "default:events.k8s.io/v1/events/e"))
    assert (seen["apiVersion"], seen["note"], seen["regarding"]["name"]) == ("events.k8s.io/v1", "hello", "p")


# -- who may


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (Attributes(user=NODE_USER, verb="get", resource="nodes", name="n1"), True),
        (Attributes(user=NODE_USER, verb="patch", resource="nodes", subresource="status", name="n1"), True),
        (Attributes(user=NODE_USER, verb="patch", resource="nodes", subresource="status", name="n2"), False),
        (Attributes(user=NODE_USER, verb="delete", resource="nodes", name="n1"), False),
        (Attributes(user=NODE_USER, verb="list", resource="pods"), False),
        (Attributes(user=NODE_USER, verb="watch", resource="pods", field_selector="spec.nodeName=n1"), True),
        (Attributes(user=NODE_USER, verb="watch", resource="pods", field_selector="spec.nodeName=n2"), False),
        (Attributes(user=NODE_USER, verb="list", resource="secrets"), False),
        (Attributes(user=NODE_USER, verb="get", resource="secrets", namespace="default", name="mine"), True),
        (Attributes(user=NODE_USER, verb="get", resource="secrets", namespace="default", name="other"), False),
        (Attributes(user=NODE_USER, verb="get", resource="configmaps", namespace="default", name="cfg"), True),
        (Attributes(user=NODE_USER, verb="get", resource="secrets", namespace="kube-system", name="mine"), False),
        (Attributes(user=NODE_USER, verb="patch", resource="pods", subresource="status", namespace="default", name="p"),
         True),
        (Attributes(user=NODE_USER, verb="update", resource="pods", namespace="default", name="p"), False),
        (Attributes(user=User("alice", ("system:authenticated",)), verb="get", resource="pods"), False),
        (Attributes(user=User("alice", ("system:authenticated",)), verb="get", path="/apis/apps/v1"), True),
        (Attributes(user=User("system:anonymous"), verb="get", path="/version"), True),
        (Attributes(user=User("system:anonymous"), verb="get", path="/api"), False),
        (Attributes(user=ADMIN, verb="delete", resource="nodes", name="n1"), True),
    ],
)  # fmt: skip
async def test_authorization(registry: Registry, asked: Attributes, allowed: bool) -> None:
    await account(registry)
    volumes = [{"name": "s", "secret": {"secretName": "mine"}}, {"name": "c", "configMap": {"name": "cfg"}}]
    await bound_pod(registry, volumes=volumes)
    assert registry.authorizer.decide(asked).allowed is allowed


async def test_the_front_asks_in_its_own_words(registry: Registry) -> None:
    permit = registry.authorizer.permit
    alice = User("alice", ("system:authenticated",))
    assert await permit(ADMIN, RequestInfo(verb="get", path="/metrics")) == ""
    assert await permit(alice, RequestInfo(verb="get", path="/openapi/v3")) == ""
    assert await permit(alice, RequestInfo(verb="get", path="/metrics"))
    assert await permit(alice, RequestInfo(verb="create", path="/x", resource="pods", subresource="exec", name="p"))


async def test_deprecated_kinds_warn(api: Api) -> None:
    assert (await api("list", "core/v1/endpoints")).warnings == (
        "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    )
    assert (await api("list", "core/v1/pods")).warnings == ()


async def test_strict_warn_and_ignore(api: Api) -> None:
    text = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","x":1},"data":{"a":"1","a":"2"},"datum":{}}'
    path = "default:core/v1/configmaps"
    with pytest.raises(ApiError, match="strict decoding error") as caught:
        await api("create", path, text, fieldValidation="Strict")
    for complaint in ('unknown field "metadata.x"', 'unknown field "datum"', 'duplicate field "data.a"'):
        assert complaint in caught.value.message
    warned = await api("create", path, text, fieldValidation="Warn", dryRun="All")
    assert set(warned.warnings) >= {'unknown field "metadata.x"', 'unknown field "datum"', 'duplicate field "data.a"'}
    silent = await api("create", path, text, fieldValidation="Ignore")
    assert silent.warnings == ()
    assert "datum" not in body(silent)


async def test_the_refusal_is_worded_as_kubectl_knows_it(registry: Registry) -> None:
    alice = registry.client(User("alice", ("system:authenticated",)))
    with pytest.raises(ApiError) as caught:
        await alice.list(Pod, "default")
    assert caught.value.code == 403
    assert caught.value.message == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "default"'
    )


async def test_a_node_labels_itself_within_limits(registry: Registry) -> None:
    node = registry.client(NODE_USER)
    await node.create(Node(metadata=ObjectMeta(name="n1", labels={"kubernetes.io/os": "linux"})))
    with pytest.raises(ApiError, match=r"is not allowed to modify labels: node-restriction\.kubernetes\.io/x"):
        await node.patch(Node, "n1", patch={"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1"}}})
    with pytest.raises(ApiError, match="not allowed to modify taints"):
        await node.patch(Node, "n1", patch={"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})


async def test_owner_references_are_checked(registry: Registry) -> None:
    owner = OwnerReference(apiVersion="v1", kind="Pod", name="", uid="u")
    with pytest.raises(ApiError, match=r"metadata\.ownerReferences\[0\]\.name: Invalid value: \"\": must not be empty"):
        await registry.client(ADMIN).create(Namespace(metadata=ObjectMeta(name="n", ownerReferences=(owner,))))
