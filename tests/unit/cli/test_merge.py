"""Client-side apply: the patch, and that applying it gives what the manifest says without touching the rest."""

import copy
from typing import Any

import pytest

from edgekube.apiserver.patch.strategic import strategic_merge
from edgekube.apiserver.schema import schema_of
from edgekube.cli.apply import LAST_APPLIED, patch_for, with_annotation
from edgekube.cli.merge import same, strategic, three_way
from edgekube.cli.shapes import shape_of
from edgekube.types.apps_v1 import Deployment
from edgekube.types.resources import find

DEPLOYMENT = shape_of("apps", "v1", "Deployment")


def deployment(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


def test_nothing_to_do_is_an_empty_patch() -> None:
    wanted = deployment(containers=[{"name": "a", "image": "x"}])
    live = deployment(containers=[{"name": "a", "image": "x", "terminationMessagePath": "/dev/log"}])
    assert strategic(wanted, wanted, live, DEPLOYMENT) == {}


def test_a_list_merges_by_its_key() -> None:
    before = deployment(containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y"}])
    after = deployment(containers=[{"name": "a", "image": "z"}])
    live = deployment(containers=[{"name": "inject", "image": "i"}, *before["spec"]["template"]["spec"]["containers"]])
    assert strategic(before, after, live, DEPLOYMENT)["spec"]["template"]["spec"] == {
        "containers": [{"name": "a", "image": "z"}, {"$patch": "delete", "name": "b"}],
        "$setElementOrder/containers": [{"name": "a"}],
    }


def test_a_list_without_a_key_is_replaced() -> None:
    before = deployment(containers=[{"name": "a", "args": ["1"]}])
    after = deployment(containers=[{"name": "a", "args": ["1", "2"]}])
    patch = strategic(before, after, before, DEPLOYMENT)
    assert patch["spec"]["template"]["spec"]["containers"] == [{"name": "a", "args": ["1", "2"]}]


def test_what_was_applied_and_is_not_wanted_any_more_goes() -> None:
    before = {"spec": {"replicas": 3, "paused": True}}
    assert strategic(before, {"spec": {"paused": True}}, before, DEPLOYMENT) == {"spec": {"replicas": None}}


def test_what_others_set_stays() -> None:
    live = {"spec": {"replicas": 7}, "metadata": {"annotations": {"other": "1"}}}
    assert strategic({}, {"metadata": {"annotations": {"mine": "2"}}}, live, DEPLOYMENT) == {
        "metadata": {"annotations": {"mine": "2"}}
    }


PORTS = [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]


def test_elements_that_share_a_key_are_one_value() -> None:
    """DNS: both ports have the merge key 53."""
    live = deployment(containers=[{"name": "a", "ports": PORTS}])
    wanted = deployment(containers=[{"name": "a", "ports": [PORTS[0], {"containerPort": 53}]}])
    assert strategic(wanted, wanted, live, DEPLOYMENT) == {}
    turned = deployment(containers=[{"name": "a", "ports": PORTS[::-1]}])
    patch = strategic(wanted, turned, live, DEPLOYMENT)
    result = strategic_merge(copy.deepcopy(live), patch, schema_of(Deployment))
    assert result == turned


def test_changing_the_strategy_drops_its_other_fields() -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = strategic({}, {"spec": {"strategy": {"type": "Recreate"}}}, live, DEPLOYMENT)
    assert patch == {"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}}


def test_finalizers_merge_as_a_set() -> None:
    before = {"metadata": {"finalizers": ["a", "b"]}}
    live = {"metadata": {"finalizers": ["a", "b", "other"]}}
    assert strategic(before, {"metadata": {"finalizers": ["a", "c"]}}, live, DEPLOYMENT)["metadata"] == {
        "finalizers": ["c"],
        "$deleteFromPrimitiveList/finalizers": ["b"],
        "$setElementOrder/finalizers": ["a", "c"],
    }


@pytest.mark.parametrize(
    ("before", "after", "live"),
    [
        (
            deployment(
                volumes=[{"name": "v", "emptyDir": {}}],
                containers=[{"name": "a", "env": [{"name": "X", "value": "1"}]}],
            ),
            deployment(volumes=[{"name": "v", "configMap": {"name": "c"}}], containers=[{"name": "a", "env": []}]),
            deployment(
                volumes=[{"name": "v", "emptyDir": {}}, {"name": "token", "emptyDir": {}}],
                containers=[{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "INJECTED", "value": "2"}]}],
            ),
        ),
        (
            deployment(containers=[{"name": "a"}, {"name": "b"}]),
            deployment(containers=[{"name": "b", "image": "n"}, {"name": "c"}]),
            deployment(containers=[{"name": "a", "image": "d"}, {"name": "b", "image": "d"}]),
        ),
        ({}, {"metadata": {"labels": {"a": "b"}}}, {}),
    ],
)
def test_the_server_arrives_at_what_is_wanted(
    before: dict[str, Any], after: dict[str, Any], live: dict[str, Any]
) -> None:
    """The real strategic merge of the API server takes our patch, and a second apply finds nothing left to do."""
    patch = strategic(before, after, live, DEPLOYMENT)
    result = strategic_merge(copy.deepcopy(live), patch, schema_of(Deployment))
    assert strategic(after, after, result, DEPLOYMENT) == {}


def test_merge_patches_for_kinds_without_a_schema() -> None:
    before = {"spec": {"a": 1, "b": {"c": 2, "d": 3}, "list": [1]}}
    after = {"spec": {"b": {"c": 4}, "list": [1, 2], "gone": None}}
    live = {"spec": {"a": 1, "b": {"c": 2, "d": 3, "theirs": 9}, "list": [1]}, "status": {"x": 1}}
    assert three_way(before, after, live) == {"spec": {"a": None, "b": {"c": 4, "d": None}, "list": [1, 2]}}


def test_the_annotation_is_kubectls() -> None:
    made = with_annotation(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"b": "1>&", "a": "ü"}}
    )
    assert made["metadata"]["annotations"][LAST_APPLIED] == (
        '{"apiVersion":"v1","data":{"a":"ü","b":"1\\u003e\\u0026"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"x"}}\n'
    )


def test_patch_types_follow_the_kind() -> None:
    row = find("deployments")[0]
    assert patch_for(row, {}, {"spec": {"replicas": 1}}, {})[1] == "application/strategic-merge-patch+json"
    custom = row._replace(group="example.com", plural="things", kind="Thing")
    assert patch_for(custom, {}, {"spec": {}}, {})[1] == "application/merge-patch+json"


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [(1, 1.0, True), (True, 1, False), ({"a": None}, {}, True), ([1], [1, 2], False), ([{"a": 1}], [{"a": 1}], True)],
)
def test_sameness_is_jsons(a: Any, b: Any, equal: bool) -> None:
    assert same(a, b) is equal
