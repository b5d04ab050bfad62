"""Times, percentages, hashes, strict validation, schema and the mutation detector."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.types import codec, hashing, intstr, schema, strict, time
from edgekube.types._generate import schema as artefact
from edgekube.types.core_v1 import Container, Pod, PodSpec
from edgekube.types.meta_v1 import LabelSelector, ObjectMeta
from edgekube.types.mutation import MutationDetector, MutationError


@given(st.integers(min_value=-62135596800, max_value=253402300799))
def test_times_round_trip(seconds: int) -> None:
    assert time.parse_time(time.format_time(seconds)) == seconds


def test_times_end_with_the_year_9999() -> None:
    assert time.format_time(2**63) == "9999-12-31T23:59:59Z"
    assert time.format_micro_time(1e300) == "9999-12-31T23:59:59.000000Z"
    assert time.format_time(-(2**63)) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2006-01-02T15:04:05+07:00", 1136189045),
        ("1970-01-01T00:00:00.5Z", 0.5),
        ("1969-12-31T23:00:00-01:00", 0),
        ("1970-01-01t00:00:00.123456789z", 0.123456),
    ],
)
def test_parse_time(text: str, seconds: float) -> None:
    assert time.parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "now", "2006-01-02", "2006-13-02T15:04:05Z", "2006-01-02T15:04:05", "0001-01-01T00:00:00+01:00"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(time.TimeError):
        time.parse_time(text)


def test_micro_time() -> None:
    assert time.format_micro_time(1.5) == "1970-01-01T00:00:01.500000Z"
    assert time.format_time(1.999) == "1970-01-01T00:00:01Z"


@pytest.mark.parametrize(
    ("value", "total", "up", "result"),
    [(3, 10, True, 3), ("25%", 10, True, 3), ("25%", 10, False, 2), ("0%", 9, True, 0)],
)
def test_percentages(value: int | str, total: int, up: bool, result: int) -> None:
    assert intstr.scaled(value, total, round_up=up) == result


def test_strings_that_are_no_percentage() -> None:
    with pytest.raises(intstr.IntOrPercentError, match="not a percentage"):
        intstr.scaled("25", 10, round_up=True)


def test_fnv_matches_the_published_vectors() -> None:
    assert [hashing.fnv1a_32(text) for text in (b"", b"a", b"foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


def test_hash_depends_on_value_and_collisions_alone() -> None:
    one = PodSpec(nodeSelector={"a": "1", "b": "2"})
    other = PodSpec(nodeSelector={"b": "2", "a": "1"})
    assert hashing.hash_of(one) == hashing.hash_of(other)
    hashes = {hashing.hash_of(one), hashing.hash_of(PodSpec()), hashing.hash_of(one, 0), hashing.hash_of(one, 1)}
    assert len(hashes) == 4


def test_strict_reports_everything() -> None:
    body = (
        b'{"kind":"Pod","a":1,"spec":{"containers":[{"name":"x","foo":2,"name":"y","name":"z"}],"foo":3},'
        b'"metadata":{"labels":{"a":"b","a":"c"},"managedFields":[{"fieldsV1":{"f:x":{}}}]}}'
    )
    found = strict.check(Pod, body)
    assert found == [
        'unknown field "a"',
        'duplicate field "spec.containers[0].name"',
        'unknown field "spec.containers[0].foo"',
        'unknown field "spec.foo"',
        'duplicate field "metadata.labels.a"',
    ]
    assert strict.message(found[:2]) == (
        'strict decoding error: unknown field "a", duplicate field "spec.containers[0].name"'
    )
    assert strict.check_value(Pod, {"spec": {"volumes": [{}, {"foo": 1}]}}) == ['unknown field "spec.volumes[1].foo"']
    assert strict.check(Pod, b'{"metadata":{"name":"a"}}') == []
    assert len(strict.check_value(Pod, {f"f{i}": 1 for i in range(1000)})) == strict.FOUND_MAX
    for broken in (b"{", b"\xff", b"[" * 100000):
        with pytest.raises(codec.DecodeError):
            strict.check(Pod, broken)


def test_mutation_is_found() -> None:
    labels = {"a": "b"}
    pod = Pod(metadata=ObjectMeta(labels=labels))
    detector = MutationDetector()
    detector.add(pod)
    detector.check()
    labels["a"] = "c"
    with pytest.raises(MutationError, match="Pod was changed in place"):
        detector.check()
    with pytest.raises(MutationError):
        detector.add(pod)
    detector.clear()
    detector.check()


def test_merge_keys() -> None:
    ports = schema.merge_keys(Container, "ports")
    assert ports.patch_merge_key == "containerPort"
    assert ports.list_map_keys == ("containerPort", "protocol")
    assert schema.merge_keys(PodSpec, "volumes").patch_strategy == ("merge", "retainKeys")
    assert schema.merge_keys(LabelSelector).map_type == "atomic"
    assert schema.merge_keys(Container, "args") == schema.MergeKeys()


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> schema.Schemas:
    path = tmp_path_factory.mktemp("schema") / "openapi.zst"
    artefact.write(path)
    return schema.load(path)


def test_openapi_v3_is_closed(schemas: schema.Schemas) -> None:
    found = schemas.openapi_v3("apps", "v1")
    text = codec.encode(found).decode()
    assert "#/definitions" not in text
    assert "io.k8s.api.core.v1.PodSpec" in found
    assert "io.k8s.api.core.v1.Node" not in found
    spec = found["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]
    assert found["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["oneOf"] == [
        {"type": "integer"},
        {"type": "string"},
    ]


def test_definitions_are_as_published(schemas: schema.Schemas) -> None:
    pod = schemas.kind("", "v1", "Pod")
    assert pod is not None
    assert pod["description"].startswith("Pod is")
    assert pod["properties"]["kind"]["type"] == "string"
    assert "enum" not in pod["properties"]["kind"]
    assert schemas.kind("", "v1", "Nothing") is None
    assert schemas.kind("x", "v1", "Nothing") is None
    v2 = schemas.openapi_v2()
    schema_props = next(value for name, value in v2.items() if name.endswith(".JSONSchemaProps"))
    assert {"$ref", "enum", "type", "properties"} <= schema_props["properties"].keys()


def test_a_damaged_artefact_is_told(tmp_path: Path) -> None:
    with pytest.raises(schema.SchemaError, match=r"build\.py setup"):
        schema.load(tmp_path / "none")
    bad = tmp_path / "bad"
    bad.write_bytes(schema.pack({"core_v1": {"a": {}}})[:-3])
    with pytest.raises(schema.SchemaError, match="damaged"):
        schema.load(bad).definitions("core_v1")
