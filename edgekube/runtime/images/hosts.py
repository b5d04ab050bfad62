"""Which servers answer for a registry name, and how they are trusted: containerd's hosts, as one value."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from edgekube.runtime.api import Credentials, RuntimeFailure
from edgekube.runtime.images.reference import DEFAULT_HOST

ANY_HOST = "_default"
_DOCKER_SERVER = "https://registry-1.docker.io"
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Endpoint(msgspec.Struct, frozen=True):
    """One server: `https://mirror.lan:5000`, or `http://...` for one without TLS. `ca_file`: more CAs."""

    url: str
    skip_verify: bool = False
    ca_file: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def secure(self) -> bool:
        return self.url.startswith("https://") and not self.skip_verify


class RegistryHost(msgspec.Struct, frozen=True):
    """For one registry name: `mirrors` are tried in order, then `server` ("" derives it from the name)."""

    mirrors: tuple[Endpoint, ...] = ()
    server: Endpoint | None = None
    fallback: bool = True  # False: only the mirrors, never the registry itself (air-gapped sites)


class RegistryConfig(msgspec.Struct, frozen=True):
    """Registry names to their hosts; `_default` stands for every name not listed.

    `credentials` are the node's own, tried after those a pull brings.
    """

    hosts: Mapping[str, RegistryHost] = {}
    layers_at_once: int = 3
    credentials: tuple[Credentials, ...] = ()

    def endpoints(self, name: str) -> tuple[Endpoint, ...]:
        """Servers for the registry `name`, in the order to try."""
        found = self.hosts.get(name) or self.hosts.get(ANY_HOST) or RegistryHost()
        own = found.server if name in self.hosts and found.server else Endpoint(_server(name))
        return (*found.mirrors, own) if found.fallback or not found.mirrors else found.mirrors

    def check(self) -> None:
        """Raises RuntimeFailure for an endpoint that is no http(s) URL."""
        for name, host in self.hosts.items():
            for each in (*host.mirrors, *((host.server,) if host.server else ())):
                parts = urlsplit(each.url)
                if parts.scheme not in ("http", "https") or not parts.hostname:
                    raise RuntimeFailure(
                        "InvalidRegistryConfig",
                        f"registry {name}: endpoint {each.url!r} is no URL: write https://HOST[:PORT]",
                    )


def _server(name: str) -> str:
    if name == DEFAULT_HOST:
        return _DOCKER_SERVER
    host = name.rpartition(":")[0] or name
    # As containerd and Docker do: a registry on this machine needs no certificate.
    return f"http://{name}" if host in _LOCAL or name in _LOCAL else f"https://{name}"


def credentials_for(
    candidates: tuple[Credentials, ...], registry: str, endpoint: Endpoint
) -> tuple[Credentials | None, ...]:
    """What to try at `endpoint`, anonymous last. The registry's own secrets never go to a mirror on another host."""
    own = endpoint.host == urlsplit(_server(registry)).netloc or endpoint.host == registry
    found: list[Credentials | None] = []
    for each in candidates:
        named = _registry_name(each.registry)
        if named == endpoint.host or (own and named in ("", registry)):
            found.append(each)
    return (*found, None)


def _registry_name(text: str) -> str:
    """`.dockerconfigjson` keys are hosts or URLs; docker.io has an old one of its own."""
    host = urlsplit(text).netloc if "://" in text else text.partition("/")[0]
    return DEFAULT_HOST if host in ("index.docker.io", "registry-1.docker.io") else host
