"""Pods whose images lie, from a registry beside the node: each says what is wrong, and the node goes on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekube.testing.livenode import ROOT, LiveNode

pytestmark = pytest.mark.root

PORT = 5000
HOST = f"127.0.0.1:{PORT}"
NO_DIGEST = "sha256:" + "0" * 64
# Repository or whole reference, what `kubectl get pods` shows at first, and the words of the event.
REFUSED = {
    f"{HOST}/Bad//Ref": ("InvalidImageName", "invalid reference format"),
    "Foo/Bar:1": ("InvalidImageName", "repository name must be lowercase"),
    f"{HOST}/good@{NO_DIGEST}": ("ErrImagePull", f"manifest {NO_DIGEST} arrived with the digest sha256:"),
    f"{HOST}/nothing-here:1": ("ErrImagePull", "name unknown: repository name not known to registry"),
    "127.0.0.1:5999/x:1": ("ErrImagePull", "dial tcp 127.0.0.1:5999: connect: connection refused"),
    "other-machine": ("ErrImagePull", "no match for platform in manifest: image has linux/s390x, this node is linux/"),
    "no-json": ("ErrImagePull", "manifest is not valid"),
    "too-large": ("ErrImagePull", "answers with more than 4194304 bytes"),
    "lying-layer": ("ErrImagePull", "arrived damaged: other digest"),
    "lying-size": ("ErrImagePull", "is longer than its manifest says"),
    "short-layer": ("ErrImagePull", "unexpected EOF"),
    "cut-layer": ("ErrImagePull", "in the middle of a file"),
    "no-layer": ("ErrImagePull", "failed to extract layer"),
    "endless": ("ErrImagePull", "is longer than its manifest says"),
    "climbs": ("ErrImagePull", "points outside the layer"),
    "hardlink-out": ("ErrImagePull", 'entry "../../'),
    "hardlink-by-link": ("ErrImagePull", "which is no file of this image"),
    "whiteout-out": ("ErrImagePull", 'whiteout ".wh..." names nothing that could be deleted'),
    "link-loop": ("ErrImagePull", "symlinks"),
    "bomb-ratio": ("ErrImagePull", "layer unpacks to more than 1100 times its size: a bomb"),
    "bomb-sparse": ("ErrImagePull", "layer is larger than 34359738368 bytes unpacked"),
}


@pytest.fixture
def victim(node: LiveNode, tmp_path: Path) -> Iterator[Path]:
    """A folder the layers aim at, and the registry that serves them."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    script = Path(__file__).with_name("hostile_registry.py")
    command = ["nsenter", f"--net=/run/netns/{node.name}", sys.executable, str(script), str(PORT), str(folder)]
    registry = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        listening = ("curl", "-s", f"http://{HOST}/v2/good/manifests/1")
        node.until("the registry listens", lambda: node.run_in(*listening, check=False))
        yield folder
    finally:
        registry.kill()
        registry.wait()


def pod(name: str, image: str, namespace: str) -> dict[str, Any]:
    container = {"name": "c", "image": image, "command": ["sleep", "1000"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def reference(image: str) -> str:
    return image if ":" in image else f"{HOST}/{image}:1"


def messages(node: LiveNode, namespace: str) -> dict[str, list[tuple[str, str]]]:
    """Reasons and messages of events, by pod."""
    found: dict[str, list[tuple[str, str]]] = {}
    for event in node.get("events", "-n", namespace)["items"]:
        found.setdefault(event["involvedObject"]["name"], []).append((event["reason"], event["message"]))
    return found


def test_refused_in_words_and_nothing_escapes(node: LiveNode, namespace: str, victim: Path) -> None:
    names = {image: f"p{number}" for number, image in enumerate(REFUSED)}
    names |= {"drip": "drip", "contained": "contained"}
    node.apply([pod(name, reference(image), namespace) for image, name in names.items()])

    def refused() -> bool:
        said = messages(node, namespace)
        return all(
            ("Failed", f"Error: {reason}") in said.get(names[image], ()) for image, (reason, _) in REFUSED.items()
        )

    node.until("every pod is refused", refused)
    said = messages(node, namespace)
    for image, (reason, words) in REFUSED.items():
        found = "\n".join(message for _, message in said[names[image]])
        assert words in found, (image, found)
        invalid = reason == "InvalidImageName"
        prefix = "Failed to apply default image tag" if invalid else f'Failed to pull image "{reference(image)}": '
        assert prefix in found, (image, found)

    # A body that only drips holds up nobody: what is good starts meanwhile, and its pod can be deleted.
    node.apply(pod("good", reference("good"), namespace))
    node.kubectl("-n", namespace, "wait", "pod/good", "pod/contained", "--for=condition=Ready", "--timeout=30s")
    assert node.get("pod", "drip", "-n", namespace)["status"]["containerStatuses"][0]["state"] == {
        "waiting": {"reason": "ContainerCreating"}
    }
    node.kubectl("-n", namespace, "delete", "pod", "drip", "--timeout=20s")

    def held_back() -> bool:
        status = node.get("pod", names["climbs"], "-n", namespace)["status"]
        waiting = status["containerStatuses"][0]["state"]["waiting"]
        expected = f'Back-off pulling image "{reference("climbs")}": ErrImagePull: '
        return bool(waiting["reason"] == "ImagePullBackOff" and waiting["message"].startswith(expected))

    node.until("the pull is held back", held_back)
    node.until(
        "the event says so",
        lambda: ("Failed", "Error: ImagePullBackOff") in messages(node, namespace)[names["climbs"]],
    )

    # What unpacked did so inside its own root, and no device came with it.
    inside = ("-n", namespace, "exec", "contained", "--")
    assert node.kubectl(*inside, "cat", f"{victim}/pwned", f"{victim}/secret") == "xoverwritten"
    assert node.kubectl_status(*inside, "ls", "/disk")[0] != 0
    assert node.kubectl_status(*inside, "ls", "/mem")[0] != 0
    assert sorted(os.listdir(victim)) == ["secret"]
    assert ((victim / "secret").read_text(), (victim / "secret").stat().st_nlink) == ("secret", 1)
    kept = {name for image in json.loads(node.local("/edgekube/images")) for name in image["tags"]}
    assert {name for name in kept if name.startswith(HOST)} == {reference("good"), reference("contained")}
