"""Making container images from plain files, deterministically: for tests, and for the example's image at set-up.

`python -m edgekube.testing.images OUT.tar` writes the demo image, made of this machine's static busybox.
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import zstandard

DEMO_REFERENCE = "edgekube.local/busybox:demo"
BUSYBOX = "/bin/busybox"

_OCI = "application/vnd.oci.image."
_ARCHITECTURES = {"x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6")}


@dataclass(frozen=True)
class File:
    """One entry of a layer. `kind` is tarfile's type; `data` a regular file's bytes, `link` a link's target."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    major: int = 0
    minor: int = 0
    pax: Mapping[str, str] = field(default_factory=dict)


def folder(path: str, mode: int = 0o755, **more: Any) -> File:
    return File(path, mode=mode, kind=tarfile.DIRTYPE, **more)


def symlink(path: str, target: str, **more: Any) -> File:
    return File(path, mode=0o777, kind=tarfile.SYMTYPE, link=target, **more)


def hardlink(path: str, target: str, **more: Any) -> File:
    return File(path, kind=tarfile.LNKTYPE, link=target, **more)


def layer_tar(files: Sequence[File], *, format: int = tarfile.PAX_FORMAT) -> bytes:
    """The entries as an uncompressed tar, names exactly as given: hostile ones too."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for each in files:
            archive.addfile(_info(each), io.BytesIO(each.data))
    return out.getvalue()


def _info(file: File) -> tarfile.TarInfo:
    info = tarfile.TarInfo(file.path)
    info.size = len(file.data) if file.kind in (tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE) else 0
    info.mode, info.type, info.linkname = file.mode, file.kind, file.link
    info.uid, info.gid, info.mtime = file.uid, file.gid, file.mtime
    info.devmajor, info.devminor = file.major, file.minor
    info.pax_headers = dict(file.pax)
    return info


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compress(data: bytes, how: str) -> bytes:
    """`how`: gzip, zstd or none. The same input gives the same output."""
    match how:
        case "gzip":
            return gzip.compress(data, 6, mtime=0)
        case "zstd":
            return zstandard.ZstdCompressor(level=3).compress(data)
        case "none":
            return data
    raise ValueError(f"compression {how!r} is none of gzip, zstd, none")


def this_architecture() -> tuple[str, str]:
    """Architecture and variant, as images name them."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, (machine, ""))


