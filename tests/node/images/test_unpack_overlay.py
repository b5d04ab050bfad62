"""Layers unpacked by us and stacked by the kernel show what applying each layer to one folder would show."""

import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgekube.runtime.images.unpack import Limits, Stream, Window, unpack_layer
from edgekube.testing.images import File, compress, folder, hardlink, layer_tar, symlink

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="overlay mounts need root"),
]


class Stack:
    """Layers, and the overlay mount of them: made in a mount namespace of its own, read through /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layers: list[Path] = []

    def add(self, files: Sequence[File] | bytes, how: str = "none") -> Path:
        data = files if isinstance(files, bytes) else layer_tar(files)
        blob = self.path / "blob"
        blob.write_bytes(compress(data, how))
        target = self.path / f"l{len(self.layers)}"
        target.mkdir()
        fds = [os.open(each, os.O_RDONLY) for each in [*self.layers, target, blob]]
        try:
            unpack_layer(Stream(Window(fds[-1], 0, blob.stat().st_size), Limits()), fds[-2], fds[:-2])
        finally:
            for fd in fds:
                os.close(fd)
        self.layers.append(target)
        return target

    def merged(self) -> dict[str, str]:
        """Every path of the mounted stack with its type, mode, owner, size or target, as find prints them."""
        empty = self.path / "empty"
        mount = self.path / "mount"
        empty.mkdir(exist_ok=True)
        mount.mkdir(exist_ok=True)
        lower = ":".join(str(each) for each in [*reversed(self.layers), empty])
        script = (
            f"mount -t overlay overlay -o ro,lowerdir={lower} {mount} && "
            rf"find {mount} -mindepth 1 \( -type d -printf '%P\t%y %m %U:%G %T@\n' -o "
            rf"-printf '%P\t%y %m %U:%G %s %l\n' \)"
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script], capture_output=True, check=True, text=True, timeout=60
        )
        return dict(line.split("\t", 1) for line in done.stdout.splitlines())


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def test_whiteout_hides_and_opaque_replaces(stack: Stack) -> None:
    stack.add([folder("a"), File("a/1"), File("a/2"), folder("b"), File("b/1"), File("c")])
    stack.add([File("a/.wh.1"), folder("b"), File("b/.wh..wh..opq"), File("b/2"), File(".wh.c")])
    assert set(stack.merged()) == {"a", "a/2", "b", "b/2"}


def test_opaque_after_its_files_spares_them(stack: Stack) -> None:
    stack.add([folder("b"), File("b/1")])
    stack.add([folder("b"), File("b/2"), File("b/.wh..wh..opq")])
    assert set(stack.merged()) == {"b", "b/2"}


def test_opaque_root(stack: Stack) -> None:
    stack.add([folder("b"), File("b/1"), File("c"), folder("d"), File("d/1")])
    stack.add([File(".wh..wh..opq"), folder("b"), File("b/2")])
    assert set(stack.merged()) == {"b", "b/2"}


def test_whiteout_spares_its_own_layer(stack: Stack) -> None:
    stack.add([folder("d"), File("d/1"), File("f", b"old")])
    stack.add([folder("d"), File("d/2"), File(".wh.d"), File("f", b"newer"), File(".wh.f")])
    merged = stack.merged()
    assert set(merged) == {"d", "d/2", "f"}
    assert merged["f"].split()[3] == "5"


def test_whiteout_then_the_name_again(stack: Stack) -> None:
    stack.add([folder("d"), File("d/1"), folder("e"), File("e/1")])
    stack.add([File(".wh.d"), folder("d"), File("d/2"), File(".wh.e"), File("e/x/2")])
    assert set(stack.merged()) == {"d", "d/2", "e", "e/x", "e/x/2"}


def test_folder_replaced_by_a_file_and_back(stack: Stack) -> None:
    stack.add([folder("d"), File("d/1")])
    stack.add([File("d", b"file")])
    stack.add([folder("d"), File("d/3")])
    assert set(stack.merged()) == {"d", "d/3"}


def test_within_a_layer_later_entries_win(stack: Stack) -> None:
    stack.add([folder("d"), File("d/1")])
    stack.add([folder("d"), File("d/2"), File("d", b"x"), folder("d"), File("d/3")])
    assert set(stack.merged()) == {"d", "d/3"}


def test_entry_under_a_lower_layers_symlink(stack: Stack) -> None:
    stack.add([folder("usr"), folder("usr/lib"), File("usr/lib/a"), symlink("lib", "usr/lib"), symlink("l2", "/lib")])
    stack.add([File("lib/b"), File("l2/c"), File("lib/.wh.a")])
    merged = stack.merged()
    assert set(merged) == {"usr", "usr/lib", "usr/lib/b", "usr/lib/c", "lib", "l2"}
    assert merged["lib"].endswith("usr/lib")


def test_folder_entry_replaces_a_lower_symlink(stack: Stack) -> None:
    stack.add([folder("usr"), folder("usr/lib"), File("usr/lib/a"), symlink("lib", "usr/lib")])
    stack.add([File("lib/b"), folder("lib"), File("lib/c")])
    assert set(stack.merged()) == {"usr", "usr/lib", "usr/lib/a", "usr/lib/b", "lib", "lib/c"}


def test_links_of_two_layers_down_obey_whiteouts_between(stack: Stack) -> None:
    stack.add([folder("real"), symlink("way", "real")])
    stack.add([File(".wh.way")])
    stack.add([File("way/f")])
    assert set(stack.merged()) == {"real", "way", "way/f"}


def test_unnamed_parents_keep_their_looks(stack: Stack) -> None:
    """A layer that names only `a/b/f` must not reset the owner, mode and time of `a` and `a/b`."""
    stack.add([folder("a", 0o1777, uid=7, gid=8, mtime=1234), folder("a/b", 0o750, uid=9, mtime=99), File("a/b/g")])
    before = stack.merged()
    stack.add([File("a/b/f")])
    after = stack.merged()
    assert {path: after[path] for path in before} == before
    assert "1777 7:8 1234" in after["a"]


def test_hard_link_into_a_lower_layer(stack: Stack) -> None:
    stack.add([folder("d"), File("d/f", b"data", 0o4755, uid=3), symlink("s", "d/f")])
    stack.add([hardlink("d/g", "d/f"), hardlink("t", "s")])
    merged = stack.merged()
    assert merged["d/g"] == merged["d/f"]
    assert merged["d/f"].startswith("f 4755 3:0 4")
    assert merged["t"].endswith("d/f")


def test_modes_owners_times_capabilities(stack: Stack) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    layer = stack.add(
        [
            folder("d", 0o2755, uid=1, gid=2, mtime=1000),
            File("d/suid", b"x", 0o6755, uid=3, gid=4, mtime=2000),
            File("d/cap", b"x", 0o755, pax={"SCHILY.xattr.security.capability": capability.decode("latin-1")}),
            File("d/fraction", b"x", pax={"mtime": "12.345678901"}),
            symlink("d/l", "suid", uid=5, gid=6, mtime=3000),
            folder("closed", 0o000),
            File("closed/f", b"x"),
            File("big-ids", b"x", uid=4_000_000_000, gid=3_000_000),
        ]
    )
    seen = os.stat(layer / "d")
    assert (seen.st_mode & 0o7777, seen.st_uid, seen.st_gid, seen.st_mtime) == (0o2755, 1, 2, 1000)
    seen = os.stat(layer / "d/suid")
    assert (seen.st_mode & 0o7777, seen.st_uid, seen.st_gid, seen.st_mtime) == (0o6755, 3, 4, 2000)
    seen = os.lstat(layer / "d/l")
    assert (seen.st_uid, seen.st_gid, seen.st_mtime) == (5, 6, 3000)
    assert os.stat(layer / "d/fraction").st_mtime_ns == 12_345_678_901
    assert os.stat(layer / "closed").st_mode & 0o7777 == 0
    assert os.stat(layer / "big-ids").st_uid == 4_000_000_000
    assert os.getxattr(layer / "d/cap", "security.capability") == capability


@pytest.mark.parametrize("how", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_formats(stack: Stack, how: str, format: int) -> None:
    long = "/".join(["component" * 5] * (4 if format == tarfile.USTAR_FORMAT else 40))
    data = layer_tar([File(long, b"deep"), File("a", os.urandom(700_000))], format=format)
    layer = stack.add(data, how)
    assert (layer / long).read_bytes() == b"deep"


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=pax"], ["--format=pax", "--sparse-version=0.1"]])
def test_sparse_files_of_gnu_tar(stack: Stack, options: list[str]) -> None:
    source = stack.path / "source"
    source.mkdir()
    with open(source / "sparse", "wb") as file:
        for block in range(40):
            file.seek(block * 1_000_000)
            file.write(b"data" * 1024)
        file.truncate(50_000_000)
    tar = subprocess.run(["tar", "-C", source, "-S", *options, "-cf-", "."], capture_output=True, check=True).stdout
    assert len(tar) < 1_000_000
    layer = stack.add(tar)
    assert (layer / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert os.stat(layer / "sparse").st_blocks * 512 < 2_000_000


def test_several_gzip_members(stack: Stack) -> None:
    data = layer_tar([File("f", os.urandom(300_000))])
    blob = compress(data[:100_000], "gzip") + compress(data[100_000:], "gzip")
    layer = stack.path / "l"
    layer.mkdir()
    (stack.path / "blob").write_bytes(blob)
    fds = [os.open(each, os.O_RDONLY) for each in (layer, stack.path / "blob")]
    try:
        unpack_layer(Stream(Window(fds[1], 0, len(blob)), Limits()), fds[0])
    finally:
        for fd in fds:
            os.close(fd)
    assert (layer / "f").stat().st_size == 300_000


def test_a_real_system_equals_tar(stack: Stack) -> None:
    """/etc of this machine, its links and modes, as GNU tar sees and restores them."""
    tar = subprocess.run(
        ["tar", "-C", "/", "--one-file-system", "-cf-", "etc"],
        capture_output=True,
        check=True,
    ).stdout
    layer = stack.add(tar, "gzip")
    peer = stack.path / "peer"
    peer.mkdir()
    subprocess.run(["tar", "-C", peer, "-xpf-", "--numeric-owner"], input=tar, check=True)
    listing = ["find", ".", "-mindepth", "2", "-printf", r"%P\t%y %m %U:%G %T@ %n %l\n"]
    ours, theirs = (
        sorted(subprocess.run(listing, cwd=each, capture_output=True, check=True).stdout.splitlines())
        for each in (layer, peer)
    )
    assert ours == theirs
    subprocess.run(["diff", "-r", "--no-dereference", layer, peer], check=True, capture_output=True)
