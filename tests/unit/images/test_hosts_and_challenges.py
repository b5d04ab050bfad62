from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.runtime.api import Credentials, RuntimeFailure
from edgekube.runtime.images import challenge
from edgekube.runtime.images.hosts import Endpoint, RegistryConfig, RegistryHost, credentials_for


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("reg.lan:5000", "https://reg.lan:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("localhost.example.com", "https://localhost.example.com"),
    ],
)
def test_server_of_a_name(name: str, url: str) -> None:
    assert [each.url for each in RegistryConfig().endpoints(name)] == [url]


def test_mirrors_come_first_and_may_be_all() -> None:
    mirror = Endpoint("http://mirror.lan")
    config = RegistryConfig(
        {
            "docker.io": RegistryHost((mirror,)),
            "closed.example": RegistryHost((mirror,), fallback=False),
            "own.example": RegistryHost(server=Endpoint("https://own.lan", skip_verify=True)),
            "_default": RegistryHost((Endpoint("https://any.lan"),)),
        }
    )
    assert [each.url for each in config.endpoints("docker.io")] == ["http://mirror.lan", "https://registry-1.docker.io"]
    assert [each.url for each in config.endpoints("closed.example")] == ["http://mirror.lan"]
    assert [each.url for each in config.endpoints("own.example")] == ["https://own.lan"]
    assert [each.url for each in config.endpoints("ghcr.io")] == ["https://any.lan", "https://ghcr.io"]


def test_bad_endpoint_is_named() -> None:
    with pytest.raises(RuntimeFailure, match=r"registry a: endpoint 'mirror:5000' is no URL"):
        RegistryConfig({"a": RegistryHost((Endpoint("mirror:5000"),))}).check()


def test_secrets_stay_with_their_registry() -> None:
    own, mirror = Endpoint("https://registry-1.docker.io"), Endpoint("https://mirror.lan:5000")
    unnamed = Credentials("a", "1")
    hub = Credentials("b", "2", registry="https://index.docker.io/v1/")
    at_mirror = Credentials("c", "3", registry="mirror.lan:5000")
    other = Credentials("d", "4", registry="ghcr.io")
    everything = (unnamed, hub, at_mirror, other)
    assert credentials_for(everything, "docker.io", own) == (unnamed, hub, None)
    assert credentials_for(everything, "docker.io", mirror) == (at_mirror, None)


def test_challenges() -> None:
    found = challenge.parse_challenges(
        ['Bearer realm="https://a/t?x=1",service="s, with comma",scope="repository:x:pull", Basic realm="q\\"uote"']
    )
    assert [each.scheme for each in found] == ["bearer", "basic"]
    assert found[0].parameters == {"realm": "https://a/t?x=1", "service": "s, with comma", "scope": "repository:x:pull"}
    assert found[1].parameters == {"realm": 'q"uote'}
    assert challenge.parse_challenges(["Negotiate", "", "=", "Basic"])[0].scheme == "negotiate"


@given(st.lists(st.text(max_size=100) | st.text('Bearer =",\\ab', max_size=60), max_size=3))
def test_any_header_is_read(headers: list[str]) -> None:
    for each in challenge.parse_challenges(headers):
        challenge.token_request(each, "x", Credentials("u", "p"))


def test_token_requests() -> None:
    [asked] = challenge.parse_challenges(['Bearer realm="https://auth/token?a=b",service="reg"'])
    request = challenge.token_request(asked, "team/app", Credentials("u", "p:w"))
    assert request is not None
    assert parse_qs(urlsplit(request.url).query) == {
        "a": ["b"],
        "service": ["reg"],
        "scope": ["repository:team/app:pull"],
    }
    assert request.authorization == "Basic dTpwOnc="
    request = challenge.token_request(asked, "x", Credentials(identity_token="t"))
    assert request is not None
    assert parse_qs(request.form)["refresh_token"] == ["t"]
    assert request.authorization == ""
    [bare] = challenge.parse_challenges(["Bearer"])
    assert challenge.token_request(bare, "x", None) is None


@pytest.mark.parametrize(
    ("data", "token"),
    [
        (b'{"token":"t"}', "t"),
        (b'{"access_token":"t","expires_in":300}', "t"),
        (b'{"token":null,"access_token":"t"}', "t"),
        (b'{"token":"a\\r\\nx: y"}', None),
        (b"{}", None),
        (b"x", None),
        (b'{"token":5}', None),
    ],
)
def test_tokens(data: bytes, token: str | None) -> None:
    assert challenge.parse_token(data) == token
