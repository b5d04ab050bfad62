"""What comes and goes leaves no object behind in the node: connections, watches, pods, Services, Jobs, namespaces."""

import json
import os
import re
import signal
import socket
from pathlib import Path

import msgspec
import pytest

from edgekube.testing.livenode import LiveNode, live_node
from tests.clients.test_kubectl_node import deployment, in_namespace, pod, service
from tests.clients.watchers import Watchers

pytestmark = pytest.mark.root

WATCHES = 40
ROUNDS = 2
# What a node remembers on purpose, each within a limit of its own; all else must be the same after a round as before.
REMEMBERED = (
    r"edgekube\.apiserver\.schema\.Node\._fields",  # of each type, from its first use on
    r"edgekube\.client\.events\..*",  # repeats of 1,024 Events are folded
    r"edgekube\.client\.queue\.WorkQueue\._(delayed|due)(\[\])?",  # keys of deleted objects: their delays run out
    r"edgekube\.store\.history\..*",  # 8 MiB and five minutes
    r"edgekube\.store\.watch\._Channel\.events",  # the same
    r"edgekube\.raft\.walindex\.LogIndex\._tail",  # the last entries of the log, by bytes
    r"edgekube\.store\.replicated\.ReplicatedStore\._unflushed",  # until the next flush
    r"edgekube\.store\.state\.StateMachine\._(recent.*|deleted)",  # the same
    r"edgekube\.store\.volatile\..*",  # Events: 5,000, 6 MiB, an hour
    r"edgekube\.(network\.nft_table\.NftTable\._elements|proxy\.ruleset\.Merger\._owners)",  # empty ones of 16 shards
    r"cache of Authenticator.*",  # who 64 processes were
    r"trio\.CancelScope|trio\._core\._run\.CancelReason",  # trio drops stale deadlines a thousand at a time
)
REMEMBERED_NAMES = re.compile("|".join(REMEMBERED))


class Census(msgspec.Struct, frozen=True):
    """Counts of live objects by class, and lengths of containers by owner (see census/sitecustomize.py)."""

    objects: dict[str, int]
    lengths: dict[str, int]

    def beyond(self, before: "Census") -> dict[str, str]:
        """What has grown in step with the rounds; one more or less is only a task that waits elsewhere."""
        grown = {}
        for now, then in ((self.objects, before.objects), (self.lengths, before.lengths)):
            for name, count in now.items():
                ours = name.startswith(("edgekube.", "running ", "cache of ", "trio.", "ssl.", "httptools."))
                if not (ours or now is self.lengths) or REMEMBERED_NAMES.fullmatch(name):
                    continue
                if count >= then.get(name, 0) + ROUNDS:
                    grown[name] = f"{then.get(name, 0)} -> {count}"
        return grown


class Counted:
    """A node that counts."""

    def __init__(self, node: LiveNode, path: Path) -> None:
        self.node = node
        self._path = path

    def census(self) -> Census:
        self._path.unlink(missing_ok=True)
        os.kill(self.node.pid, signal.SIGUSR2)
        self.node.until("it has counted", self._path.exists, 20)
        return msgspec.json.decode(self._path.read_bytes(), type=Census)


def connections(node: LiveNode) -> None:
    """Watches that are left open until their clients die, plain and TLS, and requests that are none."""
    netns = Path(f"/run/netns/{node.name}")
    watchers = [
        Watchers(netns, str(node.socket), WATCHES),
        Watchers(netns, "127.0.0.1:6443", WATCHES, node.kubeconfig),
    ]
    for each in watchers:
        each.stop()
    for text in (b"NONSENSE\r\n\r\n", b"GET /version HTTP/1.1\r\n\r\n", b"POST /api/v1/pods HTTP/1.1\r\nHost: x\r\n"):
        with socket.socket(socket.AF_UNIX) as broken:
            broken.connect(str(node.socket))
            broken.sendall(text)


def pods(node: LiveNode, image: str, namespace: str) -> None:
    """A namespace with what most namespaces have, used and deleted."""
    node.kubectl("create", "namespace", namespace)
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"page": "one"}}
    volume = {"volumes": [{"name": "settings", "configMap": {"name": "settings"}}]}
    once = pod(image, "once", "true", restartPolicy="Never", **volume)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job"},
        "spec": {"template": {"spec": {**pod(image, "job", "true")["spec"], "restartPolicy": "Never"}}},
    }
    headless = service("each", clusterIP="None", selector={"app": "web"})
    node.apply(in_namespace(namespace, settings, deployment(image, replicas=3), service(), headless, once, job))

    def kubectl(*words: str) -> str:
        return node.kubectl("-n", namespace, *words)

    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("wait", "job/job", "--for=condition=Complete", "--timeout=60s")
    kubectl("exec", "deployment/web", "--", "nslookup", f"each.{namespace}.svc.cluster.local")
    kubectl("logs", "deployment/web")
    kubectl("delete", "namespace", namespace)


def test_nothing_stays(tmp_path: Path, demo_image: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKUBE_CENSUS", str(tmp_path / "census"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("census")))
    with live_node(tmp_path) as node:
        node.import_image(demo_image)
        counted = Counted(node, tmp_path / "census")

        def round(number: int) -> None:
            connections(node)
            pods(node, image, f"round-{number}")

        round(0)  # what is made at first use is made now
        before = counted.census()
        assert before.objects["edgekube.http.server.HttpServer"] == 1
        for number in range(ROUNDS):
            round(1 + number)
        grown: list[dict[str, str]] = []

        def same() -> bool:
            grown[:] = [counted.census().beyond(before)]
            return not grown[0]

        try:
            node.until("nothing has grown", same, 15)
        except AssertionError:
            raise AssertionError(f"these have grown: {json.dumps(grown, indent=1)}") from None
