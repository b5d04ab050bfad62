"""TokenReview (authentication.k8s.io): whose token is this. Answered in front of the registry, which knows no keys."""

from typing import Any, Final, Protocol

import msgspec

from edgekube.apiserver.permit import Authorizer, require
from edgekube.apiserver.request import GROUP_NODES, ApiRequest, ApiResponse, Registry, User
from edgekube.apiserver.requestinfo import RequestInfo
from edgekube.types.status import ApiError, bad_request
from edgekube.types.unreadable import UNREADABLE

_GROUP: Final = "authentication.k8s.io"


class TokenVerifier(Protocol):
    @property
    def audiences(self) -> tuple[str, ...]: ...

    async def review(self, token: str, audiences: tuple[str, ...]) -> tuple[User, tuple[str, ...]] | None: ...


class _Spec(msgspec.Struct):
    token: str = ""
    audiences: tuple[str, ...] = ()


class _Body(msgspec.Struct):
    spec: _Spec


class TokenReviews:
    """`inner` with TokenReview answered. Nodes may ask, and whom `authorize` lets."""

    def __init__(self, inner: Registry, *, tokens: TokenVerifier, authorize: Authorizer) -> None:
        self._inner = inner
        self._tokens = tokens
        self._authorize = authorize

    async def handle(self, request: ApiRequest) -> ApiResponse:
        if (request.verb, request.group, request.resource) != ("create", _GROUP, "tokenreviews"):
            return await self._inner.handle(request)
        if GROUP_NODES not in request.user.groups:
            info = RequestInfo(verb="create", path="", group=_GROUP, version=request.version, resource=request.resource)
            await require(self._authorize, request.user, info)
        try:
            spec = msgspec.json.decode(request.body or b"{}", type=_Body).spec
        except UNREADABLE as error:
            raise bad_request(f"TokenReview in version {request.version!r} cannot be handled: {error}") from None
        if not spec.token:
            raise bad_request("token is required for TokenReview in authentication")
        body: dict[str, Any] = {
            "kind": "TokenReview",
            "apiVersion": f"{_GROUP}/v1",
            "metadata": {},
            "spec": {"token": spec.token, **({"audiences": spec.audiences} if spec.audiences else {})},
            "status": await self._status(spec.token, spec.audiences or self._tokens.audiences),
        }
        return ApiResponse(status=201, body=msgspec.json.encode(body))

    async def _status(self, token: str, audiences: tuple[str, ...]) -> dict[str, Any]:
        try:
            found = await self._tokens.review(token, audiences)
        except ApiError as error:
            return {"error": error.message, "user": {}}
        if found is None:
            return {"error": "[invalid bearer token]", "user": {}}
        user, matching = found
        info: dict[str, Any] = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
        if user.extra:
            info["extra"] = {key: list(values) for key, values in user.extra.items()}
        return {"authenticated": True, "user": info, "audiences": list(matching)}
