"""Pulling from a real registry, images made by skopeo in both formats."""

import hashlib
import http.client
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest
import trio

from edgekube.runtime.api import Credentials, ImageFailure
from edgekube.runtime.images.hosts import Endpoint, RegistryConfig, RegistryHost
from edgekube.runtime.images.service import Images
from edgekube.testing.images import File, ImageBuilder, folder

from .conftest import PASSWORD, USER, MakeImages, Registry, free_port, wait_for

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners"),
]


def hello(text: bytes = b"hello") -> ImageBuilder:
    builder = ImageBuilder(config={"Cmd": ["/bin/hello"], "Env": ["A=b"], "User": "1000", "WorkingDir": "/srv"})
    builder.add_layer([folder("bin"), File("bin/hello", text, 0o755)])
    return builder.add_layer([File("bin/.wh.hello"), File("etc/motd", text)])


@pytest.mark.parametrize("format", ["oci", "v2s2"])
async def test_pull(images: Images, registry: Registry, tmp_path: Path, format: str) -> None:
    builder = hello(format.encode())
    registry.push(builder, f"team/{format}:1.0", tmp_path, format=format)
    name = f"{registry.host}/team/{format}:1.0"
    image = await images.pull(name)
    assert image.tags == (name,)
    assert image.repo_digests == (f"{registry.host}/team/{format}@{image.digest}",)
    assert image.config.cmd == ("/bin/hello",)
    assert image.config.user == "1000"
    assert image.config.working_dir == "/srv"
    assert not image.pinned
    assert images.get(name) == images.get(image.id) == images.get(image.repo_digests[0]) == image
    assert (await images.pull(image.repo_digests[0])).id == image.id
    bottom, top = map(Path, images.layer_paths(image.id))
    assert (bottom / "bin/hello").read_bytes() == format.encode()
    assert (top / "bin/hello").stat().st_rdev == 0
    assert (top / "bin/hello").is_char_device()
    assert images.progress() == []
    assert os.listdir(tmp_path / "data/images/ingest") == []


async def test_pull_again_writes_nothing(images: Images, registry: Registry, tmp_path: Path) -> None:
    registry.push(hello(), "again:1", tmp_path)
    await images.pull(f"{registry.host}/again:1")
    index = tmp_path / "data/images/index.json"
    before = index.stat().st_mtime_ns, index.stat().st_ino
    await images.pull(f"{registry.host}/again:1")
    assert (index.stat().st_mtime_ns, index.stat().st_ino) == before


async def test_tag_moves_to_the_new_image(images: Images, registry: Registry, tmp_path: Path) -> None:
    registry.push(hello(b"old"), "moving:1", tmp_path)
    old = await images.pull(f"{registry.host}/moving:1")
    registry.push(hello(b"new"), "moving:1", tmp_path)
    new = await images.pull(f"{registry.host}/moving:1")
    assert new.id != old.id
    assert new.tags == (f"{registry.host}/moving:1",)
    left = images.get(old.id)
    assert left is not None
    assert left.tags == ()
    assert await images.collect(in_use=[new.id]) > 0
    assert images.get(old.id) is None


async def test_concurrent_pulls_share_the_work(images: Images, registry: Registry, tmp_path: Path) -> None:
    registry.push(hello(b"shared"), "shared:1", tmp_path)
    registry.push(hello(b"shared"), "other:1", tmp_path)
    async with trio.open_nursery() as nursery:
        for name in ("shared", "shared", "other", "other"):
            nursery.start_soon(images.pull, f"{registry.host}/{name}:1")
    assert len(images.list()) == 1
    assert len(os.listdir(tmp_path / "data/layers")) == 2


async def test_manifest_unknown(images: Images, registry: Registry) -> None:
    with pytest.raises(ImageFailure, match=r"manifest unknown|name unknown") as caught:
        await images.pull(f"{registry.host}/nothing:1")
    assert caught.value.reason == "ErrImagePull"
    assert f'failed to pull and unpack image "{registry.host}/nothing:1": failed to resolve reference' in str(
        caught.value
    )


async def test_nobody_listens(images: Images) -> None:
    port = free_port()
    with pytest.raises(ImageFailure, match=rf"dial tcp 127.0.0.1:{port}: connect: connection refused") as caught:
        await images.pull(f"127.0.0.1:{port}/x:1")
    assert caught.value.reason == "ErrImagePull"


async def test_basic_authentication(images: Images, locked_registry: Registry, tmp_path: Path) -> None:
    locked_registry.push(hello(), "private:1", tmp_path, login=f"{USER}:{PASSWORD}")
    name = f"{locked_registry.host}/private:1"
    for wrong in ((), (Credentials(USER, "wrong"),), (Credentials(USER, PASSWORD, registry="other.example"),)):
        with pytest.raises(ImageFailure, match="pull access denied, repository does not exist or may require auth"):
            await images.pull(name, wrong)
    await images.pull(name, [Credentials(USER, "wrong"), Credentials(USER, PASSWORD, registry=locked_registry.host)])
    assert images.get(name) is not None


