"""A node comes back from a backup: its objects, its keys, its running pods; what was made later is gone."""

import subprocess
from pathlib import Path

import pytest

from edgekube.testing.livenode import LiveNode, live_node
from tests.clients.test_leaks import containers, footprint, settled, sleepers

pytestmark = pytest.mark.root


def restore(node: LiveNode, *words: str) -> subprocess.CompletedProcess[str]:
    folders = ("--data-dir", str(node.data_dir), "--run-dir", str(node.run_dir))
    return subprocess.run([*node.program, "restore", *folders, *words], capture_output=True, text=True, cwd=node.folder)


def test_backup_and_restore(tmp_path: Path, demo_image: Path, image: str) -> None:
    file = tmp_path / "backup"
    with live_node(tmp_path) as node:
        node.import_image(demo_image)
        node.apply(sleepers(image, "steady", 2))
        settled(node, "steady", 2)
        node.kubectl("create", "configmap", "kept", "--from-literal=a=b")
        token = node.kubectl("create", "token", "default")
        assert "keep it safe" in node.edgekube("backup", str(file))
        assert file.stat().st_mode & 0o777 == 0o600
        node.kubectl("delete", "configmap", "kept")
        size = footprint(node)
        node.apply(sleepers(image, "later", 1))
        settled(node, "later", 1)
        before = containers(node, "steady")

        refused = restore(node, str(file))
        assert (refused.returncode, "the node runs" in refused.stderr) == (1, True)
        node.stop()
        refused = restore(node, str(file))
        assert (refused.returncode, "holds a store already" in refused.stderr) == (1, True)
        refused = restore(node, str(demo_image), "--replace")
        assert (refused.returncode, "not a backup" in refused.stderr) == (1, True)

        for key in (node.data_dir / "pki").iterdir():  # as on a new card
            key.unlink()
        done = restore(node, str(file), "--replace")
        assert done.returncode == 0, done.stderr
        node.start()
        assert node.get("configmap", "kept")["data"] == {"a": "b"}
        settled(node, "steady", 2)
        assert containers(node, "steady") == before
        assert node.kubectl("get", "deployments", "-o", "name").split() == ["deployment.apps/steady"]
        node.until("nothing is left of later pods", lambda: footprint(node) == size)
        # The old certificate authority and token key are back: what was given out before still counts.
        assert "kube-system" in node.kubectl("get", "namespaces")
        whoami = node.kubectl("--token", token, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
        assert whoami == "system:serviceaccount:default:default"
