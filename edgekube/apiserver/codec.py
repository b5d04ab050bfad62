"""Bodies in and out: JSON and YAML to plain objects, plain objects through their kind's Struct and its defaults.

A body passes its Struct once, which drops unknown fields and refuses wrong types, and is defaulted; from there on a
write works on plain dicts, and the Struct is decoded again for validation.
"""

from typing import Any

import msgspec

from edgekube.apiserver import storage
from edgekube.apiserver.call import Call
from edgekube.apiserver.resources import Resource, storage_of
from edgekube.types import codec, defaults, status, strict
from edgekube.types.quantity import QuantityError
from edgekube.types.status import ApiError
from edgekube.types.unreadable import UNREADABLE

BODY_SIZE_BYTES_MAX = 3 * 1024 * 1024
YAML_NODES_MAX = 200_000  # an alias bomb multiplies nodes, not bytes

JSON = "application/json"
ACCEPTED = (JSON, "application/yaml", "application/vnd.kubernetes.protobuf")  # the front turns protobuf into JSON
HEADER = storage.HEADER_SIZE_BYTES
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")

decode_json = msgspec.json.Decoder().decode
encode_json = msgspec.json.Encoder().encode


class WrongType(ApiError):
    """400: a field of the object is not of its type. A patch that would leave such an object says it as a 422."""

    def __init__(self, message: str) -> None:
        super().__init__(status.bad_request(message).status)


def media_type(content_type: str) -> str:
    return content_type.split(";", 1)[0].strip().lower()


def plain_body(body: bytes, content_type: str) -> Any:
    """The decoded body, any JSON value. Raises ApiError 400, 413 or 415."""
    kind = media_type(content_type) or JSON
    if len(body) > BODY_SIZE_BYTES_MAX:
        raise status.too_large(f"limit is {BODY_SIZE_BYTES_MAX}")
    if kind == JSON or kind.endswith("+json"):
        try:
            return decode_json(body)
        except UNREADABLE as error:
            raise status.bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    if kind in _YAML or kind.endswith("+yaml"):
        return parse_yaml(body)
    raise status.unsupported_media_type(ACCEPTED)


def parse_yaml(body: bytes) -> Any:
    """One YAML document as JSON values; tags beyond JSON's are refused."""
    import yaml

    from edgekube.apiserver.yamljson import load

    if body.startswith(b"{"):  # what kubectl sends as YAML (server-side apply) is JSON
        try:
            return decode_json(body)
        except UNREADABLE:
            pass
    try:
        return load(body.decode(), nodes_max=YAML_NODES_MAX)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise status.bad_request(f"error converting YAML to JSON: {error}") from None


def object_body(call: Call, body: bytes, content_type: str, api_version: str, kind: str) -> dict[str, Any]:
    """A body that must be an object of one kind; kind and apiVersion may be left out of it."""
    if not body:
        raise status.bad_request("the body of the request was empty: it must hold an object")
    obj = plain_body(body, content_type)
    return check_kind(obj, api_version, kind)


def check_kind(obj: Any, api_version: str, kind: str) -> dict[str, Any]:
    if not isinstance(obj, dict):
        raise status.bad_request("the body of the request is not an object")
    given_version, given_kind = obj.get("apiVersion") or api_version, obj.get("kind") or kind
    if given_version != api_version or given_kind != kind:
        raise status.bad_request(
            f"{given_kind} in version {_quoted(given_version)} cannot be handled as a {kind}: "
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
            if given_version != api_version
            else f"{given_kind} in version {_quoted(api_version)} cannot be handled as a {kind}: "
            f"converting ({api_version.rpartition('/')[2]}.{given_kind}) to ({_package(api_version)}.{kind}): "
            "unknown conversion"
        )
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise status.bad_request(
            f"{kind} in version {_quoted(api_version)} cannot be handled as a {kind}: metadata is no object"
        )
    obj["apiVersion"] = api_version
    obj["kind"] = kind
    return obj


def _package(api_version: str) -> str:
    """The Go package of the group's internal types, as messages name it: core, apps, rbac."""
    return api_version.rpartition("/")[0].partition(".")[0] or "core"


def _quoted(text: Any) -> str:
    return '"' + str(text) + '"'


def typed(value: bytes, res: Resource) -> Any:
    """The Struct of a JSON object. Raises ApiError 400 where a field has the wrong type."""
    return typed_as(value, res.cls, res.kind, res.version)


def typed_as(value: bytes, cls: type[Any], kind: str, version: str) -> Any:
    try:
        return codec.decode(cls, value)
    except codec.DecodeError as error:
        raise WrongType(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}') from None


def canonical(call: Call, obj: dict[str, Any], res: Resource, source: bytes | None = None) -> dict[str, Any]:
    """The object as its kind knows it: unknown fields told or refused (fieldValidation), defaults filled in.

    `source` is the JSON that `obj` was read from, when it was JSON.
    """
    check_fields(call, obj, res, source)
    struct = typed(encode_json(obj) if source is None else source, res)
    plain = defaulted(struct)
    plain["apiVersion"], plain["kind"] = res.api_version, res.kind
    for name in ("labels", "annotations"):
        if plain["metadata"].get(name) == {}:
            del plain["metadata"][name]  # the last one was taken away: Go writes no empty map
    return stored_form(res, plain)


def stored_form(res: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    """A canonical object in the version it is stored in."""
    if res.stored_as is None:
        return obj
    from edgekube.apiserver import conversion

    at = storage_of(res)
    return defaulted(typed(encode_json(conversion.to_storage(res, obj, at.api_version)), at))


def check_fields(call: Call, obj: dict[str, Any], res: Resource, source: bytes | None = None) -> None:
    """Unknown and duplicate fields: a warning each, or one 400 for all (KEP-2885)."""
    if call.field_validation == "Ignore":
        return
    try:
        problems = strict.check(res.cls, source) if source is not None else strict.check_value(res.cls, obj)
    except codec.DecodeError:
        problems = strict.check_value(res.cls, obj)  # YAML
    if not problems:
        return
    if call.field_validation == "Strict":
        raise status.bad_request(
            f'{res.kind} in version "{res.version}" cannot be handled as a {res.kind}: ' + strict.message(problems)
        )
    for problem in problems:
        call.warn(problem)


def defaulted(struct: Any) -> dict[str, Any]:
    """The object with every default, as a plain dict of its own. Raises ApiError 400 for what is no quantity."""
    try:
        filled = defaults.apply(struct)
    except QuantityError as error:
        raise status.bad_request(
            f"{struct.kind} in version {_quoted(struct.apiVersion)} cannot be handled as a {struct.kind}: {error}"
        ) from None
    result: dict[str, Any] = decode_json(encode_json(filled))
    return result