async def test_mirror_fails_over_to_the_registry(make_images: MakeImages, registry: Registry, tmp_path: Path) -> None:
    registry.push(hello(b"mirrored"), "team/app:2", tmp_path)
    dead = Endpoint(f"http://127.0.0.1:{free_port()}")
    hosts = {"registry.test": RegistryHost(mirrors=(dead, Endpoint(f"http://{registry.host}")))}
    images = make_images(RegistryConfig(hosts))
    await images.open()
    image = await images.pull("registry.test/team/app:2")
    assert image.tags == ("registry.test/team/app:2",)


async def test_wrong_architecture(images: Images, registry: Registry, tmp_path: Path) -> None:
    builder = hello()
    builder.architecture, builder.variant = "s390x", ""
    registry.push(builder, "foreign:1", tmp_path)
    with pytest.raises(ImageFailure, match="no match for platform in manifest: image has linux/s390x, this node is"):
        await images.pull(f"{registry.host}/foreign:1")


async def test_index_is_resolved_by_platform(images: Images, registry: Registry, tmp_path: Path) -> None:
    mine = hello(b"mine")
    registry.push(mine, "multi:mine", tmp_path)
    other = hello(b"other")
    other.architecture, other.variant = "s390x", ""
    registry.push(other, "multi:other", tmp_path)
    entries = []
    for tag, builder in (("other", other), ("mine", mine)):
        raw = fetch(registry, f"/v2/multi/manifests/{tag}")
        platform = {"os": "linux", "architecture": builder.architecture}
        if builder.variant:
            platform["variant"] = builder.variant
        entries.append(
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": "sha256:" + hashlib.sha256(raw).hexdigest(),
                "size": len(raw),
                "platform": platform,
            }
        )
    put_index(registry, "/v2/multi/manifests/all", entries)
    image = await images.pull(f"{registry.host}/multi:all")
    assert (Path(images.layer_paths(image.id)[0]) / "bin/hello").read_bytes() == b"mine"
    assert image.digest not in {each["digest"] for each in entries}, "the digest is the index's"


def fetch(registry: Registry, path: str) -> bytes:
    link = http.client.HTTPConnection(registry.host, timeout=10)
    try:
        link.request("GET", path, headers={"accept": "application/vnd.oci.image.manifest.v1+json"})
        return link.getresponse().read()
    finally:
        link.close()


def put_index(registry: Registry, path: str, entries: list[dict[str, object]]) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    link = http.client.HTTPConnection(registry.host, timeout=10)
    try:
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries})
        link.request("PUT", path, body, {"content-type": kind})
        assert link.getresponse().status == 201
    finally:
        link.close()


PULL = """
import sys, trio
from edgekube.runtime.images.service import Images
async def main():
    images = Images(sys.argv[1], helper_argv=[sys.executable, "-m", "edgekube.runtime.images.helper"])
    await images.open()
    await images.pull(sys.argv[2])
trio.run(main)
"""


def filled(path: Path) -> bool:
    return path.is_dir() and bool(os.listdir(path))


@pytest.mark.parametrize("moment", ["early", "unpacking", "late"])
async def test_killed_in_the_middle(registry: Registry, tmp_path: Path, make_images: MakeImages, moment: str) -> None:
    builder = ImageBuilder()
    for number in range(3):
        files = [File(f"d{number}/f{n}", os.urandom(20_000)) for n in range(400)]
        builder.add_layer(files, compression="none")
    registry.push(builder, f"big-{moment}:1", tmp_path)
    data = tmp_path / "data"
    command = [sys.executable, "-c", PULL, str(data), f"{registry.host}/big-{moment}:1"]
    process = await trio.lowlevel.open_process(command)
    try:
        layers = data / "layers"
        if moment == "early":
            await wait_for(lambda: filled(data / "images/ingest"))
        elif moment == "unpacking":
            await wait_for(lambda: filled(layers))
        else:
            await wait_for(lambda: (data / "images/index.json").exists())
    finally:
        process.kill()
        await process.wait()
    images = make_images()
    await images.open()
    known = {Path(path).parent.name for image in images.list() for path in images.layer_paths(image.id)}
    assert images.list() == [] or known
    image = await images.pull(f"{registry.host}/big-{moment}:1")
    for number, path in enumerate(images.layer_paths(image.id)):
        with tarfile.open(fileobj=io.BytesIO(builder.layers[number][0])) as tar:
            for member in tar.getmembers():
                content = tar.extractfile(member)
                assert content is not None
                assert (Path(path) / member.name).read_bytes() == content.read()
    assert len(os.listdir(data / "layers")) == 3
