"""Protobuf bodies: every code of the tables, every table whole, and noise that raises one exception."""

from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.apiserver.protobuf import tables
from edgekube.apiserver.protobuf.decode import MAGIC, ProtobufError, to_json
from tests.unit.apiserver_front.protobuf_wire import body, decode, number, text, varint

MODULES = sorted(path.stem for path in Path(str(tables.__file__)).parent.glob("*_v*.py"))
SCALARS = "sbidyqtuDorv"


def test_a_configmap() -> None:
    meta = text(1, "c") + text(3, "ns") + text(8, b"") + text(11, text(1, "app") + text(2, "paint"))
    entries = text(2, text(1, "a") + text(2, "b")) + text(3, text(1, "raw") + text(2, b"\0\xff"))
    assert decode("v1", "ConfigMap", text(1, meta) + entries + number(4, 0)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "ns", "labels": {"app": "paint"}},
        "data": {"a": "b"},
        "binaryData": {"raw": "AP8="},
        "immutable": False,
    }


def test_inline_messages_join_their_parent() -> None:
    volume = text(1, "v") + text(2, text(2, b""))  # VolumeSource{emptyDir}
    pod = decode("v1", "Pod", text(2, text(1, volume) + number(4, -1)))
    assert pod["spec"] == {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "terminationGracePeriodSeconds": -1,
    }


def test_zero_values_go_as_go_leaves_them_out() -> None:
    service = decode("v1", "Service", text(2, text(3, "") + text(1, text(1, "") + number(3, 0) + text(4, b""))))
    assert service["spec"] == {"ports": [{"port": 0, "targetPort": 0}]}


def test_quantities_times_and_int_or_strings() -> None:
    limits = text(1, "cpu") + text(2, text(1, "500m"))
    container = text(1, "c") + text(8, text(1, limits))
    moment = number(1, 1_800_000_000) + number(2, 0)
    pod = decode("v1", "Pod", text(1, text(8, moment)) + text(2, text(2, container)))
    assert pod["metadata"]["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}}
    lease = decode("coordination.k8s.io/v1", "Lease", text(2, text(4, moment)))
    assert lease["spec"]["renewTime"] == "2027-01-15T08:00:00.000000Z"
    budget = decode("policy/v1", "PodDisruptionBudget", text(2, text(1, number(1, 1) + number(2, 0) + text(3, "50%"))))
    assert budget["spec"]["minAvailable"] == "50%"


def test_lists_in_messages_and_embedded_json() -> None:
    user = text(1, "jane") + text(4, text(1, "scopes") + text(2, text(1, "a") + text(1, "b")))
    review = decode("authentication.k8s.io/v1", "TokenReview", text(3, text(2, user)))
    assert review["status"]["user"]["extra"] == {"scopes": ["a", "b"]}
    revision = decode("apps/v1", "ControllerRevision", text(2, text(1, '{"spec": {"x": 1}}')) + number(3, 2))
    assert revision["data"] == {"spec": {"x": 1}}


def test_packed_and_plain_numbers() -> None:
    groups = decode("v1", "Pod", text(2, text(14, number(4, 1) + number(4, 2) + text(4, varint(3) + varint(4)))))
    assert groups["spec"]["securityContext"]["supplementalGroups"] == [1, 2, 3, 4]


def test_unknown_fields_are_skipped() -> None:
    raw = text(1, text(1, "x")) + text(9000, "later") + number(9001, 1) + varint(9002 << 3 | 1) + bytes(8)
    assert decode("v1", "ConfigMap", raw)["metadata"] == {"name": "x"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"kind": "Pod"}',
        MAGIC,
        body("v1", "Nonsense", b""),
        body("example.com/v1", "Pod", b""),
        body("v1", "ConfigMap", b"\x0a\xff"),
        body("v1", "ConfigMap", number(1, 5)),
        body("v1", "ConfigMap", text(1, text(1, b"\xff"))),
        body("v1", "ConfigMap", b"\x0b"),
        body("v1", "ConfigMap", b"\xff" * 11),
        body("apps/v1", "ControllerRevision", text(2, text(1, "{"))),
        MAGIC + text(1, text(1, "v1") + text(2, "Pod")) + text(3, "gzip"),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(ProtobufError):
        to_json(data)


@given(st.binary(max_size=200), st.sampled_from(["Pod", "Service", "Event", "Node", "DeleteOptions"]))
def test_only_protobuf_errors_escape(noise: bytes, kind: str) -> None:
    for data in (noise, MAGIC + noise, body("v1", kind, noise)):
        try:
            to_json(data)
        except ProtobufError:
            pass


@pytest.mark.parametrize("module", MODULES)
def test_every_message_a_table_names_exists(module: str) -> None:
    messages = import_module(f"edgekube.apiserver.protobuf.tables.{module}").MESSAGES
    assert messages
    for name, rows in messages.items():
        numbers = [int("".join(c for c in row.partition(":")[0][:4] if c.isdigit())) for row in rows.split()]
        assert len(numbers) == len(set(numbers)), f"{module}.{name} uses a number twice"
        for row in rows.split():
            code = row.partition(":")[2].lstrip("[{")
            if code in SCALARS:
                continue
            where, _, target = code.rpartition(".")
            home = where or module
            assert target in import_module(f"edgekube.apiserver.protobuf.tables.{home}").MESSAGES, f"{name}: {row}"
