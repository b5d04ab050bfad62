"""The reviews: who may ask for which token, and what the answers say."""

from typing import Any

import msgspec
import pytest

from edgekube.apiserver.permit import masters_only
from edgekube.apiserver.request import ANONYMOUS, ApiRequest, User
from edgekube.apiserver.reviews import Reviews
from edgekube.apiserver.tokens import ServiceAccountTokens
from edgekube.types.status import ApiError
from tests.unit.apiserver_front.support import PlainRegistry, new_signer

NOW = 1_800_000_000.0
TOKENS = ServiceAccountTokens(new_signer(), now=lambda: NOW)
ADMIN = User("admin", ("system:masters", "system:authenticated"))
NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
JANE = User("jane", ("system:authenticated",))


@pytest.fixture
def registry() -> PlainRegistry:
    out = PlainRegistry()
    out.put("serviceaccounts", "web", "robot")
    out.put("nodes", "", "n1")
    out.put("pods", "web", "p", spec={"nodeName": "n1", "serviceAccountName": "robot"})
    out.put("pods", "web", "q", spec={"nodeName": "n2", "serviceAccountName": "robot"})
    out.put("pods", "web", "other", spec={"nodeName": "n1", "serviceAccountName": "somebody"})
    return out


async def ask(registry: PlainRegistry, user: User, group: str, resource: str, spec: Any, **where: str) -> Any:
    reviews = Reviews(registry, tokens=TOKENS, authorize=masters_only, now=lambda: NOW)
    request = ApiRequest(
        user=user,
        verb="create",
        group=group,
        version="v1",
        resource=resource,
        body=msgspec.json.encode({"spec": spec}),
        **where,
    )
    answer = await reviews.handle(request)
    assert answer.status == 201
    assert isinstance(answer.body, bytes)
    return msgspec.json.decode(answer.body)


async def token(registry: PlainRegistry, user: User, **spec: Any) -> Any:
    return await ask(registry, user, "", "serviceaccounts", spec, namespace="web", name="robot", subresource="token")


async def test_a_token_for_an_account(registry: PlainRegistry) -> None:
    answer = await token(registry, ADMIN, expirationSeconds=600)
    assert answer["kind"] == "TokenRequest"
    assert answer["status"]["expirationTimestamp"] == "2027-01-15T08:10:00Z"
    user = await TOKENS.authenticate(answer["status"]["token"])
    assert user is not None
    assert user.uid == "uid-robot"


async def test_a_node_gets_tokens_for_its_own_pods(registry: PlainRegistry) -> None:
    answer = await token(
        registry, NODE, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "uid-p"}
    )
    user = await TOKENS.authenticate(answer["status"]["token"])
    assert user is not None
    assert user.extra["authentication.kubernetes.io/node-uid"] == ("uid-n1",)


@pytest.mark.parametrize(
    ("user", "spec", "code"),
    [
        (NODE, {}, 403),
        (NODE, {"boundObjectRef": {"kind": "Pod", "name": "q"}}, 403),
        (NODE, {"boundObjectRef": {"kind": "Secret", "name": "q"}}, 403),
        (NODE, {"boundObjectRef": {"kind": "Pod", "name": "other"}}, 400),
        (JANE, {}, 403),
        (ADMIN, {"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "old"}}, 409),
        (ADMIN, {"boundObjectRef": {"kind": "Pod", "name": "gone"}}, 404),
        (ADMIN, {"boundObjectRef": {"kind": "Deployment", "name": "p"}}, 400),
        (ADMIN, {"expirationSeconds": 599}, 422),
        (ADMIN, {"expirationSeconds": "soon"}, 400),
    ],
)
async def test_refused(registry: PlainRegistry, user: User, spec: Any, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        await token(registry, user, **spec)
    assert caught.value.code == code


async def test_token_review(registry: PlainRegistry) -> None:
    good = (await token(registry, ADMIN))["status"]["token"]
    answer = await ask(registry, ADMIN, "authentication.k8s.io", "tokenreviews", {"token": good})
    assert answer["status"]["authenticated"] is True
    assert answer["status"]["user"]["username"] == "system:serviceaccount:web:robot"
    bad = await ask(registry, ADMIN, "authentication.k8s.io", "tokenreviews", {"token": good[:-4]})
    assert "authenticated" not in bad["status"]
    with pytest.raises(ApiError, match="forbidden"):
        await ask(registry, JANE, "authentication.k8s.io", "tokenreviews", {"token": good})


async def test_who_am_i(registry: PlainRegistry) -> None:
    answer = await ask(registry, JANE, "authentication.k8s.io", "selfsubjectreviews", {})
    assert answer["status"]["userInfo"] == {"username": "jane", "groups": ["system:authenticated"]}
    with pytest.raises(ApiError, match="anonymous"):
        await ask(registry, ANONYMOUS, "authentication.k8s.io", "selfsubjectreviews", {})


async def test_may_i(registry: PlainRegistry) -> None:
    spec: dict[str, Any] = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
    for user, allowed in ((ADMIN, True), (JANE, False)):
        answer = await ask(registry, user, "authorization.k8s.io", "selfsubjectaccessreviews", spec)
        assert answer["status"]["allowed"] is allowed
    answer = await ask(
        registry,
        ADMIN,
        "authorization.k8s.io",
        "subjectaccessreviews",
        {**spec, "user": "x", "groups": ["system:masters"]},
    )
    assert answer["status"]["allowed"] is True


async def test_everything_else_passes_through(registry: PlainRegistry) -> None:
    answer = await ask(registry, ADMIN, "", "pods", {"x": 1}, namespace="web")
    assert answer == {"spec": {"x": 1}}
