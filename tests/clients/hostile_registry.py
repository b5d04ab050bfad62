"""An image registry that lies: one repository for each way an image can be wrong. Run inside the node's network.

`python hostile_registry.py PORT VICTIM` serves until it is killed; VICTIM is a folder the layers try to reach.
"""

import json
import os
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edgekube.testing.images import File, ImageBuilder, busybox_files, hardlink, layer_tar, symlink

BOMB_BYTES = 300_000_000
DRIP_SECONDS = 1.0
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def device(path: str, kind: bytes, major: int, minor: int) -> File:
    return File(path, kind=kind, major=major, minor=minor, mode=0o666)


class Repository:
    """What is served: the manifest, blobs by digest, and ways to misbehave."""

    def __init__(self, files: Sequence[File] | bytes, compression: str = "gzip", **more: Any) -> None:
        builder = ImageBuilder(**more).add_layer(busybox_files())
        builder.add_tar(files if isinstance(files, bytes) else layer_tar(files), compression=compression)
        descriptor, self.blobs = builder.blobs()
        self.manifest = self.blobs[descriptor["digest"]]
        self.layer = json.loads(self.manifest)["layers"][1]["digest"]
        self.length: int | None = None  # Content-Length said of the layer, instead of its own
        self.drip = False  # a byte a second
        self.endless = False  # chunks that never end

    def rewrite(self, **fields: Any) -> "Repository":
        self.manifest = json.dumps(json.loads(self.manifest) | fields).encode()
        return self

    def layer_is(self, data: bytes) -> "Repository":
        """Other bytes under the layer's digest."""
        self.blobs[self.layer] = data
        return self


def broken(files: Sequence[File], **how: Any) -> Repository:
    repository = Repository(files)
    for name, value in how.items():
        setattr(repository, name, value)
    return repository


def repositories(victim: str) -> Mapping[str, Repository]:
    """By name. Every layer differs from the others: one that is known is not fetched again."""

    def plain(name: str) -> list[File]:
        return [File("hello", name.encode() * 200)]

    lying = Repository(plain("lying-layer"))
    short = Repository(plain("short-layer"))
    up = "../" * 12
    disk = device("disk", tarfile.BLKTYPE, 8, 0)
    return {
        "good": Repository(plain("good")),
        "other-machine": Repository(plain("other-machine"), architecture="s390x", variant=""),
        "no-json": broken(plain("no-json"), manifest=b'{"schemaVersion": 2, "config": ['),
        "too-large": Repository(plain("too-large")).rewrite(annotations={"a": "x" * 5_000_000}),
        "lying-layer": lying.layer_is(bytes(len(lying.blobs[lying.layer]))),
        "lying-size": Repository(plain("lying-size")).layer_is(bytes(1_000_000)),
        "short-layer": broken(plain("short-layer"), length=len(short.blobs[short.layer])).layer_is(b"short"),
        "cut-layer": Repository(layer_tar([File("f", os.urandom(100_000))])[:50_000]),
        "no-layer": Repository(b"no tar at all" * 1000, "none"),
        "drip": broken(plain("drip"), drip=True),
        "endless": broken(plain("endless"), endless=True),
        "climbs": Repository([File(f"a/../..{victim}/pwned", b"x")]),
        "hardlink-out": Repository([hardlink("stolen", f"{up}{victim}/secret")]),
        "hardlink-by-link": Repository([symlink("d", victim), hardlink("stolen", "d/secret")]),
        "whiteout-out": Repository([File(".wh...")]),
        "link-loop": Repository([symlink("a", "b"), symlink("b", "a"), File("a/x", b"x")]),
        "bomb-ratio": Repository([File("zeros", bytes(BOMB_BYTES))], "zstd"),
        "bomb-sparse": Repository([File("sparse", b"x", pax={"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**60)})]),
        # This one unpacks, inside its own root.
        "contained": Repository(
            [
                File(f"{victim}/pwned", b"x"),
                symlink("absolute", victim),
                File("absolute/pwned", b"x"),
                symlink("climbing", f"{up}{victim}"),
                File("climbing/secret", b"overwritten", 0o777),
                File("climbing/.wh.secret"),
                symlink("magic", "/proc/self/root"),
                File(f"magic{victim}/pwned", b"x"),
                disk,
                replace(disk, path="mem", kind=tarfile.CHRTYPE, major=1, minor=1),
            ]
        ),
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Mapping[str, Repository] = {}

    def do_GET(self) -> None:
        _, _, repository, kind, name = (self.path.split("/") + [""] * 5)[:5]
        found = self.served.get(repository)
        if found is None:
            return self.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"unknown"}]}')
        if kind == "manifests":
            return self.answer(200, found.manifest, MANIFEST_TYPE)
        if name not in found.blobs:
            return self.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"unknown"}]}')
        if name != found.layer:
            return self.answer(200, found.blobs[name])
        if found.endless:
            return self.stream(b"10000\r\n" + bytes(65536) + b"\r\n")
        if found.drip:
            return self.trickle(found.blobs[name])
        return self.answer(200, found.blobs[name], length=found.length)

    def answer(self, status: int, body: bytes, kind: str | None = None, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def stream(self, chunk: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(chunk)

    def trickle(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body:
            self.wfile.write(bytes([byte]))
            time.sleep(DRIP_SECONDS)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass  # the node hung up, as it should

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main(port: str, victim: str) -> None:
    Handler.served = repositories(victim)
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
