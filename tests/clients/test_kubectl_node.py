"""Unmodified kubectl drives a whole node: what a person does on the first day."""

import json
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from edgekube.testing.livenode import LiveNode
from tests.clients.load import Load

pytestmark = pytest.mark.root


def deployment(image: str, name: str = "web", replicas: int = 3, page: str = "one", **pod: Any) -> dict[str, Any]:
    """A web server that answers with `page`, ready only when it does; it dies at once when it is told to stop."""
    serve = f"mkdir -p /tmp/www; echo {page} > /tmp/www/index.html; trap 'exit 0' TERM; "
    serve += "httpd -f -p 8080 -h /tmp/www & wait"
    container = {
        "name": "web",
        "image": image,
        "command": ["sh", "-c", serve],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 5, **pod},
            },
        },
    }


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}], **spec},
    }


def pod(image: str, name: str, *command: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": list(command), **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec},
    }


def in_namespace(namespace: str, *objects: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**o, "metadata": {**o["metadata"], "namespace": namespace}} for o in objects]


def roll_out(node: LiveNode, namespace: str) -> None:
    """Wait for the new pods, and until the old ones, which kubectl does not wait for, are gone."""
    node.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=90s")
    node.until("the old pods are gone", lambda: len(node.get("-n", namespace, "pods", "-l", "app=web")["items"]) == 3)


