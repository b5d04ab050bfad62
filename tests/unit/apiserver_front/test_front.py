"""The front over memory streams: who gets in, what a path answers, which errors clients see."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from edgekube.apiserver.authn import Authenticator, certificate_user, impersonate, unix_user
from edgekube.apiserver.lanes import Lanes
from edgekube.apiserver.request import User
from edgekube.apiserver.requestinfo import RequestInfo
from edgekube.apiserver.resources import RESOURCES, Subresource
from edgekube.apiserver.server import ApiFront
from edgekube.apiserver.streams import PodStreams
from edgekube.http.client import ClientResponse, Connection
from edgekube.http.messages import Peer, UnixCredentials
from edgekube.types.status import ApiError
from tests.unit.apiserver_front.protobuf_wire import body, text
from tests.unit.apiserver_front.support import PlainRegistry, pods_catalog

NOW = 1_800_000_000.0
ROOT = Peer(unix=UnixCredentials(pid=1, uid=0, gid=0, groups=()))
NOBODY = Peer(unix=UnixCredentials(pid=1, uid=65534, gid=65534, groups=()))
STRANGER = Peer(address="192.0.2.1", tls=True)
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def certificate(
    name: str, *groups: str, start: str = "Jan  1 00:00:00 2020 GMT", end: str = "Jan  1 00:00:00 2030 GMT"
):
    subject = (*((("organizationName", group),) for group in groups), (("commonName", name),))
    return {"subject": subject, "notBefore": start, "notAfter": end}


class Client:
    def __init__(self, connection: Connection, registry: PlainRegistry) -> None:
        self.connection = connection
        self.registry = registry

    async def __call__(self, method: str, path: str, body: bytes = b"", **headers: str) -> ClientResponse:
        sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
        response = await self.connection.send(method, path, headers=sent, body=body)
        return ClientResponse(response.status, response.headers, await response.read())

    async def json(self, path: str, **headers: str) -> Any:
        answer = await self("GET", path, **headers)
        assert answer.status == 200, answer
        return msgspec.json.decode(answer.body)


@asynccontextmanager
async def client(peer: Peer = ROOT, *, problem: str = "", **more: Any) -> AsyncIterator[Client]:
    registry = PlainRegistry()
    registry.put("configmaps", "default", "c", kind="ConfigMap")
    front = ApiFront(
        registry=registry,
        authenticator=Authenticator(now=lambda: NOW, socket_group="no-such-group"),
        catalog=pods_catalog,
        version="v1.36.0+edgekube.test",
        checks={"ping": lambda: "", "store": lambda: problem},
        statistics={},
        **more,
    )
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.http.serve_stream, theirs, peer)
        yield Client(Connection(ours, "host"), registry)
        nursery.cancel_scope.cancel()


async def test_resource_requests_reach_the_registry() -> None:
    async with client() as ask:
        answer = await ask("GET", "/api/v1/namespaces/default/configmaps/c?x=%C3%A4", User_Agent="me/1")
        assert answer.status == 200
        assert answer.header("Audit-Id")
        seen = ask.registry.requests[-1]
        assert (seen.verb, seen.resource, seen.namespace, seen.name) == ("get", "configmaps", "default", "c")
        assert (seen.query, seen.user_agent, seen.user.groups[0]) == ({"x": "ä"}, "me/1", "system:masters")
        missing = await ask("GET", "/api/v1/namespaces/default/configmaps/d")
        status = msgspec.json.decode(missing.body)
        assert (missing.status, status["reason"], status["code"]) == (404, "NotFound", 404)


async def test_accept_is_negotiated() -> None:
    async with client() as ask:
        path = "/api/v1/configmaps"
        table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
        await ask("GET", path, Accept=table)
        assert ask.registry.requests[-1].accept == "application/json;as=Table;v=v1;g=meta.k8s.io"
        await ask("GET", path, Accept="application/vnd.kubernetes.protobuf,application/json")
        assert ask.registry.requests[-1].accept == "application/json"
        assert (await ask("GET", path, Accept="application/vnd.kubernetes.protobuf")).status == 406
        answer = await ask("GET", path, Accept="application/yaml")
        assert answer.body.startswith(b"kind: List\n")


async def test_bodies() -> None:
    async with client() as ask:
        path = "/api/v1/namespaces/default/configmaps"
        assert (await ask("POST", path, b'{"a":1}', Content_Type="application/json")).status == 201
        assert ask.registry.requests[-1].body == b'{"a":1}'
        protobuf = "application/vnd.kubernetes.protobuf"
        sent = body("v1", "ConfigMap", text(1, text(1, "c")))
        assert (await ask("POST", path, sent, Content_Type=protobuf)).status == 201
        assert ask.registry.requests[-1].content_type == "application/json"
        assert msgspec.json.decode(ask.registry.requests[-1].body)["metadata"] == {"name": "c"}
        await ask("PATCH", f"{path}/c", sent, Content_Type=protobuf)
        assert (ask.registry.requests[-1].content_type, ask.registry.requests[-1].body) == (protobuf, sent)
        bad = await ask("POST", path, b"\0", Content_Type=protobuf)
        assert (bad.status, msgspec.json.decode(bad.body)["reason"]) == (400, "BadRequest")


async def test_a_body_over_three_mebibytes_is_a_status() -> None:
    async with client() as ask:
        answer = await ask("POST", "/api/v1/namespaces/default/configmaps", bytes(3 * 1024 * 1024 + 1))
        assert msgspec.json.decode(answer.body)["reason"] == "RequestEntityTooLarge"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nope", 404),
        ("GET", "/apis/nope/v1", 404),
        ("GET", "/api/v2", 404),
        ("POST", "/version", 405),
        ("TRACE", "/api/v1/pods", 405),
    ],
)
async def test_what_is_not_there(method: str, path: str, code: int) -> None:
    async with client() as ask:
        answer = await ask(method, path)
        assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (code, code)


async def test_discovery_both_ways() -> None:
    async with client() as ask:
        assert (await ask.json("/api"))["versions"] == ["v1"]
        assert [group["name"] for group in (await ask.json("/apis"))["groups"]] == ["apps"]
        names = [entry["name"] for entry in (await ask.json("/apis/apps/v1"))["resources"]]
        assert names == ["deployments", "deployments/scale"]
        pods = next(entry for entry in (await ask.json("/api/v1"))["resources"] if entry["name"] == "pods")
        assert pods["storageVersionHash"] == "xPOwRZ+Yhw8="  # as every cluster has it
        scale = (await ask.json("/apis/apps/v1"))["resources"][1]
        assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
        answer = await ask("GET", "/apis", Accept=AGGREGATED)
        assert answer.header("Content-Type") == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        deployments = msgspec.json.decode(answer.body)["items"][0]["versions"][0]["resources"][0]
        assert deployments["responseKind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
        again = await ask("GET", "/apis", Accept=AGGREGATED, If_None_Match=answer.header("ETag"))
        assert (again.status, again.body) == (304, b"")


async def test_health_version_metrics() -> None:
    async with client(problem="the disk is full: free some") as ask:
        assert (await ask.json("/version"))["gitVersion"] == "v1.36.0+edgekube.test"
        answer = await ask("GET", "/readyz")
        assert answer.status == 500
        assert b"[+]ping ok\n[-]store failed: the disk is full" in answer.body
        assert (await ask("GET", "/readyz/ping")).body == b"ok"
        assert (await ask("GET", "/livez?exclude=store")).status == 200
        assert (await ask("GET", "/readyz/nope")).status == 404
        assert b"\nedgekube_apiserver_http_requests_total " in (await ask("GET", "/metrics")).body


async def test_strangers() -> None:
    async with client(STRANGER) as ask:
        assert (await ask("GET", "/version")).status == 200
        assert (await ask("GET", "/healthz")).status in (200, 500)
        for path in ("/", "/api", "/apis", "/openapi/v2", "/metrics"):
            answer = await ask("GET", path)
            assert answer.status == 403, path
            assert b"system:anonymous" in answer.body
        answer = await ask("GET", "/api", Authorization="Bearer nonsense")
        assert (answer.status, msgspec.json.decode(answer.body)["reason"]) == (401, "Unauthorized")


async def test_others_on_this_machine_are_refused() -> None:
    async with client(NOBODY) as ask:
        answer = await ask("GET", "/version")
        assert answer.status == 403
        assert b"group edgekube" in answer.body


async def test_impersonation() -> None:
    async with client() as ask:
        await ask("GET", "/api/v1/pods", Impersonate_User="jane", Impersonate_Group="dev")
        assert ask.registry.requests[-1].user == User("jane", ("dev", "system:authenticated"))
        await ask("GET", "/api/v1/pods", Impersonate_User="system:serviceaccount:a:b")
        assert "system:serviceaccounts:a" in ask.registry.requests[-1].user.groups
        answer = await ask("GET", "/api/v1/pods", Impersonate_User="system:kube-scheduler")
        assert answer.status == 401
        assert (await ask("GET", "/api/v1/pods", Impersonate_Group="x")).status == 400


def test_only_masters_impersonate() -> None:
    with pytest.raises(ApiError, match='User "joe" cannot impersonate'):
        impersonate(User("joe"), [("impersonate-user", "admin")])


def test_certificates_name_users() -> None:
    user = certificate_user(certificate("jane", "dev", "ops"), NOW)
    assert (user.name, user.groups) == ("jane", ("dev", "ops", "system:authenticated"))


@pytest.mark.parametrize(
    "held",
    [
        certificate("jane", end="Jan  1 00:00:00 2021 GMT"),
        certificate("jane", start="Jan  1 00:00:00 2029 GMT"),
        certificate(""),
        {"subject": ((("commonName", "x"),),)},
    ],
)
def test_certificates_that_name_nobody(held: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        certificate_user(held, NOW)
    assert caught.value.code == 401


def test_supplementary_groups_count_on_the_socket() -> None:
    import grp

    group = grp.getgrall()[-1]
    member = UnixCredentials(pid=1, uid=12345, gid=12345, groups=(group.gr_gid,))
    user = unix_user(member, group.gr_name)
    assert user is not None
    assert "system:masters" in user.groups
    assert unix_user(member, "no-such-group") is None


async def test_nodes_have_a_lane_of_their_own(autojump_clock: trio.testing.MockClock) -> None:
    lanes = Lanes(heavy_max=1, ordinary_max=1)
    admin, node = User("a", ("system:masters",)), User("system:node:n", ("system:nodes",))
    async with lanes.enter(admin, "list"), lanes.enter(admin, "get"), lanes.enter(node, "list"):
        for verb in ("list", "get"):
            with pytest.raises(ApiError) as caught:
                async with lanes.enter(admin, verb):
                    pass
            assert (caught.value.code, caught.value.retry_after_seconds) == (429, 1)
    assert lanes.statistics().rejected_total == 2
    async with lanes.enter(admin, "list"):
        assert lanes.statistics().heavy_running == 1


@pytest.mark.parametrize(
    ("plural", "sub"), [(row.plural, sub) for row in RESOURCES for sub in row.subresources.values() if not sub.served]
)
def test_what_discovery_shows_and_the_registry_does_not_serve_is_a_stream(plural: str, sub: Subresource) -> None:
    assert PodStreams.handles(RequestInfo(verb="get", path="", resource=plural, subresource=sub.name, name="x"))
