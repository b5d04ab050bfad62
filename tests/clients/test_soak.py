"""Minutes of churn leave a node as it was: descriptors, mounts, links, cgroups, and memory within a bound."""

import os
import re
import time
from pathlib import Path

import msgspec
import pytest

from edgekube.testing.livenode import LiveNode, live_node
from tests.clients.test_kubectl_node import deployment, in_namespace, service

pytestmark = [pytest.mark.root, pytest.mark.long]

CHURN_SECONDS = 300
# What a node keeps on purpose while it is used: an hour of Events, the history watches resume from.
KEPT_KIB = 32 * 1024


class Held(msgspec.Struct, frozen=True):
    descriptors: int
    mounts: int
    links: int
    cgroups: int


def held(node: LiveNode) -> Held:
    return Held(
        descriptors=len(os.listdir(f"/proc/{node.pid}/fd")),
        mounts=len(node.mounts()),
        links=len(node.links()),
        cgroups=len(node.cgroups()),
    )


def pss_kib(node: LiveNode) -> int:
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{node.pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def settle(node: LiveNode) -> None:
    node.kubectl("scale", "deployment/web", "--replicas=2")
    node.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    node.until("two pods are left", lambda: len(node.get("pods")["items"]) == 2)


def churn(node: LiveNode, image: str, turn: int) -> None:
    node.kubectl("scale", "deployment/web", f"--replicas={1 + turn % 8}")
    node.apply(deployment(image, replicas=1 + turn % 8, page=str(turn)))
    node.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    node.kubectl("exec", "deployment/web", "--", "true")
    name = node.kubectl("get", "pods", "-l", "app=web", "-o", "name").split()[0]
    node.kubectl("delete", name, "--force", "--grace-period=0", "--ignore-not-found")  # it may be on its way out
    node.kubectl("create", "namespace", f"n{turn}")
    node.apply(in_namespace(f"n{turn}", service()))
    node.kubectl("delete", "namespace", f"n{turn}", "--wait=false")


def test_churn_leaves_nothing(tmp_path: Path, demo_image: Path, image: str) -> None:
    with live_node(tmp_path) as node:
        node.import_image(demo_image)
        node.apply([deployment(image), service()])
        for turn in range(3):  # what is loaded at first use is loaded now
            churn(node, image, turn)
        settle(node)
        before, memory = held(node), pss_kib(node)
        end, turn = time.monotonic() + CHURN_SECONDS, 3
        while time.monotonic() < end:
            churn(node, image, turn)
            turn += 1
        settle(node)

        def same() -> bool:
            now = held(node)
            return now.descriptors <= before.descriptors + 4 and now == msgspec.structs.replace(
                before, descriptors=now.descriptors
            )

        node.until(f"all is as before: {before}, now {held(node)}", same, 60)
        assert pss_kib(node) - memory < KEPT_KIB
        namespaces = node.kubectl("get", "namespaces", "-o", "name").split()
        assert not [name for name in namespaces if re.fullmatch(r"namespace/n\d+", name)]
