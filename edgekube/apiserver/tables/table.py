"""The Table of some objects (KEP-291): definitions once, a row an object."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edgekube.apiserver.negotiate import Form
from edgekube.apiserver.resources import Resource
from edgekube.apiserver.tables import columns
from edgekube.types.codec import decoder


class _MetaOnly(msgspec.Struct, gc=False):
    metadata: msgspec.Raw


_metadata = msgspec.json.Decoder(_MetaOnly).decode


def render(
    res: Resource,
    items: Sequence[bytes],
    form: Form,
    now: float,
    list_meta: Mapping[str, Any] | None = None,
    *,
    columns: bool = True,
) -> dict[str, Any]:
    """A Table as plain values. Without `list_meta` its resourceVersion is that of the single object."""
    spec = _spec_of(res)
    decode = decoder(res.cls).decode
    rows = []
    version = ""
    for json in items:
        obj = decode(json)
        version = obj.metadata.resourceVersion
        # A bookmark is an object without a name: there is nothing to print.
        cells = list(spec.cells(obj, now)) if obj.metadata.name else [""] * len(spec.columns)
        row: dict[str, Any] = {"cells": cells}
        if form.include == "Object":
            row["object"] = msgspec.Raw(json)
        elif form.include == "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata", "apiVersion": form.api_version, "metadata": _metadata(json).metadata
            }  # fmt: skip
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": form.api_version,
        "metadata": dict(list_meta) if list_meta is not None else {"resourceVersion": version},
        "columnDefinitions": spec.definitions if columns else [],
        "rows": rows,
    }


def _spec_of(res: Resource) -> "columns.Spec":
    return columns.spec_of(res.kind)
