"""Whatever a client sends, it is told what is wrong with it: no body gives a 500, and none of another exception."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.resources import RESOURCES, Resource
from edgekube.testing.store import FakeStore
from edgekube.types.core_v1 import Namespace, ServiceAccount
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError

from .conftest import ADMIN, NOW, Api

WRITABLE = [r for r in RESOURCES if "create" in r.verbs and r.plural != "bindings"]

scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "A_b", "1", "0", "10%", "x" * 300, "a/b", "/", "..", "1Gi", "10.0.0.1", "é", "\x00"])
)  # fmt: skip


def values_of(tp: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """JSON that is mostly of the right shape for a Struct, so that it gets past the decoder."""
    from edgekube.apiserver.schema import ANY, Node, Shape, schema_of

    def of(node: Node, depth: int) -> st.SearchStrategy[Any]:
        if depth > 6 or node is ANY or node.shape in (Shape.SCALAR, Shape.ANY):
            return scalars
        if node.shape is Shape.LIST:
            return st.lists(of(node.elem or ANY, depth + 1), max_size=2)
        if node.shape is Shape.MAP:
            return st.dictionaries(
                st.sampled_from(["a", "cpu", "x/y", "B c"]), of(node.elem or ANY, depth + 1), max_size=2
            )
        names = sorted(node.fields)
        return (
            st.lists(st.sampled_from(names), max_size=4, unique=True).flatmap(
                lambda some: st.fixed_dictionaries({name: of(node.fields[name], depth + 1) for name in some})
            )
            if names
            else st.just({})
        )

    return of(schema_of(tp), depth)


async def send(verb: str, res: Resource, name: str, body: bytes, content_type: str, query: Mapping[str, str]) -> None:
    registry = Registry(store=FakeStore(), events=FakeStore(), config=RegistryConfig(now=lambda: NOW))
    async with registry.run():
        client = registry.client(ADMIN)
        await client.create(Namespace(metadata=ObjectMeta(name="default")))
        await client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
        await client.create(ServiceAccount(metadata=ObjectMeta(name="a", namespace="default")))
        path = f"{res.group or 'core'}/{res.version}/{res.plural}" + (f"/{name}" if name else "")
        if res.namespaced:
            path = "default:" + path
        refused: ApiError | None = None
        try:
            await Api(registry)(verb, path, body, content_type=content_type, **query)
        except ApiError as error:
            refused = error
        # 504 is the answer to a resourceVersion from the future, as Kubernetes gives it.
        assert refused is None or refused.code < 500 or refused.code == 504, refused


def run(*args: Any) -> None:
    try:
        trio.run(send, *args)
    except BaseExceptionGroup as group:  # a nursery wraps; show the one that matters
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        raise inner from None


@pytest.mark.parametrize("res", WRITABLE, ids=lambda r: f"{r.qualified}.{r.version}")
@settings(max_examples=6, deadline=None)
@given(st.data())
def test_creates_of_roughly_right_objects(res: Resource, data: st.DataObject) -> None:
    obj = data.draw(values_of(res.cls))
    if isinstance(obj.get("metadata"), dict):
        obj["metadata"].setdefault("name", "a")
    else:
        obj["metadata"] = {"name": "a"}
    obj["apiVersion"], obj["kind"] = res.api_version, res.kind
    run("create", res, "", json.dumps(obj).encode(), "application/json", {})


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["application/json", "application/yaml", "text/plain", ""]))
def test_creates_of_any_bytes(body: bytes, content_type: str) -> None:
    run("create", RESOURCES[10], "", body, content_type, {})


json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "secrets", "name", "$patch", "$retainKeys", "op", "path", "value", "labels"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(
    json_values,
    st.sampled_from(
        [
            "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
            "application/apply-patch+yaml", "application/nothing",
        ]
    ),
)  # fmt: skip
def test_any_patch(patch: Any, content_type: str) -> None:
    accounts = next(r for r in RESOURCES if r.plural == "serviceaccounts")
    run("patch", accounts, "a", msgspec.json.encode(_finite(patch)), content_type, {"fieldManager": "m"})


def _finite(value: Any) -> Any:
    """msgspec cannot write integers beyond 64 bits; clients can, but the decoder refuses those bodies anyway."""
    if isinstance(value, bool) or not isinstance(value, int | list | dict):
        return value
    if isinstance(value, int):
        return max(min(value, 2**63 - 1), -(2**63))
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()}


query_values = st.sampled_from(["", "0", "1", "-1", "x", "true", "All", "a=b", "a in (", "spec.x=1", "9" * 20])


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["limit", "continue", "labelSelector", "fieldSelector", "resourceVersion", "resourceVersionMatch",
             "dryRun", "gracePeriodSeconds", "propagationPolicy", "orphanDependents", "fieldValidation", "force"]
        ),
        query_values,
        max_size=3,
    ),
    st.sampled_from(["list", "get", "delete", "deletecollection"]),
)  # fmt: skip
def test_any_options(query: dict[str, str], verb: str) -> None:
    accounts = next(r for r in RESOURCES if r.plural == "serviceaccounts")
    run(verb, accounts, "" if verb in ("list", "deletecollection") else "a", b"", "application/json", query)
