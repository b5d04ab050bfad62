"""The verbs end to end, in process: request values in, JSON out."""

import json
from typing import Any

import pytest

from edgekube.apiserver.registry import Registry
from edgekube.types.core_v1 import ConfigMap, Namespace, Pod
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError

from .conftest import ADMIN, Api


def body(response: Any) -> Any:
    return json.loads(response.body)


def config_map(name: str = "a", **data: str) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}).encode()


async def test_create_fills_what_the_server_keeps(api: Api) -> None:
    made = await api("create", "default:core/v1/configmaps", config_map(k="v"))
    assert made.status == 201
    metadata = body(made)["metadata"]
    assert metadata["namespace"] == "default"
    assert metadata["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert len(metadata["uid"]) == 36
    assert int(metadata["resourceVersion"]) > 1
    assert metadata["managedFields"] == [
        {
            "manager": "kubectl",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2023-11-14T22:13:20Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:k": {}}},
        }
    ]
    assert body(await api("get", "default:core/v1/configmaps/a")) == body(made)


async def test_create_twice_conflicts(api: Api) -> None:
    await api("create", "default:core/v1/configmaps", config_map())
    with pytest.raises(ApiError, match='configmaps "a" already exists') as caught:
        await api("create", "default:core/v1/configmaps", config_map())
    assert caught.value.code == 409


async def test_create_in_a_namespace_that_is_not_there(api: Api) -> None:
    with pytest.raises(ApiError, match='namespaces "nowhere" not found') as caught:
        await api("create", "nowhere:core/v1/configmaps", config_map())
    assert caught.value.code == 404


async def test_some_kinds_are_replaced_only_by_who_says_which_version(api: Api) -> None:
    made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "x"}}
    where = "default:coordination.k8s.io/v1/leases/x"
    assert (await api("update", where, json.dumps(made).encode())).status == 201  # there was none
    with pytest.raises(ApiError, match="must be specified for an update") as caught:
        await api("update", where, json.dumps(made).encode())
    assert caught.value.code == 422
    made["metadata"]["resourceVersion"] = body(await api("get", where))["metadata"]["resourceVersion"]
    assert (await api("update", where, json.dumps(made).encode())).status == 200
    await api("create", "default:core/v1/configmaps", config_map())
    assert (await api("update", "default:core/v1/configmaps/a", config_map(k="v"))).status == 200


async def test_version_zero_is_any_version(api: Api) -> None:
    await api("create", "default:core/v1/configmaps", config_map(k="v"))
    zero = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "0"}}
    assert (await api("update", "default:core/v1/configmaps/a", json.dumps(zero).encode())).status == 200
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": zero["metadata"]}
    where = "default:coordination.k8s.io/v1/leases/a"
    assert (await api("update", where, json.dumps(lease).encode())).status == 201
    with pytest.raises(ApiError, match="must be specified for an update"):
        await api("update", where, json.dumps(lease).encode())


async def test_namespaces_are_deleted_one_by_one(api: Api) -> None:
    with pytest.raises(ApiError) as caught:
        await api("deletecollection", "core/v1/namespaces")
    assert caught.value.code == 405
    assert body(await api("get", "core/v1/namespaces/default"))["status"] == {"phase": "Active"}


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        ("application/strategic-merge-patch+json", b'{"metadata":{"labels":"no"}}'),
        ("application/merge-patch+json", b'{"metadata":{"labels":"no"}}'),
        ("application/json-patch+json", b'[{"op":"add","path":"/metadata/labels","value":"no"}]'),
    ],
)
async def test_a_patch_that_leaves_no_object_of_the_kind(api: Api, content_type: str, patch: bytes) -> None:
    await api("create", "default:core/v1/configmaps", config_map())
    with pytest.raises(ApiError, match="json: cannot unmarshal string") as caught:
        await api("patch", "default:core/v1/configmaps/a", patch, content_type=content_type)
    details = caught.value.status.details
    assert details is not None
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert [cause.field for cause in details.causes] == ["patch"]
    assert patch.decode() in json.loads(details.causes[0].message.split(": ", 2)[1])


async def test_generate_name(api: Api) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}
    names = {
        body(await api("create", "default:core/v1/configmaps", json.dumps(obj).encode()))["metadata"]["name"]
        for _ in range(3)
    }
    assert len(names) == 3
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


async def test_update_needs_the_version_it_was_read_at(api: Api) -> None:
    made = body(await api("create", "default:core/v1/configmaps", config_map(k="v")))
    made["data"]["k"] = "w"
    changed = body(await api("update", "default:core/v1/configmaps/a", json.dumps(made).encode()))
    assert changed["data"] == {"k": "w"}
    with pytest.raises(ApiError, match="the object has been modified") as caught:
        await api("update", "default:core/v1/configmaps/a", json.dumps(made).encode())
    assert caught.value.reason == "Conflict"


