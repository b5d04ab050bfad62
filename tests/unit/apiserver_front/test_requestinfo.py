"""URLs as kube-apiserver reads them (requestinfo_test.go's cases, in our words)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.apiserver.requestinfo import RequestInfo, is_true, parse_query, parse_request


@pytest.mark.parametrize(
    ("method", "path", "want"),
    [
        ("GET", "/api/v1/namespaces", ("list", "", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "namespaces", "", "a", "")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "", "namespaces", "", "a", "finalize")),
        ("PATCH", "/api/v1/namespaces/a/status", ("patch", "", "namespaces", "", "a", "status")),
        ("GET", "/api/v1/namespaces/a/pods", ("list", "", "pods", "a", "", "")),
        ("HEAD", "/api/v1/namespaces/a/pods/p", ("get", "", "pods", "a", "p", "")),
        ("POST", "/api/v1/namespaces/a/pods", ("create", "", "pods", "a", "", "")),
        ("DELETE", "/api/v1/namespaces/a/pods", ("deletecollection", "", "pods", "a", "", "")),
        ("DELETE", "/api/v1/namespaces/a/pods/p", ("delete", "", "pods", "a", "p", "")),
        ("GET", "/api/v1/pods", ("list", "", "pods", "", "", "")),
        ("GET", "/api/v1/watch/pods", ("watch", "", "pods", "", "", "")),
        ("GET", "/api/v1/watch/namespaces/a/pods/p", ("watch", "", "pods", "a", "p", "")),
        ("GET", "/apis/apps/v1/namespaces/a/deployments/d/scale", ("get", "apps", "deployments", "a", "d", "scale")),
        ("POST", "/api/v1/namespaces/a/pods/p/exec", ("connect", "", "pods", "a", "p", "exec")),
        ("GET", "/api/v1/namespaces/a/pods/p/log", ("get", "", "pods", "a", "p", "log")),
        ("GET", "/api/v1/nodes/n%2Fx/", ("get", "", "nodes", "", "n/x", "")),
    ],
)
def test_resources(method: str, path: str, want: tuple[str, ...]) -> None:
    info = parse_request(method, path, {})
    assert (info.verb, info.group, info.resource, info.namespace, info.name, info.subresource) == want


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "//", ""])
def test_what_is_no_resource_is_a_path(path: str) -> None:
    assert parse_request("GET", path, {}) == RequestInfo(verb="get", path=path)


def test_watch_is_a_query() -> None:
    assert parse_request("GET", "/api/v1/pods", {"watch": "1"}).verb == "watch"
    assert parse_request("GET", "/api/v1/pods", {"watch": ""}).verb == "watch"
    assert parse_request("GET", "/api/v1/pods", {"watch": "false"}).verb == "list"
    assert is_true("true")
    assert not is_true("0")


def test_what_follows_a_subresource_is_kept() -> None:
    assert parse_request("GET", "/api/v1/namespaces/a/services/s/proxy/x/y", {}).rest == "x/y"


def test_unknown_methods_have_no_verb() -> None:
    assert parse_request("TRACE", "/api/v1/pods", {}).verb == ""


def test_a_query_has_a_limit() -> None:
    with pytest.raises(ValueError, match="fields"):
        parse_query("&".join("a=1" for _ in range(1001)))


@given(st.text(max_size=60), st.sampled_from(["GET", "POST", "DELETE"]))
def test_any_path_parses(path: str, method: str) -> None:
    parse_request(method, "/" + path, {})
