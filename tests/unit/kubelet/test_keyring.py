"""Which registry secrets are for which image."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.kubelet.keyring import credentials_for, docker_credentials, matches, repository_of
from edgekube.runtime.api import Credentials
from edgekube.types.core_v1 import Secret


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", ("index.docker.io", "busybox")),
        ("user/app:1", ("index.docker.io", "user/app")),
        ("docker.io/library/busybox@sha256:abc", ("index.docker.io", "library/busybox")),
        ("localhost/app", ("localhost", "app")),
        ("reg.test:5000/a/b:v1", ("reg.test:5000", "a/b")),
    ],
)
def test_repositories(image: str, expected: tuple[str, str]) -> None:
    assert repository_of(image) == expected


@pytest.mark.parametrize(
    ("key", "image", "expected"),
    [
        ("reg.test", "reg.test/app:1", True),
        ("https://reg.test/v1/", "reg.test/app:1", True),
        ("http://reg.test", "reg.test/app", True),
        ("reg.test", "other.test/app", False),
        ("reg.test", "reg.test:5000/app", False),
        ("reg.test:5000", "reg.test:5000/app", True),
        ("*.test", "reg.test/app", True),
        ("*.test", "a.reg.test/app", False),
        ("*.reg.test", "a.reg.test/app", True),
        ("r*g.test", "reg.test/app", True),
        ("reg.test/team", "reg.test/team/app", True),
        ("reg.test/team", "reg.test/other/app", False),
        ("*.test/team", "reg.test/team/app:1", True),
        ("https://index.docker.io/v1/", "busybox", True),
        ("docker.io", "docker.io/user/app", True),
        ("index.docker.io/user", "user/app", True),
        ("index.docker.io/user", "busybox", False),
    ],
)
def test_matching(key: str, image: str, expected: bool) -> None:
    assert matches(key, image) is expected


def test_the_most_specific_comes_first() -> None:
    keys = ["reg.test", "reg.test/team", "*.test", "else.test"]
    found = credentials_for("reg.test/team/app", [Credentials(username=key, registry=key) for key in keys])
    assert [c.username for c in found] == ["reg.test/team", "reg.test", "*.test"]
    assert {c.registry for c in found} == {""}


def test_secrets_are_read() -> None:
    auth = base64.b64encode(b"me:pass:word").decode()
    modern = msgspec.json.encode({"auths": {"reg.test": {"auth": auth}, "b.test": {"username": "u", "password": "p"}}})
    found = docker_credentials(Secret(data={".dockerconfigjson": modern}))
    assert [(c.registry, c.username, c.password) for c in found] == [
        ("reg.test", "me", "pass:word"),
        ("b.test", "u", "p"),
    ]
    old = docker_credentials(Secret(data={".dockercfg": msgspec.json.encode({"c.test": {"identitytoken": "t"}})}))
    assert [(c.registry, c.identity_token) for c in old] == [("c.test", "t")]
    for broken in (b"no json", b'{"auths": {"a": {"auth": "%%%"}}}', b'{"auths": 3}'):
        assert docker_credentials(Secret(data={".dockerconfigjson": broken})) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("auths", "auth", "username", "a.test", "https://[", "*.*:1/")), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(st.sampled_from((".dockerconfigjson", ".dockercfg")), JSON.map(msgspec.json.encode) | st.binary(max_size=100))
def test_nothing_escapes_whatever_a_secret_holds(key: str, data: bytes) -> None:
    for found in docker_credentials(Secret(data={key: data})):
        credentials_for("reg.test:5000/a/b:v1", [found])


@given(st.text(), st.text())
def test_nothing_escapes_whatever_the_key_and_the_image(key: str, image: str) -> None:
    matches(key, image)
