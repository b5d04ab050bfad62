import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.runtime.api import ImageFailure
from edgekube.runtime.images import manifest
from edgekube.runtime.images.manifest import Platform

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64", "v8")


def image(**changes: Any) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "config": {"mediaType": manifest.OCI_CONFIG, "digest": A, "size": 10},
        "layers": [{"mediaType": manifest.OCI_LAYER + "+gzip", "digest": B, "size": 20}],
    }
    return json.dumps({**value, **changes}).encode()


def index(*platforms: str) -> manifest.Index:
    entries = []
    for number, text in enumerate(platforms):
        entry: dict[str, Any] = {"digest": f"sha256:{number:064x}", "size": 1, "mediaType": manifest.OCI_MANIFEST}
        if text:
            os_, architecture, *variant = text.split("/")
            entry["platform"] = {"os": os_, "architecture": architecture, "variant": "".join(variant)}
        entries.append(entry)
    parsed = manifest.parse_manifest(json.dumps({"schemaVersion": 2, "manifests": entries}).encode())
    assert isinstance(parsed, manifest.Index)
    return parsed


def test_manifest() -> None:
    parsed = manifest.parse_manifest(image())
    assert isinstance(parsed, manifest.Manifest)
    assert parsed.config.digest == A
    assert [each.digest for each in parsed.layers] == [B]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not valid"),
        (b"[]", "not valid"),
        (b"{}", "neither an image nor an index"),
        (b'{"schemaVersion":1,"name":"x","fsLayers":[]}', "schema 1"),
        (image(manifests=[]), "ambiguous"),
        (image(layers=[{"digest": "md5:00", "size": 1}]), "unsupported digest"),
        (image(layers=[{"digest": B, "size": -1}]), "claims -1 bytes"),
        (image(layers=[{"digest": B, "size": 2**60}]), "the limit is"),
        (image(layers=[{"digest": B, "size": 1, "mediaType": "text/html"}]), "unsupported media type"),
        (image(layers=[{"digest": B, "size": 1}] * 128), "128 layers"),
        (image(config={"digest": A, "size": 1, "mediaType": "application/x-helm"}), "no container image"),
        (b" " * (manifest.MANIFEST_BYTES_MAX + 1), "limit"),
        (b"[" * 100_000, "not valid"),
    ],
)  # fmt: skip
def test_manifest_refused(data: bytes, words: str) -> None:
    with pytest.raises(ImageFailure, match=words):
        manifest.parse_manifest(data)


@pytest.mark.parametrize(
    ("node", "platforms", "chosen"),
    [
        (AMD64, ["linux/arm64", "linux/amd64"], 1),
        (AMD64, ["linux/amd64/v3", "linux/amd64"], 1),
        (AMD64, ["windows/amd64", "linux/amd64"], 1),
        (ARM64, ["linux/amd64", "linux/arm64"], 1),
        (ARM64, ["linux/arm/v7", "linux/arm64/v8"], 1),
        (ARM64, ["linux/amd64", "linux/arm/v6", "linux/arm/v7"], 2),
        (Platform("linux", "arm", "v7"), ["linux/arm64", "linux/arm/v6", "linux/arm"], 2),
        (Platform("linux", "arm", "v6"), ["linux/arm/v7", "linux/arm/v6"], 1),
        (Platform("linux", "arm", "v6"), ["linux/arm/v7", "linux/arm/v5"], 1),
        (AMD64, ["unknown/unknown", "linux/amd64"], 1),
        (AMD64, [""], 0),
    ],
)
def test_platform_choice(node: Platform, platforms: list[str], chosen: int) -> None:
    assert manifest.choose(index(*platforms), node).digest == f"sha256:{chosen:064x}"


@pytest.mark.parametrize(
    ("node", "platforms", "words"),
    [
        (AMD64, ["linux/arm64"], "image has linux/arm64, this node is linux/amd64"),
        (AMD64, ["linux/arm64", "unknown/unknown"], "image has linux/arm64, this node is linux/amd64"),
        (AMD64, [], "image has nothing, this node is linux/amd64"),
        (Platform("linux", "arm", "v6"), ["linux/arm/v7"], "image has linux/arm/v7, this node is linux/arm/v6"),
        (ARM64, ["linux/amd64", "windows/amd64"], "image has linux/amd64, windows/amd64, this node is linux/arm64"),
    ],
)
def test_no_platform_fits(node: Platform, platforms: list[str], words: str) -> None:
    with pytest.raises(ImageFailure) as caught:
        manifest.choose(index(*platforms), node)
    assert str(caught.value) == f"no match for platform in manifest: {words}"


def test_config() -> None:
    raw = json.dumps(
        {
            "architecture": "arm64",
            "os": "linux",
            "config": {
                "Env": ["A=b"],
                "Entrypoint": ["/e"],
                "Cmd": None,
                "WorkingDir": "/w",
                "User": "1:2",
                "StopSignal": "SIGQUIT",
                "Volumes": {"/b": {}, "/a": {}},
                "Labels": None,
                "ExposedPorts": {"80/tcp": {}},
                "Healthcheck": {"Test": ["NONE"]},
            },
            "rootfs": {"type": "layers", "diff_ids": [A]},
            "history": [{"created": "x"}],
        }
    ).encode()
    config = manifest.parse_config(raw)
    assert config.id == manifest.digest_of(raw)
    assert config.platform == Platform("linux", "arm64")
    assert config.diff_ids == (A,)
    assert config.image.entrypoint == ("/e",)
    assert config.image.cmd == ()
    assert config.image.volumes == ("/a", "/b")
    assert config.image.user == "1:2"
    manifest.check_platform(config, ARM64)
    with pytest.raises(ImageFailure, match="image has linux/arm64, this node is linux/amd64"):
        manifest.check_platform(config, AMD64)


def test_config_of_an_old_tool() -> None:
    config = manifest.parse_config(b'{"config":{"Cmd":"echo hi"}}')
    assert config.image.cmd == ("/bin/sh", "-c", "echo hi")
    manifest.check_platform(config, AMD64)
    parsed = manifest.parse_manifest(image())
    assert isinstance(parsed, manifest.Manifest)
    with pytest.raises(ImageFailure, match="manifest has 1 layers and the image config 0"):
        manifest.check_layers(parsed, config)


def test_chain_ids() -> None:
    """The example of image-spec config.md: each id covers all layers below."""
    chain = manifest.chain_ids([A, B, A])
    assert chain[0] == A
    assert chain[1] == manifest.digest_of(f"{A} {B}".encode())
    assert chain[2] == manifest.digest_of(f"{chain[1]} {A}".encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([A, "linux"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["schemaVersion", "manifests", "layers", "config", "digest", "size", "platform", "os", "rootfs",
                 "diff_ids", "architecture", "Cmd", "Env", "annotations"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON | st.binary(max_size=64))
def test_only_image_failures_escape(value: object) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    for parse in (manifest.parse_manifest, manifest.parse_config):
        try:
            found = parse(data)
            if isinstance(found, manifest.Index):
                manifest.choose(found, AMD64)
        except ImageFailure:
            pass
