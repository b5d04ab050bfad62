"""TokenReview: whose token, for whom, and who may ask."""

from typing import Any

import msgspec
import pytest

from edgekube.apiserver.permit import masters_only
from edgekube.apiserver.request import ApiRequest, User
from edgekube.apiserver.tokenreviews import TokenReviews
from edgekube.apiserver.tokens import BoundTo, ObjectRef, ServiceAccountTokens
from edgekube.types.status import ApiError
from tests.unit.apiserver_front.support import PlainRegistry, new_signer
from tests.unit.apiserver_front.test_tokens import issue

TOKENS = ServiceAccountTokens(new_signer(), now=lambda: 1_800_000_000.0)
TOKEN = issue(TOKENS, BoundTo("web", ObjectRef("robot", "uid-robot")))
ADMIN = User("admin", ("system:masters",))
NODE = User("system:node:n1", ("system:nodes",))
JANE = User("jane", ("system:authenticated",))


async def ask(user: User, spec: Any, *, resource: str = "tokenreviews") -> Any:
    reviews = TokenReviews(PlainRegistry(), tokens=TOKENS, authorize=masters_only)
    body = msgspec.json.encode({"spec": spec})
    answer = await reviews.handle(
        ApiRequest(user=user, verb="create", group="authentication.k8s.io", version="v1", resource=resource, body=body)
    )
    assert answer.status == 201
    assert isinstance(answer.body, bytes)
    return msgspec.json.decode(answer.body)


@pytest.mark.parametrize("user", [ADMIN, NODE])
async def test_a_good_token(user: User) -> None:
    status = (await ask(user, {"token": TOKEN}))["status"]
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:web:robot"
    assert status["audiences"] == [TOKENS.issuer]


@pytest.mark.parametrize("token", ["x", TOKEN[:-4] + "AAAA", issue(TOKENS, BoundTo("a", ObjectRef("b")), audience="z")])
async def test_a_bad_token_is_an_answer_not_an_error(token: str) -> None:
    status = (await ask(ADMIN, {"token": token}))["status"]
    assert "authenticated" not in status
    assert status["error"]


async def test_for_an_audience_of_ones_own() -> None:
    token = issue(TOKENS, BoundTo("a", ObjectRef("b")), audience="vault")
    assert (await ask(ADMIN, {"token": token, "audiences": ["x", "vault"]}))["status"]["audiences"] == ["vault"]


@pytest.mark.parametrize(("user", "spec", "code"), [(JANE, {"token": "x"}, 403), (ADMIN, {}, 400), (ADMIN, 3, 400)])
async def test_refused(user: User, spec: Any, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        await ask(user, spec)
    assert caught.value.code == code


async def test_everything_else_passes_through() -> None:
    assert await ask(JANE, {"x": 1}, resource="selfsubjectreviews") == {"spec": {"x": 1}}
