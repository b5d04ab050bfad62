"""PATCH: which of the four patches, over the writer's compare-and-swap."""

from typing import Any

import msgspec

from edgekube.apiserver import codec, conversion
from edgekube.apiserver.call import Call, Written
from edgekube.apiserver.patch import apply as server_apply
from edgekube.apiserver.patch import lastapplied
from edgekube.apiserver.patch.errors import PatchError, PatchUnprocessable
from edgekube.apiserver.patch.json_patch import json_patch
from edgekube.apiserver.patch.merge import merge_patch
from edgekube.apiserver.patch.strategic import strategic_merge
from edgekube.apiserver.writer import Writer
from edgekube.client.api import PatchType
from edgekube.types import status
from edgekube.types.fieldpath import Path, invalid
from edgekube.types.status import ApiError
from edgekube.types.unreadable import UNREADABLE

Obj = dict[str, Any]

_TYPES = {str(member): member for member in PatchType} | {"application/apply-patch+cbor": None}
PATCH_CONTENT_TYPES = tuple(str(member) for member in PatchType)


class Patcher:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def patch(self, call: Call, body: bytes, content_type: str) -> Written:
        """Apply the body of a PATCH request. Raises ApiError."""
        kind = _TYPES.get(codec.media_type(content_type))
        if kind is None:
            raise status.unsupported_media_type(PATCH_CONTENT_TYPES)
        if kind is PatchType.APPLY:
            value = codec.parse_yaml(body) if not body.lstrip().startswith(b"{") else _json(body)
        else:
            value = _json(body)
        return await self.apply_patch(call, value, kind)

    async def apply_patch(self, call: Call, patch: Any, kind: PatchType) -> Written:
        if kind is PatchType.APPLY:
            return await self._apply(call, patch)
        if call.force is not None:
            raise status.failure(
                422, "Invalid",
                'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
            )  # fmt: skip
        return await self._writer.update(call, lambda old: self._patched(call, old, patch, kind))

    def _patched(self, call: Call, old: Obj, patch: Any, kind: PatchType) -> Obj:
        base = old
        if call.resource.stored_as is not None:
            base = conversion.from_storage(call.resource, old)
        try:
            match kind:
                case PatchType.JSON:
                    value = json_patch(base, patch)
                case PatchType.MERGE:
                    if not isinstance(patch, dict):
                        raise PatchError("a merge patch is an object")
                    value = merge_patch(base, patch)
                case _:
                    if not isinstance(patch, dict):
                        raise PatchError("a strategic merge patch is an object")
                    value = strategic_merge(base, patch, call.resource.schema)
        except PatchUnprocessable as error:
            text = f"the server rejected our request due to an error in our request: {error}"
            raise status.failure(422, "Invalid", text) from None
        except (PatchError, RecursionError) as error:
            raise status.bad_request(f"error decoding patch: {error}") from None
        try:
            return patched_object(call, value)
        except codec.WrongType as error:
            problem = invalid(Path("patch"), codec.encode_json(patch).decode(), error.status.message)
            raise status.invalid("", "", "", [problem]) from None

    async def _apply(self, call: Call, patch: Any) -> Written:
        if not call.manager:
            raise _apply_option("fieldManager: Required value: is required for apply patch")
        res = call.resource
        if not isinstance(patch, dict) or not isinstance(patch.get("metadata", {}), dict):
            raise status.bad_request("error decoding YAML: an apply patch is an object")
        if not patch.get("apiVersion") or not patch.get("kind"):
            raise status.bad_request("error decoding patch: apiVersion and kind must be set in an apply patch")
        applied = codec.check_kind(dict(patch), call.resource.api_version, call.resource.kind)
        metadata = dict(applied.get("metadata") or {})
        applied["metadata"] = metadata
        if metadata.get("managedFields"):
            raise status.bad_request("metadata.managedFields must be nil")
        if metadata.get("name", call.name) != call.name:
            raise status.bad_request(
                f"the name of the object ({metadata.get('name')}) does not match the name on the URL ({call.name})"
            )
        metadata["name"] = call.name
        if call.resource.namespaced:
            if metadata.get("namespace", call.namespace) != call.namespace:
                raise status.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = call.namespace
        codec.check_fields(call, applied, res)
        applied = server_apply.without_nulls(applied)

        def change(old: Obj) -> Obj:
            granted = lastapplied.taken_over(old, res.schema, manager=call.manager, api_version=res.api_version)
            try:
                merged, entries = server_apply.apply(
                    old, applied, res.schema, manager=call.manager, api_version=call.resource.api_version,
                    subresource=call.subresource, force=bool(call.force), now=self._writer.timestamp(), granted=granted,
                )  # fmt: skip
            except PatchError as error:
                raise status.bad_request(f"failed to apply: {error}") from None
            result = patched_object(call, lastapplied.follow(merged, applied, manager=call.manager))
            result["metadata"]["managedFields"] = entries
            return result

        for _ in range(2):
            try:
                return await self._writer.update(call, change, keeps_entries=True)
            except ApiError as error:
                details = error.status.details
                missing = error.code == 404 and details is not None and details.kind == call.resource.plural
                if not missing or call.subresource or metadata.get("resourceVersion") or metadata.get("uid"):
                    raise
            try:
                empty: Obj = {"apiVersion": applied["apiVersion"], "kind": applied["kind"], "metadata": {}}
                merged, entries = server_apply.apply(
                    empty, applied, res.schema, manager=call.manager, api_version=call.resource.api_version,
                    subresource="", force=True, now=self._writer.timestamp(),
                )  # fmt: skip
                fresh = codec.stored_form(res, codec.defaulted(codec.typed(codec.encode_json(merged), res)))
                creating = msgspec.structs.replace(call, verb="create")
                return await self._writer.create(creating, fresh, applied=entries)
            except PatchError as error:
                raise status.bad_request(f"failed to apply: {error}") from None
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise status.conflict(call.resource.qualified, call.name)


def patched_object(call: Call, value: Any) -> Obj:
    """What a patch made, as the kind knows it: types checked, unknown fields told, defaults filled in."""
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        raise status.bad_request("the patch leaves no object with metadata")
    res = call.resource
    if (value.get("apiVersion"), value.get("kind")) != (res.api_version, res.kind):
        raise status.bad_request("apiVersion and kind may not be changed by a patch")
    codec.check_fields(call, value, res)
    return codec.stored_form(res, codec.defaulted(codec.typed(codec.encode_json(value), res)))


def _json(body: bytes) -> Any:
    if len(body) > codec.BODY_SIZE_BYTES_MAX:
        raise status.too_large(f"limit is {codec.BODY_SIZE_BYTES_MAX}")
    try:
        return codec.decode_json(body)
    except UNREADABLE as error:
        raise status.bad_request(f"error decoding patch: {error}") from None


def _apply_option(text: str) -> ApiError:
    return status.failure(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {text}')
