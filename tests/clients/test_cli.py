"""The node's own command line against a real node: the daily verbs, in the forms people type them."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekube.testing.livenode import LiveNode

pytestmark = pytest.mark.root

MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{mode: {mode}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {image}
          command:
            - sh
            - -c
            - mkdir -p /tmp/www; echo page > /tmp/www/index.html; echo started; exec httpd -f -p 8080 -h /tmp/www
          ports: [{{name: http, containerPort: 8080}}]
          env: [{extra}{{name: MODE, value: "{mode}"}}]
"""


class Cli:
    """`edgekube` at one node, in one namespace."""

    def __init__(self, node: LiveNode, namespace: str) -> None:
        self.node = node
        self.namespace = namespace
        self.env = {**os.environ, "EDGEKUBE_SOCKET": str(node.socket)}

    def command(self, *words: str) -> list[str]:
        return [*self.node.program, "-n", self.namespace, *words]

    def status(self, *words: str, text: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            self.command(*words), input=text or None, capture_output=True, text=True, env=self.env, timeout=120
        )
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *words: str, text: str = "") -> str:
        code, out, err = self.status(*words, text=text)
        assert code == 0, f"edgekube {' '.join(words)} ended with {code}: {err}"
        return out


@pytest.fixture(scope="module")
def cli(node: LiveNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    made = Cli(node, "cli")
    made("create", "namespace", "cli")
    yield made
    made("delete", "namespace", "cli", "--wait=false")


@pytest.fixture(scope="module")
def web(cli: Cli, image: str) -> str:
    """A Deployment of two pods that is up."""
    cli("apply", "-f", "-", text=MANIFEST.format(mode="slow", replicas=2, image=image, extra=""))
    assert "successfully rolled out" in cli("rollout", "status", "deployment/web", "--timeout=60s")
    return "deployment/web"


def test_apply_changes_only_what_differs(cli: Cli, web: str, image: str) -> None:
    same = MANIFEST.format(mode="slow", replicas=2, image=image, extra="")
    assert cli("apply", "-f", "-", text=same) == "configmap/settings unchanged\ndeployment.apps/web unchanged\n"
    changed = MANIFEST.format(mode="fast", replicas=2, image=image, extra='{name: MORE, value: "1"}, ')
    assert cli("apply", "-f", "-", text=changed) == "configmap/settings configured\ndeployment.apps/web configured\n"
    path = "jsonpath={.spec.template.spec.containers[0].env[*].name}"
    assert cli("get", web, "-o", path) == "MORE MODE"
    # kubectl takes over where we left, and we take over from kubectl: what it drops from the manifest goes.
    kubectl = cli.node.kubectl("-n", "cli", "apply", "-f", "-", text=changed)
    assert kubectl == "configmap/settings unchanged\ndeployment.apps/web unchanged\n"
    cli.node.kubectl("-n", "cli", "apply", "-f", "-", text=same)
    assert cli("apply", "-f", "-", text=same).count("unchanged") == 2
    assert cli("get", web, "-o", path) == "MODE"
    cli("rollout", "status", web, "--timeout=60s")


def test_get_prints_what_kubectl_prints(cli: Cli, web: str) -> None:
    for words in (
        ("get", "configmap", "settings", "-o", "json"),
        ("get", "configmap", "settings", "-o", "name"),
        ("get", "deploy,cm", "-o", "name"),
        ("get", "deploy", "web", "-o", "jsonpath={.metadata.labels}"),
        ("get", "sa", "-o", "custom-columns=NAME:.metadata.name,NS:.metadata.namespace"),
        ("get", "cm", "--no-headers", "-o", "custom-columns=DATA:.data.mode"),
        ("get", "configmap", "settings", "-o", "yaml"),
    ):
        assert cli(*words) == cli.node.kubectl("-n", "cli", *words), words
    for words in (
        ("get", "pods"),
        ("get", "pods,deploy", "-o", "wide"),
        ("get", "all"),
        ("get", "ns", "--show-labels"),
    ):

        def same(words: tuple[str, ...] = words) -> bool:
            """The cluster may move between the two looks: then look again."""
            ours, theirs = cli(*words), cli.node.kubectl("-n", "cli", *words)
            return [x.split()[:2] for x in ours.splitlines()] == [x.split()[:2] for x in theirs.splitlines()]

        cli.node.until(f"{words} prints what kubectl prints", same, 20)


def test_refusals_and_exit_codes(cli: Cli) -> None:
    code, _, err = cli.status("get", "pod", "nosuch")
    assert (code, err) == (1, 'Error from server (NotFound): pods "nosuch" not found\n')
    assert cli("get", "pod", "nosuch", "--ignore-not-found") == ""
    assert cli.status("get", "nosuchtype")[0] == 1
    assert cli.status("get", "pods", "--nosuch")[0] == 2
    code, _, err = cli.status(
        "create", "-f", "-", text='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"A_"}}'
    )
    assert code == 1
    assert "A_" in err


def test_watch_shows_changes(cli: Cli) -> None:
    cli("create", "configmap", "watched", "--from-literal=a=1")
    words = cli.command("get", "cm", "watched", "--watch", "-o", "jsonpath={.data.a}")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=cli.env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        cli("patch", "cm", "watched", "--type=merge", "-p", '{"data":{"a":"2"}}')
        assert process.stdout.readline() == "2\n"
        process.terminate()
    cli("delete", "cm", "watched")


def test_commands_in_containers(cli: Cli, web: str) -> None:
    code, out, err = cli.status("exec", web, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (code, out) == (7, "out\n")
    assert err.splitlines()[0] == "err"
    assert cli("exec", "-i", web, "--", "cat", text="through\n") == "through\n"
    big = "x" * 300_000
    assert cli("exec", "-i", web, "--", "wc", "-c", text=big).strip() == "300000"
    assert cli.status("exec", web, "--", "nosuchprogram")[0] == 1


def test_a_terminal_with_its_size(cli: Cli, web: str) -> None:
    leader, follower = pty.openpty()
    try:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 97, 0, 0))
        command = "sleep 0.3; stty size; read line; echo got:$line; exit 3"
        process = subprocess.Popen(
            cli.command("exec", "-it", web, "--", "sh", "-c", command),
            stdin=follower, stdout=follower, stderr=subprocess.DEVNULL, env=cli.env,
        )  # fmt: skip
        seen = _until(leader, rb"41 97")
        os.write(leader, b"typed\r")
        seen += _until(leader, rb"got:typed")
        assert process.wait(20) == 3
    finally:
        os.close(leader)
        os.close(follower)


