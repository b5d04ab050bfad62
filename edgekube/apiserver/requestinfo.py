"""What a URL asks for, as kube-apiserver reads it (its RequestInfo): verb, group, version, resource, name.

/api/v1/namespaces/NS/pods/NAME/SUB    /apis/GROUP/VERSION/RESOURCE/NAME    /api/v1/watch/... (deprecated)
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote

import msgspec

QUERY_FIELDS_MAX: Final = 1000

_VERBS: Final = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES: Final = frozenset({"status", "finalize"})
_CONNECT: Final = frozenset(
    {
        ("pods", "exec"),
        ("pods", "attach"),
        ("pods", "portforward"),
        ("pods", "proxy"),
        ("services", "proxy"),
        ("nodes", "proxy"),
    }
)


class RequestInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A resource request when `resource` is set; else `path` is all there is. `rest` is what follows a subresource."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse_query(query: str) -> list[tuple[str, str]]:
    """Decoded pairs in order. Raises ValueError for more than QUERY_FIELDS_MAX of them."""
    return parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX) if query else []


def is_true(value: str) -> bool:
    """A boolean query parameter: present and neither "false" nor "0" (Kubernetes' conversion)."""
    return value.lower() not in ("false", "0")


def parse_request(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Read a request line; `path` percent-encoded, `query` decoded. Never fails: what is no resource is a path."""
    raw = path.strip("/")
    parts = [unquote(part) for part in raw.split("/")] if raw else []
    non_resource = RequestInfo(verb=method.lower(), path=path)
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return non_resource
    group = ""
    rest = parts[1:]
    if parts[0] == "apis":
        if len(rest) < 3:
            return non_resource
        group, rest = rest[0], rest[1:]
    version, rest = rest[0], rest[1:]
    verb = _VERBS.get(method, "")
    watching = len(rest) > 1 and rest[0] == "watch"
    if watching:
        verb, rest = ("watch" if verb == "get" else ""), rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if not name:
        if verb == "get":
            verb = "watch" if "watch" in query and is_true(query["watch"]) else "list"
        elif verb == "delete":
            verb = "deletecollection"
    if group == "" and (resource, subresource) in _CONNECT:
        verb = "connect"
    return RequestInfo(
        verb=verb,
        path=path,
        group=group,
        version=version,
        resource=resource,
        namespace=namespace,
        name=name,
        subresource=subresource,
        rest="/".join(rest[3:]),
    )
