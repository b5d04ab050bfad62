"""The seam between HTTP and the registry: one API request and its answer, as values (apiserver's RequestInfo)."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec


class User(msgspec.Struct, frozen=True, gc=False):
    """Who asks (authentication.k8s.io UserInfo)."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = {}


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
GROUP_MASTERS = "system:masters"  # may do everything, whatever the authorizer says
GROUP_NODES = "system:nodes"


class ApiRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request on a resource, or on a collection when `name` is empty.

    `verb` is Kubernetes' request verb: get list watch create update patch delete deletecollection (and connect, which
    the front handles itself). `query` holds every query parameter, last value wins, undecoded.
    """

    user: User
    verb: str
    group: str  # "" is the core group
    version: str
    resource: str  # plural
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: Mapping[str, str] = {}
    content_type: str = "application/json"
    accept: str = "application/json"
    user_agent: str = ""
    body: bytes = b""


class ApiResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`body` is complete, or a stream of chunks (watch, big lists) which the receiver must aclose()."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "application/json"
    warnings: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


class Registry(Protocol):
    """What answers resource requests. Errors are raised as ApiError and become Status bodies at the front."""

    async def handle(self, request: ApiRequest) -> ApiResponse: ...
