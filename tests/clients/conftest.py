"""One real node for the whole folder: started once, with the demo image imported."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekube.testing.images import DEMO_REFERENCE, build_demo_image
from edgekube.testing.livenode import LiveNode, live_node


@pytest.fixture(scope="session")
def demo_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "demo.tar"
    build_demo_image(str(path))
    return path


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory, demo_image: Path) -> Iterator[LiveNode]:
    if os.geteuid() != 0:
        pytest.skip("a node needs root")
    with live_node(tmp_path_factory.mktemp("node")) as started:
        started.import_image(demo_image)
        yield started


@pytest.fixture
def namespace(node: LiveNode, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace, deleted (without waiting) after the test."""
    name = request.node.name.split("[")[0].replace("test_", "").replace("_", "-")[:40]
    node.kubectl("create", "namespace", name)
    node.until(
        "the default service account is there",
        lambda: node.kubectl("-n", name, "get", "serviceaccount", "default", "--ignore-not-found"),
    )
    yield name
    node.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def image() -> str:
    return DEMO_REFERENCE
