"""The generated kinds: up to date, lazily made, faithful to Go's JSON."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.types import codec, registry, strict
from edgekube.types._base import EMPTY, FrozenDict, Object
from edgekube.types._generate import emit, source, tables
from edgekube.types.apps_v1 import Deployment
from edgekube.types.core_v1 import ConfigMap, Container, Pod, PodSpec, Secret, Service
from edgekube.types.meta_v1 import LabelSelector, ObjectMeta, Status, Table
from edgekube.types.resources import RESOURCES, by_kind, by_plural, find

KINDS = [(g, v, kind) for g, v in registry.group_versions() for kind in registry.kinds(g, v)]


def test_modules_are_up_to_date() -> None:
    definitions = source.definitions()
    plan = emit.plan(definitions)
    root = Path(emit.__file__).parent.parent
    for module, text in emit.modules(plan).items():
        path = root.joinpath(*module.removeprefix(emit.ROOT + ".").split(".")).with_suffix(".py")
        assert path.read_text() == text, f"{path} is out of date: run `build.py types`"
    assert (root / "_kinds.py").read_text() == tables.kinds(plan)
    assert (root / "_patchmeta.py").read_text() == tables.merge(definitions, plan)


@pytest.mark.parametrize(("group", "version", "kind"), KINDS)
def test_every_kind_round_trips_empty(group: str, version: str, kind: str) -> None:
    cls = registry.class_of(group, version, kind)
    value = codec.decode(cls, b"{}")
    assert value == cls()
    assert codec.decode(cls, codec.encode(value)) == value


def test_a_class_is_made_only_when_asked_for() -> None:
    program = (
        "import sys; from edgekube.types.core_v1 import ConfigMap;"
        "loaded = {m for m in sys.modules if m.startswith('edgekube.types.core_v1.')};"
        "assert loaded == {'edgekube.types.core_v1.config_map'}, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_unknown_name_is_an_attribute_error() -> None:
    from edgekube.types import core_v1

    with pytest.raises(AttributeError, match="Pood"):
        core_v1.Pood  # type: ignore[attr-defined]  # noqa: B018


def test_required_fields_are_written_and_optional_ones_vanish() -> None:
    out = json.loads(codec.encode(codec.decode(Pod, b'{"spec":{"containers":[{"name":"a"}]}}')))
    assert out == {"metadata": {}, "spec": {"containers": [{"name": "a", "resources": {}}]}, "status": {}}
    status = json.loads(
        codec.encode(codec.decode(Pod, b'{"status":{"containerStatuses":[{"name":"a"}],"conditions":[{}]}}'))
    )["status"]
    assert status["containerStatuses"][0] == {
        "name": "a",
        "ready": False,
        "restartCount": 0,
        "image": "",
        "imageID": "",
        "state": {},
        "lastState": {},
    }
    assert status["conditions"][0] == {"type": "", "status": ""}


def test_pointers_tell_absent_from_zero() -> None:
    given = b'{"spec":{"replicas":0,"paused":false}}'
    held = codec.decode(Deployment, given)
    assert held.spec.replicas == 0
    assert b'"replicas":0' in codec.encode(held)
    assert b"paused" not in codec.encode(held)
    assert codec.decode(Deployment, b"{}").spec.replicas is None
    assert codec.decode(Deployment, b'{"spec":{"selector":{}}}').spec.selector == LabelSelector()
    assert codec.decode(Deployment, b"{}").spec.selector is None


def test_null_is_a_zero_value_anywhere() -> None:
    pod = codec.decode(
        Pod,
        b'{"metadata":{"creationTimestamp":null,"labels":null,"annotations":{"a":null}},'
        b'"spec":{"containers":[null],"volumes":null,"priority":null},"status":null}',
    )
    assert pod.metadata == ObjectMeta(annotations={"a": ""})
    assert pod.spec == PodSpec(containers=(Container(),))


def test_numbers_become_quantities_and_base64_may_be_broken_into_lines() -> None:
    pod = codec.decode(Pod, b'{"spec":{"containers":[{"resources":{"limits":{"cpu":1,"memory":0.5}}}]}}')
    assert pod.spec.containers[0].resources.limits == {"cpu": "1", "memory": "0.5"}
    assert codec.decode(Secret, b'{"data":{"a":"aGVs\\nbG8="}}').data == {"a": b"hello"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"spec":{"containers":[{"name":1}]}}',
            "json: cannot unmarshal number into Go struct field Pod.spec.containers[0].name of type string",
        ),
        (b"[]", "json: cannot unmarshal array into Go struct field Pod of type object"),
        (
            b'{"spec":{"priority":99999999999}}',
            "json: cannot unmarshal number into Go struct field Pod.spec.priority of type int32",
        ),
        (
            b'{"spec":{"containers":[{"ports":[{"containerPort":"80"}]}]}}',
            "json: cannot unmarshal string into Go struct field Pod.spec.containers[0].ports[0].containerPort "
            "of type int32",
        ),
        (
            b'{"spec":{"terminationGracePeriodSeconds":"5"}}',
            "json: cannot unmarshal string into Go struct field Pod.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            b'{"metadata":{"labels":{"a":5}}}',
            "json: cannot unmarshal number into Go struct field Pod.metadata.labels[...] of type string",
        ),
        (b"{", "the body is not valid JSON"),
        (b'{"metadata":{"name":"\xff"}}', "the body is not valid JSON"),
        (b'{"spec":' * 20000, "the body is not valid JSON"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(body: bytes, message: str) -> None:
    with pytest.raises(codec.DecodeError) as caught:
        codec.decode(Pod, body)
    assert str(caught.value).startswith(message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "containers", "name", "labels", "limits", "resources", "priority", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_only_decode_error_escapes(value: object) -> None:
    for read in (
        lambda: codec.convert(Pod, value),
        lambda: codec.decode(Pod, json.dumps(value).encode()),
        lambda: strict.check(Pod, json.dumps(value).encode()),
    ):
        try:
            read()
        except codec.DecodeError:
            pass


@given(st.binary(max_size=40))
def test_noise_is_a_decode_error_or_a_value(data: bytes) -> None:
    for prefix in (b"", b'{"metadata":{"name":"'):
        try:
            codec.decode(Pod, prefix + data)
        except codec.DecodeError:
            pass


def test_unions_keywords_and_raw_fields() -> None:
    service = codec.decode(Service, b'{"spec":{"ports":[{"port":80,"targetPort":"http"}]}}')
    assert service.spec.ports[0].targetPort == "http"
    fields = b'{"f:spec":{"f:replicas":{}}}'
    pod = codec.decode(Pod, b'{"metadata":{"managedFields":[{"fieldsV1":' + fields + b"}]}}")
    assert bytes(pod.metadata.managedFields[0].fieldsV1) == fields
    assert fields in codec.encode(pod)
    status = codec.decode(registry.class_of("", "v1", "PodList"), b'{"metadata":{"continue":"x"}}')
    assert status.metadata.continue_ == "x"  # type: ignore[attr-defined]
    crd = registry.class_of("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    given = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": False,
        "additionalProperties": {"type": "string", "default": "a"},
        "properties": {"a": {"items": [{"$ref": "x"}], "additionalProperties": False, "enum": [1, None]}},
    }
    body = json.dumps({"spec": {"versions": [{"schema": {"openAPIV3Schema": given}}]}}).encode()
    out = json.loads(codec.encode(codec.decode(crd, body)))
    assert out["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == given


def test_values_are_frozen_down_to_the_empty_map() -> None:
    pod = Pod()
    with pytest.raises(AttributeError):
        pod.kind = "x"  # type: ignore[misc]
    assert pod.metadata.labels is EMPTY
    for method, arguments in (
        ("__setitem__", ("a", 1)),
        ("update", ({"a": 1},)),
        ("pop", ("a", 0)),
        ("clear", ()),
        ("setdefault", ("a", 1)),
        ("__ior__", ({"a": 1},)),
        ("__delitem__", ("a",)),
        ("popitem", ()),
    ):
        with pytest.raises(TypeError, match="build a new one"):
            getattr(FrozenDict(), method)(*arguments)
    assert not EMPTY


def test_registry_goes_both_ways() -> None:
    for group, version, kind in KINDS:
        assert registry.gvk_of(registry.class_of(group, version, kind)) == (group, version, kind)
    assert registry.gvk_of(Deployment).api_version == "apps/v1"
    with pytest.raises(registry.UnknownKindError):
        registry.gvk_of(Container)
    with pytest.raises(registry.UnknownKindError):
        registry.class_of("apps", "v1", "Pod")
    config = registry.typed(ConfigMap())
    assert (config.apiVersion, config.kind) == ("v1", "ConfigMap")
    assert registry.typed(config) is config


def test_resource_table_matches_the_kinds() -> None:
    for row in RESOURCES:
        cls = registry.class_of(row.group, row.version, row.kind)
        assert issubclass(cls, Object)
        assert by_plural(row.group, row.version, row.plural) is row
        assert by_kind(row.group, row.version, row.kind) is row
        assert "metadata" in cls.__struct_fields__
    listed = {(row.group, row.version, row.kind + "List") for row in RESOURCES}
    unlisted = {kind for kind in KINDS if kind[2].endswith("List")} - listed
    assert unlisted == {("", "v1", "APIGroupList"), ("", "v1", "APIResourceList")}


@pytest.mark.parametrize(
    ("word", "plurals"),
    [
        ("po", ["pods"]),
        ("Deployment", ["deployments.apps"]),
        ("deploy.v1.apps", ["deployments.apps"]),
        ("deployments.apps", ["deployments.apps"]),
        ("deployments.batch", []),
        ("nothing", []),
        ("ns", ["namespaces"]),
        ("ev", ["events", "events.events.k8s.io"]),
    ],
)
def test_what_a_person_means(word: str, plurals: list[str]) -> None:
    assert [row.qualified for row in find(word)] == plurals


def test_table_and_status_encode_as_clients_expect() -> None:
    assert json.loads(codec.encode(registry_table())) == {
        "kind": "Table",
        "metadata": {},
        "columnDefinitions": [],
        "rows": [],
    }
    assert json.loads(codec.encode(Status(status="Success"))) == {"metadata": {}, "status": "Success"}


def registry_table() -> Table:
    return Table(kind="Table")


def test_every_type_resolves() -> None:
    todo, seen = [registry.class_of(*kind) for kind in KINDS], set()
    while todo:
        cls = todo.pop()
        if cls not in seen:
            seen.add(cls)
            for field in msgspec.structs.fields(cls):
                parts = getattr(field.type, "__args__", (field.type,))
                todo += [part for part in parts if isinstance(part, type) and issubclass(part, Object)]
    assert len(seen) > 500
