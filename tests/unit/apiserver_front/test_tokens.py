"""ServiceAccount tokens: what is in them, and each way to be refused."""

import contextlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.apiserver.bound import BoundObjects
from edgekube.apiserver.tokens import BoundTo, ObjectRef, ServiceAccountTokens
from edgekube.types.status import ApiError
from tests.unit.apiserver_front.support import PlainRegistry, new_signer

SIGNER = new_signer()
ACCOUNT = BoundTo("web", ObjectRef("robot", "uid-robot"))


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> ServiceAccountTokens:
    return ServiceAccountTokens(SIGNER, now=clock)


def issue(tokens: ServiceAccountTokens, bound: BoundTo, *, audience: str = "", seconds: int = 3600) -> str:
    now = 1_800_000_000
    return tokens.sign(
        {
            "aud": [audience or tokens.issuer],
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "iss": tokens.issuer,
            "kubernetes.io": bound,
            "sub": f"system:serviceaccount:{bound.namespace}:{bound.serviceaccount.name}",
        }
    )


async def test_the_bearer(tokens: ServiceAccountTokens) -> None:
    token = issue(tokens, msgspec.structs.replace(ACCOUNT, pod=ObjectRef("p", "uid-p")))
    user = await tokens.authenticate(token)
    assert user is not None
    assert user.name == "system:serviceaccount:web:robot"
    assert user.uid == "uid-robot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:web", "system:authenticated")
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


async def test_expired_also_when_seen_before(tokens: ServiceAccountTokens, clock: Clock) -> None:
    token = issue(tokens, ACCOUNT, seconds=600)
    assert await tokens.authenticate(token)
    clock.seconds += 600
    with pytest.raises(ApiError, match="expired"):
        await tokens.authenticate(token)


async def test_for_another_audience(tokens: ServiceAccountTokens) -> None:
    token = issue(tokens, ACCOUNT, audience="vault")
    with pytest.raises(ApiError, match="not for"):
        await tokens.authenticate(token)
    found = await tokens.review(token, ["x", "vault"])
    assert found is not None
    assert found[1] == ("vault",)


async def test_signed_by_another_cluster(tokens: ServiceAccountTokens, clock: Clock) -> None:
    token = issue(ServiceAccountTokens(new_signer(), now=clock), ACCOUNT)
    with pytest.raises(ApiError, match="not signed"):
        await tokens.authenticate(token)


async def test_a_retired_key_still_counts(clock: Clock) -> None:
    old = new_signer()
    token = issue(ServiceAccountTokens(old, now=clock), ACCOUNT)
    assert await ServiceAccountTokens(SIGNER, also=[old], now=clock).authenticate(token)


async def test_changed_by_one_character(tokens: ServiceAccountTokens) -> None:
    token = issue(tokens, ACCOUNT)
    head, body, signature = token.split(".")
    other = urlsafe_b64encode(urlsafe_b64decode(body + "==").replace(b"robot", b"robos")).rstrip(b"=").decode()
    with pytest.raises(ApiError):
        await tokens.authenticate(f"{head}.{other}.{signature}")


async def test_no_algorithm_is_no_signature(tokens: ServiceAccountTokens) -> None:
    token = issue(tokens, ACCOUNT)
    head = urlsafe_b64encode(msgspec.json.encode({"alg": "none", "kid": SIGNER.key_id})).rstrip(b"=").decode()
    assert await tokens.authenticate(f"{head}.{token.split('.')[1]}.") is None


async def test_another_issuers_token_is_not_ours(tokens: ServiceAccountTokens, clock: Clock) -> None:
    token = issue(ServiceAccountTokens(SIGNER, now=clock, issuer="https://elsewhere"), ACCOUNT)
    assert await tokens.authenticate(token) is None


@given(st.text(max_size=80) | st.tuples(st.text(), st.text(), st.text()).map(".".join))
async def test_any_text_is_refused_or_not_ours(text: str) -> None:
    tokens = ServiceAccountTokens(SIGNER, now=Clock())
    with contextlib.suppress(ApiError):
        assert await tokens.authenticate(text) is None


async def test_void_with_its_pod(clock: Clock) -> None:
    registry = PlainRegistry()
    seconds = 0.0
    objects = BoundObjects(registry, now=clock, monotonic=lambda: seconds)
    registry.put("serviceaccounts", "web", "robot")
    registry.put("pods", "web", "p")
    bound = msgspec.structs.replace(ACCOUNT, pod=ObjectRef("p", "uid-p"))
    assert await objects.check(bound) == ""
    registry.put("pods", "web", "p", uid="reborn")
    assert await objects.check(bound) == "", "a yes is remembered for a while"
    seconds = 11.0
    assert "another pods/p" in await objects.check(bound)
    del registry.objects["pods", "web", "p"]
    assert "deleted" in await objects.check(bound)


async def test_a_terminating_pod_keeps_its_token_for_a_minute(clock: Clock) -> None:
    registry = PlainRegistry()
    objects = BoundObjects(registry, now=clock, monotonic=lambda: 0.0)
    registry.put("serviceaccounts", "web", "robot")
    registry.put("pods", "web", "p")
    registry.objects["pods", "web", "p"]["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"  # the clock's now
    bound = msgspec.structs.replace(ACCOUNT, pod=ObjectRef("p", "uid-p"))
    clock.seconds += 61
    assert "deleted" in await objects.check(bound)
    clock.seconds -= 61
    assert await objects.check(bound) == ""
