"""What a node costs that does nothing, with ten pods without probes and no client: this tree, and dist/'s binary.

The data folder lies on an ext4 file system of its own, so that the device's own counter tells what was written, journal
included. Beside the node: the same interpreter doing nothing.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any

from bench import Options, row
from bench.machine import cpu_seconds, loop_disk, mappings_mib, memory_mib, wake_ups
from edgekube import __version__
from edgekube.testing.images import DEMO_REFERENCE, build_demo_image
from edgekube.testing.livenode import PROGRAM, ROOT, LiveNode

PODS = 10
SETTLE_SECONDS = 150  # the store flushes a minute or two after the last write
STARTS = 5


def run(options: Options) -> None:
    seconds = options.seconds or (20 if options.quick else 120)
    settle = 20 if options.quick else SETTLE_SECONDS
    with tempfile.TemporaryDirectory(prefix="edgekube-bench-") as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch  # a binary unpacks itself there
        measure("interpreter", PROGRAM, Path(scratch), settle, seconds)
        binary = ROOT / "dist" / f"edgekube-{__version__}-{platform.machine()}"
        if not binary.exists():
            print(f"  no binary: `python3 build.py binary --target {platform.machine()}` makes one")
            return
        row("binary, size", binary.stat().st_size / 1e6, "MB", goal=20)
        for what in ("unpacked at first", "every time after"):
            began = time.monotonic()
            subprocess.run([str(binary), "version", "--client"], check=True, stdout=subprocess.DEVNULL)
            row(f"binary, `version` {what}", (time.monotonic() - began) * 1e3, "ms")
        measure("binary", (str(binary),), Path(scratch), settle, seconds)


def measure(label: str, program: Sequence[str], scratch: Path, settle: int, seconds: int) -> None:
    image = scratch / "demo.tar"
    build_demo_image(str(image))
    node = LiveNode(scratch, program=program)
    floor = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)"])
    try:
        with loop_disk(node.data_dir) as disk:
            try:
                node.open()
                node.stop()
                taken, cost = [], []
                for _ in range(STARTS):
                    taken.append(exec_to_ready(node))
                    cost.append(cpu_seconds(node.pid))
                    node.stop()
                node.start()
                node.import_image(image)
                node.apply([pod(number) for number in range(PODS)])
                for number in range(PODS):
                    node.kubectl("wait", f"pod/idle-{number}", "--for=condition=Ready", "--timeout=60s")
                time.sleep(settle)
                written, woken, used, began = (
                    disk.written(),
                    wake_ups(node.pid),
                    cpu_seconds(node.pid),
                    time.monotonic(),
                )
                time.sleep(seconds)
                used, woken = cpu_seconds(node.pid) - used, wake_ups(node.pid) - woken
                passed, written = time.monotonic() - began, disk.written() - written
                bare = ("a bare interpreter", memory_mib(floor.pid))
                alone = f"{memory_mib(node.pid, 'Rss'):.1f} with nobody to share a page with"
                row(
                    f"{label}, memory with {PODS} pods",
                    memory_mib(node.pid),
                    "MiB PSS",
                    goal=64,
                    beside=bare,
                    note=alone,
                )
                mapped = ", ".join(f"{name} {mib:.1f}" for name, mib in mappings_mib(node.pid, 8))
                print(f"    of that {mapped}")
                shims = [pid for pid in node.processes() if b"shim" in Path(f"/proc/{pid}/cmdline").read_bytes()]
                row(f"{label}, shims", sum(map(memory_mib, shims)), "MiB PSS", note=f"{len(shims)} of them")
                row(f"{label}, CPU over {passed:.0f} s", 100 * used / passed, "% of a core", goal=0.3)
                row(f"{label}, wake-ups", woken / passed, "a second")
                row(f"{label}, device bytes over {passed:.0f} s", written, "B", goal=0)
                note = f"best of {STARTS}, worst {max(taken):.2f}; {min(cost):.2f} s of CPU"
                row(f"{label}, exec to ready", min(taken), "s", goal=1, note=note)
            finally:
                node.close()
    finally:
        floor.kill()
        floor.wait()


def exec_to_ready(node: LiveNode) -> float:
    """Seconds until /readyz says ok."""
    began = time.monotonic()
    node.spawn()
    while time.monotonic() < began + 60:
        connection = HTTPConnection("node")
        with suppress(OSError), socket(AF_UNIX) as connection.sock:
            connection.sock.connect(str(node.socket))
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.monotonic() - began
        time.sleep(0.005)
    raise AssertionError(node.log_tail())


def pod(number: int) -> Mapping[str, Any]:
    container = {"name": "main", "image": DEMO_REFERENCE, "command": ["sleep", "1000000"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"idle-{number}"}, "spec": spec}
