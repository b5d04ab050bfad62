"""kill -9 at any moment restarts no container and leaks nothing; reset leaves the machine as it was."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from edgekube.testing.livenode import LiveNode, live_node

pytestmark = pytest.mark.root


def sleepers(image: str, name: str, replicas: int) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def containers(node: LiveNode, label: str) -> dict[str, tuple[str, int]]:
    """Pod -> (container id, restarts)."""
    found = {}
    for pod in node.get("pods", "-l", f"app={label}")["items"]:
        status = pod["status"]["containerStatuses"][0]
        found[pod["metadata"]["name"]] = (status["containerID"], status["restartCount"])
    return found


def footprint(node: LiveNode) -> dict[str, int]:
    """How much of each kind of thing the node has on the machine."""
    return {
        "cgroups": len(node.cgroups()),
        "mounts": len(node.mounts()),
        "links": len(node.links()),
        "processes": len(node.processes()),
    }


def settled(node: LiveNode, label: str, count: int) -> None:
    def done() -> bool:
        pods = node.get("pods", "-l", f"app={label}")["items"]
        return len(pods) == count and all(
            any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", ())) for p in pods
        )

    node.until(f"{count} pods of {label} are ready", done, 90)


def test_twenty_pods_survive_kills(tmp_path: Path, demo_image: Path, image: str) -> None:
    with live_node(tmp_path) as node:
        node.import_image(demo_image)
        node.apply(sleepers(image, "steady", 20))
        settled(node, "steady", 20)
        before, size = containers(node, "steady"), footprint(node)
        for _ in range(3):
            node.kill()
            node.start()
        settled(node, "steady", 20)
        assert containers(node, "steady") == before
        assert footprint(node) == size


def churn_under_kills(node: LiveNode, image: str, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    node.apply([sleepers(image, "steady", 3), sleepers(image, "churn", 1)])
    settled(node, "steady", 3)
    settled(node, "churn", 1)
    before, size = containers(node, "steady"), footprint(node)
    for _ in range(kills):
        node.kubectl("scale", "deployment/churn", f"--replicas={rng.randrange(6)}")
        time.sleep(rng.random() * 0.8)
        node.kill()
        node.start()
    node.kubectl("scale", "deployment/churn", "--replicas=1")
    settled(node, "churn", 1)
    node.until("what was there before is all there is", lambda: footprint(node) == size, 60)
    assert containers(node, "steady") == before


def test_kills_under_churn_leave_nothing(tmp_path: Path, demo_image: Path, image: str) -> None:
    with live_node(tmp_path) as node:
        node.import_image(demo_image)
        churn_under_kills(node, image, kills=6, seed=1)


@pytest.mark.long
def test_fifty_kills_under_churn_leave_nothing(tmp_path: Path, demo_image: Path, image: str) -> None:
    with live_node(tmp_path) as node:
        node.import_image(demo_image)
        churn_under_kills(node, image, kills=50, seed=2)


def test_reset_leaves_the_machine_as_it_was(tmp_path: Path, demo_image: Path, image: str) -> None:
    with live_node(tmp_path) as node:
        node.stop()
        node.start()
        node.import_image(demo_image)
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "steady"},
            "spec": {"type": "LoadBalancer", "selector": {"app": "steady"}, "ports": [{"port": 80}]},
        }
        node.apply([sleepers(image, "steady", 3), service])
        settled(node, "steady", 3)
        node.stop()
        assert len(node.processes()) > 0
        node.run_in(
            *(*node.program, "reset", "--yes"),
            *("--data-dir", str(node.data_dir), "--run-dir", str(node.run_dir), "--log-dir", str(node.log_dir)),
            *("--cgroup-root", node.name),
        )
        assert footprint(node) == {"cgroups": 0, "mounts": 1, "links": 0, "processes": 0}  # the run dir's own tmpfs
        assert not node.data_dir.exists() or not any(node.data_dir.iterdir())
        assert not any(node.run_dir.iterdir())
        assert "edgekube" not in node.rules()
        routes = json.loads(node.run_in("ip", "-j", "route"))
        assert {route["dst"] for route in routes} == {"default", "198.51.100.0/24"}
