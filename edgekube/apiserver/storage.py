"""How an API object lies in the store: its key, the envelope around its JSON, and the splice of its resourceVersion.

A value is a four-byte header (format, flags, schema generation) and the object's JSON in its storage version. The
resourceVersion is only known when the write is applied, so its digits are spliced in by the store; everything that is
read is complete JSON, and GET and LIST send it on without decoding.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

PREFIX = b"/registry/"
HEADER_SIZE_BYTES = 4
FORMAT = 1
GENERATION = 1  # of the schema and its defaults; a stored object of an older one is rewritten when it is next written

_HEADER = bytes([FORMAT, 0]) + GENERATION.to_bytes(2, "little")
_MARK = b'"resourceVersion":"'
# A nested map (labels, annotations) may hold any key, so resourceVersion stands before all of them: then the first
# occurrence of its unescaped spelling is the right one.
_METADATA_FIRST = ("name", "generateName", "namespace", "selfLink", "uid")
_METADATA_REST = (
    "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations",
    "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip

_encode = msgspec.json.Encoder().encode


def collection_prefix(group: str, resource: str, namespace: str = "") -> bytes:
    """Prefix of all keys of a resource, or of one namespace's; ends with a slash."""
    path = f"/registry/{group or 'core'}/{resource}/"
    return (path + namespace + "/" if namespace else path).encode()


def object_key(group: str, resource: str, namespace: str, name: str) -> bytes:
    """`/registry/<group>/<resource>/<namespace>/<name>`; cluster-scoped kinds have no namespace part."""
    return collection_prefix(group, resource, namespace) + name.encode()


def split_key(key: bytes, namespaced: bool) -> tuple[str, str]:
    """(namespace, name) of an object's key."""
    parts = key.decode().split("/")
    return (parts[4], parts[5]) if namespaced else ("", parts[4])


def ordered(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object with kind, apiVersion and metadata first and resourceVersion present but empty, ready to encode."""
    metadata = obj["metadata"]
    front = {name: metadata[name] for name in _METADATA_FIRST if name in metadata}
    front["resourceVersion"] = ""
    for name in _METADATA_REST:
        if name in metadata:
            front[name] = metadata[name]
    result: dict[str, Any] = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": None, **obj}
    result["metadata"] = front
    return result


def seal(obj: Mapping[str, Any]) -> tuple[bytes, int]:
    """(value, splice): what to put, and where the store inserts the revision."""
    value = _HEADER + _encode(ordered(obj))
    at = value.find(_MARK)
    assert at > 0
    return value, at + len(_MARK)


def spliced(value: bytes, splice: int, revision: int) -> bytes:
    """The value as the store holds it after applying it at `revision`."""
    return value[:splice] + str(revision).encode() + value[splice:]


def body(value: bytes) -> bytes:
    """The object's JSON."""
    assert value[0] == FORMAT, "stored by a newer edgekube: start that version"
    return value[HEADER_SIZE_BYTES:]


def without_revision(json: bytes) -> bytes:
    """The JSON of an object that was only tried (dry run): it has no resourceVersion."""
    return json.replace(_MARK + b'",', b"", 1).replace(b"," + _MARK + b'"', b"", 1)


def with_revision(json: bytes, revision: int) -> bytes:
    """The JSON of a stored object with another resourceVersion."""
    start = json.find(_MARK) + len(_MARK)
    return json[:start] + str(revision).encode() + json[json.index(b'"', start) :]
