"""How long a node's event loop is busy at a time while clients list and a Deployment grows; the node's own /metrics."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import Options, row
from edgekube.testing.images import DEMO_REFERENCE, build_demo_image
from edgekube.testing.livenode import LiveNode, live_node

OBJECTS = 1000
CLIENTS = 3
# A client of its own: lists until it is killed.
LISTER = """
import http.client, socket, sys
connection = http.client.HTTPConnection("node")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
while True:
    connection.request("GET", sys.argv[2])
    connection.getresponse().read()
"""
LISTS = "/api/v1/configmaps", "/api/v1/configmaps?labelSelector=app%3Da", "/api/v1/pods"


def lag(node: LiveNode) -> dict[str, float]:
    found = re.findall(r"^edgekube_loop_lag_(\w+) (\S+)$", node.local("/metrics").decode(), re.M)
    return {name: float(value) for name, value in found}


def scale(node: LiveNode, replicas: int) -> None:
    node.kubectl("scale", "deployment/many", f"--replicas={replicas}")
    node.kubectl("rollout", "status", "deployment/many", "--timeout=120s")
    wanted = str(replicas) if replicas else ""
    ready = "jsonpath={.status.readyReplicas}"
    node.until("the replicas are there", lambda: node.kubectl("get", "deployment/many", "-o", ready) == wanted)


def run(options: Options) -> None:
    replicas = 10 if options.quick else 20
    with tempfile.TemporaryDirectory(prefix="edgekube-bench-") as scratch, live_node(Path(scratch)) as node:
        image = Path(scratch) / "demo.tar"
        build_demo_image(str(image))
        node.import_image(image)
        objects = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"c{number}", "labels": {"app": "ab"[number % 2]}},
                "data": {"text": "x" * 1500},
            }
            for number in range(OBJECTS)
        ]
        node.kubectl("create", "-f", "-", text="\n---\n".join(map(str, objects)))
        container = {"name": "main", "image": DEMO_REFERENCE, "command": ["sleep", "1000000"]}
        template = {
            "metadata": {"labels": {"app": "many"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        }
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": "many"}}, "template": template}
        node.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec})
        scale(node, 1)
        clients = [
            subprocess.Popen([sys.executable, "-c", LISTER, str(node.socket), LISTS[number]])
            for number in range(CLIENTS)
        ]
        try:
            before = lag(node)
            scale(node, replicas)
            after = lag(node)
        finally:
            for client in clients:
                client.kill()
                client.wait()
        turns, busy, over_5, over_50 = (
            after[name] - before[name]
            for name in ("turns_total", "busy_seconds_total", "over_5ms_total", "over_50ms_total")
        )
        note = f"{turns:.0f} turns, 1 to {replicas} pods beside {CLIENTS} clients that list {OBJECTS} objects"
        row("a turn of the loop, mean", busy / turns * 1e3, "ms", note=note)
        row("the longest turn since the node was ready", after["worst_seconds"] * 1e3, "ms", goal=50)
        row("the most CPU in a turn since then", after["worst_cpu_seconds"] * 1e3, "ms CPU", goal=50)
        row("turns over 5 ms", 100 * over_5 / turns, "% of them", note=f"{over_5:.0f}")
        row("turns over 50 ms", 100 * over_50 / turns, "% of them", goal=0, note=f"{over_50:.0f}")
