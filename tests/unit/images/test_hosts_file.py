"""The registries file in k3s's form."""

from pathlib import Path

import pytest

from edgekube.runtime.api import Credentials, RuntimeFailure
from edgekube.runtime.images.hosts import Endpoint, RegistryConfig
from edgekube.runtime.images.hosts_file import load

TEXT = """
mirrors:
  docker.io: {endpoint: ["https://mirror.lan:5000/", "http://other.lan"]}
  "*": {endpoint: ["https://cache.lan"]}
  reg.lan:5000: {endpoint: ["http://reg.lan:5000"]}
configs:
  mirror.lan:5000:
    auth: {username: pi, password: secret}
    tls: {ca_file: /etc/ssl/lan.pem}
  strict.lan:
    tls: {insecure_skip_verify: true}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "registries.yaml"
    path.write_text(text)
    return path


def test_mirrors_come_before_the_registry_itself(tmp_path: Path) -> None:
    found = load(written(tmp_path, TEXT)).endpoints("docker.io")
    assert found == (
        Endpoint("https://mirror.lan:5000", ca_file="/etc/ssl/lan.pem"),
        Endpoint("http://other.lan"),
        Endpoint("https://registry-1.docker.io"),
    )


def test_a_registry_of_its_own(tmp_path: Path) -> None:
    config = load(written(tmp_path, TEXT))
    assert config.endpoints("reg.lan:5000") == (Endpoint("http://reg.lan:5000"),)
    assert config.endpoints("strict.lan") == (Endpoint("https://strict.lan", skip_verify=True),)
    assert config.endpoints("any.lan") == (Endpoint("https://cache.lan"), Endpoint("https://any.lan"))


def test_credentials_of_the_node(tmp_path: Path) -> None:
    assert load(written(tmp_path, TEXT)).credentials == (
        Credentials(registry="mirror.lan:5000", username="pi", password="secret"),
    )


def test_no_file_is_no_configuration(tmp_path: Path) -> None:
    assert load(tmp_path / "none.yaml") == RegistryConfig()


@pytest.mark.parametrize(
    "text", ["mirrors: [", "mirrors: {a: {endpoints: []}}", "nonsense: 1", "- 1", "configs: {a: 1}"]
)
def test_what_is_wrong_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(RuntimeFailure, match=r"registries\.yaml"):
        load(written(tmp_path, text))
