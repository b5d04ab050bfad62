"""Trees as a hostile container leaves them."""

import os
from pathlib import Path

import pytest

from edgekube.runtime.trees import SMALL_TREE_ENTRIES, count_entries, remove_tree


def nest(root: Path, name: str, depth: int) -> None:
    """Folders in one another, deeper than any path may be long."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


@pytest.mark.parametrize(("name", "depth"), [("d", 3), ("d", 2500), ("n" * 255, 1200)])
async def test_any_depth_goes(tmp_path: Path, name: str, depth: int) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    nest(root, name, depth)
    await remove_tree(str(root))
    assert os.listdir(tmp_path) == []


async def test_links_are_not_followed_and_many_files_go(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    for count in (3, SMALL_TREE_ENTRIES + 1):
        root = tmp_path / "tree"
        root.mkdir()
        (root / "link").symlink_to(victim)
        for number in range(count):
            (root / str(number)).touch()
        await remove_tree(str(root))
        assert not root.exists()
    assert os.listdir(victim) == ["file"]


async def test_nothing_is_gone_already(tmp_path: Path) -> None:
    assert count_entries(str(tmp_path / "none"), 5) == 0
    await remove_tree(str(tmp_path / "none"))
