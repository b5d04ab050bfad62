import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.runtime.api import ImageFailure
from edgekube.runtime.images import archive
from edgekube.runtime.images.manifest import Platform
from edgekube.testing.images import File, ImageBuilder, digest_of

AMD64 = Platform("linux", "amd64")


def built(architecture: str = "amd64") -> ImageBuilder:
    return ImageBuilder(architecture=architecture, variant="").add_layer([File("a", b"x")])


def read(members: dict[str, bytes], node: Platform = AMD64) -> tuple[archive.ArchiveImage, ...]:
    return archive.read_archive(lambda name, size: members.get(archive.normal_name(name)), node)


def test_oci_layout() -> None:
    [image] = read(built().oci_members("busybox", "example.test/a:1"))
    assert image.config.id == built().image_id
    assert [str(each) for each in image.references] == ["docker.io/library/busybox:latest", "example.test/a:1"]
    assert len(image.layers) == 1


def test_docker_save() -> None:
    [image] = read(built().docker_members("busybox:1"))
    assert image.config.id == built().image_id
    assert image.layers[0].digest == ""
    assert image.digest == read(built().docker_members("other:1"))[0].digest, "the same image, the same digest"


def test_of_several_platforms_ours_is_taken() -> None:
    members = {**built("arm64").oci_members(), **built().oci_members()}
    entries = [each.blobs()[0] for each in (built("arm64"), built())]
    members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    [image] = read(members)
    assert image.config.platform.architecture == "amd64"


@pytest.mark.parametrize("format", ["oci_members", "docker_members"])
def test_other_platform(format: str) -> None:
    with pytest.raises(ImageFailure, match="image has linux/arm64, this node is linux/amd64"):
        read(getattr(built("arm64"), format)("a:1"))


def test_a_bare_tag_names_nothing() -> None:
    members = built().oci_members()
    index = json.loads(members["index.json"])
    index["manifests"][0]["annotations"] = {archive.REF_ANNOTATION: "1.2"}
    members["index.json"] = json.dumps(index).encode()
    [image] = read(members)
    assert image.references == ()


def test_damage_is_found() -> None:
    members = built().oci_members("a:1")
    config = next(name for name, data in members.items() if name.startswith("blobs/") and b"rootfs" in data)
    with pytest.raises(ImageFailure, match="has other bytes"):
        read({**members, config: members[config] + b" "})
    del members[config]
    with pytest.raises(ImageFailure, match="the archive lacks"):
        read(members)


def test_index_that_contains_itself() -> None:
    """A digest cannot, but a chain of indexes may be long."""
    members = built().oci_members("a:1")
    for _ in range(5):
        inner = members["index.json"]
        members[f"blobs/{digest_of(inner).replace(':', '/')}"] = inner
        entry = {"digest": digest_of(inner), "size": len(inner), "platform": {"os": "linux", "architecture": "amd64"}}
        members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with pytest.raises(ImageFailure, match="nested deeper"):
        read(members)


def test_links_in_the_archive() -> None:
    rows = [
        ["./a/layer.tar", 512, 10, "0", ""],
        ["b/layer.tar", 0, 0, "2", "../a/layer.tar"],
        ["c/layer.tar", 0, 0, "1", "a/layer.tar"],
        ["loop", 0, 0, "2", "loop"],
        ["out", 0, 0, "2", "../../../etc/passwd"],
    ]
    members = archive.members_of(rows)
    for name in ("a/layer.tar", "b/layer.tar", "c/layer.tar"):
        assert archive.locate(members, name) == archive.Member(512, 10)
    assert archive.locate(members, "loop") is None
    assert archive.locate(members, "out") is None


KEYS = st.sampled_from(["Config", "Layers", "RepoTags", "manifests"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
)


@given(st.binary(max_size=60) | JSON)
def test_only_image_failures_escape(value: object) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    for members in ({"manifest.json": data}, {"index.json": data, "oci-layout": b"{}"}):
        with pytest.raises(ImageFailure):
            read(members)
