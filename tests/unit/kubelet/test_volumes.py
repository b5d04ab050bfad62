"""Configuration volumes: payloads as values, and how they appear on a file system."""

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekube.kubelet.env import ConfigError
from edgekube.kubelet.payload import File, Payload, payload_of
from edgekube.kubelet.volumes import (
    PodVolumes,
    check_host_path,
    check_payload_path,
    make_folders,
    shows,
    write_atomically,
)
from edgekube.types.core_v1 import HostPathVolumeSource, Volume
from tests.unit.kubelet.conftest import pod_of
from tests.unit.kubelet.test_env import sources


def files(**contents: str) -> Payload:
    return {name.replace("__", "/"): File(text.encode(), 0o644) for name, text in contents.items()}


def volume(**source: Any) -> Volume:
    return msgspec.convert({"name": "v", **source}, Volume)


def payload(**source: Any) -> dict[str, tuple[bytes, int]]:
    found = payload_of(pod_of(), volume(**source), sources(), lambda projection: f"token for {projection.audience}")
    assert found is not None
    return {name: (file.content, file.mode) for name, file in found.items()}


def tree(root: Path) -> dict[str, str]:
    """What a container sees: names that lead to files, by way of links."""
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith("..")
    } | {
        f"{entry.name}/{inner.relative_to(entry)}": inner.read_text()
        for entry in root.iterdir()
        if entry.is_dir() and not entry.name.startswith("..")
        for inner in entry.rglob("*")
        if inner.is_file()
    }


def test_payloads() -> None:
    assert payload(configMap={"name": "cm"}) == {"A": (b"1", 0o644), "b.c": (b"2", 0o644)}
    items = [{"key": "A", "path": "x/y", "mode": 0o400}]
    assert payload(configMap={"name": "cm", "items": items, "defaultMode": 0o600}) == {"x/y": (b"1", 0o400)}
    assert payload(secret={"secretName": "s", "defaultMode": 0o440}) == {"pw": (b"geheim", 0o440)}
    assert payload(configMap={"name": "no", "optional": True}) == {}
    assert payload(downwardAPI={"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}) == {
        "n": (b"web", 0o644)
    }
    projected = payload(
        projected={
            "sources": [
                {"configMap": {"name": "cm", "items": [{"key": "A", "path": "a"}]}},
                {"secret": {"name": "s"}},
                {"serviceAccountToken": {"path": "token", "audience": "x"}},
                {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]
        }
    )
    assert {name: content for name, (content, _) in projected.items()} == {
        "a": b"1",
        "pw": b"geheim",
        "token": b"token for x",
        "ns": b"default",
    }


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"configMap": {"name": "cm", "items": [{"key": "Z", "path": "z"}]}}, "references non-existent config key: Z"),
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        ({"projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}, "clusterTrustBundle is not supported"),
    ],
)
def test_what_a_payload_lacks_is_named(source: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        payload(**source)


def test_files_appear_change_and_vanish_together(tmp_path: Path) -> None:
    root = tmp_path / "v"
    write_atomically(root, files(a="1", d__e="2", d__f__g="3"), None)
    assert tree(root) == {"a": "1", "d/e": "2", "d/f/g": "3"}
    assert os.readlink(root / "a") == "..data/a"
    held = (root / "a").open()
    old = os.readlink(root / "..data")
    write_atomically(root, files(a="new", b="4"), None)
    assert tree(root) == {"a": "new", "b": "4"}
    assert held.read() == "1"
    held.close()
    assert os.readlink(root / "..data") != old
    assert sorted(p.name for p in root.iterdir() if p.name.startswith("..")) == sorted(
        ["..data", os.readlink(root / "..data")]
    )
    write_atomically(root, {}, None)
    assert tree(root) == {}


async def test_the_same_files_are_not_written_again(tmp_path: Path) -> None:
    pod = pod_of(volumes=[{"name": "v", "configMap": {"name": "cm"}}])
    wanted = pod.spec.volumes[0]
    volumes = PodVolumes(pod, data_dir=tmp_path / "data", run_dir=tmp_path / "run")
    assert volumes.write(wanted, files(a="1", d__e="2"))
    assert not volumes.write(wanted, files(a="1", d__e="2"))
    where = os.readlink(volumes.path(wanted) / "..data")
    after_restart = PodVolumes(pod, data_dir=tmp_path / "data", run_dir=tmp_path / "run")
    assert not after_restart.write(wanted, files(a="1", d__e="2"))
    assert os.readlink(volumes.path(wanted) / "..data") == where
    assert after_restart.write(wanted, files(a="2", d__e="2"))
    assert after_restart.write(wanted, files(a="2"))
    assert shows(volumes.path(wanted), files(a="2"), None)
    assert not shows(volumes.path(wanted), {"a": File(b"2", 0o600)}, None)
    await after_restart.remove()
    assert not volumes.path(wanted).exists()


def test_modes_and_groups(tmp_path: Path) -> None:
    write_atomically(tmp_path / "v", {"k": File(b"x", 0o400)}, os.getgid())
    info = (tmp_path / "v" / "k").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_gid) == (0o440, os.getgid())


