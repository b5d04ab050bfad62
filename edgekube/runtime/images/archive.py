"""Image archives as values: which images an OCI layout or a `docker save` tarball holds, and where their layers are.

`read` is handed in, so nothing here touches a file: it returns a named member's bytes, or None. Only `ImageFailure`
escapes. Sources: image-spec image-layout.md; the format `docker save` writes (manifest.json).
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from edgekube.runtime.api import ImageFailure
from edgekube.runtime.images import manifest, reference
from edgekube.types.unreadable import UNREADABLE

IMAGES_MAX = 256
NESTING_MAX = 3
LINKS_MAX = 8
NAME_ANNOTATION = "io.containerd.image.name"
REF_ANNOTATION = "org.opencontainers.image.ref.name"

Read = Callable[[str, int], bytes | None]


class Member(msgspec.Struct, frozen=True):
    """A file of an uncompressed tar: where its bytes are. `link` is set for symlinks and hard links."""

    offset: int
    size: int
    link: str = ""


class ArchiveLayer(msgspec.Struct, frozen=True):
    """`digest` is the compressed blob's, "" when the archive does not say (docker save)."""

    name: str
    digest: str


class ArchiveImage(msgspec.Struct, frozen=True):
    digest: str
    config: manifest.Config
    layers: tuple[ArchiveLayer, ...]
    references: tuple[reference.Reference, ...]
    blobs: Mapping[str, bytes]


class _Saved(msgspec.Struct, rename="pascal"):
    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


def _fail(message: str) -> ImageFailure:
    return ImageFailure("ErrImagePull", message)


def normal_name(name: str) -> str:
    """A member's name without `./` and `..`, for look-up."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts)


def members_of(rows: Sequence[Sequence[object]]) -> dict[str, Member]:
    """The helper's scan rows by normalised name. A symlink's target is taken relative to its folder."""
    found: dict[str, Member] = {}
    for name, offset, size, kind, link in rows:
        path = normal_name(str(name))
        target = ""
        if kind == "2":
            target = normal_name(f"{path.rpartition('/')[0]}/{link}")
        elif kind == "1":
            target = normal_name(str(link))
        found[path] = Member(int(str(offset)), int(str(size)), target)
    return found


def locate(members: Mapping[str, Member], name: str) -> Member | None:
    """The member's bytes, through links."""
    path = normal_name(name)
    for _ in range(LINKS_MAX):
        member = members.get(path)
        if member is None or not member.link:
            return member
        path = member.link
    return None


def read_archive(read: Read, node: manifest.Platform) -> tuple[ArchiveImage, ...]:
    """Every image of the archive that this node can run. Raises ImageFailure when there is none."""
    index = read("index.json", manifest.MANIFEST_BYTES_MAX)
    if index is not None and read("oci-layout", 4096) is not None:
        return _read_layout(read, index, node)
    saved = read("manifest.json", manifest.MANIFEST_BYTES_MAX)
    if saved is not None:
        return _read_saved(read, saved, node)
    raise _fail("this is no image archive: it has neither an OCI layout (index.json) nor docker's manifest.json")


def _read_layout(read: Read, data: bytes, node: manifest.Platform) -> tuple[ArchiveImage, ...]:
    top = manifest.parse_manifest(data, manifest.OCI_INDEX)
    if not isinstance(top, manifest.Index):
        raise _fail("index.json of the archive is not an index")
    found: dict[str, ArchiveImage] = {}
    refused: ImageFailure | None = None
    for entry in top.manifests:
        if entry.platform is not None and entry.platform.os == "unknown":
            continue
        try:
            image = _read_image(read, entry, node)
        except _OtherPlatform as other:
            refused = other
            continue
        names = _names(entry)
        kept = found.get(image.config.id)
        found[image.config.id] = msgspec.structs.replace(
            image, references=tuple(dict.fromkeys((*(kept.references if kept else ()), *names)))
        )
        if len(found) > IMAGES_MAX:
            raise _fail(f"archive has more than {IMAGES_MAX} images")
    if not found:
        raise _fail(str(refused)) if refused else _fail("the archive holds no image")
    return tuple(found.values())


