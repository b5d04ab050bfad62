"""Manifests, indexes and configs (OCI image-spec, Docker schema 2) as values: bytes in, checked Structs out.

Only `ImageFailure` escapes. Every count and size that a registry could inflate has a limit here.
"""

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec

from edgekube.runtime.api import ImageConfig, ImageFailure
from edgekube.runtime.images.reference import is_digest
from edgekube.types.unreadable import UNREADABLE

MANIFEST_BYTES_MAX = 4 * 1024 * 1024
CONFIG_BYTES_MAX = 8 * 1024 * 1024
LAYER_BYTES_MAX = 32 * 1024**3
LAYERS_MAX = 127
INDEX_ENTRIES_MAX = 1024

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"
ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))

_CONFIG_TYPES = (OCI_CONFIG, "application/vnd.docker.container.image.v1+json")
_LAYER_TYPES = (
    OCI_LAYER,
    OCI_LAYER + "+gzip",
    OCI_LAYER + "+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)


class Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(msgspec.Struct, frozen=True):
    digest: str
    size: int
    mediaType: str = ""
    platform: Platform | None = None
    annotations: Mapping[str, str] | None = None
    urls: tuple[str, ...] | None = None


class Manifest(msgspec.Struct, frozen=True):
    """One platform's image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(msgspec.Struct, frozen=True):
    """Several platforms' manifests under one name."""

    manifests: tuple[Descriptor, ...]


class Config(msgspec.Struct, frozen=True):
    """What an image config says. `diff_ids` are the uncompressed layers' digests, bottom first."""

    id: str
    platform: Platform
    diff_ids: tuple[str, ...]
    image: ImageConfig


class _Envelope(msgspec.Struct):
    schemaVersion: int = 0
    mediaType: str = ""
    manifests: tuple[Descriptor, ...] | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None


class _Runs(msgspec.Struct, rename="pascal"):
    user: str | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | str | None = None
    cmd: tuple[str, ...] | str | None = None
    working_dir: str | None = None
    stop_signal: str | None = None
    volumes: dict[str, object] | None = None
    labels: dict[str, str] | None = None


class _RootFs(msgspec.Struct):
    type: str = ""
    diff_ids: tuple[str, ...] | None = None


class _Config(msgspec.Struct):
    architecture: str | None = None
    os: str | None = None
    variant: str | None = None
    config: _Runs | None = None
    rootfs: _RootFs | None = None


def digest_of(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


def _fail(message: str) -> ImageFailure:
    return ImageFailure("ErrImagePull", message)


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """Decode a manifest or an index. `media_type` is the Content-Type, used where the body names none.

    Raises ImageFailure.
    """
    if len(data) > MANIFEST_BYTES_MAX:
        raise _fail(f"manifest of {len(data)} bytes, the limit is {MANIFEST_BYTES_MAX}")
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
    except UNREADABLE as error:
        raise _fail(f"manifest is not valid: {error}") from None
    kind = (envelope.mediaType or media_type).partition(";")[0].strip()
    if envelope.schemaVersion == 1 or kind.startswith(_SCHEMA1):
        raise _fail(
            "the image has only a Docker schema 1 manifest, a format withdrawn for being unsafe: "
            "push it again with a current tool"
        )
    if envelope.manifests is not None and envelope.layers is not None:
        raise _fail("manifest is both an index and an image: refused as ambiguous")
    if envelope.manifests is not None:
        if len(envelope.manifests) > INDEX_ENTRIES_MAX:
            raise _fail(f"index lists {len(envelope.manifests)} manifests, the limit is {INDEX_ENTRIES_MAX}")
        for each in envelope.manifests:
            _check(each, MANIFEST_BYTES_MAX, "manifest")
        return Index(envelope.manifests)
    if envelope.config is None or envelope.layers is None:
        raise _fail(f"unsupported manifest media type {kind!r}: neither an image nor an index")
    return _checked(envelope.config, envelope.layers)


def _checked(config: Descriptor, layers: tuple[Descriptor, ...]) -> Manifest:
    if config.mediaType not in ("", *_CONFIG_TYPES):
        raise _fail(f"this is no container image: its config has media type {config.mediaType!r}")
    if len(layers) > LAYERS_MAX:
        raise _fail(f"image has {len(layers)} layers, the limit is {LAYERS_MAX}")
    _check(config, CONFIG_BYTES_MAX, "config")
    for layer in layers:
        if layer.mediaType not in ("", *_LAYER_TYPES):
            raise _fail(f"layer {layer.digest} has the unsupported media type {layer.mediaType!r}")
        _check(layer, LAYER_BYTES_MAX, "layer")
    return Manifest(config, layers)


def _check(descriptor: Descriptor, size_max: int, what: str) -> None:
    if not is_digest(descriptor.digest) or not descriptor.digest.startswith("sha256:"):
        raise _fail(f"{what} has the unsupported digest {descriptor.digest[:100]!r}")
    if not 0 <= descriptor.size <= size_max:
        raise _fail(f"{what} {descriptor.digest} claims {descriptor.size} bytes, the limit is {size_max}")


def parse_config(data: bytes) -> Config:
    """Decode an image config; its id is the digest of `data`. Raises ImageFailure."""
    if len(data) > CONFIG_BYTES_MAX:
        raise _fail(f"image config of {len(data)} bytes, the limit is {CONFIG_BYTES_MAX}")
    try:
        raw = msgspec.json.decode(data, type=_Config)
    except UNREADABLE as error:
        raise _fail(f"image config is not valid: {error}") from None
    diff_ids = (raw.rootfs.diff_ids if raw.rootfs else None) or ()
    if len(diff_ids) > LAYERS_MAX:
        raise _fail(f"image has {len(diff_ids)} layers, the limit is {LAYERS_MAX}")
    for diff_id in diff_ids:
        if not is_digest(diff_id) or not diff_id.startswith("sha256:"):
            raise _fail(f"image config lists the unsupported layer id {diff_id[:100]!r}")
    runs = raw.config or _Runs()
    return Config(
        id=digest_of(data),
        platform=Platform(raw.os or "", raw.architecture or "", raw.variant or ""),
        diff_ids=diff_ids,
        image=ImageConfig(
            entrypoint=_words(runs.entrypoint),
            cmd=_words(runs.cmd),
            env=runs.env or (),
            working_dir=runs.working_dir or "",
            user=runs.user or "",
            stop_signal=runs.stop_signal or "",
            volumes=tuple(sorted(runs.volumes or ())),
            labels=runs.labels or {},
        ),
    )


def _words(value: tuple[str, ...] | str | None) -> tuple[str, ...]:
    if isinstance(value, str):
        return ("/bin/sh", "-c", value)
    return value or ()


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The chain id of each layer on top of those before it (image-spec config.md, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)


_MACHINES = {
    "x86_64": Platform("linux", "amd64"),
    "aarch64": Platform("linux", "arm64", "v8"),
    "armv8l": Platform("linux", "arm", "v8"),
    "armv7l": Platform("linux", "arm", "v7"),
    "armv6l": Platform("linux", "arm", "v6"),
    "riscv64": Platform("linux", "riscv64"),
}


def this_platform() -> Platform:
    """What this machine runs natively, from the kernel."""
    machine = os.uname().machine
    return _MACHINES.get(machine, Platform("linux", machine))


def _normal(platform: Platform) -> Platform:
    architecture = {"x86_64": "amd64", "aarch64": "arm64", "armhf": "arm"}.get(
        platform.architecture, platform.architecture
    )
    variant = platform.variant
    if architecture == "arm64" and not variant:
        variant = "v8"
    elif architecture == "arm" and not variant:
        variant = "v7"
    elif architecture == "amd64" and variant == "v1":
        variant = ""
    return Platform(platform.os, architecture, variant)


def acceptable(node: Platform) -> tuple[Platform, ...]:
    """What `node` can run, best first: an arm board runs every older variant, arm64 boards 32-bit arm too."""
    node = _normal(node)
    found = [node]
    if node.architecture == "arm64":
        found += [Platform(node.os, "arm", f"v{n}") for n in (8, 7, 6, 5)]
    elif node.architecture == "arm":
        newest = int(node.variant[1:]) if node.variant[1:].isdigit() else 7
        found += [Platform(node.os, "arm", f"v{n}") for n in range(min(newest, 8) - 1, 4, -1)]
    return tuple(found)


def no_match(has: Sequence[Platform], node: Platform) -> ImageFailure:
    names = ", ".join(sorted({str(each) for each in has})) or "nothing"
    return _fail(f"no match for platform in manifest: image has {names[:500]}, this node is {_plain(node)}")


def _plain(node: Platform) -> str:
    return f"{node.os}/{node.architecture}" if node.architecture != "arm" else str(node)


def choose(index: Index, node: Platform) -> Descriptor:
    """The manifest for `node`. Raises ImageFailure when there is none."""
    for wanted in acceptable(node):
        for each in index.manifests:
            if each.platform is not None and _normal(each.platform) == wanted:
                return each
    unnamed = [each for each in index.manifests if each.platform is None]
    if len(unnamed) == 1:
        return unnamed[0]
    # Attestations are listed as unknown/unknown; they are no platform the image has.
    has = [each.platform for each in index.manifests if each.platform and each.platform.os != "unknown"]
    raise no_match(has, node)


def check_platform(config: Config, node: Platform) -> None:
    """Raises ImageFailure when the config is for another machine. A config that names none passes."""
    if not config.platform.architecture:
        return
    has = Platform(config.platform.os or "linux", config.platform.architecture, config.platform.variant)
    if _normal(has) not in acceptable(node):
        raise no_match([has], node)


def check_layers(manifest: Manifest, config: Config) -> None:
    """Raises ImageFailure when manifest and config disagree about the number of layers."""
    if len(manifest.layers) != len(config.diff_ids):
        raise _fail(f"manifest has {len(manifest.layers)} layers and the image config {len(config.diff_ids)}")
