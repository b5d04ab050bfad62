"""RFC 6902, RFC 7386 and strategic merge patch: examples of the texts, and properties over any JSON."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.apiserver.patch.errors import PatchError, PatchUnprocessable
from edgekube.apiserver.patch.json_patch import json_patch
from edgekube.apiserver.patch.merge import diff, merge_patch
from edgekube.apiserver.patch.strategic import strategic_merge
from edgekube.apiserver.schema import schema_of
from edgekube.types.apps_v1 import Deployment
from edgekube.types.core_v1 import Pod

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab~/$-0", max_size=3)
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3)
)
objects = st.dictionaries(st.text("ab~/", max_size=2), values, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return value


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7386 appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@given(objects, objects)
def test_a_diff_applied_gives_the_new_object(old: Any, new: Any) -> None:
    old, new = without_nulls(old), without_nulls(new)
    before = copy.deepcopy(old)
    assert merge_patch(old, diff(old, new)) == new
    assert old == before


@given(objects, values)
def test_merge_patch_is_idempotent(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("doc", "patch", "result"),
    [  # RFC 6902 appendix A
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        ({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
         [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
         {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
        ({"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
         {"foo": ["all", "cows", "eat", "grass"]}),
        ({"baz": "qux", "foo": ["a", 2, "c"]}, [{"op": "test", "path": "/baz", "value": "qux"},
                                              {"op": "test", "path": "/foo/1", "value": 2}],
         {"baz": "qux", "foo": ["a", 2, "c"]}),
        ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
         {"foo": "bar", "child": {"grandchild": {}}}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
    ],
)  # fmt: skip
def test_json_patch_of_the_rfc(doc: Any, patch: Any, result: Any) -> None:
    assert json_patch(doc, patch) == result


@pytest.mark.parametrize(
    "patch",
    [
        {},
        [1],
        [{"op": "add"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "frob", "path": "/a"}],
        [{"op": "remove", "path": "/x"}],
        [{"op": "replace", "path": "/x", "value": 1}],
        [{"op": "add", "path": "/x/y", "value": 1}],
        [{"op": "add", "path": "/l/5", "value": 1}],
        [{"op": "add", "path": "/l/01", "value": 1}],
        [{"op": "add", "path": "x", "value": 1}],
        [{"op": "test", "path": "/a", "value": 2}],
        [{"op": "test", "path": "/a", "value": True}],
        [{"op": "move", "from": "/l", "path": "/l/0"}],
        [{"op": "copy", "from": "/l", "path": "/l/-"}] * 40,
    ],
)
def test_json_patches_that_are_refused(patch: Any) -> None:
    with pytest.raises(PatchError) as caught:
        json_patch({"a": 1, "l": [1, 2]}, patch)
    assert isinstance(caught.value, PatchUnprocessable) is (patch not in ({}, [1]))  # 422, and not 400


pointers = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "~0", "~1", ""]), max_size=3).map(
    lambda parts: "".join("/" + part for part in parts)
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"from": pointers, "value": values},
)


@given(objects, st.lists(operations | values, max_size=4))
def test_only_patch_errors_escape_and_the_target_stays(doc: Any, patch: Any) -> None:
    before = copy.deepcopy(doc)
    try:
        json_patch(doc, patch)
    except PatchError:
        pass
    assert doc == before


POD = schema_of(Pod)


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}


A = {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}
B = {"name": "b", "image": "b:1"}


def spec(*containers: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **rest}}


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        (spec({"name": "b", "image": "b:2"}), pod(A, {"name": "b", "image": "b:2"})),
        (spec({"name": "c", "image": "c"}), pod(A, B, {"name": "c", "image": "c"})),
        (spec({"name": "a", "$patch": "delete"}), pod(B)),
        (spec({"$patch": "replace"}, {"name": "z", "image": "z"}), pod({"name": "z", "image": "z"})),
        (spec({"name": "a", "env": [{"name": "Y", "value": "2"}]}),
         pod({**A, "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, B)),
        (spec({"name": "a", "env": None}), pod({"name": "a", "image": "a:1"}, B)),
        ({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}, pod(B, A)),
        ({"spec": {"$patch": "replace", "nodeName": "n"}}, {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}}),
        ({"metadata": {"finalizers": ["x/y"]}},
         {**pod(A, B), "metadata": {"name": "p", "finalizers": ["x/y"]}}),
    ],
)  # fmt: skip
def test_strategic_merge(patch: Any, result: Any) -> None:
    target = pod(A, B)
    before = copy.deepcopy(target)
    assert strategic_merge(target, patch, POD) == result
    assert target == before


def test_strategic_lists_of_scalars() -> None:
    target = {"metadata": {"finalizers": ["a/a", "b/b"]}}
    assert strategic_merge(target, {"metadata": {"finalizers": ["c/c", "a/a"]}}, POD) == {
        "metadata": {"finalizers": ["a/a", "b/b", "c/c"]}
    }
    assert strategic_merge(target, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]}}, POD) == {
        "metadata": {"finalizers": ["b/b"]}
    }


def test_strategic_retain_keys() -> None:
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge(target, patch, schema_of(Deployment)) == {"spec": {"strategy": {"type": "Recreate"}}}


@pytest.mark.parametrize(
    "patch",
    [
        spec({"image": "no key"}),
        spec({"name": "a", "$patch": "explode"}),
        {"spec": {"$patch": 3}},
        {"spec": {"$retainKeys": "x"}},
        {"spec": {"$setElementOrder/containers": 7}},
        {"spec": {"containers": ["x"]}},
        {"spec": {"containers": [{"name": "q", "image": "q"}], "$setElementOrder/containers": [{"name": "a"}]}},
    ],
)
def test_strategic_patches_that_are_refused(patch: Any) -> None:
    with pytest.raises(PatchError):
        strategic_merge(pod(A, B), patch, POD)


names = st.sampled_from(["a", "b", "c"])
container_lists = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"image": names}), max_size=3, unique_by=lambda c: c["name"]
)


@given(container_lists, container_lists)
def test_strategic_merge_keeps_keys_unique_and_applies_every_edit(held: Any, edits: Any) -> None:
    merged = strategic_merge(spec(*held), spec(*edits), POD)["spec"]["containers"]
    by_name = {c["name"]: c for c in merged}
    assert len(by_name) == len(merged)
    assert set(by_name) == {c["name"] for c in (*held, *edits)}
    assert all(by_name[c["name"]].items() >= c.items() for c in edits)
