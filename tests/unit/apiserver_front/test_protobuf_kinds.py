"""The tables against the kinds: the same fields by the same names, and what the difference between versions leaves.

The tables come from kubectl 1.37 and the kinds from the schema of 1.36: a field that only 1.37 has is read, and told
to the client as unknown like one in JSON.
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from struct import pack
from typing import Any

import msgspec
import pytest

from edgekube.apiserver.protobuf import decode as protobuf
from edgekube.apiserver.protobuf.decode import DEPTH_MAX, FIELDS_MAX, ProtobufError, to_json
from edgekube.types import codec
from edgekube.types._kinds import KINDS
from edgekube.types.apiextensions_v1 import CustomResourceDefinition
from edgekube.types.meta_v1 import DeleteOptions
from tests.unit.apiserver_front.protobuf_wire import body, decode, number, text, varint

PACKAGES = sorted({package for package, _ in KINDS.values()} | {"meta_v1"})

# package.Struct -> fields that only the table has, after a bar those that only the kind has.
NEWER = {
    "authentication_v1.TokenRequestSpec": "attestations",
    "autoscaling_v2.HorizontalPodAutoscalerCondition": "observedGeneration",
    "batch_v1.JobSpec": "scheduling",
    "core_v1.ClusterTrustBundleProjection": "user",
    "core_v1.ConfigMapVolumeSource": "defaultUser",
    "core_v1.DownwardAPIVolumeFile": "user",
    "core_v1.DownwardAPIVolumeSource": "defaultUser",
    "core_v1.EmptyDirVolumeSource": "mode",
    "core_v1.GRPCAction": "mode",
    "core_v1.HTTPGetAction": "protocol",
    "core_v1.KeyToPath": "user",
    "core_v1.NodeAllocatableResourceClaimStatus": "mapping overhead | resources",
    "core_v1.NodeSpec": "podPreemptionPolicy",
    "core_v1.NodeSystemInfo": "runningInUserNamespace",
    "core_v1.PersistentVolumeClaimStatus": "healthStatus",
    "core_v1.PodCertificateProjection": "user",
    "core_v1.PodSpec": "evictionResponders",
    "core_v1.PodStatus": "volumeHealth",
    "core_v1.ProjectedVolumeSource": "defaultUser",
    "core_v1.SecretVolumeSource": "defaultUser",
    "core_v1.ServiceAccountTokenProjection": "user",
    "core_v1.VolumeMount": "bindMountOptions",
    "resource_v1.Device": "nodeAllocatableResources | nodeAllocatableResourceMappings",
    "resource_v1.DeviceCounterConsumption": "compatibilityGroups",
    "resource_v1.DeviceRequestAllocationResult": "skipNodeOperations",
    "resource_v1.DeviceSubRequest": "derivedAttributes",
    "resource_v1.ExactDeviceRequest": "derivedAttributes",
    "resource_v1.ResourceSliceSpec": "partitionTypeAttribute skipNodeOperations",
    "storage_v1.CSINode": "status",
}
WITHOUT_MESSAGE = {
    "meta_v1.Table", "meta_v1.TableColumnDefinition", "meta_v1.TableRow", "meta_v1.TableRowCondition",  # JSON only
    "resource_v1.NodeAllocatableResourceMapping",  # gone in 1.37
}  # fmt: skip


def structs(package: str) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    home = import_module(f"edgekube.types.{package}")
    modules = [
        home,
        *(import_module(f"{home.__name__}.{one.name}") for one in iter_modules(getattr(home, "__path__", []))),
    ]
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__:
                yield name, value


def field_names(package: str, message: str) -> set[str]:
    """As in JSON: the fields of inlined messages are the parent's."""
    names: set[str] = set()
    for field in protobuf._rows(package, message).values():
        names |= field_names(field.module, field.code) if field.mark == ">" else {field.name}
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_tables_and_kinds_name_the_same_fields(package: str) -> None:
    compared = 0
    for name, struct in structs(package):
        full = f"{package}.{name}"
        if full in WITHOUT_MESSAGE:
            assert name not in protobuf._table(package)
            continue
        kind = {field.encode_name for field in msgspec.structs.fields(struct)} - {"apiVersion", "kind"}
        table = field_names(package, name) - {"apiVersion", "kind"}
        newer, _, older = NEWER.get(full, "").partition("|")
        assert (table - kind, kind - table) == (set(newer.split()), set(older.split())), full
        compared += 1
    assert compared