def _until(fd: int, pattern: bytes) -> bytes:
    data = b""
    deadline = time.monotonic() + 20
    while not re.search(pattern, data):
        assert time.monotonic() < deadline, data
        if select.select([fd], [], [], 0.5)[0]:
            data += os.read(fd, 4096)
    return data


def test_logs(cli: Cli, web: str) -> None:
    assert cli("logs", web, "--tail=1") == "started\n"
    prefixed = cli("logs", "-l", "app=web", "--prefix")
    assert len(re.findall(r"^\[pod/web-\S+/web\] started$", prefixed, re.MULTILINE)) == 2
    assert re.match(r"\d{4}-\d\d-\d\dT\S+ started\n", cli("logs", web, "--timestamps"))
    code, _, err = cli.status("logs", web, "-c", "nosuch")
    assert code == 1
    assert "container nosuch not found" in err


def test_forwarded_ports(cli: Cli, web: str) -> None:
    cli("expose", web, "--port=80", "--target-port=http")
    command = cli.command("port-forward", "service/web", ":80", "--address", "127.0.0.1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cli.env) as process:
        assert process.stdout is not None
        match = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) -> 8080", process.stdout.readline())
        assert match is not None
        for _ in range(3):
            page = subprocess.run(
                ["curl", "-s", "--noproxy", "*", "--max-time", "20", f"http://127.0.0.1:{match[1]}/"],
                capture_output=True, text=True,
            )  # fmt: skip
            assert page.stdout == "page\n"
        process.terminate()


def test_rollouts(cli: Cli, web: str) -> None:
    assert cli("rollout", "restart", web) == "deployment.apps/web restarted\n"
    cli("rollout", "status", web, "--timeout=60s")
    revisions = cli("rollout", "history", web).splitlines()
    assert revisions[1].split() == ["REVISION", "CHANGE-CAUSE"]
    assert cli("rollout", "undo", web) == "deployment.apps/web rolled back\n"
    assert cli("rollout", "pause", web) == "deployment.apps/web paused\n"
    assert cli.status("rollout", "pause", web)[0] == 1
    assert cli("rollout", "resume", web) == "deployment.apps/web resumed\n"
    cli("rollout", "status", web, "--timeout=60s")


