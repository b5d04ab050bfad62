"""What a node costs that does nothing: memory, CPU, wake-ups and device bytes, with ten pods and no client.

    sudo .venv/bin/python bench/idle.py [SECONDS] [--binary FILE]

The data folder lies on an ext4 file system of its own on a loop device, so that the device's own counter tells what was
written, journal included. Beside the node: the same interpreter doing nothing, as the floor.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgekube.testing.images import DEMO_REFERENCE, build_demo_image
from edgekube.testing.livenode import LiveNode

PODS = 10
SETTLE_SECONDS = 150  # the store flushes a minute or two after the last write
TICK = 1 / 100


def sectors_written(device: str) -> int:
    """512-byte sectors since the device came up (Documentation/admin-guide/iostats.rst, field 7)."""
    return int(Path(f"/sys/block/{device}/stat").read_text().split()[6])


def pss_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def switches(pid: int) -> int:
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


@contextmanager
def ext4(folder: Path, size_mib: int = 1024) -> Iterator[str]:
    """A fresh file system on `folder`; gives the loop device's name."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder.parent / "disk.img"
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    device = subprocess.run(["losetup", "-f", "--show", str(image)], check=True, capture_output=True, text=True)
    name = device.stdout.strip()
    try:
        # Lazy initialisation of a fresh file system writes for minutes: none of that.
        subprocess.run(["mount", "-o", "noinit_itable,noatime", name, str(folder)], check=True)
        try:
            yield name.removeprefix("/dev/")
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=False)
    finally:
        subprocess.run(["losetup", "-d", name], check=False)


def pods() -> list[dict[str, object]]:
    container = {"name": "main", "image": DEMO_REFERENCE, "command": ["sleep", "1000000"]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"idle-{number}"},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        }
        for number in range(PODS)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=120)
    parser.add_argument("--settle", type=int, default=SETTLE_SECONDS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        image = folder / "demo.tar"
        build_demo_image(str(image))
        node = LiveNode(folder / "node")
        floor = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)"])
        try:
            with ext4(node.data_dir) as device:
                node.open()
                began = time.monotonic()
                node.stop()
                node.start()
                ready = time.monotonic() - began
                node.import_image(image)
                node.apply(pods())
                for number in range(PODS):
                    node.kubectl("wait", f"pod/idle-{number}", "--for=condition=Ready", "--timeout=60s")
                time.sleep(args.settle)
                subprocess.run(["sync"], check=True)
                before = (cpu_seconds(node.pid), switches(node.pid), sectors_written(device), time.monotonic())
                time.sleep(args.seconds)
                subprocess.run(["sync"], check=True)
                spent = time.monotonic() - before[3]
                cpu = cpu_seconds(node.pid) - before[0]
                woken = switches(node.pid) - before[1]
                written = (sectors_written(device) - before[2]) * 512
                shims = [pid for pid in node.processes() if b"shim" in Path(f"/proc/{pid}/cmdline").read_bytes()]
                print(f"node with {PODS} pods, idle for {spent:.0f} s after {args.settle} s of rest")
                bare = f"bare interpreter {pss_kib(floor.pid) / 1024:.1f}"
                print(f"  memory            {pss_kib(node.pid) / 1024:8.1f} MiB PSS (goal 64; {bare})")
                print(f"  shims             {sum(map(pss_kib, shims)) / 1024:8.2f} MiB PSS for {len(shims)}")
                print(f"  CPU               {100 * cpu / spent:8.2f} % of a core (goal 0.3)")
                print(f"  wake-ups          {woken / spent:8.2f} a second")
                print(f"  device bytes      {written:8d} (goal 0)")
                print(f"  stop to ready     {ready:8.2f} s (goal: exec to ready 1 s)")
                node.close()
        finally:
            floor.kill()
            floor.wait()
            node.close()


if __name__ == "__main__":
    main()
