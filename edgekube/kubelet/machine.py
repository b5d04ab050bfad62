"""What the machine is: cores, memory, kernel, addresses; read from /proc and /sys, no subprocess."""

import os
import platform
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import msgspec

GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "riscv64": "riscv64"}


class Machine(msgspec.Struct, frozen=True):
    """Sizes in bytes."""

    cores: int
    memory: int
    ephemeral_storage: int
    architecture: str  # Go's name
    kernel: str
    os_image: str
    machine_id: str
    boot_id: str
    system_uuid: str


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def meminfo() -> Mapping[str, int]:
    """/proc/meminfo in bytes."""
    result = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words:
            result[name] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return result


def look(data_dir: Path) -> Machine:
    """The machine as it is now."""
    release = dict(
        line.partition("=")[::2] for line in _read("/etc/os-release").splitlines() if not line.startswith("#")
    )
    disk = os.statvfs(data_dir)
    return Machine(
        cores=os.cpu_count() or 1,
        memory=meminfo().get("MemTotal", 0),
        ephemeral_storage=disk.f_blocks * disk.f_frsize,
        architecture=GO_ARCHITECTURES.get(platform.machine(), platform.machine()),
        kernel=platform.release(),
        os_image=release.get("PRETTY_NAME", "Linux").strip('"'),
        machine_id=_read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        # A Pi has no DMI; its board serial is the nearest thing to a system UUID.
        # As the kubelet: a board without either is known by its installation.
        system_uuid=_read("/sys/class/dmi/id/product_uuid")
        or _read("/proc/device-tree/serial-number").strip("\0")
        or _read("/etc/machine-id"),
    )


def allocatable(machine: Machine, reserved_memory: int) -> Mapping[str, Fraction]:
    """What pods may use, in cores and bytes."""
    return {
        "cpu": Fraction(machine.cores),
        "memory": Fraction(max(0, machine.memory - reserved_memory)),
        "ephemeral-storage": Fraction(machine.ephemeral_storage),
    }