def test_scale_and_wait(cli: Cli, web: str) -> None:
    assert cli("scale", web, "--replicas=1") == "deployment.apps/web scaled\n"
    cli("wait", "--for=jsonpath={.status.replicas}=1", web, "--timeout=30s")
    code, _, err = cli.status("scale", web, "--replicas=2", "--current-replicas=5")
    assert code == 1
    assert "expected replicas to be 5, was 1" in err
    cli("scale", web, "--replicas=2", "--timeout=30s")
    assert "condition met" in cli("wait", "--for=condition=Available", web, "--timeout=30s")
    code, _, err = cli.status("wait", "--for=condition=Nosuch", web, "--timeout=1s")
    assert code == 1
    assert err == "error: timed out waiting for the condition on deployments/web\n"


def test_labels_annotations_and_patches(cli: Cli) -> None:
    cli("create", "configmap", "marked", "--from-literal=a=1")
    assert cli("label", "cm", "marked", "x=1") == "configmap/marked labeled\n"
    assert cli.status("label", "cm/marked", "x=2")[0] == 1
    cli("label", "cm/marked", "x=2", "--overwrite")
    assert cli("label", "cm/marked", "x-") == "configmap/marked unlabeled\n"
    cli("annotate", "cm", "marked", "note=two words")
    patch = json.dumps([{"op": "replace", "path": "/data/a", "value": "2"}])
    assert cli("patch", "cm", "marked", "--type=json", "-p", patch) == "configmap/marked patched\n"
    assert (
        cli("patch", "cm", "marked", "--type=merge", "-p", "data: {a: '2'}") == "configmap/marked patched (no change)\n"
    )
    found = json.loads(cli("get", "cm", "marked", "-o", "json"))
    assert found["data"] == {"a": "2"}
    assert found["metadata"]["annotations"] == {"note": "two words"}
    assert not found["metadata"].get("labels")
    assert cli("delete", "cm", "marked") == 'configmap "marked" deleted from cli namespace\n'
    assert cli("delete", "cm", "marked", "--ignore-not-found") == ""


def test_server_side_apply_tells_conflicts(cli: Cli) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {a: '1'}\n"
    assert cli("apply", "--server-side", "-f", "-", text=text) == "configmap/shared serverside-applied\n"
    other = text.replace("'1'", "'2'")
    code, _, err = cli.status("apply", "--server-side", "--field-manager=other", "-f", "-", text=other)
    assert code == 1
    assert "--force-conflicts" in err
    cli("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", text=other)
    assert cli("get", "cm", "shared", "-o", "jsonpath={.data.a}") == "2"


def test_a_pod_is_deleted_and_gone(cli: Cli, image: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "short"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": image, "command": ["sleep", "1000"]}],
        },
    }
    cli("create", "-f", "-", text=json.dumps(pod))
    cli("wait", "--for=condition=Ready", "pod/short", "--timeout=30s")
    cli("delete", "pod", "short", "--timeout=30s")
    assert cli("get", "pod", "short", "--ignore-not-found") == ""


def test_descriptions(cli: Cli, web: str) -> None:
    text = cli("describe", web)
    assert "StrategyType:      RollingUpdate" in text
    assert re.search(r"Normal\s+ScalingReplicaSet\s", text)
    pods = cli("describe", "pods", "-l", "app=web")
    assert "Restart Count:     0" in pods
    assert "Controlled By:     ReplicaSet/web-" in pods
    node = cli("describe", "node", cli.node.name)
    assert "Non-terminated Pods" in node
    assert "Data\n====\nmode:\n----\n" in cli("describe", "cm", "settings")
    assert "ScalingReplicaSet" in cli("events", "--for", web)


def test_the_node_tells_of_itself(cli: Cli, tmp_path: Path, image: str) -> None:
    assert f"{cli.node.name} (ready" in cli("status")
    assert cli("get", "--raw", "/readyz") == "ok"
    assert image in cli("images", "list")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cli("kubeconfig", "--server", "https://127.0.0.1:6443"))
    kubectl = str(Path(sys.executable).parent / "kubectl")
    names = cli.node.run_in(kubectl, "--kubeconfig", str(kubeconfig), "get", "nodes", "-o", "name")
    assert names == f"node/{cli.node.name}\n"
    assert "deployments" in cli("api-resources", "--api-group=apps", "-o", "name")
    assert "Server Version: v1." in cli("version")
    assert "strategy" in cli("explain", "deployment.spec")
    assert cli.status("top", "nodes")[0] in (0, 1)
