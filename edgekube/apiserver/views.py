"""Objects as the client asked to see them: as they are, as a Table, or as metadata alone."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from edgekube.apiserver import watching
from edgekube.apiserver.negotiate import Form, View
from edgekube.apiserver.reader import Page
from edgekube.apiserver.resources import Resource

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class _MetaOnly(msgspec.Struct, gc=False):
    metadata: msgspec.Raw


_meta_only = msgspec.json.Decoder(_MetaOnly).decode


def convert_json(res: Resource, json: bytes) -> bytes:
    """Stored JSON in the version the client speaks."""
    if res.stored_as is None:
        return json
    from edgekube.apiserver import conversion

    return _encode(conversion.from_storage(res, _decode(json)))


def view_object(res: Resource, json: bytes, form: Form, now: float) -> bytes:
    """The body of one object, newline at the end."""
    if form.view is View.OBJECT:
        return json + b"\n"
    if form.view is View.TABLE:
        from edgekube.apiserver.tables import table

        return _encode(table.render(res, [json], form, now)) + b"\n"
    return _partial(json, form) + b"\n"


def _partial(json: bytes, form: Form) -> bytes:
    raw = bytes(_meta_only(json).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"' + form.api_version.encode() + b'","metadata":' + raw + b"}"


def view_list(res: Resource, page: Page, items: Sequence[bytes], form: Form, now: float) -> bytes:
    meta: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if page.continue_:
        meta["continue"] = page.continue_
    if page.remaining:
        meta["remainingItemCount"] = page.remaining
    if form.view is View.TABLE:
        from edgekube.apiserver.tables import table

        return _encode(table.render(res, items, form, now, meta)) + b"\n"
    head = f'{{"kind":"PartialObjectMetadataList","apiVersion":"{form.api_version}","metadata":'.encode()
    return head + _encode(meta) + b',"items":[' + b",".join(_partial(item, form) for item in items) + b"]}\n"


def view_renderer(res: Resource, form: Form, now: Callable[[], float]) -> watching.Render:
    """How a watch writes an event in this form."""
    if form.view is View.OBJECT:
        if res.stored_as is None:
            return watching.plain_line
        return lambda kind, json: watching.plain_line(kind, json if kind == "BOOKMARK" else convert_json(res, json))
    if form.view is View.TABLE:
        from edgekube.apiserver.tables import table

        first = True

        def as_table(kind: str, json: bytes) -> bytes:
            nonlocal first
            shown = table.render(res, [convert_json(res, json)] if kind != "BOOKMARK" else [json], form, now(),
                                 columns=first)  # fmt: skip
            first = False
            return watching.plain_line(kind, _encode(shown))

        return as_table
    return lambda kind, json: watching.plain_line(kind, _partial(json, form))
