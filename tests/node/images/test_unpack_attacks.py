"""Hostile layers. Whatever a layer says, nothing outside its folder changes, and an outside file stays unread."""

import os
import stat
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgekube.runtime.images.beneath import OpenBeneath, open_beneath, walk_beneath
from edgekube.runtime.images.faults import LayerFault
from edgekube.runtime.images.unpack import Limits, Stream, Unpacked, Window, unpack_layer
from edgekube.testing.images import File, compress, folder, hardlink, layer_tar, symlink

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and trusted xattrs need root"),
]


class Bench:
    """Layers in folders of their own, beside a victim folder that must never change."""

    def __init__(self, path: Path, opener: OpenBeneath) -> None:
        self.path = path
        self.opener = opener
        self.victim = path / "victim"
        self.victim.mkdir()
        (self.victim / "secret").write_text("secret")
        self.layers: list[Path] = []

    def unpack(
        self, files: Sequence[File] | bytes, *, how: str = "none", limits: Limits = Limits(), lowers: int | None = None
    ) -> Unpacked:
        data = files if isinstance(files, bytes) else layer_tar(files)
        blob = self.path / "blob"
        blob.write_bytes(compress(data, how))
        target = self.path / f"layer{len(self.layers)}"
        target.mkdir()
        count = len(self.layers) if lowers is None else lowers
        fds = [os.open(each, os.O_RDONLY) for each in [*self.layers[:count], target, blob]]
        self.layers.append(target)
        try:
            stream = Stream(Window(fds[-1], 0, blob.stat().st_size), limits)
            return unpack_layer(stream, fds[-2], fds[:-2], limits=limits, open_beneath=self.opener)
        finally:
            for fd in fds:
                os.close(fd)
            self.check()

    def check(self) -> None:
        assert sorted(os.listdir(self.victim)) == ["secret"]
        assert (self.victim / "secret").read_text() == "secret"
        assert (self.victim / "secret").stat().st_nlink == 1
        assert stat.S_IMODE((self.victim / "secret").stat().st_mode) == 0o644
        assert not Path("/edgekube-was-here").exists()


