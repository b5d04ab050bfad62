"""Requests that are questions, not objects: TokenRequest, TokenReview, SelfSubjectReview and the access reviews.

A Registry in front of the registry, so that in-process clients (a kubelet asking for a pod's token) get the same
answers as HTTP clients. Everything else passes through.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from edgekube.apiserver.lookup import NamedObject, PodFields, get_object
from edgekube.apiserver.permit import Authorizer, forbidden_request
from edgekube.apiserver.request import ANONYMOUS, GROUP_MASTERS, GROUP_NODES, ApiRequest, ApiResponse, Registry, User
from edgekube.apiserver.requestinfo import RequestInfo
from edgekube.apiserver.tokens import (
    DEFAULT_EXPIRATION_SECONDS,
    EXPIRATION_SECONDS_MAX,
    EXPIRATION_SECONDS_MIN,
    BoundTo,
    ObjectRef,
    ServiceAccountTokens,
)
from edgekube.types.status import ApiError, bad_request, conflict, failure

_AUTHENTICATION: Final = "authentication.k8s.io"
_AUTHORIZATION: Final = "authorization.k8s.io"
_AUDIENCES_MAX: Final = 32

T = TypeVar("T")


class _BoundObjectRef(msgspec.Struct):
    kind: str = ""
    apiVersion: str = ""
    name: str = ""
    uid: str = ""


class _TokenRequestSpec(msgspec.Struct):
    audiences: list[str] = []
    boundObjectRef: _BoundObjectRef | None = None
    expirationSeconds: int | None = None


class _TokenReviewSpec(msgspec.Struct):
    token: str = ""
    audiences: list[str] = []


class _ResourceAttributes(msgspec.Struct):
    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


class _NonResourceAttributes(msgspec.Struct):
    path: str = ""
    verb: str = ""


class _AccessSpec(msgspec.Struct):
    resourceAttributes: _ResourceAttributes | None = None
    nonResourceAttributes: _NonResourceAttributes | None = None
    user: str = ""
    groups: list[str] = []
    uid: str = ""
    extra: dict[str, list[str]] = {}


class _RulesSpec(msgspec.Struct):
    namespace: str = ""


class Reviews:
    """`inner` with the reviews answered. `tokens` issues and reviews ServiceAccount tokens."""

    def __init__(
        self, inner: Registry, *, tokens: ServiceAccountTokens, authorize: Authorizer, now: Callable[[], float]
    ) -> None:
        self._inner = inner
        self._tokens = tokens
        self._authorize = authorize
        self._now = now

    async def handle(self, request: ApiRequest) -> ApiResponse:
        if request.verb != "create":
            return await self._inner.handle(request)
        match request.group, request.resource, request.subresource:
            case "", "serviceaccounts", "token":
                return await self._token_request(request)
            case group, "tokenreviews", "" if group == _AUTHENTICATION:
                await self._require(request)
                return await self._token_review(request)
            case group, "selfsubjectreviews", "" if group == _AUTHENTICATION:
                self._require_known(request)
                status = {"userInfo": _user_info(request.user)}
                return _answer(_AUTHENTICATION, "SelfSubjectReview", None, status)
            case group, "selfsubjectaccessreviews", "" if group == _AUTHORIZATION:
                self._require_known(request)
                return await self._access_review(request, "SelfSubjectAccessReview", request.user)
            case group, "selfsubjectrulesreviews", "" if group == _AUTHORIZATION:
                self._require_known(request)
                return await self._rules_review(request)
            case group, "subjectaccessreviews", "" if group == _AUTHORIZATION:
                await self._require(request)
                return await self._access_review(request, "SubjectAccessReview", None)
            case group, "localsubjectaccessreviews", "" if group == _AUTHORIZATION:
                await self._require(request)
                return await self._access_review(request, "LocalSubjectAccessReview", None)
        return await self._inner.handle(request)

    async def _require(self, request: ApiRequest) -> None:
        info = _info(request)
        problem = await self._authorize(request.user, info)
        if problem:
            raise forbidden_request(request.user, info, problem)

    def _require_known(self, request: ApiRequest) -> None:
        if request.user == ANONYMOUS:
            raise forbidden_request(request.user, _info(request), "log in first")

    async def _token_request(self, request: ApiRequest) -> ApiResponse:
        spec = _spec(request, _TokenRequestSpec, "TokenRequest")
        namespace, name = request.namespace, request.name
        by_node = GROUP_NODES in request.user.groups and GROUP_MASTERS not in request.user.groups
        if not by_node:
            await self._require(request)
        seconds = spec.expirationSeconds if spec.expirationSeconds is not None else DEFAULT_EXPIRATION_SECONDS
        if not EXPIRATION_SECONDS_MIN <= seconds <= EXPIRATION_SECONDS_MAX:
            raise failure(
                422,
                "Invalid",
                f'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: {seconds}: '
                f"may not specify a duration less than 10 minutes or larger than {EXPIRATION_SECONDS_MAX} seconds",
            )
        if len(spec.audiences) > _AUDIENCES_MAX:
            raise bad_request(f"more than {_AUDIENCES_MAX} audiences")
        account = await get_object(self._inner, NamedObject, "serviceaccounts", name, namespace)
        reference = ObjectRef(name, account.metadata.uid)
        bound = await self._bind(request, BoundTo(namespace, reference), spec.boundObjectRef, by_node=by_node)
        token, renew = self._tokens.issue(bound, audiences=spec.audiences, expiration_seconds=seconds)
        body = {
            "audiences": spec.audiences or list(self._tokens.audiences),
            "expirationSeconds": seconds,
            "boundObjectRef": spec.boundObjectRef,
        }
        status = {"token": token, "expirationTimestamp": _rfc3339(renew)}
        meta = {"name": name, "namespace": namespace, "creationTimestamp": _rfc3339(self._now())}
        return _answer(_AUTHENTICATION, "TokenRequest", body, status, metadata=meta)

    async def _bind(
        self, request: ApiRequest, bound: BoundTo, ref: _BoundObjectRef | None, *, by_node: bool
    ) -> BoundTo:
        """Add the object the token shall live as long as. A node may bind to its own pods only (NodeRestriction)."""
        if by_node and (ref is None or ref.kind != "Pod"):
            raise forbidden_request(request.user, _info(request), "a node may ask for tokens bound to its pods only")
        if ref is None:
            return bound
        namespace = bound.namespace
        match ref.kind:
            case "Pod":
                pod = await get_object(self._inner, PodFields, "pods", ref.name, namespace)
                self._check_uid("pods", ref, pod.metadata.uid)
                if (pod.spec.serviceAccountName or "default") != bound.serviceaccount.name:
                    raise bad_request(
                        f"cannot bind token for serviceaccount {bound.serviceaccount.name!r} to pod running with "
                        "different serviceaccount name."
                    )
                node = pod.spec.nodeName
                if by_node and request.user.name != f"system:node:{node}":
                    raise forbidden_request(request.user, _info(request), "the pod runs on another node")
                node_ref = None
                if node:
                    node_uid = (await get_object(self._inner, NamedObject, "nodes", node)).metadata.uid
                    node_ref = ObjectRef(node, node_uid)
                return msgspec.structs.replace(bound, pod=ObjectRef(ref.name, pod.metadata.uid), node=node_ref)
            case "Secret" | "Node":
                resource = ref.kind.lower() + "s"
                scope = namespace if ref.kind == "Secret" else ""
                found = await get_object(self._inner, NamedObject, resource, ref.name, scope)
                self._check_uid(resource, ref, found.metadata.uid)
                target = ObjectRef(ref.name, found.metadata.uid)
                if ref.kind == "Secret":
                    return msgspec.structs.replace(bound, secret=target)
                return msgspec.structs.replace(bound, node=target)
        raise bad_request(f"cannot bind token to object of type {ref.kind}")

    @staticmethod
    def _check_uid(resource: str, ref: _BoundObjectRef, uid: str) -> None:
        if ref.uid and ref.uid != uid:
            raise conflict(
                resource,
                ref.name,
                f"the UID in the bound object reference ({ref.uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
            )

    async def _token_review(self, request: ApiRequest) -> ApiResponse:
        spec = _spec(request, _TokenReviewSpec, "TokenReview")
        if not spec.token:
            raise bad_request("token is required for TokenReview in authentication")
        audiences = spec.audiences or list(self._tokens.audiences)
        status: dict[str, Any] = {}
        try:
            found = await self._tokens.review(spec.token, audiences)
        except ApiError as error:
            found = None
            status["error"] = error.message
        if found is not None:
            status = {"authenticated": True, "user": _user_info(found[0]), "audiences": list(found[1])}
        return _answer(_AUTHENTICATION, "TokenReview", spec, status)

    async def _access_review(self, request: ApiRequest, kind: str, subject: User | None) -> ApiResponse:
        spec = _spec(request, _AccessSpec, kind)
        if subject is None:
            if not spec.user and not spec.groups:
                raise bad_request("spec.user: Required value: at least one of user or group must be specified")
            extra = {key: tuple(values) for key, values in spec.extra.items()}
            subject = User(spec.user, tuple(spec.groups), uid=spec.uid, extra=extra)
        resource, path = spec.resourceAttributes, spec.nonResourceAttributes
        if (resource is None) == (path is None):
            raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
        if resource is not None:
            info = RequestInfo(
                verb=resource.verb,
                path="",
                group=resource.group,
                version=resource.version,
                resource=resource.resource or "*",
                namespace=resource.namespace,
                name=resource.name,
                subresource=resource.subresource,
            )
        else:
            assert path is not None
            info = RequestInfo(verb=path.verb, path=path.path)
        problem = await self._authorize(subject, info)
        status: dict[str, Any] = {"allowed": not problem}
        if problem:
            status["reason"] = problem
        return _answer(_AUTHORIZATION, kind, spec, status)

    async def _rules_review(self, request: ApiRequest) -> ApiResponse:
        spec = _spec(request, _RulesSpec, "SelfSubjectRulesReview")
        anything = RequestInfo(verb="*", path="*", group="*", resource="*", namespace=spec.namespace)
        all_allowed = not await self._authorize(request.user, anything)
        resource_rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}] if all_allowed else []
        path_rules = [{"verbs": ["*"], "nonResourceURLs": ["*"]}] if all_allowed else []
        status = {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": not all_allowed}
        return _answer(_AUTHORIZATION, "SelfSubjectRulesReview", None, status)


def _info(request: ApiRequest) -> RequestInfo:
    return RequestInfo(
        verb=request.verb,
        path="",
        group=request.group,
        version=request.version,
        resource=request.resource,
        namespace=request.namespace,
        name=request.name,
        subresource=request.subresource,
    )


class _Body(msgspec.Struct, Generic[T]):
    spec: T


def _spec(request: ApiRequest, cls: type[T], kind: str) -> T:
    try:
        return msgspec.json.decode(request.body or b"{}", type=_Body[cls]).spec  # type: ignore[valid-type]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise bad_request(f"{kind} in version {request.version!r} cannot be handled: {error}") from None


def _user_info(user: User) -> dict[str, Any]:
    out: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        out["uid"] = user.uid
    if user.extra:
        out["extra"] = {key: list(values) for key, values in user.extra.items()}
    return out


def _answer(
    group: str, kind: str, spec: Any, status: Mapping[str, Any], *, metadata: Mapping[str, Any] | None = None
) -> ApiResponse:
    body: dict[str, Any] = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": metadata or {}}
    if spec is not None:
        plain = msgspec.to_builtins(spec)
        body["spec"] = {key: value for key, value in plain.items() if value not in (None, "", [], {})}
    body["status"] = status
    return ApiResponse(status=201, body=msgspec.json.encode(body))


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