@dataclass
class ImageBuilder:
    """Collects layers and configuration and writes them as an OCI layout or a `docker save` tarball."""

    architecture: str = field(default_factory=lambda: this_architecture()[0])
    variant: str = field(default_factory=lambda: this_architecture()[1])
    config: dict[str, Any] = field(default_factory=dict)  # Entrypoint, Cmd, Env, User, WorkingDir...
    layers: list[tuple[bytes, str]] = field(default_factory=list)  # (tar, compression)

    def add_layer(self, files: Sequence[File], *, compression: str = "gzip") -> "ImageBuilder":
        return self.add_tar(layer_tar(files), compression=compression)

    def add_tar(self, data: bytes, *, compression: str = "gzip") -> "ImageBuilder":
        self.layers.append((data, compression))
        return self

    def config_bytes(self) -> bytes:
        value: dict[str, Any] = {"architecture": self.architecture, "os": "linux"}
        if self.variant:
            value["variant"] = self.variant
        value["config"] = self.config
        value["rootfs"] = {"type": "layers", "diff_ids": [digest_of(data) for data, _ in self.layers]}
        return _json(value)

    @property
    def image_id(self) -> str:
        return digest_of(self.config_bytes())

    def blobs(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The manifest's descriptor and every blob by digest, the manifest's own included."""
        found: dict[str, bytes] = {}

        def blob(data: bytes, kind: str) -> dict[str, Any]:
            found[digest_of(data)] = data
            return {"mediaType": _OCI + kind, "digest": digest_of(data), "size": len(data)}

        suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}
        manifest = {
            "schemaVersion": 2,
            "mediaType": _OCI + "manifest.v1+json",
            "config": blob(self.config_bytes(), "config.v1+json"),
            "layers": [blob(compress(data, how), f"layer.v1.tar{suffix[how]}") for data, how in self.layers],
        }
        descriptor = blob(_json(manifest), "manifest.v1+json")
        descriptor["platform"] = {"os": "linux", "architecture": self.architecture}
        if self.variant:
            descriptor["platform"]["variant"] = self.variant
        return descriptor, found

    def oci_members(self, *references: str) -> dict[str, bytes]:
        """The files of an OCI layout, by name."""
        descriptor, blobs = self.blobs()
        entries = [
            {**descriptor, "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}}
            for name in references
        ]
        index = {"schemaVersion": 2, "mediaType": _OCI + "index.v1+json", "manifests": entries or [descriptor]}
        members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": _json(index)}
        members.update({f"blobs/{digest.replace(':', '/')}": data for digest, data in sorted(blobs.items())})
        return members

    def docker_members(self, *references: str) -> dict[str, bytes]:
        """The files of a `docker save` tarball, by name."""
        config = self.config_bytes()
        names = {f"{digest_of(data)[7:]}/layer.tar": data for data, _ in self.layers}
        name = f"{digest_of(config)[7:]}.json"
        order = [f"{digest_of(data)[7:]}/layer.tar" for data, _ in self.layers]
        saved = [{"Config": name, "RepoTags": list(references), "Layers": order}]
        return {**names, name: config, "manifest.json": _json(saved)}

    def write(self, path: str, *references: str, format: str = "oci", compression: str = "none") -> str:
        """Write an archive: `format` oci or docker, the whole compressed as asked. Returns the image id."""
        members = self.oci_members(*references) if format == "oci" else self.docker_members(*references)
        data = layer_tar([File(name, content) for name, content in members.items()], format=tarfile.USTAR_FORMAT)
        temporary = f"{path}.tmp"
        with open(temporary, "wb") as file:
            file.write(compress(data, compression))
        os.replace(temporary, path)
        return self.image_id

    def write_folder(self, path: str, *references: str) -> str:
        """Write an OCI layout as a folder. Returns the image id."""
        for name, data in self.oci_members(*references).items():
            target = os.path.join(path, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(data)
        return self.image_id


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def busybox_files(busybox: str = BUSYBOX) -> list[File]:
    """A small root file system: the machine's static busybox, a link for each applet, accounts, /tmp."""
    with open(busybox, "rb") as file:
        program = file.read()
    listed = subprocess.run([busybox, "--list"], capture_output=True, check=True, text=True).stdout
    applets = sorted(set(listed.split()) - {"busybox", "init", "linuxrc"})
    files = [folder(name) for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "var", "var/www")]
    files += [folder("tmp", 0o1777), folder("var/tmp", 0o1777), symlink("usr/bin", "../bin"), symlink("sbin", "bin")]
    files.append(File("bin/busybox", program, 0o755))
    files += [symlink(f"bin/{name}", "busybox") for name in applets]
    files += [
        File("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        File("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
        File("etc/nsswitch.conf", b"hosts: files dns\n"),
    ]
    return files


def build_demo_image(
    out_path: str,
    files: Sequence[File] = (),
    *,
    reference: str = DEMO_REFERENCE,
    config: Mapping[str, Any] | None = None,
    busybox: str = BUSYBOX,
) -> str:
    """Write the demo image as an OCI layout tar: busybox, and `files` in a second layer. Returns the image id."""
    builder = ImageBuilder(
        config={
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["sh"],
            **(config or {}),
        }
    )
    builder.add_layer(busybox_files(busybox))
    if files:
        builder.add_layer(files)
    return builder.write(out_path, reference)


def main(argv: Sequence[str]) -> int:
    if len(argv) not in (1, 2):
        print("usage: python -m edgekube.testing.images OUT.tar [REFERENCE]", file=sys.stderr)
        return 2
    print(build_demo_image(argv[0], reference=argv[1] if len(argv) == 2 else DEMO_REFERENCE))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
