"""What the kernel tells of a process and of a disk."""

import os
import re
import resource
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+\s*(.*)")


def own_cpu_seconds() -> float:
    """Of this process, all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds(pid: int) -> float:
    """Of another process, in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_cpu_seconds() -> float:
    """Of the whole machine: means something on a quiet one."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(value) for index, value in enumerate(fields) if index not in (3, 4)) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, key: str = "Pss") -> float:
    """Private pages, and shared ones divided by those who share them. `key` "Rss": as if nobody shared any."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def mappings_mib(pid: int, count: int) -> list[tuple[str, float]]:
    """PSS by what is mapped, the largest first."""
    kinds: Counter[str] = Counter()
    kind = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := _MAPPING.match(line):
            kind = Path(found[1]).name if found[1].startswith(("/", "[")) else "anonymous"
        elif line.startswith("Pss:"):
            kinds[kind] += int(line.split()[1])
    return [(name, kib / 1024) for name, kib in kinds.most_common(count)]


def wake_ups(pid: int) -> int:
    """Times that a thread of the process went to sleep since it began."""
    told = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)[0]) for text in told)


class Disk(NamedTuple):
    """A mounted file system on a device of its own."""

    folder: Path
    device: str

    def written(self) -> int:
        """Bytes the device was asked to write so far (Documentation/admin-guide/iostats.rst, field 7)."""
        subprocess.run(["sync", "--file-system", str(self.folder)], check=True)
        return int(Path(f"/sys/block/{self.device}/stat").read_text().split()[6]) * 512


@contextmanager
def loop_disk(folder: Path | None = None, size_mib: int = 1024) -> Iterator[Disk]:
    """ext4 with mke2fs' defaults on a loop device, mounted on `folder` or a temporary one; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="edgekube-bench-") as scratch:
        image, place = Path(scratch) / "image", folder or Path(scratch) / "mount"
        place.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(size_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        command = ["losetup", "--find", "--show", str(image)]
        device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        try:
            # A fresh file system is initialised lazily, for minutes: none of that.
            subprocess.run(["mount", "-o", "noinit_itable,noatime", device, str(place)], check=True)
            try:
                yield Disk(place, Path(device).name)
            finally:
                subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)
        finally:
            subprocess.run(["losetup", "--detach", device], check=False)
