"""/openapi/v2 and /openapi/v3, streamed from the schema artefact: no document ever exists as a whole.

The v3 document of a group-version has its schemas, and paths enough for clients to find a kind by its URL (`kubectl
explain`) and to see that fieldValidation and dryRun are understood (`kubectl apply`).
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from edgekube.apiserver import openapi_proto
from edgekube.apiserver.discovery import Catalog, ServedResource, ServedVersion
from edgekube.apiserver.requestinfo import parse_query
from edgekube.http.messages import Response
from edgekube.http.server import Request
from edgekube.types._kinds import KINDS
from edgekube.types.schema import SHARED, SchemaError, Schemas, as_v3, load
from edgekube.types.status import not_acceptable, service_unavailable

_JSON: Final = ("Content-Type", "application/json")
_IMMUTABLE: Final = ("Cache-Control", "public, immutable")
_SLICE: Final = 16  # definitions between two chances for other tasks; 16 take 1-2 ms
_REFERENCE: Final = re.compile(rb'"\$ref":"#/definitions/([^"]+)"')
_PATCHES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


class OpenApi:
    """Answers the OpenAPI paths. `artefact` is read at each request; nothing of it stays in memory."""

    def __init__(self, artefact: Path, *, catalog: Catalog, version: str) -> None:
        self._artefact = artefact
        self._catalog = catalog
        self._version = version
        self._digest = b""

    async def respond(self, path: str, request: Request) -> Response | None:
        """Raises ApiError 406 for protobuf alone, 503 without the artefact."""
        try:
            return self._respond(path, request)
        except SchemaError as error:
            raise service_unavailable(str(error)) from None

    def _respond(self, path: str, request: Request) -> Response | None:
        accept = request.header("accept")
        wants_protobuf = "protobuf" in accept and "json" not in accept and "*/*" not in accept
        if wants_protobuf and (path != "/openapi/v2" or "spec.v2" not in accept):
            raise not_acceptable(("application/json",))
        schemas = load(self._artefact)
        if path == "/openapi/v2":
            if wants_protobuf:
                body = lambda: self._v2_protobuf(schemas)  # noqa: E731
                content_type = ("Content-Type", openapi_proto.CONTENT_TYPE)
                return _cached(request, self._hash("v2 protobuf"), body, immutable=False, content_type=content_type)
            return _cached(request, self._hash("v2"), lambda: self._v2(schemas), immutable=False)
        if path == "/openapi/v3":
            return Response(headers=[_JSON], body=self._index())
        entry = next((entry for entry in self._catalog() if path == f"/openapi/v3/{_name(entry)}"), None)
        if entry is None:
            return None
        known = self._hash_of(entry)
        asked = dict(parse_query(request.query)).get("hash", "")
        return _cached(request, known, lambda: self._v3(schemas, entry), immutable=asked == known)

    def _index(self) -> bytes:
        paths = {
            _name(entry): {"serverRelativeURL": f"/openapi/v3/{_name(entry)}?hash={self._hash_of(entry)}"}
            for entry in self._catalog()
        }
        return msgspec.json.encode({"paths": paths})

    def _hash_of(self, entry: ServedVersion) -> str:
        return self._hash(msgspec.json.encode(entry).decode())

    def _hash(self, what: str) -> str:
        if not self._digest:
            try:
                self._digest = sha256(self._artefact.read_bytes()).digest()
            except OSError as error:
                raise SchemaError(f"cannot read {self._artefact}: {error}") from error
        return sha256(self._digest + self._version.encode() + what.encode()).hexdigest().upper()

    def _info(self) -> bytes:
        return msgspec.json.encode({"title": "Kubernetes", "version": self._version})

    async def _v2(self, schemas: Schemas) -> AsyncIterator[bytes]:
        yield b'{"swagger":"2.0","info":' + self._info() + b',"paths":{},"definitions":{'
        first = True
        for package in schemas.packages:
            inner = schemas.text(package).strip()[1:-1]
            if inner:
                yield inner if first else b"," + inner
                first = False
            await trio.lowlevel.checkpoint()
        yield b"}}"

    async def _v2_protobuf(self, schemas: Schemas) -> AsyncIterator[bytes]:
        yield openapi_proto.head("Kubernetes", self._version)
        for package in schemas.packages:
            held = msgspec.json.decode(schemas.text(package), type=dict[str, msgspec.Raw])
            pending: list[bytes] = []
            for name, raw in held.items():
                pending.append(openapi_proto.definition(name, msgspec.json.decode(raw)))
                if len(pending) == _SLICE:
                    yield b"".join(pending)
                    pending.clear()
                    await trio.lowlevel.checkpoint()
            yield b"".join(pending)

    async def _v3(self, schemas: Schemas, entry: ServedVersion) -> AsyncIterator[bytes]:
        yield b'{"openapi":"3.0.0","info":' + self._info() + b',"paths":'
        names = _names_of_kinds(schemas, entry)
        yield msgspec.json.encode(dict(_paths(entry, names)))
        yield b',"components":{"schemas":{'
        pending: list[bytes] = []
        first = True
        for name, schema in _closure(schemas, entry):
            text = msgspec.json.encode(name) + b":" + msgspec.json.encode(as_v3(name, schema))
            pending.append(text if first else b"," + text)
            first = False
            if len(pending) == _SLICE:
                yield b"".join(pending)
                pending.clear()
                await trio.lowlevel.checkpoint()
        yield b"".join(pending) + b'}},"security":[{"BearerToken":[]}]}'


def _cached(
    request: Request,
    known: str,
    body: Callable[[], AsyncIterator[bytes]],
    *,
    immutable: bool,
    content_type: tuple[str, str] = _JSON,
) -> Response:
    etag = f'"{known}"'
    headers = [content_type, ("ETag", etag), ("Vary", "Accept")]
    if immutable:
        headers.append(_IMMUTABLE)
    if request.header("if-none-match") == etag:
        return Response(status=304, headers=headers)
    return Response(headers=headers, body=body(), compress_stream=True)


def _name(entry: ServedVersion) -> str:
    return f"apis/{entry.group}/{entry.version}" if entry.group else f"api/{entry.version}"


def _closure(schemas: Schemas, entry: ServedVersion) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every definition a group-version needs, decoded one at a time."""
    package = KINDS[entry.group, entry.version][0] if (entry.group, entry.version) in KINDS else SHARED
    own: dict[str, msgspec.Raw] = msgspec.json.decode(schemas.text(package), type=dict[str, msgspec.Raw])
    known = dict(own)
    rest = [other for other in dict.fromkeys((SHARED, "core_v1", *schemas.packages)) if other != package]
    wanted, seen = list(own), set(own)
    while wanted:
        name = wanted.pop()
        while name not in known and rest:
            other = rest.pop(0)
            if other in schemas.packages:
                known |= msgspec.json.decode(schemas.text(other), type=dict[str, msgspec.Raw])
        if name not in known:
            raise SchemaError(f"the schema artefact is damaged: {name} is not in it; run `build.py setup`")
        raw = bytes(known[name])
        for reference in _REFERENCE.findall(raw):
            target = reference.decode()
            if target not in seen:
                seen.add(target)
                wanted.append(target)
        yield name, msgspec.json.decode(raw)


