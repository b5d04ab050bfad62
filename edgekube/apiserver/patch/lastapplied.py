"""kubectl's annotation of what it applied last, where a server-side apply of kubectl's own meets it.

Fields that client-side apply set are taken over without a conflict, and the annotation follows, so that one can go back
(KEP-555; lastAppliedManager and lastAppliedUpdater of k8s.io/apimachinery/pkg/util/managedfields).
"""

from typing import Any

import msgspec

from edgekube.apiserver.fieldset import FieldSet, compare, field_set, subtract
from edgekube.apiserver.schema import Node
from edgekube.apiserver.validation.meta import ANNOTATIONS_SIZE_BYTES_MAX
from edgekube.types.unreadable import UNREADABLE

Obj = dict[str, Any]

MANAGER = "kubectl"  # another field manager opts out
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

_encode = msgspec.json.Encoder(order="sorted").encode


def taken_over(live: Obj, node: Node, *, manager: str, api_version: str) -> FieldSet:
    """The fields that client-side apply set and that still are as it set them: kubectl may have them."""
    text = _annotations(live).get(ANNOTATION)
    if manager != MANAGER or not text:
        return {}
    try:
        last = msgspec.json.decode(text)
        if not isinstance(last, dict) or last.get("apiVersion") != api_version:
            return {}
        changed, removed = compare(last, live, node)
        return subtract(subtract(field_set(last, node), changed), removed)
    except (*UNREADABLE, AttributeError, TypeError):
        return {}  # written by hand: as if it were not there


def follow(merged: Obj, applied: Obj, *, manager: str) -> Obj:
    """`merged` with the annotation, when it has one, saying what was applied now."""
    held = _annotations(merged)
    if manager != MANAGER or ANNOTATION not in held:
        return merged
    given = applied.get("metadata") or {}
    if "annotations" in given:
        given = {**given, "annotations": {k: v for k, v in given["annotations"].items() if k != ANNOTATION}}
    annotations = {**held, ANNOTATION: _encode({**applied, "metadata": given}).decode() + "\n"}
    if (
        sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
        > ANNOTATIONS_SIZE_BYTES_MAX
    ):
        del annotations[ANNOTATION]
    return {**merged, "metadata": {**merged["metadata"], "annotations": annotations}}


def _annotations(obj: Obj) -> dict[str, Any]:
    return obj["metadata"].get("annotations") or {}
