"""A node as a systemd service on cgroup v2: run inside the Debian machine by test_cgroup2.py, in this order.

It installs the unit and starts a node on the machine itself; a machine made for nothing else is the only place for it.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
GROUPS = Path("/sys/fs/cgroup")
PODS = GROUPS / "edgekube"
SERVICE = GROUPS / "system.slice" / "edgekube.service"
UNIT = Path("/etc/systemd/system/edgekube.service")
PROGRAM = Path("/usr/local/bin/edgekube")
MIB = 1 << 20
WAIT_SECONDS = 300.0


def run(*command: str, text: str = "", check: bool = True) -> str:
    done = subprocess.run(command, input=text or None, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert not check or done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def edgekube(*words: str, text: str = "", check: bool = True) -> str:
    return run(str(PROGRAM), *words, text=text, check=check)


def until(what: str, condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"gave up waiting until {what}\n{journal()}"
        time.sleep(0.5)
    return value


def journal() -> str:
    return run("journalctl", "-u", "edgekube", "-n", "60", "--no-pager", check=False)


def get(*words: str) -> Any:
    return json.loads(edgekube("get", *words, "-o", "json"))


def main_pid() -> int:
    return int(run("systemctl", "show", "-P", "MainPID", "edgekube"))


def pids(group: Path) -> set[int]:
    found: set[int] = set()
    for folder, _, _ in os.walk(group):
        found |= {int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split()}
    return found


def value(group: Path, name: str) -> str:
    return (group / name).read_text().strip()


def hello_pods() -> list[Any]:
    return [pod for pod in get("pods", "-l", "app=hello")["items"] if pod["status"].get("phase") == "Running"]


def containers() -> dict[str, tuple[str, int]]:
    """Pod to container id and restarts."""
    statuses = {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0] for pod in hello_pods()}
    return {name: (status["containerID"], status["restartCount"]) for name, status in statuses.items()}


def container_group(pod: Any) -> Path:
    identity = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    (found,) = PODS.glob(f"**/pod{pod['metadata']['uid']}/{identity}")
    return found


def page() -> bytes:
    address = get("service", "hello")["spec"]["clusterIP"]
    return fetch(address)


def fetch(address: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/", timeout=10) as answer:
            return bytes(answer.read(4096))
    except OSError:
        return b""


@pytest.fixture(scope="module", autouse=True)
def service() -> Iterator[None]:
    """The unit as it ships, and a command where it expects one."""
    PROGRAM.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {ROOT}/.venv/bin/python -m edgekube "$@"\n')
    PROGRAM.chmod(0o755)
    shutil.copy(ROOT / "systemd" / "edgekube.service", UNIT)
    run("systemctl", "daemon-reload")
    yield
    print(journal())


def test_the_service_becomes_ready() -> None:
    started = subprocess.run(["systemctl", "start", "edgekube"], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr + journal()
    assert run("systemctl", "is-active", "edgekube").strip() == "active"
    assert "memory" in value(PODS, "cgroup.controllers").split()
    # Its own group holds the node alone; shims are among the pods.
    assert pids(SERVICE) == {main_pid()}


def test_a_deployment_answers_behind_its_service() -> None:
    demo = "/tmp/demo-image.tar"
    run(f"{ROOT}/.venv/bin/python", "-m", "edgekube.testing.images", demo)
    edgekube("images", "import", demo)
    edgekube("apply", "-f", str(ROOT / "examples" / "hello.yaml"))
    until("three pods are ready", lambda: get("deployment", "hello")["status"].get("readyReplicas") == 3)
    assert until("the service answers", page).strip() == b"Hello from EdgeKube"
    assert pids(SERVICE) == {main_pid()}


def test_limits_stand_in_the_kernels_files() -> None:
    pods = hello_pods()
    assert len(pods) == 3
    for pod in pods:
        group = container_group(pod)
        assert group.parent.parent == PODS / "burstable"
        assert value(group, "memory.max") == str(32 * MIB)
        assert value(group, "memory.swap.max") == "0"
        assert value(group, "memory.oom.group") == "1"
        assert value(group, "cpu.weight") == "1"  # 10 m
        assert value(group.parent, "memory.max") == str(32 * MIB)
        assert int(value(group, "memory.current")) > 0
        assert value(group, "cgroup.procs").split()
    assert value(PODS / "burstable", "cpu.weight") == "2"  # 3 x 10 m are 30 shares


def test_systemd_leaves_the_pods_groups_alone() -> None:
    """It turns controllers on and off below the root as its units need them; groups with children of their own keep
    theirs (cgroup-v2.rst, "Top-down Constraint")."""
    before = {path: value(path, "memory.max") for path in map(container_group, hello_pods())}
    run("systemd-run", "--wait", "--collect", "-p", "CPUQuota=50%", "-p", "MemoryMax=64M", "-p", "TasksMax=9", "true")
    run("systemctl", "daemon-reload")
    run("systemctl", "daemon-reexec")
    assert {"cpu", "memory", "pids"} <= set(value(GROUPS, "cgroup.subtree_control").split())
    assert {path: value(path, "memory.max") for path in before} == before
    assert {"cpu", "memory", "pids"} <= set(value(PODS / "burstable", "cgroup.subtree_control").split())


def test_out_of_memory_is_told() -> None:
    container = {
        "name": "main",
        "image": "edgekube.local/busybox:demo",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "dd if=/dev/zero of=/dev/shm/fill bs=1M count=48; sleep 1000"],
        "resources": {"limits": {"memory": "16Mi"}},
    }
    spec = {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 1}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy"}, "spec": spec}
    edgekube("apply", "-f", "-", text=json.dumps(pod))
    ended = until(
        "the pod has failed", lambda: get("pod", "greedy")["status"].get("phase") == "Failed" and get("pod", "greedy")
    )
    state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["reason"], state["exitCode"]) == ("OOMKilled", 137)
    edgekube("delete", "pod", "greedy")


def test_a_killed_node_is_restarted_and_adopts_its_pods() -> None:
    before, first = containers(), main_pid()
    assert len(before) == 3
    os.kill(first, signal.SIGKILL)
    until("systemd has restarted it", lambda: main_pid() not in (0, first))
    until("it is ready", lambda: edgekube("get", "--raw", "/readyz", check=False).strip() == "ok")
    until("the service answers", page)
    assert containers() == before


def test_a_stopped_node_leaves_its_pods_running() -> None:
    before, processes = containers(), pids(PODS)
    address = get("service", "hello")["spec"]["clusterIP"]
    run("systemctl", "stop", "edgekube")
    assert not SERVICE.exists() or not pids(SERVICE)
    assert pids(PODS) == processes
    assert fetch(address).strip() == b"Hello from EdgeKube"
    run("systemctl", "start", "edgekube")
    until("its pods are adopted", lambda: containers() == before)


def test_reset_leaves_nothing() -> None:
    run("systemctl", "stop", "edgekube")
    edgekube("reset", "--yes")
    assert not PODS.exists()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert "/run/edgekube/" not in mounts
    assert "/var/lib/edgekube/" not in mounts
