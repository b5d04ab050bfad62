"""The gnostic form is protobuf that another reader takes apart again."""

from typing import Any

from edgekube.apiserver import openapi_proto


def fields(data: bytes) -> list[tuple[int, Any]]:
    """A minimal reader: (field number, varint or bytes)."""
    found: list[tuple[int, Any]] = []
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            assert key & 7 == 2
            size = varint()
            found.append((key >> 3, data[position : position + size]))
            position += size
    return found


def one(data: bytes, *path: int) -> Any:
    for number in path:
        data = next(value for field, value in fields(data) if field == number)
    return data


def test_head_has_version_and_title() -> None:
    head = openapi_proto.head("Kubernetes", "v1")
    assert one(head, 1) == b"2.0"
    assert (one(head, 2, 1), one(head, 2, 2)) == (b"Kubernetes", b"v1")


def test_a_definition_keeps_what_kubectl_reads() -> None:
    schema = {
        "description": "d" * 300,
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "array", "items": {"$ref": "#/definitions/X"}},
            "b": {"type": "object", "additionalProperties": {"type": "string"}},
            "c": {"type": "integer", "format": "int32", "default": 3},
        },
        "x-kubernetes-group-version-kind": [{"group": "", "kind": "Pod", "version": "v1"}],
    }
    entry = openapi_proto.definition("io.k8s.Pod", schema)
    assert one(entry, 9, 1, 1) == b"io.k8s.Pod"
    body = one(entry, 9, 1, 2)
    assert one(body, 4) == b"d" * 300
    assert [v for f, v in fields(body) if f == 19] == [b"a", b"b"]
    assert one(body, 22, 1) == b"object"
    properties = dict((one(p, 1), one(p, 2)) for f, p in fields(one(body, 25)) if f == 1)  # noqa: C402
    assert one(properties[b"a"], 23, 1, 1) == b"#/definitions/X"
    assert one(properties[b"b"], 21, 1, 22, 1) == b"string"
    assert one(properties[b"c"], 5, 2) == b"3"
    assert one(body, 31, 1) == b"x-kubernetes-group-version-kind"
    assert one(body, 31, 2, 2) == b'[{"group":"","kind":"Pod","version":"v1"}]'
