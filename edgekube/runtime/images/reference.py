"""Image references: `registry.example:5000/team/app:1.2@sha256:...`, parsed and normalised as Docker and CRI do.

Grammar and defaults follow distribution's `reference` specification: no host means docker.io, one component there
means `library/`, no tag and no digest means `latest`.
"""

import re

import msgspec

from edgekube.runtime.api import ImageFailure

DEFAULT_HOST = "docker.io"
DEFAULT_TAG = "latest"
NAME_CHARACTERS_MAX = 255
REFERENCE_CHARACTERS_MAX = 1024

_HOST = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
    r"|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")
_ANY_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_HEX64 = re.compile(r"[a-f0-9]{64}")


class Reference(msgspec.Struct, frozen=True):
    """A normalised reference. `host` is the registry's name (docker.io, not the host that serves it)."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        return f"{self.host}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"

    @property
    def names(self) -> tuple[str, ...]:
        """The keys this reference is stored under: with a digest the tag says nothing."""
        return (f"{self.repository}@{self.digest}",) if self.digest else (f"{self.repository}:{self.tag}",)


def _bad(text: str, why: str) -> ImageFailure:
    # Kubelet puts these words into the pod's status; scripts and people search for them.
    return ImageFailure("InvalidImageName", f"couldn't parse image name {_quoted(text)}: {why}")


def _quoted(text: str) -> str:
    escaped = text[:REFERENCE_CHARACTERS_MAX].encode("unicode_escape", "backslashreplace").decode("ascii")
    return '"' + escaped.replace('"', '\\"') + '"'


def parse(text: str) -> Reference:
    """Parse and normalise. Raises ImageFailure (InvalidImageName) worded as kubelet words it."""
    if not text or len(text) > REFERENCE_CHARACTERS_MAX:
        raise _bad(text, "invalid reference format")
    if _HEX64.fullmatch(text):
        raise _bad(text, f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        if _ANY_DIGEST.fullmatch(digest):
            algorithm = digest.partition(":")[0]
            known = algorithm in ("sha256", "sha384", "sha512")
            raise _bad(text, "invalid checksum digest length" if known else "unsupported digest algorithm")
        raise _bad(text, "invalid reference format")
    head, colon, tail = rest.rpartition(":")
    name, tag = (head, tail) if colon and "/" not in tail else (rest, "")
    if colon and "/" not in tail and not _TAG.fullmatch(tag):
        raise _bad(text, "invalid reference format")
    host, path = _split(name)
    components = path.split("/")
    if not _HOST.fullmatch(host) or not all(_COMPONENT.fullmatch(each) for each in components):
        if all(_COMPONENT.fullmatch(each.lower()) for each in components) and path != path.lower():
            raise _bad(text, "invalid reference format: repository name must be lowercase")
        raise _bad(text, "invalid reference format")
    if host == DEFAULT_HOST and len(components) == 1:
        path = f"library/{path}"
    if len(host) + 1 + len(path) > NAME_CHARACTERS_MAX:
        raise _bad(text, f"repository name must not be more than {NAME_CHARACTERS_MAX} characters")
    if not tag and not digest:
        tag = DEFAULT_TAG
    return Reference(host, path, tag, digest)


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    if not named:
        return DEFAULT_HOST, name
    return (DEFAULT_HOST if first == "index.docker.io" else first), rest


def is_digest(text: str) -> bool:
    """A digest we can verify: sha256 or sha512, lower-case hex."""
    return _DIGEST.fullmatch(text) is not None


def image_id(text: str) -> str | None:
    """The image id `text` is, with its `sha256:`, or None when it is a name."""
    if _HEX64.fullmatch(text):
        return f"sha256:{text}"
    return text if text.startswith("sha256:") and is_digest(text) else None
