"""What is served beside resources: the root, discovery, version, health, metrics, OpenAPI, OpenID discovery."""

import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from edgekube.apiserver.accept import ACCEPTED, JSON, negotiate_discovery
from edgekube.apiserver.authn import GROUP_AUTHENTICATED
from edgekube.apiserver.discovery import AGGREGATED_TYPE, Discovery
from edgekube.apiserver.health import Check, health
from edgekube.apiserver.metrics import CONTENT_TYPE as METRICS_TYPE
from edgekube.apiserver.metrics import Statistics, render
from edgekube.apiserver.permit import Authorizer, require
from edgekube.apiserver.request import User
from edgekube.apiserver.requestinfo import RequestInfo
from edgekube.http.messages import Response
from edgekube.http.server import Request
from edgekube.types.status import failure, not_acceptable

_JSON: Final = [("Content-Type", JSON)]
_PUBLIC: Final = frozenset({"/version", "/healthz", "/livez", "/readyz"})
_DISCOVERY: Final = ("/api", "/apis", "/openapi", "/.well-known/openid-configuration", "/openid/v1/jwks")
_HEALTH: Final = ("healthz", "livez", "readyz")


class SchemaDocuments(Protocol):
    """The OpenAPI documents (`openapi.py`)."""

    async def respond(self, path: str, request: Request) -> Response | None: ...


class IdentityDocuments(Protocol):
    """OpenID discovery of the ServiceAccount issuer (`ServiceAccountTokens`)."""

    def configuration(self) -> bytes: ...

    def jwks(self) -> bytes: ...


#: What the composition root adds below a first path segment of its own: (request, path, query) -> response.
PathHandler = Callable[[Request, str, Mapping[str, str]], Awaitable[Response | None]]


class Paths:
    """Answers GET and HEAD of everything that is no resource.

    Anonymous users see version and health; authenticated ones discovery, as the roles system:public-info-viewer and
    system:discovery have it; the rest is up to `authorize`.
    """

    def __init__(
        self,
        *,
        discovery: Discovery,
        version: str,
        authorize: Authorizer,
        checks: Mapping[str, Check],
        statistics: Mapping[str, Statistics],
        schemas: SchemaDocuments | None = None,
        identity: IdentityDocuments | None = None,
        server_address: Callable[[], str] = lambda: "",
        extra: Mapping[str, PathHandler] | None = None,
    ) -> None:
        self._discovery = discovery
        self._version = version_document(version)
        self._authorize = authorize
        self._checks = checks
        self._statistics = statistics
        self._schemas = schemas
        self._identity = identity
        self._server_address = server_address
        self._extra = extra or {}

    async def handle_path(self, request: Request, user: User, query: Sequence[tuple[str, str]]) -> Response | None:
        path = "/" + request.path.strip("/")
        await self._check_access(user, request.method, path)
        handler = self._extra.get(path[1:].partition("/")[0])
        if handler is not None:
            return await handler(request, path, dict(query))
        if request.method not in ("GET", "HEAD"):
            if path in _PUBLIC or path.startswith(_DISCOVERY):
                raise failure(405, "MethodNotAllowed", f"the server does not allow {request.method} on {path}")
            return None
        first, _, rest = path[1:].partition("/")
        if first in _HEALTH:
            return health(first, self._checks, query, only=rest)
        match first:
            case "":
                return _json(msgspec.json.encode({"paths": self._paths()}))
            case "version" if not rest:
                return _json(self._version)
            case "metrics" if not rest:
                return Response(headers=[("Content-Type", METRICS_TYPE)], body=render(self._statistics))
            case "api" | "apis":
                return self._discover(request, first, rest)
            case "openapi" if self._schemas is not None:
                return await self._schemas.respond(path, request)
        return self._identity_document(path)

    async def _check_access(self, user: User, method: str, path: str) -> None:
        root = "/" + path[1:].partition("/")[0]
        if root in _PUBLIC:
            return
        if GROUP_AUTHENTICATED in user.groups and (path == "/" or path.startswith(_DISCOVERY)):
            return
        await require(self._authorize, user, RequestInfo(verb=method.lower(), path=path))

    def _discover(self, request: Request, root: str, rest: str) -> Response | None:
        media = negotiate_discovery(request.header("accept"))
        if media is None:
            raise not_acceptable(ACCEPTED)
        discovery = self._discovery
        if not rest:
            if media.as_ == "APIGroupDiscoveryList" and media.version == "v2":
                body, etag = discovery.aggregated(core=root == "api")
                return _with_etag(request, body, etag, AGGREGATED_TYPE)
            body = discovery.api_versions(self._server_address()) if root == "api" else discovery.group_list()
            return _json(body)
        parts = rest.split("/")
        found: bytes | None = None
        if root == "api" and len(parts) == 1:
            found = discovery.resource_list("", parts[0])
        elif root == "apis" and len(parts) == 1:
            found = discovery.group(parts[0])
        elif root == "apis" and len(parts) == 2:
            found = discovery.resource_list(*parts)
        return None if found is None else _json(found)

    def _identity_document(self, path: str) -> Response | None:
        if self._identity is None:
            return None
        if path == "/.well-known/openid-configuration":
            return Response(headers=_JSON, body=self._identity.configuration())
        if path == "/openid/v1/jwks":
            return Response(headers=[("Content-Type", "application/jwk-set+json")], body=self._identity.jwks())
        return None

    def _paths(self) -> list[str]:
        known = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
        checks = [f"/{endpoint}/{name}" for endpoint in _HEALTH for name in self._checks]
        return sorted([*self._discovery.paths(), *known, *checks])


def _json(body: bytes) -> Response:
    return Response(headers=_JSON, body=body)


def _with_etag(request: Request, body: bytes, etag: str, content_type: str) -> Response:
    headers = [("Content-Type", content_type), ("ETag", etag), ("Vary", "Accept")]
    if request.header("if-none-match") == etag:
        return Response(status=304, headers=headers)
    return Response(headers=headers, body=body)


def version_document(version: str) -> bytes:
    """/version for a gitVersion such as `v1.36.0+edgekube.0.1.0`; clients read major and minor."""
    major, minor = version.removeprefix("v").split(".")[:2]
    machine = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(platform.machine(), platform.machine())
    return msgspec.json.encode(
        {
            "major": major,
            "minor": minor,
            "gitVersion": version,
            "gitCommit": "",
            "gitTreeState": "archive",
            "buildDate": "",
            "goVersion": f"python{platform.python_version()}",
            "compiler": platform.python_implementation().lower(),
            "platform": f"linux/{machine}",
        }
    )