@pytest.fixture(params=[walk_beneath, open_beneath], ids=["walk", "openat2"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path, request.param)


def escaping(files: Callable[[Bench], list[File]], name: str) -> object:
    return pytest.param(files, id=name)


REFUSED = [
    escaping(lambda b: [File("../victim/pwned", b"x")], "climbs"),
    escaping(lambda b: [File("a/../../victim/pwned", b"x")], "climbs-later"),
    escaping(lambda b: [File("a/b/../../../victim/pwned", b"x")], "climbs-through-folders"),
    escaping(lambda b: [hardlink("stolen", "../victim/secret")], "hardlink-climbs"),
    escaping(lambda b: [hardlink("stolen", str(b.victim / "secret"))], "hardlink-absolute"),
    escaping(lambda b: [symlink("d", str(b.victim)), hardlink("stolen", "d/secret")], "hardlink-through-link"),
    escaping(lambda b: [folder("d"), hardlink("x", "d")], "hardlink-to-folder"),
    escaping(lambda b: [File("f", b"x"), File("f/x", b"x")], "file-as-folder"),
    escaping(lambda b: [File(".wh...", b"")], "whiteout-of-parent"),
    escaping(lambda b: [File(".wh..", b"")], "whiteout-of-self"),
    escaping(lambda b: [File(".wh.", b"")], "whiteout-of-nothing"),
    escaping(lambda b: [File(".wh.x/y", b"")], "whiteout-as-folder"),
    escaping(lambda b: [symlink("a", "b"), symlink("b", "a"), File("a/x", b"x")], "link-loop"),
    escaping(lambda b: [symlink(".", "/")], "root-replaced"),
    escaping(lambda b: [File("x" * 300, b"x")], "component-too-long"),
    escaping(lambda b: [File("/".join(["d"] * 400), b"x")], "too-deep"),
    escaping(lambda b: [File("d/" * 2100 + "x", b"x")], "path-too-long"),
    escaping(lambda b: [symlink("empty", "")], "empty-link"),
    escaping(lambda b: [File("x", b"x", uid=2**32 - 1)], "uid-minus-one"),
    escaping(lambda b: [File("c", b"x", pax={"SCHILY.xattr.security.capability": "x" * 100})], "capability-too-long"),
    escaping(lambda b: [File("x", pax={"path": "../victim/pwned"})], "pax-path-climbs"),
    escaping(lambda b: [hardlink("x", "y", pax={"linkpath": "../victim/secret"})], "pax-linkpath-climbs"),
]


@pytest.mark.parametrize("files", REFUSED)
def test_refused(bench: Bench, files: Callable[[Bench], list[File]]) -> None:
    with pytest.raises(LayerFault):
        bench.unpack(files(bench))


CONTAINED = [
    escaping(lambda b: [File(f"{b.victim}/pwned", b"x")], "absolute-name"),
    escaping(lambda b: [symlink("d", str(b.victim)), File("d/pwned", b"x")], "absolute-link"),
    escaping(lambda b: [symlink("d", "../../victim"), File("d/pwned", b"x")], "climbing-link"),
    escaping(lambda b: [symlink("d", "../victim/secret"), File("d", b"overwritten")], "write-through-link"),
    escaping(lambda b: [symlink("d", "/"), symlink("e", f"d{b.victim}"), File("e/pwned", b"x")], "link-chain"),
    escaping(lambda b: [symlink("d", str(b.victim)), folder("d", 0o777)], "folder-over-link"),
    escaping(lambda b: [symlink("d", "../victim"), File("d/secret", b"x", 0o777)], "replace-through-link"),
    escaping(lambda b: [symlink("l", str(b.victim / "secret")), hardlink("h", "l"), File("h", b"x")], "link-to-link"),
    escaping(lambda b: [symlink("l", "../victim/secret", uid=5), symlink("l", "../victim", uid=6)], "chown-link"),
    escaping(lambda b: [symlink("d", "../victim"), File("d/.wh.secret")], "whiteout-through-link"),
    escaping(lambda b: [symlink("d", "../victim"), File("d/.wh..wh..opq")], "opaque-through-link"),
    escaping(lambda b: [File("/proc/self/root/edgekube-was-here", b"x")], "magic-link-name"),
    escaping(lambda b: [symlink("p", "/proc/self/root"), File("p/edgekube-was-here", b"x")], "magic-link"),
    escaping(lambda b: [folder("a"), File("a/f", b"x"), symlink("a", "../victim"), File("a/f", b"y")], "swap"),
]


@pytest.mark.parametrize("files", CONTAINED)
def test_contained(bench: Bench, files: Callable[[Bench], list[File]]) -> None:
    bench.unpack(files(bench))


def test_lower_layers_links_lead_nowhere_outside(bench: Bench) -> None:
    bench.unpack([symlink("d", str(bench.victim)), symlink("up", "../../..")])
    bench.unpack([File("d/pwned", b"x"), File("up/etc/x", b"x"), File("d/.wh.secret"), File("up/.wh..wh..opq")])
    assert (bench.layers[1] / str(bench.victim).lstrip("/") / "pwned").exists()
    assert (bench.layers[1] / "etc/x").exists()


def test_lower_layer_is_never_written(bench: Bench) -> None:
    bench.unpack([folder("d"), File("d/f", b"lower", 0o600), File("g", b"lower", 0o600)])
    before = {each: (os.lstat(each).st_mtime_ns, os.lstat(each).st_nlink) for each in bench.layers[0].rglob("*")}
    bench.unpack([hardlink("d/h", "d/f"), File("d/f", b"upper", 0o777), File(".wh.g"), hardlink("x", "d/h")])
    assert {each: (os.lstat(each).st_mtime_ns, os.lstat(each).st_nlink) for each in before} == before
    assert (bench.layers[0] / "d/f").read_bytes() == b"lower"
    assert (bench.layers[1] / "d/h").read_bytes() == b"lower"


def test_hard_link_may_not_reach_a_whited_out_file(bench: Bench) -> None:
    bench.unpack([File("f", b"x")])
    with pytest.raises(LayerFault, match="no file of this image"):
        bench.unpack([File(".wh.f"), hardlink("g", "f")])


def test_dangerous_nodes_are_left_out(bench: Bench) -> None:
    node = File("disk", kind=tarfile.BLKTYPE, major=8, minor=0)
    done = bench.unpack(
        [
            node,
            replace(node, path="mem", kind=tarfile.CHRTYPE, major=1, minor=1),
            replace(node, path="hidden", kind=tarfile.CHRTYPE, major=0, minor=0),
            replace(node, path="null", kind=tarfile.CHRTYPE, major=1, minor=3, mode=0o666),
            File("pipe", kind=tarfile.FIFOTYPE),
        ]
    )
    assert done.skipped_nodes == 3
    assert sorted(os.listdir(bench.layers[0])) == ["null", "pipe"]
    assert os.stat(bench.layers[0] / "null").st_rdev == os.makedev(1, 3)


def test_other_xattrs_are_dropped(bench: Bench) -> None:
    bench.unpack(
        [
            File("f", b"x", pax={"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.a": "b"}),
            folder("d", pax={"SCHILY.xattr.trusted.overlay.opaque": "y"}),
        ]
    )
    assert os.listxattr(bench.layers[0] / "f") == []
    assert os.listxattr(bench.layers[0] / "d") == []


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_bomb_by_ratio(bench: Bench, how: str) -> None:
    with pytest.raises(LayerFault, match="bomb"):
        bench.unpack([File("zeros", bytes(200_000_000))], how=how, limits=Limits(ratio_max=100))


def test_bomb_by_size(bench: Bench) -> None:
    with pytest.raises(LayerFault, match="larger than"):
        bench.unpack([File("zeros", bytes(2_000_000))], how="gzip", limits=Limits(bytes_max=1_000_000))
    assert sum(each.stat().st_size for each in bench.layers[0].rglob("*")) <= 1_000_000


def test_bomb_by_entries(bench: Bench) -> None:
    with pytest.raises(LayerFault, match="more than 100 entries"):
        bench.unpack([File(f"f{n}") for n in range(101)], limits=Limits(entries_max=100))


def test_bomb_by_sparse_size(bench: Bench) -> None:
    name = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**60)}
    with pytest.raises(LayerFault, match="larger than"):
        bench.unpack([File("sparse", b"x", pax=name)])


