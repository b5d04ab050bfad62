"""The Kubernetes API as the verbs see it: paths, JSON in and out, refusals as StatusError."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from edgekube.cli.errors import StatusError
from edgekube.cli.transport import DEFAULT_SOCKET, Connection, Response
from edgekube.types.resources import Resource

Json = dict[str, Any]
Query = Mapping[str, Any] | Sequence[tuple[str, str]]

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io, application/json"

REQUEST_SECONDS: Final = 60.0
LIST_LIMIT: Final = 500
FIELD_MANAGER: Final = "edgekube"
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986


class Api:
    """Requests to one node."""

    def __init__(self, socket_path: str = "", *, timeout: float | None = REQUEST_SECONDS) -> None:
        self.socket_path = socket_path or os.environ.get("EDGEKUBE_SOCKET") or DEFAULT_SOCKET
        self._connection = Connection(self.socket_path, timeout=timeout)

    def connection(self, *, timeout: float | None = None) -> Connection:
        """A further connection, for what streams."""
        return Connection(self.socket_path, timeout=timeout)

    def call(
        self,
        method: str,
        path: str,
        query: Query = (),
        *,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """The decoded answer. Raises StatusError."""
        text = self.text(method, path, query, body=body, content_type=content_type, accept=accept)
        return json.loads(text) if text else {}

    def text(
        self,
        method: str,
        path: str,
        query: Query = (),
        *,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """The answer's bytes. Raises StatusError."""
        headers = {"Accept": accept}
        data: bytes | None = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        response = self._connection.request(method, target(path, query), body=data, headers=headers)
        text = response.read()
        _warn(response)
        if response.status >= 400:
            raise refusal(response.status, text)
        return text

    def stream(
        self, method: str, path: str, query: Query = (), *, accept: str = JSON, timeout: float | None = None
    ) -> Response:
        """The answer with its body still to come, on a connection of its own. Raises StatusError."""
        connection = self.connection(timeout=timeout)
        response = connection.request(method, target(path, query), headers={"Accept": accept})
        if response.status >= 400:
            raise refusal(response.status, response.read())
        return response

    def get(self, path: str, query: Query = (), *, accept: str = JSON) -> Json:
        found: Json = self.call("GET", path, query, accept=accept)
        return found

    def find(self, path: str) -> Json | None:
        """The object, or None when there is none."""
        try:
            return self.get(path)
        except StatusError as error:
            if error.http_code == 404 and (error.names_object or error.reason == "NotFound"):
                return None
            raise

    def list(self, path: str, query: Mapping[str, Any] | None = None, *, accept: str = JSON) -> Json:
        """A whole collection, fetched in pages."""
        wanted = dict(query or {})
        whole: Json | None = None
        token = ""
        while True:
            page = self.get(path, {**wanted, "limit": LIST_LIMIT, "continue": token}, accept=accept)
            if whole is None:
                whole = page
            else:
                key = "rows" if "rows" in page else "items"
                whole[key] = (whole.get(key) or []) + (page.get(key) or [])
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                whole.get("metadata", {}).pop("continue", None)
                whole.get("metadata", {}).pop("remainingItemCount", None)
                return whole

    def watch(
        self, path: str, query: Mapping[str, Any] | None = None, *, accept: str = JSON, timeout: float | None = None
    ) -> Iterator[Json]:
        """Watch events until the server ends the stream. Raises StatusError for an ERROR event; with `timeout`
        (seconds without any byte) CliError."""
        response = self.stream("GET", path, {**(query or {}), "watch": "true"}, accept=accept, timeout=timeout)
        for line in response.lines():
            if not line.strip():
                continue
            event: Json = json.loads(line)
            if event.get("type") == "ERROR":
                raise StatusError(event.get("object") or {})
            yield event


def target(path: str, query: Query = ()) -> str:
    """A request target; parameters that are empty or None are left out."""
    pairs = query.items() if isinstance(query, Mapping) else query
    text = "&".join(f"{quote(name)}={quote(str(value))}" for name, value in pairs if value not in ("", None))
    return f"{path}{'&' if '?' in path else '?'}{text}" if text else path


def quote(text: str) -> str:
    """Percent-encoding for one path segment or query value; urllib.parse would cost 7 ms of CPU to import."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def path_of(resource: Resource, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The URL path of an object, or of a collection when there is no name; of all namespaces when there is none."""
    parts = ["/apis", resource.group, resource.version] if resource.group else ["/api", resource.version]
    if resource.namespaced and namespace:
        parts += ["namespaces", quote(namespace)]
    parts.append(resource.plural)
    if name:
        parts.append(quote(name))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def refusal(status: int, text: bytes) -> StatusError:
    """What an answer of 400 and above says, whether it is a Status or not."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return StatusError(body, http_code=status)
    words = text.decode(errors="replace").strip()
    return StatusError({"message": words or f"the server answered with HTTP {status}"}, http_code=status)


def _warn(response: Response) -> None:
    """`Warning: 299 - "text"` headers go to stderr, as kubectl does."""
    for line in response.headers.get("warning", "").splitlines():
        words = line.partition('"')[2].rstrip().removesuffix('"').replace('\\"', '"')
        print(f"Warning: {words or line}", file=sys.stderr)
