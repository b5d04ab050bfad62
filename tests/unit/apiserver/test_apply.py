"""Server-side apply and managedFields: who owns what, conflicts, pruning; and the algebra below."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.apiserver.fieldset import compare, field_set, intersect, paths, subtract, union
from edgekube.apiserver.managedfields import UPDATE_MANAGERS_MAX, record
from edgekube.apiserver.schema import schema_of
from edgekube.types.core_v1 import ConfigMap, Pod
from edgekube.types.status import ApiError

from .conftest import Api

APPLY = "application/apply-patch+yaml"


def body(response: Any) -> Any:
    return json.loads(response.body)


def config(**data: str) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}).encode()


async def apply(api: Api, content: bytes, manager: str, **query: str) -> Any:
    path = "default:core/v1/configmaps/a"
    return body(await api("patch", path, content, content_type=APPLY, fieldManager=manager, **query))


async def test_apply_creates_and_owns_what_it_says(api: Api) -> None:
    made = await apply(api, config(x="1"), "one")
    assert made["metadata"]["managedFields"] == [
        {"manager": "one", "operation": "Apply", "apiVersion": "v1", "time": "2023-11-14T22:13:20Z",
         "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:x": {}}}}
    ]  # fmt: skip
    again = await apply(api, config(x="1"), "one")
    assert again == made


async def test_what_is_no_longer_applied_goes(api: Api) -> None:
    await apply(api, config(x="1", y="1"), "one")
    assert (await apply(api, config(y="1"), "one"))["data"] == {"y": "1"}


async def test_what_another_owns_stays(api: Api) -> None:
    await apply(api, config(x="1", y="1"), "one")
    await apply(api, config(x="1"), "two")
    assert (await apply(api, config(y="1"), "one"))["data"] == {"x": "1", "y": "1"}


async def test_conflict_and_force(api: Api) -> None:
    await apply(api, config(x="1"), "one")
    with pytest.raises(ApiError) as caught:
        await apply(api, config(x="2"), "two")
    assert caught.value.code == 409
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.x'
    details = caught.value.status.details
    assert details is not None
    assert [(c.reason, c.field) for c in details.causes] == [("FieldManagerConflict", ".data.x")]
    forced = await apply(api, config(x="2"), "two", force="true")
    assert forced["data"] == {"x": "2"}
    assert [e["manager"] for e in forced["metadata"]["managedFields"]] == ["two"]


async def test_an_update_takes_what_it_changes(api: Api) -> None:
    made = await apply(api, config(x="1", y="1"), "one")
    made["data"]["x"] = "2"
    path = "default:core/v1/configmaps/a"
    updated = body(await api("update", path, json.dumps(made).encode(), fieldManager="editor"))
    owned = {e["manager"]: e["fieldsV1"] for e in updated["metadata"]["managedFields"]}
    assert owned == {"one": {"f:data": {"f:y": {}}}, "editor": {"f:data": {"f:x": {}}}}
    with pytest.raises(ApiError, match=r'conflict with "editor" using v1 at 2023-11-14T22:13:20Z: \.data\.x'):
        await apply(api, config(x="1", y="1"), "one")


async def test_what_admission_and_the_strategy_add_is_nobodys(api: Api) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await api("create", "default:core/v1/serviceaccounts", json.dumps(account).encode())
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
           "spec": {"containers": [{"name": "c", "image": "i"}]}}  # fmt: skip
    made = body(await api("create", "default:core/v1/pods", json.dumps(pod).encode()))
    assert made["spec"]["tolerations"]
    assert made["spec"]["volumes"]
    (entry,) = made["metadata"]["managedFields"]
    assert set(entry["fieldsV1"]["f:spec"]) == {
        "f:containers", "f:dnsPolicy", "f:enableServiceLinks", "f:restartPolicy", "f:schedulerName",
        "f:securityContext", "f:terminationGracePeriodSeconds",
    }  # fmt: skip
    assert "f:volumeMounts" not in entry["fieldsV1"]["f:spec"]["f:containers"]['k:{"name":"c"}']
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    made = body(await api("create", "default:core/v1/services", json.dumps(service).encode()))
    (entry,) = made["metadata"]["managedFields"]
    assert "f:ports" in entry["fieldsV1"]["f:spec"]
    assert not {"f:clusterIP", "f:clusterIPs", "f:ipFamilies"} & set(entry["fieldsV1"]["f:spec"])


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def client_side_applied(api: Api, **data: str) -> None:
    """A ConfigMap as `kubectl apply` makes it."""
    obj = json.loads(config(**data))
    obj["metadata"]["annotations"] = {LAST_APPLIED: config(**data).decode()}
    await api(
        "create", "default:core/v1/configmaps", json.dumps(obj).encode(), fieldManager="kubectl-client-side-apply"
    )


async def test_kubectl_takes_over_from_its_client_side_apply(api: Api) -> None:
    await client_side_applied(api, x="1")
    with pytest.raises(ApiError, match="Apply failed with 1 conflict"):
        await apply(api, config(x="2"), "other")
    upgraded = await apply(api, config(x="2"), "kubectl")
    assert upgraded["data"] == {"x": "2"}
    assert json.loads(upgraded["metadata"]["annotations"][LAST_APPLIED])["data"] == {"x": "2"}


async def test_kubectl_takes_over_only_what_is_as_it_was_applied(api: Api) -> None:
    await client_side_applied(api, x="1", y="1")
    await api("patch", "default:core/v1/configmaps/a", b'{"data":{"x":"edited"}}',
              content_type="application/merge-patch+json", fieldManager="editor")  # fmt: skip
    with pytest.raises(ApiError, match=r'Apply failed with 1 conflict: conflict with "editor" .*: \.data\.x$'):
        await apply(api, config(x="2", y="2"), "kubectl")


@pytest.mark.parametrize("text", ["", "{", "7", "[]", '{"apiVersion":"v1","data":7}', '{"apiVersion":"v2"}', "{}"])
async def test_a_last_applied_configuration_that_is_none(api: Api, text: str) -> None:
    obj = json.loads(config(x="1"))
    obj["metadata"]["annotations"] = {LAST_APPLIED: text}
    await api("create", "default:core/v1/configmaps", json.dumps(obj).encode(), fieldManager="somebody")
    with pytest.raises(ApiError, match="Apply failed with 1 conflict"):
        await apply(api, config(x="2"), "kubectl")


@pytest.mark.parametrize(
    ("content", "query", "code"),
    [
        (b"- 1", {}, 400),
        (b"{", {}, 400),
        (b"metadata: {name: a}", {}, 400),
        (b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}', {}, 400),
        (b'{"apiVersion":"v1","kind":"ConfigMap","data":[1]}', {}, 400),
        (b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[{}]}}', {}, 400),
        (b'{"apiVersion":"v1","kind":"ConfigMap"}', {"fieldManager": ""}, 422),
    ],
)
async def test_bad_configurations(api: Api, content: bytes, query: dict[str, str], code: int) -> None:
    path = "default:core/v1/configmaps/a"
    options = {"fieldManager": "one", **query}
    with pytest.raises(ApiError) as caught:
        await api("patch", path, content, content_type=APPLY, **options)
    assert caught.value.code == code


def test_field_set_of_a_pod() -> None:
    pod = {
        "metadata": {"labels": {"app": "x"}, "finalizers": ["a/b"]},
        "spec": {
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "command": ["x"]}],
            "nodeSelector": {"a": "b"},
        },
    }
    assert field_set(pod, schema_of(Pod)) == {
        "f:metadata": {"f:labels": {"f:app": {}}, "f:finalizers": {'v:"a/b"': {}}},
        "f:spec": {
            "f:containers": {
                'k:{"name":"c"}': {
                    ".": {}, "f:name": {}, "f:image": {}, "f:command": {},
                    "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                }
            },
            "f:nodeSelector": {},
        },
    }  # fmt: skip


def test_compare_tells_added_changed_and_removed() -> None:
    old = {"data": {"a": "1", "b": "1"}}
    new = {"data": {"a": "2", "c": "1"}}
    changed, removed = compare(old, new, schema_of(ConfigMap))
    assert changed == {"f:data": {"f:a": {}, "f:c": {}}}
    assert removed == {"f:data": {"f:b": {}}}


def test_many_managers_are_folded() -> None:
    entries: list[dict[str, Any]] = []
    for index in range(UPDATE_MANAGERS_MAX + 5):
        entries = record(
            entries, {"f:data": {f"f:k{index}": {}}}, {}, manager=f"m{index:02}", api_version="v1", subresource="",
            now=f"2023-11-14T22:13:{index:02}Z",
        )  # fmt: skip
    assert len(entries) == UPDATE_MANAGERS_MAX
    owned: dict[str, Any] = {}
    for entry in entries:
        owned = union(owned, entry["fieldsV1"])
    assert len(list(paths(owned))) == UPDATE_MANAGERS_MAX + 5
    assert "ancient-changes" in {e["manager"] for e in entries}


leaf_paths = st.lists(st.lists(st.sampled_from(["f:a", "f:b", "f:c"]), min_size=1, max_size=3), max_size=6)


def made_of(found: list[list[str]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path in found:
        single: dict[str, Any] = {}
        for step in reversed(path):
            single = {step: single}
        result = union(result, single)
    return result


def members(fields: dict[str, Any]) -> set[str]:
    return set(paths(fields))


@given(leaf_paths, leaf_paths)
def test_sets_are_sets(one: list[list[str]], two: list[list[str]]) -> None:
    a, b = made_of(one), made_of(two)
    wanted_a = {"".join("." + s[2:] for s in path) for path in one}
    wanted_b = {"".join("." + s[2:] for s in path) for path in two}
    assert members(a) == wanted_a
    assert members(union(a, b)) == wanted_a | wanted_b
    assert members(subtract(a, b)) == wanted_a - wanted_b
    assert members(intersect(a, b)) == wanted_a & wanted_b
    assert subtract(a, a) == {}


@pytest.mark.parametrize("fields", [True, 7, [1], {"x": {}}, {"f:a": 1}, {"f:a": {".": {"f:b": {}}}}])
async def test_managed_fields_that_make_no_sense_are_ignored(api: Api, fields: Any) -> None:
    entry = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "managedFields": [entry]},
        "data": {"x": ""},
    }
    made = body(await api("create", "default:core/v1/configmaps", json.dumps(obj).encode(), fieldManager="one"))
    assert [e["manager"] for e in made["metadata"]["managedFields"]] == ["one"]
    made["metadata"]["managedFields"] = [entry]
    changed = body(await api("update", "default:core/v1/configmaps/a", json.dumps(made).encode()))
    assert [e["manager"] for e in changed["metadata"]["managedFields"]] == ["one"]
