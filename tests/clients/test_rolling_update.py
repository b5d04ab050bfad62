"""No request is lost while pods come and go behind a Service, although their server dies at once when told to stop."""

from pathlib import Path
from typing import Any

import pytest

from edgekube.testing.livenode import LiveNode
from tests.clients.load import Load
from tests.clients.test_kubectl_node import deployment, in_namespace, pod, service

pytestmark = pytest.mark.root

# A request that is under way for a tenth of a second when its pod is told to stop.
SLOW = r"""mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/slow <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
sleep 0.1
cat /tmp/www/index.html
END
chmod 755 /tmp/www/cgi-bin/slow
"""


def hasty(image: str, page: str) -> dict[str, Any]:
    """Pods that end at the stop signal with every request they are at."""
    made = deployment(image, replicas=3, page=page)
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["command"][-1] = SLOW + container["command"][-1]
    return made


def pod_netns(node: LiveNode, address: str) -> Path:
    """The pinned network namespace of the pod with this address."""
    for mount in node.mounts():
        if mount.endswith("/net") and address in node.run_in("nsenter", f"--net={mount}", "ip", "-4", "-o", "addr"):
            return Path(mount)
    raise AssertionError(f"no pod has the address {address}")


def test_no_request_is_lost(node: LiveNode, namespace: str, image: str) -> None:
    def kubectl(*words: str) -> str:
        return node.kubectl("-n", namespace, *words)

    def rolled_out() -> None:
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")

    node.apply(in_namespace(namespace, hasty(image, "one"), service(), pod(image, "client", "sleep", "1000")))
    rolled_out()
    kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
    address = kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    inside = pod_netns(node, kubectl("get", "pod", "client", "-o", "jsonpath={.status.podIP}"))
    node.until("it answers", lambda: "one" in node.run_in("curl", "-s", "-m", "2", f"http://{address}/", check=False))

    loads = [
        Load(netns, address, "/", "/", "/cgi-bin/slow", threads=3)
        for netns in (inside, Path(f"/run/netns/{node.name}"))
    ]
    for page in ("two", "three"):
        node.apply(in_namespace(namespace, hasty(image, page)))
        rolled_out()
    kubectl("rollout", "undo", "deployment/web")
    rolled_out()
    kubectl("scale", "deployment/web", "--replicas=2")
    rolled_out()
    staying = [p["metadata"] for p in node.get("-n", namespace, "pods", "-l", "app=web")["items"]]
    kubectl("delete", "pod", next(meta["name"] for meta in staying if "deletionTimestamp" not in meta))
    tallies = [load.stop() for load in loads]
    for tally in tallies:
        assert tally.failures == []
        assert {"one", "two", "three"} <= tally.answers.keys()
        assert tally.total > 100  # how many there are in that time is the machine's affair
