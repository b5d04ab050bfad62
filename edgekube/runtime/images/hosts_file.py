"""The registries file: mirrors, insecure registries, certificates and credentials, in k3s's registries.yaml form.

mirrors:
  docker.io: {endpoint: ["https://mirror.lan:5000"]}
  "*": {endpoint: ["https://cache.lan"]}
  reg.lan:5000: {endpoint: ["http://reg.lan:5000"]}      # a registry without TLS
configs:
  mirror.lan:5000:
    auth: {username: pi, password: secret}
    tls: {ca_file: /etc/ssl/lan.pem, insecure_skip_verify: false}
"""

from pathlib import Path
from typing import Any

import msgspec

from edgekube.runtime.api import Credentials, RuntimeFailure
from edgekube.runtime.images.hosts import ANY_HOST, Endpoint, RegistryConfig, RegistryHost

FILE_BYTES_MAX = 1024 * 1024


class _Mirror(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: tuple[str, ...] = ()


class _Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    username: str = ""
    password: str = ""
    identity_token: str = ""


class _Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ca_file: str = ""
    insecure_skip_verify: bool = False


class _Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    auth: _Auth | None = None
    tls: _Tls = _Tls()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mirrors: dict[str, _Mirror] = {}
    configs: dict[str, _Host] = {}


def load(path: Path) -> RegistryConfig:
    """The configuration in `path`; the plain one when there is no such file. Raises RuntimeFailure naming the file."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX)
    except FileNotFoundError:
        return RegistryConfig()
    except OSError as error:
        raise RuntimeFailure("InvalidRegistryConfig", f"{path} cannot be read: {error.strerror}") from None
    import yaml

    try:
        values: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
        return parse(msgspec.convert(values, _File))
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise RuntimeFailure("InvalidRegistryConfig", f"{path} is not a registries file: {error}") from None


def parse(file: _File) -> RegistryConfig:
    """Registry names to hosts: an endpoint on the registry's own host is the registry itself, others are mirrors."""

    def endpoint(url: str) -> Endpoint:
        url = url.rstrip("/")
        tls = file.configs.get(Endpoint(url).host, _Host()).tls
        return Endpoint(url, skip_verify=tls.insecure_skip_verify, ca_file=tls.ca_file)

    hosts: dict[str, RegistryHost] = {}
    for name, mirror in file.mirrors.items():
        endpoints = [endpoint(url) for url in mirror.endpoint]
        own = next((each for each in endpoints if each.host == name), None)
        others = tuple(each for each in endpoints if each is not own)
        hosts[ANY_HOST if name == "*" else name] = RegistryHost(mirrors=others, server=own)
    for name, config in file.configs.items():
        if name not in hosts and config.tls != _Tls():
            hosts[name] = RegistryHost(server=endpoint(f"https://{name}"))
    credentials = tuple(
        Credentials(
            registry=name,
            username=config.auth.username,
            password=config.auth.password,
            identity_token=config.auth.identity_token,
        )
        for name, config in file.configs.items()
        if config.auth is not None
    )
    return RegistryConfig(hosts=hosts, credentials=credentials)