def test_bomb_by_copying_up(bench: Bench) -> None:
    """Hard links to a lower file cost a copy each only once."""
    bench.unpack([File("f", bytes(400_000))])
    links = [hardlink(f"h{n}", "f") for n in range(50)]
    done = bench.unpack(links, limits=Limits(bytes_max=1_000_000))
    assert done.size_bytes == 400_000
    assert os.stat(bench.layers[1] / "h49").st_nlink == 51


@pytest.mark.parametrize("how", ["gzip", "zstd", "none"])
def test_damaged_stream(bench: Bench, how: str) -> None:
    whole = compress(layer_tar([File("f", os.urandom(200_000))]), how)
    blob = bench.path / "blob"
    blob.write_bytes(whole[: len(whole) // 2])
    target = bench.path / "damaged"
    target.mkdir()
    fd, root = os.open(blob, os.O_RDONLY), os.open(target, os.O_RDONLY)
    try:
        with pytest.raises(LayerFault):
            unpack_layer(Stream(Window(fd, 0, len(whole)), Limits()), root)
    finally:
        os.close(fd)
        os.close(root)


def test_zstd_window_beyond_the_limit(bench: Bench) -> None:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    maker = zstandard.ZstdCompressor(compression_params=parameters)
    data = layer_tar([File("f", os.urandom(4096))])
    blob = bench.path / "blob"
    # Without a content size in the frame the window counts.
    worker = maker.compressobj()
    blob.write_bytes(worker.compress(data) + worker.flush())
    fd, root = os.open(blob, os.O_RDONLY), os.open(bench.path, os.O_RDONLY)
    try:
        with pytest.raises(LayerFault, match="damaged"):
            unpack_layer(Stream(Window(fd, 0, blob.stat().st_size), Limits()), root)
    finally:
        os.close(fd)
        os.close(root)
