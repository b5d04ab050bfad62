"""Importing, keeping and deleting images; what a crash leaves behind."""

import json
import os
from pathlib import Path

import pytest
import trio

from edgekube.runtime.api import ImageFailure, RuntimeFailure
from edgekube.runtime.images.service import Images
from edgekube.testing.images import File, ImageBuilder, build_demo_image, folder

from .conftest import HELPER, MakeImages

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners"),
]


def builder(text: bytes = b"x") -> ImageBuilder:
    made = ImageBuilder(config={"Entrypoint": ["/a"], "Labels": {"k": "v"}, "Volumes": {"/data": {}}})
    return made.add_layer([folder("shared"), File("shared/base", b"base")]).add_layer([File("own", text)])


@pytest.mark.parametrize("format", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_import_tar(images: Images, tmp_path: Path, format: str, compression: str) -> None:
    path = str(tmp_path / "a.tar")
    found = builder().write(path, "example.test/app:1", "busybox", format=format, compression=compression)
    [image] = await images.import_archive(path)
    assert image.id == found
    assert image.tags == ("docker.io/library/busybox:latest", "example.test/app:1")
    assert image.pinned
    assert image.config.labels == {"k": "v"}
    assert image.config.volumes == ("/data",)
    assert images.get("busybox") == image
    assert (Path(images.layer_paths(image.id)[1]) / "own").read_bytes() == b"x"
    assert os.listdir(tmp_path / "data/images/ingest") == []


async def test_import_folder(images: Images, tmp_path: Path) -> None:
    found = builder().write_folder(str(tmp_path / "layout"), "example.test/app:1")
    [image] = await images.import_archive(str(tmp_path / "layout"), pin=False)
    assert (image.id, image.pinned) == (found, False)


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
async def test_import_what_skopeo_writes(images: Images, tmp_path: Path, kind: str) -> None:
    found = builder().write(str(tmp_path / "in.tar"), "example.test/app:1", format="docker")
    target = f"{kind}:{tmp_path}/out.tar:example.test/app:2"
    command = ["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{tmp_path}/in.tar", target]
    await trio.run_process(command)
    [image] = await images.import_archive(str(tmp_path / "out.tar"))
    assert image.tags == ("example.test/app:2",)
    if kind == "docker-archive":
        assert image.id == found


async def test_demo_image_runs(images: Images, tmp_path: Path) -> None:
    path = str(tmp_path / "demo.tar")
    build_demo_image(path, [File("var/www/index.html", b"hello")])
    first = Path(path).read_bytes()
    build_demo_image(path, [File("var/www/index.html", b"hello")])
    assert Path(path).read_bytes() == first, "deterministic"
    [image] = await images.import_archive(path)
    bottom = images.layer_paths(image.id)[0]
    done = await trio.run_process(["chroot", bottom, "/bin/sh", "-c", "id -u && ls /tmp"], capture_stdout=True)
    assert done.stdout == b"0\n"


async def test_layers_are_shared(images: Images, tmp_path: Path) -> None:
    for text in (b"1", b"2"):
        builder(text).write(str(tmp_path / "a.tar"), f"example.test/app:{text.decode()}")
        await images.import_archive(str(tmp_path / "a.tar"))
    assert len(images.list()) == 2
    assert len(os.listdir(tmp_path / "data/layers")) == 3


async def test_not_an_archive(images: Images, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing like a tar" * 100)
    with pytest.raises(ImageFailure):
        await images.import_archive(str(tmp_path / "x"))
    with pytest.raises(FileNotFoundError):
        await images.import_archive(str(tmp_path / "missing"))
    assert images.list() == []


async def test_damaged_layer_in_an_archive(images: Images, tmp_path: Path) -> None:
    builder().write_folder(str(tmp_path / "layout"), "example.test/app:1")
    largest = max((tmp_path / "layout/blobs/sha256").iterdir(), key=lambda each: each.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with pytest.raises(ImageFailure):
        await images.import_archive(str(tmp_path / "layout"))
    assert images.list() == []


async def test_wrong_architecture(images: Images, tmp_path: Path) -> None:
    made = builder()
    made.architecture, made.variant = "s390x", ""
    made.write(str(tmp_path / "a.tar"), "example.test/app:1")
    with pytest.raises(ImageFailure, match="no match for platform in manifest: image has linux/s390x"):
        await images.import_archive(str(tmp_path / "a.tar"))


async def test_collect_spares_pinned_and_used(tmp_path: Path, make_images: MakeImages) -> None:
    images = make_images()
    await images.open()
    found = {}
    for name, pin in (("pinned", True), ("used", False), ("idle", False)):
        builder(name.encode()).write(str(tmp_path / "a.tar"), f"example.test/{name}:1")
        [found[name]] = await images.import_archive(str(tmp_path / "a.tar"), pin=pin)
    assert await images.collect(in_use=[found["used"].id], older_than_seconds=3600) == 0
    assert await images.collect(in_use=[found["used"].id]) > 0
    assert {image.tags[0] for image in images.list()} == {"example.test/pinned:1", "example.test/used:1"}
    await images.collect(in_use=[], keep_pinned=False)
    assert images.list() == []
    assert os.listdir(tmp_path / "data/layers") == []
    assert os.listdir(tmp_path / "data/images/blobs/sha256") == []


async def test_remove_by_name_and_by_id(images: Images, tmp_path: Path) -> None:
    builder().write(str(tmp_path / "a.tar"), "example.test/a:1", "example.test/b:1")
    [image] = await images.import_archive(str(tmp_path / "a.tar"))
    await images.remove("example.test/a:1")
    left = images.get(image.id)
    assert left is not None
    assert left.tags == ("example.test/b:1",)
    await images.remove("example.test/missing:1")
    await images.remove(image.id)
    assert images.list() == []
    assert os.listdir(tmp_path / "data/layers") == []


async def test_a_used_image_outlives_its_name(tmp_path: Path) -> None:
    used: list[str] = []
    images = Images(str(tmp_path / "data"), helper_argv=HELPER, in_use=lambda: used)
    await images.open()
    try:
        builder().write(str(tmp_path / "a.tar"), "example.test/a:1")
        [image] = await images.import_archive(str(tmp_path / "a.tar"), pin=False)
        used.append(image.id)
        await images.remove("example.test/a:1")
        await images.collect(in_use=[])
        assert images.get("example.test/a:1") is None
        assert all(os.path.isdir(each) for each in images.layer_paths(image.id))
        used.clear()
        await images.collect(in_use=[])
        assert images.list() == []
    finally:
        images.close()


async def test_reopened_store_knows_its_images(tmp_path: Path, make_images: MakeImages) -> None:
    builder().write(str(tmp_path / "a.tar"), "example.test/a:1")
    first = make_images()
    await first.open()
    [image] = await first.import_archive(str(tmp_path / "a.tar"))
    with pytest.raises(RuntimeFailure, match="another EdgeKube process"):
        await make_images().open()
    first.close()
    second = make_images()
    await second.open()
    assert second.list() == [image]


async def test_leftovers_of_a_crash_are_cleared(tmp_path: Path, make_images: MakeImages) -> None:
    images = make_images()
    await images.open()
    builder().write(str(tmp_path / "a.tar"), "example.test/a:1")
    await images.import_archive(str(tmp_path / "a.tar"))
    images.close()
    data = tmp_path / "data"
    (data / "layers/99/fs/deep").mkdir(parents=True)
    (data / "layers/99/fs/deep/f").write_text("x")
    (data / "images/ingest/import-1.tar").write_text("x")
    (data / f"images/ingest/{'a' * 64}.part").write_text("x")
    (data / f"images/blobs/sha256/{'b' * 64}").write_text("x")
    again = make_images()
    await again.open()
    assert sorted(os.listdir(data / "layers")) == ["1", "2"]
    assert os.listdir(data / "images/ingest") == [f"{'a' * 64}.part"]
    assert len(os.listdir(data / "images/blobs/sha256")) == 2
    assert len(again.list()) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version":1,"layers":5}'])
async def test_damaged_index_falls_back(tmp_path: Path, make_images: MakeImages, damage: bytes) -> None:
    images = make_images()
    await images.open()
    for text in (b"1", b"2"):
        builder(text).write(str(tmp_path / "a.tar"), f"example.test/app:{text.decode()}")
        await images.import_archive(str(tmp_path / "a.tar"))
    images.close()
    (tmp_path / "data/images/index.json").write_bytes(damage)
    again = make_images()
    await again.open()
    assert [image.tags[0] for image in again.list()] == ["example.test/app:1"]


async def test_image_without_its_layer_is_absent(tmp_path: Path, make_images: MakeImages) -> None:
    images = make_images()
    await images.open()
    builder().write(str(tmp_path / "a.tar"), "example.test/a:1")
    [image] = await images.import_archive(str(tmp_path / "a.tar"))
    bottom = Path(images.layer_paths(image.id)[0])
    images.close()
    os.rename(bottom.parent, tmp_path / "gone")
    again = make_images()
    await again.open()
    assert again.list() == []
    [repaired] = await again.import_archive(str(tmp_path / "a.tar"))
    assert repaired.id == image.id


async def test_newer_index_is_left_alone(tmp_path: Path, make_images: MakeImages) -> None:
    (tmp_path / "data/images").mkdir(parents=True)
    (tmp_path / "data/images/index.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(RuntimeFailure, match="newer EdgeKube"):
        await make_images().open()


async def test_importing_at_once(images: Images, tmp_path: Path) -> None:
    for number in range(3):
        builder(b"%d" % number).write(str(tmp_path / f"{number}.tar"), f"example.test/app:{number}")
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(images.import_archive, str(tmp_path / f"{number}.tar"))
    assert len(images.list()) == 3
