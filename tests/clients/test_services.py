"""Services as their users meet them: from inside a pod by name, from another machine by address."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgekube.testing.images import File, ImageBuilder, busybox_files
from edgekube.testing.livenode import UPLINK, LiveNode, live_node
from tests.clients.test_kubectl_node import deployment, in_namespace, pod, service

pytestmark = pytest.mark.root

TOOLS = ("curl", "getent")
TOOLS_REFERENCE = "edgekube.local/tools:1"
OUTSIDE = "198.51.100.20"
POOL = "198.51.100.64/30"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def program_files(*names: str) -> list[File]:
    """Programs of this machine and the libraries they need: a C library that resolves names as most images do."""
    paths: dict[str, bytes] = {}
    for name in names:
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"needs {name}")
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        paths[f"opt/{name}"] = Path(program).read_bytes()
        for library in re.findall(r"(/\S+) \(0x", listed):
            paths[library.lstrip("/")] = Path(library).read_bytes()
    return [File(path, data, 0o755) for path, data in sorted(paths.items())]


@pytest.fixture(scope="session")
def tools_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = ImageBuilder(config={"Env": ["PATH=/opt:/bin"], "Cmd": ["sh"]})
    builder.add_layer(busybox_files()).add_layer(program_files(*TOOLS), compression="none")
    path = tmp_path_factory.mktemp("tools") / "tools.tar"
    builder.write(str(path), TOOLS_REFERENCE)
    return path


@pytest.fixture
def client(node: LiveNode, namespace: str, tools_image: Path) -> str:
    """A pod with curl and glibc's resolver."""
    node.import_image(tools_image)
    node.apply(in_namespace(namespace, pod(TOOLS_REFERENCE, "client", "sleep", "1000")))
    node.kubectl("-n", namespace, "wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
    return "client"


@contextmanager
def neighbour(node: LiveNode) -> Iterator[str]:
    """The other end of the node's uplink in a network namespace of its own: a machine on the same LAN."""
    name = f"{node.name}lan"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for command in (
            f"ip -n {node.name} link set lan netns {name}",
            f"ip -n {name} addr add {OUTSIDE}/24 dev lan",
            f"ip -n {name} link set lan up",
            f"ip -n {name} link set lo up",
        ):
            subprocess.run(command.split(), check=True)
        yield name
    finally:
        subprocess.run(["ip", "-n", name, "link", "set", "lan", "netns", node.name], check=False)
        subprocess.run(["ip", "-n", node.name, "link", "set", "lan", "up"], check=False)
        subprocess.run(["ip", "netns", "del", name], check=False)


def fetch(netns: str, url: str) -> str:
    command = ["nsenter", f"--net=/run/netns/{netns}", "curl", "-s", "-m", "3", url]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def field(node: LiveNode, namespace: str, what: str, path: str) -> str:
    return node.kubectl("-n", namespace, "get", what, "-o", f"jsonpath={{{path}}}")


def roll_out(node: LiveNode, namespace: str, *objects: dict[str, Any]) -> None:
    node.apply(in_namespace(namespace, *objects))
    node.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")


def test_names_resolve_by_the_search_domains(node: LiveNode, namespace: str, image: str, client: str) -> None:
    alias = service("alias", type="ExternalName", externalName=f"web.{namespace}.svc.cluster.local")
    del alias["spec"]["selector"]
    headless = service("each", clusterIP="None", selector={"app": "web"})
    roll_out(node, namespace, deployment(image, replicas=2), service(), alias, headless)
    address = field(node, namespace, "service/web", ".spec.clusterIP")

    def resolved(name: str) -> set[str]:
        words = ("-n", namespace, "exec", client, "--", "getent", "ahostsv4", name)
        return {line.split()[0] for line in node.kubectl(*words).splitlines()}

    for name in ("web", f"web.{namespace}", f"web.{namespace}.svc", f"web.{namespace}.svc.cluster.local", "alias"):
        assert resolved(name) == {address}, name
    assert resolved("kubernetes.default") == {"10.43.0.1"}
    pods = set(
        node.kubectl("-n", namespace, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.podIP}").split()
    )
    assert resolved("each") == pods
    page = node.kubectl("-n", namespace, "exec", client, "--", "curl", "-s", "-m", "5", "http://web/")
    assert page.strip() == "one"
    code, text = node.kubectl_status("-n", namespace, "exec", client, "--", "getent", "ahostsv4", "nobody")
    assert (code, "exit code 2" in text) == (2, True), "a name nobody has must be refused, not time out"


def test_a_pod_trusts_the_api_and_is_known_to_it(node: LiveNode, namespace: str, client: str) -> None:
    review = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    script = (
        f'curl -sS -m 10 --cacert {ACCOUNT}/ca.crt -H "Authorization: Bearer $(cat {ACCOUNT}/token)" '
        f"-H 'Content-Type: application/json' -d '{review}' "
        "https://kubernetes.default/apis/authentication.k8s.io/v1/selfsubjectreviews"
    )
    answer = json.loads(node.kubectl("-n", namespace, "exec", client, "--", "sh", "-c", script))
    info = answer["status"]["userInfo"]
    assert info["username"] == f"system:serviceaccount:{namespace}:default"
    assert info["extra"]["authentication.kubernetes.io/pod-name"] == ["client"]
    distrust = f"curl -sS -m 10 --cacert {ACCOUNT}/ca.crt --resolve other:443:10.43.0.1 https://other/version"
    code, text = node.kubectl_status("-n", namespace, "exec", client, "--", "sh", "-c", distrust)
    assert (code, "certificate" in text) == (60, True), text


def test_another_machine_reaches_services(node: LiveNode, namespace: str, image: str) -> None:
    balanced = service("balanced", type="LoadBalancer", selector={"app": "web"})
    balanced["spec"]["ports"] = [{"port": 8088, "targetPort": "http"}]
    local = service("local", type="NodePort", externalTrafficPolicy="Local", selector={"app": "web"})
    away = service("away", type="NodePort", externalTrafficPolicy="Local", selector={"app": "nobody"})
    serve = "mkdir -p /tmp/www; echo $0 > /tmp/www/index.html; exec httpd -f -p $1 -h /tmp/www"
    ports = {"ports": [{"containerPort": 8080, "hostPort": 8089}]}
    mapped = pod(image, "mapped", "sh", "-c", serve, "mapped", "8080", container=ports)
    hosted = pod(image, "hosted", "sh", "-c", serve, "hosted", "8077", hostNetwork=True)
    roll_out(node, namespace, deployment(image, replicas=2, page="here"), balanced, local, away, mapped, hosted)
    node.kubectl("-n", namespace, "wait", "pod/mapped", "pod/hosted", "--for=condition=Ready", "--timeout=30s")
    address = node.until(
        "it has an address", lambda: field(node, namespace, "service/balanced", ".status.loadBalancer.ingress[0].ip")
    )
    assert address == UPLINK  # without a pool the node's own address serves
    node_port = field(node, namespace, "service/local", ".spec.ports[0].nodePort")
    no_port = field(node, namespace, "service/away", ".spec.ports[0].nodePort")
    assert field(node, namespace, "pod/hosted", ".status.podIP") == UPLINK
    with neighbour(node) as outside:
        for port, page in ((8088, "here"), (node_port, "here"), (8089, "mapped"), (8077, "hosted")):
            node.until(f"port {port} answers", partial(fetch, outside, f"http://{UPLINK}:{port}/"), 15)
            assert fetch(outside, f"http://{UPLINK}:{port}/") == page
        assert fetch(outside, f"http://{UPLINK}:{no_port}/") == ""


def test_a_client_keeps_its_pod(node: LiveNode, namespace: str, image: str) -> None:
    web = deployment(image, replicas=3)
    command = web["spec"]["template"]["spec"]["containers"][0]["command"]
    command[-1] = command[-1].replace("one", "$HOSTNAME")
    roll_out(node, namespace, web, service(sessionAffinity="ClientIP"), service("spread", selector={"app": "web"}))
    sticky = field(node, namespace, "service/web", ".spec.clusterIP")
    spread = field(node, namespace, "service/spread", ".spec.clusterIP")
    node.until("it answers", lambda: fetch(node.name, f"http://{sticky}/"))
    assert len({fetch(node.name, f"http://{sticky}/") for _ in range(12)}) == 1
    assert len({fetch(node.name, f"http://{spread}/") for _ in range(40)}) == 3


def test_addresses_of_a_pool_are_announced(tmp_path: Path, demo_image: Path, image: str) -> None:
    """A neighbour that holds a stale entry for the address reaches it at once: the node tells, unasked."""
    with live_node(tmp_path, ["--load-balancer-pool", POOL]) as node, neighbour(node) as outside:
        node.import_image(demo_image)
        stale = f"ip -n {outside} neigh replace 198.51.100.65 lladdr 02:00:00:00:00:01 dev lan nud reachable"
        for last in range(64, 68):
            subprocess.run(stale.replace(".65", f".{last}").split(), check=True)
        balanced = service(type="LoadBalancer")
        roll_out(node, "default", deployment(image, page="pool"), balanced)
        address = node.until(
            "it has an address", lambda: field(node, "default", "service/web", ".status.loadBalancer.ingress[0].ip")
        )
        assert address.startswith("198.51.100.6")
        node.until("the neighbour reaches it", lambda: fetch(outside, f"http://{address}/") == "pool", 20)
        node.kubectl("delete", "service", "web")
        node.until("the address is gone", lambda: fetch(outside, f"http://{address}/") == "", 20)