def test_every_kind_can_be_sent() -> None:
    for (group, version), (_, words) in KINDS.items():
        for kind in (word.partition("=")[0] for word in words.split()):
            if kind in ("Status", "WatchEvent"):
                continue
            module = protobuf.module_of(group, version, kind)
            assert protobuf._rows(module, kind), f"{group}/{version} {kind}"


def test_options_go_by_the_group_they_are_sent_to() -> None:
    raw = number(1, 30) + text(2, text(1, "u-1")) + text(4, "Foreground") + text(5, "All")
    for api_version in ("v1", "apps/v1", "policy/v1", "example.com/v1beta1"):
        found = decode(api_version, "DeleteOptions", raw)
        assert found == {
            "apiVersion": api_version,
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 30,
            "preconditions": {"uid": "u-1"},
            "propagationPolicy": "Foreground",
            "dryRun": ["All"],
        }
        assert codec.convert(DeleteOptions, found).gracePeriodSeconds == 30


def schema(raw: bytes) -> Any:
    """The JSON of a JSONSchemaProps, by way of a CustomResourceDefinition."""
    version = text(1, "v1") + number(2, 1) + number(3, 1) + text(4, text(1, raw))
    crd = decode(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", text(2, text(1, "example.com") + text(7, version))
    )
    codec.convert(CustomResourceDefinition, crd)
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_a_schema_or_something_else() -> None:
    string = text(5, "string")
    assert schema(text(30, number(1, 1))) == {"additionalProperties": True}
    assert schema(text(30, number(1, 0))) == {"additionalProperties": False}
    assert schema(text(30, number(1, 1) + text(2, string))) == {"additionalProperties": {"type": "string"}}
    assert schema(text(24, text(1, string))) == {"items": {"type": "string"}}
    assert schema(text(24, text(2, string) + text(2, b""))) == {"items": [{"type": "string"}, {}]}
    assert schema(text(32, text(1, "a") + text(2, text(2, "b") + text(2, "c")))) == {"dependencies": {"a": ["b", "c"]}}
    assert schema(text(32, text(1, "a") + text(2, text(1, string)))) == {"dependencies": {"a": {"type": "string"}}}


def test_the_parts_of_a_schema() -> None:
    low = varint(11 << 3 | 1) + pack("<d", 0.5)
    values = b"".join(text(20, text(1, value)) for value in ('"a"', "2", "null"))
    rule = text(44, text(1, "self.x > 0") + text(2, "") + text(3, "") + text(5, "") + number(6, 0))
    tree = text(29, text(1, "x") + text(2, text(5, "integer")))
    plain = text(3, "#/x") + text(8, text(1, '{"k": [1]}')) + number(38, 1) + number(40, 0) + text(41, "name")
    assert schema(low + values + rule + tree + plain) == {
        "minimum": 0.5,
        "enum": ["a", 2, None],
        "x-kubernetes-validations": [{"rule": "self.x > 0", "optionalOldSelf": False}],
        "properties": {"x": {"type": "integer"}},
        "$ref": "#/x",
        "default": {"k": [1]},
        "x-kubernetes-preserve-unknown-fields": True,
        "x-kubernetes-list-map-keys": ["name"],
    }


def test_times_outside_the_usual() -> None:
    def created(seconds: int, nanoseconds: int = 0) -> Any:
        moment = number(1, seconds) + number(2, nanoseconds)
        return decode("v1", "ConfigMap", text(1, text(8, moment)))["metadata"]["creationTimestamp"]

    assert created(0) == "1970-01-01T00:00:00Z"
    assert created(-62135596800) == "0001-01-01T00:00:00Z"
    assert created(1_800_000_000, 999_999_999) == "2027-01-15T08:00:00Z"
    with pytest.raises(ProtobufError, match="no time"):
        created(1 << 60)


def nested(levels: int) -> bytes:
    """A schema inside that many `not`s."""
    raw = b""
    for _ in range(levels):
        raw = text(28, raw)
    version = text(7, text(4, text(1, raw)))
    return body("apiextensions.k8s.io/v1", "CustomResourceDefinition", text(2, version))


def test_limits() -> None:
    to_json(nested(DEPTH_MAX - 4))
    for data in (
        nested(DEPTH_MAX),
        body("v1", "ConfigMap", text(2, b"") * (FIELDS_MAX + 1)),
        body("v1", "Pod", text(2, text(14, text(4, bytes(FIELDS_MAX))))),
        body("apps/v1", "ControllerRevision", text(2, text(1, "[" * 100_000 + "]" * 100_000))),
    ):
        with pytest.raises(ProtobufError):
            to_json(data)