async def test_an_update_without_change_writes_nothing(api: Api) -> None:
    made = body(await api("create", "default:core/v1/configmaps", config_map(k="v")))
    before = api.registry.backend.store.revision
    again = body(await api("update", "default:core/v1/configmaps/a", json.dumps(made).encode()))
    assert again == made
    assert api.registry.backend.store.revision == before


async def test_merge_patch_and_delete(api: Api) -> None:
    await api("create", "default:core/v1/configmaps", config_map(k="v"))
    patch = b'{"data":{"k":null,"l":"w"}}'
    patched = await api("patch", "default:core/v1/configmaps/a", patch, content_type="application/merge-patch+json")
    assert body(patched)["data"] == {"l": "w"}
    gone = body(await api("delete", "default:core/v1/configmaps/a"))
    assert (gone["status"], gone["details"]["name"], gone["details"]["kind"]) == ("Success", "a", "configmaps")
    with pytest.raises(ApiError, match='configmaps "a" not found'):
        await api("get", "default:core/v1/configmaps/a")


async def test_dry_run_leaves_no_trace(api: Api) -> None:
    await api("create", "default:core/v1/configmaps", config_map(), dryRun="All")
    assert body(await api("list", "default:core/v1/configmaps"))["items"] == []


async def test_list_pages_are_consistent(api: Api) -> None:
    for index in range(5):
        await api("create", "default:core/v1/configmaps", config_map(f"c{index}"))
    first = body(await api("list", "default:core/v1/configmaps", limit="2"))
    assert [o["metadata"]["name"] for o in first["items"]] == ["c0", "c1"]
    assert first["metadata"]["remainingItemCount"] == 3
    await api("delete", "default:core/v1/configmaps/c3")
    rest = body(
        await api("list", "default:core/v1/configmaps", limit="9", **{"continue": first["metadata"]["continue"]})
    )
    assert [o["metadata"]["name"] for o in rest["items"]] == ["c2", "c3", "c4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_an_object_of_another_kind_is_refused_in_kubernetes_words(api: Api) -> None:
    pod = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}'
    with pytest.raises(ApiError) as caught:
        await api("create", "core/v1/namespaces", pod)
    assert caught.value.message == (
        'Pod in version "v1" cannot be handled as a Namespace: converting (v1.Pod) to (core.Namespace): '
        "unknown conversion"
    )


async def test_wrong_bodies_are_the_callers_fault(api: Api) -> None:
    for text in (b"", b"{", b"[]", b"7", b'{"kind":"Pod","apiVersion":"v1"}', b'{"metadata":7}', b'{"data":{"a":1}}',
                 b"\xff\xfe"):  # fmt: skip
        with pytest.raises(ApiError) as caught:
            await api("create", "default:core/v1/configmaps", text)
        assert caught.value.code in (400, 422), text
    with pytest.raises(ApiError) as caught:
        await api("create", "default:core/v1/configmaps", b"k8s\0", content_type="application/cbor")
    assert caught.value.code == 415


async def test_yaml_body(api: Api) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata:\n  on: 'yes'\n  2: b\n"
    made = body(await api("create", "default:core/v1/configmaps", text, content_type="application/yaml"))
    assert made["data"] == {"true": "yes", "2": "b"}


async def test_in_process_client(registry: Registry) -> None:
    client = registry.client(ADMIN)
    seen: list[str] = []
    informer = client.informer(ConfigMap)
    informer.subscribe(lambda change: seen.append(("-" if change.new is None else "+") + change.obj.metadata.name))
    made = await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"k": "v"}))
    assert informer.get("default", "a") is made
    changed = await client.patch(ConfigMap, "a", "default", patch={"data": {"k": "w"}})
    assert informer.get("default", "a") is changed
    assert (await client.list(ConfigMap, "default")).items[0].data == {"k": "w"}
    await client.delete(ConfigMap, "a", "default")
    assert informer.get("default", "a") is None
    assert seen == ["+a", "+a", "-a"]


async def test_namespaces_end_when_they_are_finalized(registry: Registry) -> None:
    client = registry.client(ADMIN)
    made = await client.create(Namespace(metadata=ObjectMeta(name="n")))
    assert made.spec.finalizers == ("kubernetes",)
    await client.delete(Namespace, "n")
    marked = await client.get(Namespace, "n")
    assert marked.status.phase == "Terminating"
    with pytest.raises(ApiError, match="because it is being terminated"):
        await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="n")))
    empty: dict[str, Any] = {"spec": {"finalizers": []}}
    await client.patch(Namespace, "n", patch=empty, subresource="finalize")
    with pytest.raises(ApiError, match="not found"):
        await client.get(Namespace, "n")


async def test_pods_without_an_account_are_refused(registry: Registry) -> None:
    client = registry.client(ADMIN)
    with pytest.raises(ApiError, match='serviceaccount "default" not found'):
        await client.create(Pod(metadata=ObjectMeta(name="p", namespace="default")))
