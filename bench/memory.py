"""What an idle node costs: memory by where it lies, CPU, bytes written; and the time from exec to ready.

`sudo python3 bench/memory.py [--binary PATH]... [--pods 10] [--settle 30] [--idle 60]` runs one node after another,
each in a network namespace and folders of its own: this source tree under the plain interpreter, then each binary. Pods
have no probes and there is no client while it measures. PSS is the kernel's (smaps): private pages, and shared
ones divided by those who share them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgekube.testing.images import DEMO_REFERENCE  # noqa: E402

READY_SECONDS_MAX = 60.0
PODS_SECONDS_MAX = 120.0
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+\s*(.*)")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("edgekube", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


def ask(path: str, verb: str, url: str, body: Any = None) -> tuple[int, Any]:
    connection = UnixConnection(path)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(verb, url, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data[:1] == b"{" else data.decode(errors="replace")
    finally:
        connection.close()


def account(pid: int) -> dict[str, Any]:
    """PSS in KiB of one process: in all, and by where it lies."""
    kinds: Counter[str] = Counter()
    total: Counter[str] = Counter()
    kind = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := _MAPPING.match(line):
            name = Path(found[2]).name
            kind = name if found[2].startswith(("/", "[")) else "anonymous"
        elif line.endswith("kB"):
            key, value = line.split(":")
            total[key] += int(value.split()[0])
            if key == "Pss":
                kinds[kind] += int(value.split()[0])
    keys = ("Pss", "Rss", "Private_Dirty", "Private_Clean", "Shared_Clean")
    return {**{key: total[key] for key in keys}, "by": dict(kinds.most_common(12))}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def until(what: str, done: Callable[[], bool], seconds: float, pause: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up after {seconds:.0f} s waiting for {what}")
        time.sleep(pause)


@contextmanager
def network(name: str) -> Iterator[None]:
    """A namespace with an address and a default route that leads nowhere."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "ext", "type", "veth", "peer", "name", "extp")
        ip("-n", name, "address", "add", "192.0.2.10/24", "dev", "ext")
        for link in ("ext", "extp"):
            ip("-n", name, "link", "set", link, "up")
        ip("-n", name, "route", "add", "default", "via", "192.0.2.1")
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


@contextmanager
def node(program: Sequence[str], name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    """A running node, its socket, and the seconds from exec to /readyz."""
    socket_path = str(folder / "run" / "edgekube.sock")
    options = [f"--{each}-dir={folder / each}" for each in ("data", "run", "log")]
    command = [*program, "run", *options, f"--node-name={name}", f"--cgroup-root={name}"]
    started = time.monotonic()
    with (folder / "log.txt").open("wb") as log:
        # Not `ip netns exec`: it gives the command a /sys without control groups.
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", *command], cwd=ROOT, stdout=log, stderr=log)
    try:

        def ready() -> bool:
            if process.poll() is not None:
                raise SystemExit(
                    f"the node ended with {process.returncode}: {(folder / 'log.txt').read_text()[-2000:]}"
                )
            try:
                return ask(socket_path, "GET", "/readyz")[0] == 200
            except OSError:
                return False

        until("/readyz", ready, READY_SECONDS_MAX, 0.01)
        yield process, socket_path, time.monotonic() - started
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def measure(label: str, program: Sequence[str], options: argparse.Namespace) -> None:
    name = f"ekmem{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    pods = "/api/v1/namespaces/default/pods"
    try:
        archive = folder / "demo.tar"
        subprocess.run(
            [sys.executable, "-m", "edgekube.testing.images", str(archive)],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with network(name), node(program, name, folder) as (process, path, seconds):
            bare = account(process.pid)
            ask(path, "POST", f"/edgekube/images/import?path={archive}")
            for index in range(options.pods):
                container = {"name": "main", "image": DEMO_REFERENCE, "command": ["sleep", "1000000"]}
                spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
                ask(
                    path,
                    "POST",
                    pods,
                    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{index}"}, "spec": spec},
                )

            def phases() -> list[str]:
                return [each["status"].get("phase", "") for each in ask(path, "GET", pods)[1]["items"]]

            until("the pods", lambda: phases() == ["Running"] * options.pods, PODS_SECONDS_MAX, 0.5)
            time.sleep(options.settle)
            before, wrote = cpu_seconds(process.pid), device_sectors()
            time.sleep(options.idle)
            used = cpu_seconds(process.pid) - before
            found = account(process.pid)
            report(label, seconds, bare, found, used / options.idle, device_sectors() - wrote)
            for index in range(options.pods):
                ask(path, "DELETE", f"{pods}/p{index}")
            until("the pods' end", lambda: not phases(), PODS_SECONDS_MAX, 0.5)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def device_sectors() -> int:
    """Sectors of 512 bytes that this machine's disks wrote; says something on a quiet machine only."""
    return sum(int(path.read_text().split()[6]) for path in Path("/sys/block").glob("*/stat"))


def report(label: str, seconds: float, bare: dict[str, Any], found: dict[str, Any], cpu: float, sectors: int) -> None:
    def mib(kib: int) -> str:
        return f"{kib / 1024:.1f}"

    print(f"{label}: PSS {mib(found['Pss'])} MiB idle ({mib(bare['Pss'])} at ready), exec to ready {seconds:.2f} s,")
    print(f"    CPU {cpu * 100:.2f} % of a core, the machine wrote {sectors * 512 / 1024:.0f} KiB")
    print(
        "    "
        + ", ".join(f"{key} {mib(found[key])}" for key in ("Rss", "Private_Dirty", "Private_Clean", "Shared_Clean"))
    )
    print("    PSS by " + ", ".join(f"{name} {mib(size)}" for name, size in found["by"].items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", action="append", default=[], help="measure this binary too; may be repeated")
    parser.add_argument("--pods", type=int, default=10)
    parser.add_argument("--settle", type=float, default=30.0, help="seconds after the last pod runs")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of idleness measured")
    parser.add_argument("--no-interpreter", action="store_true", help="the binaries alone")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("a node needs root: run it with sudo")
    if not options.no_interpreter:
        measure("interpreter", [sys.executable, "-m", "edgekube"], options)
    for each in options.binary:
        path = str(Path(each).resolve())
        # The first start of a binary unpacks it; that is not what is measured.
        subprocess.run([path, "version", "--client"], check=True, stdout=subprocess.DEVNULL)
        measure(Path(each).name, [path], options)


if __name__ == "__main__":
    main()
