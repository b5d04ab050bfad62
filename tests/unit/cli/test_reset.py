"""What reset refuses, remembers and leaves alone. That it removes the rest is shown on a real node."""

import os
from pathlib import Path

import msgspec
import pytest

from edgekube import reset
from edgekube.config import NodeConfig


def settings(tmp_path: Path, **more: str) -> NodeConfig:
    folders = {f"{name}_dir": str(tmp_path / name) for name in ("data", "run", "log")}
    return NodeConfig(**{**folders, **more})


def test_nothing_happens_without_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "data" / "store"
    kept.mkdir(parents=True)
    words = [f"--{name}-dir={tmp_path / name}" for name in ("data", "run", "log")]
    assert reset.main([*words, "--node-ip=192.0.2.1"]) == 1
    assert "reset --yes" in capsys.readouterr().err
    assert kept.exists()


def test_only_root_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo" in reset.why_not(settings(tmp_path), sure=True)


def test_the_nodes_own_note_wins_but_for_folders(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    noted = settings(tmp_path, bridge="other0", cgroup_root="elsewhere", data_dir="/moved")
    (run / "node.json").write_bytes(msgspec.json.encode(noted))
    found = reset.remembered(settings(tmp_path))
    assert (found.bridge, found.cgroup_root) == ("other0", "elsewhere")
    assert found.data_dir == str(tmp_path / "data")
    (run / "node.json").write_text("{")
    assert reset.remembered(settings(tmp_path)).bridge == "ek0"


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    assert reset._remove_empty(tmp_path) == ["mine.txt"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert reset._remove_empty(empty) == []
    assert not empty.exists()
    assert reset._remove_empty(empty) == []


async def test_folders_go_however_deep_a_pod_has_made_them(tmp_path: Path) -> None:
    found = settings(tmp_path)
    place = tmp_path / "data" / reset.DATA_NAMES[0]
    place.mkdir(parents=True)
    fd = os.open(place, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    await reset._folders(found)
    assert not (tmp_path / "data").exists()
