"""Which registry secrets are for which image: the matching rules of Kubernetes' keyring (pkg/credentialprovider). Pure.

A key of a docker config is a host or URL, with an optional port and path; each label of its host may be a glob pattern.
It is for an image when as many host labels match, the port is the same, and its path is a prefix of the image's.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from edgekube.runtime.api import Credentials
from edgekube.types.core_v1 import Secret
from edgekube.types.unreadable import UNREADABLE

DEFAULT_REGISTRY = "index.docker.io"
_DEFAULT_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_OLD_PATHS = ("v1", "v2")  # https://index.docker.io/v1/ is how docker login writes the default registry


class _Auth(msgspec.Struct, frozen=True):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""


class _DockerConfig(msgspec.Struct, frozen=True):
    auths: dict[str, _Auth] = {}


def docker_credentials(secret: Secret) -> list[Credentials]:
    """What a kubernetes.io/dockerconfigjson or dockercfg Secret holds; a malformed one holds nothing."""
    readers: Sequence[tuple[str, Callable[[bytes], dict[str, _Auth]]]] = (
        (".dockerconfigjson", lambda raw: msgspec.json.decode(raw, type=_DockerConfig).auths),
        (".dockercfg", lambda raw: msgspec.json.decode(raw, type=dict[str, _Auth])),
    )
    found: list[Credentials] = []
    for key, read in readers:
        if key not in secret.data:
            continue
        try:
            for host, entry in read(secret.data[key]).items():
                username, password = entry.username, entry.password
                if entry.auth and not username:
                    username, _, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
                found.append(Credentials(username, password, entry.identitytoken, host))
        except (*UNREADABLE, binascii.Error):
            continue
    return found


def repository_of(image: str) -> tuple[str, str]:
    """(registry host with port, path) of an image reference, without tag and digest."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = DEFAULT_REGISTRY, name
    head, _, last = rest.rpartition("/")
    path = f"{head}/{last.partition(':')[0]}".lstrip("/")
    return (DEFAULT_REGISTRY if first in _DEFAULT_NAMES else first), path


def _pattern(key: str) -> tuple[str, str]:
    """(host with port, path) that a docker config key names."""
    bare = key.removeprefix("https://").removeprefix("http://")
    host, _, path = bare.partition("/")
    path = path.strip("/")
    if path.partition("/")[0] in _OLD_PATHS:
        path = path.partition("/")[2]
    return (DEFAULT_REGISTRY if host in _DEFAULT_NAMES else host), path


def matches(key: str, image: str) -> bool:
    """Whether a docker config key is for an image."""
    (wanted, prefix), (host, path) = _pattern(key), repository_of(image)
    wanted_name, _, wanted_port = wanted.partition(":")
    name, _, port = host.partition(":")
    if wanted_port != port or not path.startswith(prefix):
        return False
    patterns, labels = wanted_name.split("."), name.split(".")
    return len(patterns) == len(labels) and all(map(fnmatchcase, labels, patterns))


def credentials_for(image: str, candidates: Iterable[Credentials]) -> list[Credentials]:
    """Those for an image, the most specific key first, ready for the image service ("" means: for this registry)."""
    fitting = [c for c in candidates if matches(c.registry, image)]
    fitting.sort(key=lambda c: c.registry.split("://")[-1], reverse=True)
    return [msgspec.structs.replace(c, registry="") for c in fitting]