def test_scale_roll_and_roll_back(node: LiveNode, namespace: str, image: str) -> None:
    node.apply(in_namespace(namespace, deployment(image), service()))
    node.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    address = node.kubectl("-n", namespace, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    node.until("the service answers", lambda: node.run_in("curl", "-s", "-m", "2", f"http://{address}/", check=False))

    node.kubectl("-n", namespace, "scale", "deployment/web", "--replicas=20")
    node.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=90s")
    ready = node.kubectl("-n", namespace, "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
    assert ready == "20"
    node.kubectl("-n", namespace, "scale", "deployment/web", "--replicas=3")
    node.until(
        "three pods are left",
        lambda: len(node.get("-n", namespace, "pods", "-l", "app=web")["items"]) == 3,
    )

    load = Load(Path(f"/run/netns/{node.name}"), address, "/", threads=1)
    node.apply(in_namespace(namespace, deployment(image, page="two")))
    roll_out(node, namespace)
    tally = load.stop()
    assert tally.failures == []
    assert tally.answers.keys() == {"one", "two"}

    node.kubectl("-n", namespace, "rollout", "undo", "deployment/web")
    roll_out(node, namespace)
    answer = node.run_in("curl", "-s", "-m", "5", f"http://{address}/")
    assert answer.strip() == "one"
    history = node.kubectl("-n", namespace, "rollout", "history", "deployment/web")
    assert re.findall(r"^(\d+) ", history, re.M) == ["2", "3"]


def test_a_crash_loop_backs_off_and_says_why(node: LiveNode, namespace: str, image: str) -> None:
    node.apply(in_namespace(namespace, pod(image, "crash", "sh", "-c", "echo going; exit 3")))

    def status() -> Any:
        found = node.get("-n", namespace, "pod", "crash")["status"].get("containerStatuses")
        return found[0] if found else None

    held = node.until(
        "it backs off",
        lambda: (s := status()) and s["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" and s,
    )
    assert held["lastState"]["terminated"]["exitCode"] == 3
    assert held["lastState"]["terminated"]["reason"] == "Error"
    assert re.match(
        r"back-off (10|20|40)s restarting failed container=main pod=crash_", held["state"]["waiting"]["message"]
    )
    assert held["restartCount"] >= 1
    events = node.kubectl("-n", namespace, "get", "events", "--field-selector", "involvedObject.name=crash")
    assert "Back-off restarting failed container main in pod crash_" in events
    assert node.kubectl("-n", namespace, "logs", "crash", "--previous").strip() == "going"


def test_out_of_memory_is_reported(node: LiveNode, namespace: str, image: str) -> None:
    hungry = "x=a; while :; do x=$x$x; done"
    limits = {"resources": {"limits": {"memory": "16Mi"}}}
    node.apply(in_namespace(namespace, pod(image, "oom", "sh", "-c", hungry, container=limits, restartPolicy="Never")))
    ended = node.until(
        "it is killed",
        lambda: (
            (s := node.get("-n", namespace, "pod", "oom")["status"].get("containerStatuses"))
            and s[0]["state"].get("terminated")
        ),
    )
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_an_unschedulable_pod_says_why(node: LiveNode, namespace: str, image: str) -> None:
    asks = {"resources": {"requests": {"cpu": "1000"}}}
    node.apply(in_namespace(namespace, pod(image, "big", "sleep", "1", container=asks)))
    condition = node.until(
        "the scheduler has looked at it",
        lambda: next((c for c in node.get("-n", namespace, "pod", "big")["status"].get("conditions", ())), None),
    )
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")
    assert condition["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")


def test_a_stateful_set_starts_and_rolls_in_order(node: LiveNode, namespace: str, image: str) -> None:
    web = deployment(image, "db")
    spec = {**web["spec"], "serviceName": "db"}
    manifest = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}
    node.apply(in_namespace(namespace, manifest, service("db", clusterIP="None")))
    node.kubectl("-n", namespace, "rollout", "status", "statefulset/db", "--timeout=90s")
    pods = node.get("-n", namespace, "pods", "-l", "app=db")["items"]

    def ready_at(item: Any) -> str:
        return next(c["lastTransitionTime"] for c in item["status"]["conditions"] if c["type"] == "Ready")

    by_name = {p["metadata"]["name"]: p for p in pods}
    assert sorted(by_name) == ["db-0", "db-1", "db-2"]
    for earlier, later in (("db-0", "db-1"), ("db-1", "db-2")):
        assert ready_at(by_name[earlier]) <= by_name[later]["metadata"]["creationTimestamp"]

    answer = node.kubectl("-n", namespace, "exec", "db-0", "--", "nslookup", f"db-2.db.{namespace}.svc.cluster.local")
    assert by_name["db-2"]["status"]["podIP"] in answer

    spec["template"]["metadata"]["annotations"] = {"changed": "yes"}
    node.apply(in_namespace(namespace, manifest))
    node.kubectl("-n", namespace, "rollout", "status", "statefulset/db", "--timeout=120s")
    rolled = {p["metadata"]["name"]: p for p in node.get("-n", namespace, "pods", "-l", "app=db")["items"]}
    order = sorted(rolled, key=lambda name: rolled[name]["metadata"]["creationTimestamp"])
    assert order == ["db-2", "db-1", "db-0"]


def test_logs_exec_and_port_forward(node: LiveNode, namespace: str, image: str) -> None:
    talk = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done"
    node.apply(in_namespace(namespace, pod(image, "talk", "sh", "-c", talk)))
    node.kubectl("-n", namespace, "wait", "pod/talk", "--for=condition=Ready", "--timeout=30s")
    command = node.kubectl_command("-n", namespace, "logs", "-f", "talk")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follow:
        assert follow.stdout is not None
        lines = [follow.stdout.readline().strip() for _ in range(12)]
        follow.kill()
    first = int(lines[0].split()[1])
    assert lines == [f"line {first + n}" for n in range(12)]
    assert node.kubectl("-n", namespace, "logs", "talk", "--tail=1").startswith("line ")

    assert node.kubectl("-n", namespace, "exec", "talk", "--", "sh", "-c", "echo out; echo err >&2") == "out\n"
    code, text = node.kubectl_status("-n", namespace, "exec", "talk", "--", "sh", "-c", "exit 7")
    assert (code, "exit code 7" in text) == (7, True)
    echoed = node.kubectl("-n", namespace, "exec", "-i", "talk", "--", "cat", text="through stdin\n")
    assert echoed == "through stdin\n"

    # Input goes in, output comes once, and the exit code is the container's.
    run = ("-n", namespace, "run", "once", "--rm", "-i", "-q", f"--image={image}", "--restart=Never")
    code, text = node.kubectl_status(*run, "--", "sh", "-c", "cat; exit 4", text="piped\n")
    assert (code, text.count("piped"), "couldn't attach" in text) == (4, 1, False), text


def test_a_terminal_follows_its_window(node: LiveNode, namespace: str, image: str) -> None:
    """script(1) gives kubectl a terminal; its size reaches the container, and so does a change."""
    node.apply(in_namespace(namespace, pod(image, "term", "sleep", "1000")))
    node.kubectl("-n", namespace, "wait", "pod/term", "--for=condition=Ready", "--timeout=30s")
    # The size travels behind the request, so the first command may come before it: wait until there is one.
    sized = "until stty size 2>/dev/null | grep -q [1-9]; do sleep 0.1; done"
    inner = f"{sized}; stty size; while ! [ -e /tmp/go ]; do sleep 0.1; done; stty size"
    command = shlex.join(node.kubectl_command("-n", namespace, "exec", "-it", "term", "--", "sh", "-c", inner))
    resize = f"stty rows 24 cols 80; (sleep 2; stty rows 40 cols 132 < /dev/tty; kill -WINCH $PPID) & {command}"
    process = subprocess.Popen(
        ["script", "-qec", resize, "/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(4)
    node.kubectl("-n", namespace, "exec", "term", "--", "touch", "/tmp/go")
    output, _ = process.communicate(timeout=30)
    sizes = re.findall(r"\d+ \d+", output)
    assert sizes == ["24 80", "40 132"], output


def test_delete_waits_for_the_grace_period(node: LiveNode, namespace: str, image: str) -> None:
    stubborn = "trap '' TERM; while :; do sleep 1; done"
    node.apply(in_namespace(namespace, pod(image, "stubborn", "sh", "-c", stubborn, terminationGracePeriodSeconds=3)))
    node.kubectl("-n", namespace, "wait", "pod/stubborn", "--for=condition=Ready", "--timeout=30s")
    began = time.monotonic()
    node.kubectl("-n", namespace, "delete", "pod", "stubborn")
    assert time.monotonic() - began >= 3
    assert node.kubectl("-n", namespace, "get", "pod", "stubborn", "--ignore-not-found") == ""


def test_a_pod_reaches_the_api_with_its_token(node: LiveNode, namespace: str, image: str) -> None:
    node.apply(in_namespace(namespace, pod(image, "client", "sleep", "1000")))
    node.kubectl("-n", namespace, "wait", "pod/client", "--for=condition=Ready", "--timeout=30s")
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    token = node.kubectl("-n", namespace, "exec", "client", "--", "cat", f"{folder}/token")
    held = node.kubectl("-n", namespace, "exec", "client", "--", "cat", f"{folder}/namespace")
    assert held == namespace
    address = node.kubectl("-n", namespace, "exec", "client", "--", "nslookup", "kubernetes.default.svc.cluster.local")
    assert "10.43.0.1" in address
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
    }
    answer = node.run_in(
        *(
            "curl",
            "-s",
            "-k",
            "-m",
            "10",
            "-H",
            f"Authorization: Bearer {token}",
            "-H",
            "Content-Type: application/json",
        ),
        *("-d", json.dumps(review), "https://10.43.0.1/apis/authentication.k8s.io/v1/selfsubjectreviews"),
    )
    assert json.loads(answer)["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
    # From inside the pod, by name: busybox checks nothing of the certificate, so this proves the path, not trust.
    inside = node.kubectl(
        *("-n", namespace, "exec", "client", "--", "sh", "-c"),
        "printf 'GET' | nc -w 2 kubernetes.default.svc.cluster.local 443 >/dev/null && echo reached",
    )
    assert "reached" in inside


def test_services_answer_in_every_way(node: LiveNode, namespace: str, image: str) -> None:
    node.apply(
        in_namespace(
            namespace,
            deployment(image, replicas=2, page="here"),
            service(type="LoadBalancer", ports=[{"name": "http", "port": 8088, "targetPort": "http"}]),
        )
    )
    node.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    found = node.until(
        "it has an address",
        lambda: (
            (s := node.get("-n", namespace, "service", "web"))
            and s["status"].get("loadBalancer", {}).get("ingress")
            and s
        ),
    )
    outside = found["status"]["loadBalancer"]["ingress"][0]["ip"]
    node_port = found["spec"]["ports"][0]["nodePort"]
    for url in (
        f"http://{found['spec']['clusterIP']}:8088/",
        f"http://{outside}:{node_port}/",
        f"http://{outside}:8088/",
    ):
        assert node.run_in("curl", "-s", "-m", "5", url).strip() == "here"


def test_bad_input_is_refused_in_words(node: LiveNode, namespace: str, image: str) -> None:
    def refused(manifest: str) -> str:
        code, text = node.kubectl_status("-n", namespace, "apply", "-f", "-", text=manifest)
        assert code != 0, text
        return text

    assert "unknown field" in refused(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x}], nodeNme: y}\n"
    )
    assert "spec.containers: Required value" in refused("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {}\n")
    assert "no matches for kind" in refused("apiVersion: v1\nkind: Nonsense\nmetadata: {name: p}\n")
    assert "Invalid value" in refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Upper_Case}\n")
    node.apply(in_namespace(namespace, pod("Bad//Image::x", "badimage", "x")))
    node.until(
        "the image name is refused",
        lambda: "InvalidImageName" in json.dumps(node.get("-n", namespace, "pod", "badimage")["status"]),
    )