class _OtherPlatform(ImageFailure):
    pass


def _read_image(read: Read, entry: manifest.Descriptor, node: manifest.Platform) -> ArchiveImage:
    blobs: dict[str, bytes] = {}
    descriptor = entry
    for _ in range(NESTING_MAX):
        data = _blob(read, descriptor, manifest.MANIFEST_BYTES_MAX)
        blobs[descriptor.digest] = data
        parsed = manifest.parse_manifest(data, descriptor.mediaType)
        if isinstance(parsed, manifest.Index):
            try:
                descriptor = manifest.choose(parsed, node)
            except ImageFailure as error:
                raise _OtherPlatform(error.reason, str(error)) from None
            continue
        raw = _blob(read, parsed.config, manifest.CONFIG_BYTES_MAX)
        blobs[parsed.config.digest] = raw
        config = manifest.parse_config(raw)
        manifest.check_layers(parsed, config)
        try:
            manifest.check_platform(config, node)
        except ImageFailure as error:
            raise _OtherPlatform(error.reason, str(error)) from None
        layers = tuple(ArchiveLayer(_blob_name(each.digest), each.digest) for each in parsed.layers)
        return ArchiveImage(entry.digest, config, layers, (), blobs)
    raise _fail(f"indexes are nested deeper than {NESTING_MAX}")


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _blob(read: Read, descriptor: manifest.Descriptor, size_max: int) -> bytes:
    data = read(_blob_name(descriptor.digest), size_max)
    if data is None:
        raise _fail(f"the archive lacks {descriptor.digest}: was it saved for another platform only?")
    if manifest.digest_of(data) != descriptor.digest:
        raise _fail(f"the archive is damaged: {descriptor.digest} has other bytes")
    return data


def _names(entry: manifest.Descriptor) -> list[reference.Reference]:
    notes = entry.annotations or {}
    name = notes.get(NAME_ANNOTATION, "")
    short = notes.get(REF_ANNOTATION, "")
    # A bare word in ref.name is a tag of a repository that the archive does not name.
    if not name and ("/" in short or ":" in short):
        name = short
    if not name:
        return []
    try:
        return [reference.parse(name)]
    except ImageFailure:
        return []


def _read_saved(read: Read, data: bytes, node: manifest.Platform) -> tuple[ArchiveImage, ...]:
    try:
        saved = msgspec.json.decode(data, type=tuple[_Saved, ...])
    except UNREADABLE as error:
        raise _fail(f"manifest.json of the archive is not valid: {error}") from None
    if not saved or len(saved) > IMAGES_MAX:
        raise _fail(f"the archive holds {len(saved)} images, from 1 to {IMAGES_MAX} are accepted")
    found = []
    refused: ImageFailure | None = None
    for each in saved:
        raw = read(each.config, manifest.CONFIG_BYTES_MAX)
        if raw is None:
            raise _fail(f"the archive lacks the image config {each.config[:200]!r}")
        config = manifest.parse_config(raw)
        if len(each.layers) != len(config.diff_ids):
            raise _fail(f"archive has {len(each.layers)} layers and the image config {len(config.diff_ids)}")
        try:
            manifest.check_platform(config, node)
        except ImageFailure as error:
            refused = error
            continue
        made = _manifest_for(config, raw)
        found.append(
            ArchiveImage(
                digest=manifest.digest_of(made),
                config=config,
                layers=tuple(ArchiveLayer(name, "") for name in each.layers),
                references=tuple(reference.parse(tag) for tag in each.repo_tags or ()),
                blobs={manifest.digest_of(made): made, config.id: raw},
            )
        )
    if not found:
        assert refused is not None
        raise refused
    return tuple(found)


def _manifest_for(config: manifest.Config, raw: bytes) -> bytes:
    """docker save keeps no manifest; this one stands for the image, the same on every node."""
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_MANIFEST,
            "config": {"mediaType": manifest.OCI_CONFIG, "digest": config.id, "size": len(raw)},
            "layers": [{"mediaType": manifest.OCI_LAYER, "digest": each, "size": 0} for each in config.diff_ids],
        }
    )