LONG = "a/" + "n" * 256


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "..data/x", "..", LONG, "x/" * 2500])
def test_paths_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        check_payload_path(name)


def test_ordinary_paths_are_fine() -> None:
    for name in ("a", "a/b", ".hidden", "a..b", "a/..b"):
        check_payload_path(name)


def test_kinds_this_node_lacks_are_named(tmp_path: Path) -> None:
    pod = pod_of(volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}])
    with pytest.raises(ConfigError, match='kind "nfs" are not supported'):
        PodVolumes(pod, data_dir=tmp_path, run_dir=tmp_path).prepare(pod.spec.volumes[0])
    pod = pod_of(volumes=[{"name": "v", "emptyDir": {"medium": "HugePages"}}])
    with pytest.raises(ConfigError, match="HugePages"):
        PodVolumes(pod, data_dir=tmp_path, run_dir=tmp_path).prepare(pod.spec.volumes[0])


async def test_an_empty_dir_keeps_its_content(tmp_path: Path) -> None:
    pod = pod_of(volumes=[{"name": "v", "emptyDir": {}}])
    volumes = PodVolumes(pod, data_dir=tmp_path / "d", run_dir=tmp_path / "r")
    volumes.prepare(pod.spec.volumes[0])
    path = volumes.path(pod.spec.volumes[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    (path / "kept").write_text("x")
    path.chmod(0o700)
    volumes.prepare(pod.spec.volumes[0])
    assert (path / "kept").read_text() == "x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    await volumes.remove()
    assert not path.exists()


def test_host_paths(tmp_path: Path) -> None:
    folder, file = str(tmp_path / "a" / "b"), str(tmp_path / "f")
    check_host_path(HostPathVolumeSource(path=folder, type="DirectoryOrCreate"))
    check_host_path(HostPathVolumeSource(path=file, type="FileOrCreate"))
    check_host_path(HostPathVolumeSource(path=str(tmp_path / "c")))
    assert (tmp_path / "c").is_dir()
    for path, kind, words in (
        (folder, "File", "is not a file"),
        (file, "Directory", "is not a directory"),
        (file, "Socket", "is not a socket file"),
        (str(tmp_path / "nope"), "Directory", "is not a directory"),
    ):
        with pytest.raises(ConfigError, match=words):
            check_host_path(HostPathVolumeSource(path=path, type=kind))


def test_sub_path_folders_stay_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to("/tmp")
    (root / "up").symlink_to("../../..")
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        make_folders(fd, "a/b/c")
        make_folders(fd, "up/x")
        with pytest.raises(OSError, match="No such file"):
            make_folders(fd, "link/ek-escaped")
    finally:
        os.close(fd)
    assert (root / "a/b/c").is_dir()
    assert (root / "x").is_dir()
    assert not Path("/tmp/ek-escaped").exists()


def test_configuration_volumes_are_read_only(tmp_path: Path) -> None:
    volumes = [
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "d", "downwardAPI": {}},
        {"name": "p", "projected": {}},
        {"name": "e", "emptyDir": {}},
        {"name": "h", "hostPath": {"path": str(tmp_path)}},
    ]
    wanted = [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes]
    pod = pod_of(volumes=volumes, containers=[{"name": "main", "volumeMounts": wanted}])
    mounts = PodVolumes(pod, data_dir=tmp_path, run_dir=tmp_path).mounts(pod, pod.spec.containers[0], {})
    assert {m.target: m.readonly for m in mounts} == {
        "/c": True, "/s": True, "/d": True, "/p": True, "/e": False, "/h": False
    }  # fmt: skip


def test_a_host_path_with_a_nul_is_refused() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        check_host_path(HostPathVolumeSource(path="/tmp\0/x"))


@pytest.mark.parametrize("below", ["../x", "a/../x", "/x", "a\0b"])
def test_sub_paths_with_dots_are_refused(tmp_path: Path, below: str) -> None:
    pod = pod_of(
        volumes=[{"name": "v", "emptyDir": {}}],
        containers=[{"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": below}]}],
    )
    volumes = PodVolumes(pod, data_dir=tmp_path, run_dir=tmp_path)
    with pytest.raises(ConfigError, match="must be relative"):
        volumes.mounts(pod, pod.spec.containers[0], {})