def _names_of_kinds(schemas: Schemas, entry: ServedVersion) -> dict[str, str]:
    """Kind -> full definition name, of the kinds a group-version defines."""
    if (entry.group, entry.version) not in KINDS:
        return {}
    package = KINDS[entry.group, entry.version][0]
    names = msgspec.json.decode(schemas.text(package), type=dict[str, msgspec.Raw])
    return {name.rpartition(".")[2]: name for name in names}


def _paths(entry: ServedVersion, names: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    root = f"/{_name(entry)}"
    for resource in entry.resources:
        scope = f"{root}/namespaces/{{namespace}}" if resource.namespaced else root
        collection = f"{scope}/{resource.name}"
        yield collection, _item(entry, resource, resource.kind, names, {"list": "get", "create": "post",
                                "deletecollection": "delete"}, resource.verbs)  # fmt: skip
        if resource.namespaced and "list" in resource.verbs:
            yield f"{root}/{resource.name}", _item(entry, resource, resource.kind, names, {"list": "get"}, ("list",))
        verbs = {"get": "get", "update": "put", "patch": "patch", "delete": "delete"}
        if "get" in resource.verbs:
            yield f"{collection}/{{name}}", _item(entry, resource, resource.kind, names, verbs, resource.verbs)
        for sub in resource.subresources:
            verbs = {"get": "get", "update": "put", "patch": "patch", "create": "post"}
            yield f"{collection}/{{name}}/{sub.name}", _item(entry, resource, sub.kind, names, verbs, sub.verbs)


def _item(
    entry: ServedVersion,
    resource: ServedResource,
    kind: str,
    names: dict[str, str],
    methods: dict[str, str],
    verbs: Any,
) -> dict[str, Any]:
    """A path item with the operations among `methods` (verb -> HTTP method) that are in `verbs`."""
    reference = {"$ref": f"#/components/schemas/{names[kind]}"} if kind in names else {"type": "object"}
    out: dict[str, Any] = {}
    for verb, method in methods.items():
        if verb not in verbs:
            continue
        operation: dict[str, Any] = {
            "operationId": f"{verb}{entry.version.title()}{resource.kind if kind == resource.kind else kind}",
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
            "x-kubernetes-action": verb if verb in ("list", "deletecollection") else method,
            "x-kubernetes-group-version-kind": {"group": entry.group, "version": entry.version, "kind": kind},
        }
        if method != "get" and verb != "deletecollection":
            options = ["dryRun", "fieldManager", "fieldValidation"] + ["force"] * (method == "patch")
            if method == "delete":
                options = ["dryRun", "gracePeriodSeconds", "propagationPolicy"]
            operation["parameters"] = [
                {"name": option, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for option in options
            ]
            types = _PATCHES if method == "patch" else ("*/*",)
            body = {"type": "object"} if method in ("patch", "delete") else reference
            operation["requestBody"] = {"content": {name: {"schema": body} for name in types}}
        out[method] = operation
    return out
