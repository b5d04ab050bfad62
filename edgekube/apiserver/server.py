"""The front of the API server: an HTTP request becomes an ApiRequest, its answer or ApiError becomes a response.

Order of things, as in kube-apiserver: authenticate, impersonate, read what is asked, authorize what the registry does
not see (paths, streams), take a place in a lane, negotiate, read the body, handle.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import getrandbits
from typing import Any, Final

import msgspec
import trio

from edgekube.apiserver.accept import (
    ACCEPTED,
    JSON,
    YAML,
    json_to_yaml,
    negotiate,
    parse_media,
)
from edgekube.apiserver.authn import Authenticator
from edgekube.apiserver.discovery import Catalog, Discovery
from edgekube.apiserver.health import Check
from edgekube.apiserver.lanes import Lanes
from edgekube.apiserver.metrics import Statistics
from edgekube.apiserver.paths import PathHandler, Paths, SchemaDocuments
from edgekube.apiserver.permit import Authorizer, masters_only
from edgekube.apiserver.request import ApiRequest, ApiResponse, Registry, User
from edgekube.apiserver.requestinfo import RequestInfo, parse_query, parse_request
from edgekube.apiserver.streams import PodStreams
from edgekube.apiserver.tokenreviews import TokenReviews
from edgekube.apiserver.tokens import ServiceAccountTokens
from edgekube.client.api import NodeApi
from edgekube.http.messages import HttpError, PushResponse, Response, UpgradeResponse
from edgekube.http.server import HttpServer, Limits, Request
from edgekube.http.sockets import open_tcp_listener, open_unix_listener
from edgekube.types.status import (
    ApiError,
    bad_request,
    failure,
    internal,
    not_acceptable,
    timeout,
    unknown_resource,
)

REQUEST_SECONDS_MAX: Final = 60.0  # kube-apiserver's --request-timeout; watches and streams live longer
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_BODY_VERBS: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_NO_CACHE: Final = ("Cache-Control", "no-cache, private")
_REASONS: Final = {400: "BadRequest", 408: "Timeout", 413: "RequestEntityTooLarge", 500: "InternalError"}

Answer = Response | PushResponse | UpgradeResponse


class ApiFront:
    """Serves the API of `registry` on unix and TCP sockets.

    `version` is the gitVersion to report; `catalog` says what discovery shows; `checks` and `statistics` feed health
    and metrics; `node_api` gives the NodeApi of a node by name, or raises ApiError. `authorize` is asked for paths and
    streams; resource requests are authorized in the registry, where in-process clients enter as well. `on_close` is
    told of every connection's end.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        authenticator: Authenticator,
        catalog: Catalog,
        version: str,
        checks: Mapping[str, Check],
        statistics: Mapping[str, Statistics],
        node_api: Callable[[str], NodeApi] | None = None,
        schemas: SchemaDocuments | None = None,
        identity: ServiceAccountTokens | None = None,
        authorize: Authorizer = masters_only,
        server_address: Callable[[], str] = lambda: "",
        extra_paths: Mapping[str, PathHandler] | None = None,
        on_close: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
        request_seconds_max: float = REQUEST_SECONDS_MAX,
    ) -> None:
        self._registry: Registry = registry
        if identity is not None:
            self._registry = TokenReviews(registry, tokens=identity, authorize=authorize)
        self._authenticator = authenticator
        self._streams = (
            None if node_api is None else PodStreams(registry=registry, node_api=node_api, authorize=authorize)
        )
        self._paths = Paths(
            discovery=Discovery(catalog),
            version=version,
            authorize=authorize,
            checks=checks,
            statistics={**statistics, "apiserver": self.statistics},
            schemas=schemas,
            identity=identity,
            server_address=server_address,
            extra=extra_paths,
        )
        self._request_seconds_max = request_seconds_max
        self.lanes = Lanes()
        self.http = HttpServer(self._handle, limits=limits, render_error=_render_http_error, on_close=on_close)

    async def serve(
        self,
        *,
        unix_path: str = "",
        unix_group: str = "edgekube",
        tcp: Sequence[tuple[str, int]] = (),
        tls: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; started with the bound TCP addresses. TCP is always TLS.

        Raises OSError when an address is taken, ValueError for TCP without `tls`.
        """
        if tcp and tls is None:
            raise ValueError("the API is served over TCP with TLS only")
        listeners: list[trio.SocketListener] = []
        bound: list[tuple[str, int]] = []
        async with trio.open_nursery() as nursery:
            if unix_path:
                unix = await open_unix_listener(unix_path, group=unix_group)
                await nursery.start(self.http.serve, [unix])
            for host, port in tcp:
                listener = await open_tcp_listener(host, port)
                listeners.append(listener)
                bound.append(listener.socket.getsockname()[:2])
            if listeners:
                await nursery.start(_serve_tls, self.http, listeners, tls)
            task_status.started(bound)

    async def shutdown(self, grace_seconds: float = 5.0) -> None:
        await self.http.shutdown(grace_seconds)

    def statistics(self) -> Mapping[str, Any]:
        return {"http": self.http.statistics(), "lanes": self.lanes.statistics()}

    async def _handle(self, request: Request) -> Answer:
        try:
            answer = await self._route(request)
        except ApiError as error:
            answer = render_error(error)
        if isinstance(answer, Response):
            headers = [("Audit-Id", _audit_id(request)), *answer.headers]
            if not any(name == "Cache-Control" for name, _ in answer.headers):
                headers.append(_NO_CACHE)
            return Response(
                status=answer.status, headers=headers, body=answer.body, compress_stream=answer.compress_stream
            )
        return answer

    async def _route(self, request: Request) -> Answer:
        user = await self._authenticator.authenticate(request.peer, request.headers)
        try:
            query = parse_query(request.query)
        except ValueError as error:
            raise bad_request(str(error)) from None
        values = dict(query)
        info = parse_request(request.method, request.path, values)
        if not info.resource:
            with trio.move_on_after(self._request_seconds_max):
                response = await self._paths.handle_path(request, user, query)
                if response is None:
                    raise unknown_resource()
                return response
            raise timeout("request did not complete within the allotted time")
        if not info.verb:
            raise failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if self._streams is not None and self._streams.handles(info):
            return await self._streams.handle(request, user, info, query)
        return await self._resource(request, user, info, values)

    async def _resource(self, request: Request, user: User, info: RequestInfo, query: dict[str, str]) -> Response:
        watching = info.verb == "watch"
        media = negotiate(request.header("accept"))
        if media is None:
            raise not_acceptable(ACCEPTED)
        with trio.move_on_after(self._request_seconds_max) as scope:
            async with self.lanes.enter(user, info.verb):
                content_type, body = await _read_body(request, info)
                answer = await self._registry.handle(
                    ApiRequest(
                        user=user,
                        verb=info.verb,
                        group=info.group,
                        version=info.version,
                        resource=info.resource,
                        namespace=info.namespace,
                        name=info.name,
                        subresource=info.subresource,
                        query=query,
                        content_type=content_type,
                        accept=media.projection,
                        user_agent=request.header("user-agent"),
                        body=body,
                    )
                )
        if scope.cancelled_caught:
            raise timeout("request did not complete within the allotted time")
        return await _respond(answer, yaml=media.type == YAML, watching=watching)


def _audit_id(request: Request) -> str:
    """The caller's, or a new one in the form of a random UUID; it names a request, and need not be hard to guess."""
    given = request.header("audit-id")
    if given and len(given) <= 64 and given.replace("-", "").isalnum():
        return given
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


async def _serve_tls(
    http: HttpServer,
    listeners: list[trio.SocketListener],
    tls: ssl.SSLContext,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await http.serve(listeners, tls=tls, task_status=task_status)


async def _read_body(request: Request, info: RequestInfo) -> tuple[str, bytes]:
    """The body and its media type; protobuf, which Go clients send, becomes JSON here. Raises ApiError 400.

    A patch has no protobuf form: it keeps its media type, which the registry refuses with the list of patch types.
    """
    content_type = request.header("content-type") or JSON
    body = await request.read_body() if info.verb in _BODY_VERBS else b""
    if body and info.verb != "patch" and parse_media(content_type)[0] == PROTOBUF:
        from edgekube.apiserver.protobuf.decode import ProtobufError, to_json

        try:
            return JSON, to_json(body)
        except ProtobufError as error:
            raise bad_request(f"protobuf: {error}") from None
    return content_type, body


async def _respond(answer: ApiResponse, *, yaml: bool, watching: bool) -> Response:
    body: bytes | AsyncIterator[bytes] = answer.body
    content_type = answer.content_type
    if yaml and not watching and parse_media(content_type)[0] == JSON:
        if not isinstance(body, bytes):
            body = b"".join([chunk async for chunk in body])
        body = json_to_yaml(body)
        content_type = YAML
    headers = [("Content-Type", content_type), *answer.headers]
    headers += [("Warning", f'299 - "{_quote(text)}"') for text in answer.warnings]
    return Response(status=answer.status, headers=headers, body=body, compress_stream=not watching)


def _quote(text: str) -> str:
    """A Warning header's text: RFC 7230 quoted-string, one line, Latin-1."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return line.encode("latin-1", "replace").decode("latin-1")


def render_error(error: ApiError) -> Response:
    headers = [("Content-Type", JSON)]
    retry = error.retry_after_seconds
    if retry is not None and error.code in (429, 500, 503, 504):
        headers.append(("Retry-After", str(retry)))
    if error.code == 401:
        headers.append(("WWW-Authenticate", 'Bearer realm="kubernetes"'))
    return Response(status=error.code, headers=headers, body=msgspec.json.encode(error.status))


def _render_http_error(error: HttpError) -> Response:
    if error.status == 500:
        return render_error(internal(error.message))
    return render_error(failure(error.status, _REASONS.get(error.status, "BadRequest"), error.message))
