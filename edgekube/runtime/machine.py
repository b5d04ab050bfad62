"""What this node's kernel and our own privileges allow: read once at start, handed to pure code as a value."""

import os
import platform
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekube.runtime.api import Device, RuntimeFailure
from edgekube.runtime.cgroups import Cgroups
from edgekube.runtime.defaults import CAPABILITIES
from edgekube.runtime.spec import DeviceNode, Machine

DEVICES_MAX = 1024
_OWN_DEVICES = frozenset({"pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "console", "core", "ptmx"})
_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def read_machine(cgroups: Cgroups) -> Machine:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    bits = int(status["CapEff"], 16)
    capabilities = frozenset(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)
    memory = cgroups.layout.hierarchies.get("memory")
    return Machine(
        cgroup_v2=cgroups.v2,
        capabilities=capabilities,
        oom_score_adj_min=-1000 if "CAP_SYS_RESOURCE" in capabilities else _own_oom_score(),
        swap_accounting=cgroups.v2 or (memory is not None and os.path.exists(f"{memory}/memory.memsw.limit_in_bytes")),
        controllers=cgroups.controllers(),
        apparmor=_first_line("/sys/module/apparmor/parameters/enabled") == "Y",
    )


def _own_oom_score() -> int:
    return int(_first_line("/proc/self/oom_score_adj") or "0")


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().split("\n", 1)[0]
    except OSError:
        return ""


def device_nodes(device: Device) -> list[DeviceNode]:
    """The node, or every node below a folder. Raises RuntimeFailure when there is none."""
    found = [
        DeviceNode(
            path=device.container_path + path.removeprefix(device.host_path),
            kind=kind,
            major=os.major(info.st_rdev),
            minor=os.minor(info.st_rdev),
            mode=info.st_mode,
            uid=info.st_uid,
            gid=info.st_gid,
        )
        for path, kind, info in _walk(device.host_path)
    ]
    if not found:
        raise RuntimeFailure("CreateContainerError", f"{device.host_path} is not a device on this node")
    return found


def host_devices() -> list[DeviceNode]:
    """What a privileged container sees in /dev."""
    found = []
    try:
        names = sorted(os.listdir("/dev"))
    except OSError:
        return []
    for name in names:
        if name in _OWN_DEVICES:
            continue
        for path, kind, info in _walk(f"/dev/{name}"):
            found.append(
                DeviceNode(
                    path, kind, os.major(info.st_rdev), os.minor(info.st_rdev), info.st_mode, info.st_uid, info.st_gid
                )
            )
            if len(found) >= DEVICES_MAX:
                return found
    return found


def _walk(path: str) -> Sequence[tuple[str, str, os.stat_result]]:
    found: list[tuple[str, str, os.stat_result]] = []
    waiting = [path]
    while waiting and len(found) < DEVICES_MAX:
        current = waiting.pop()
        try:
            info = os.lstat(current) if current != path else os.stat(current)
            if stat.S_ISDIR(info.st_mode):
                waiting += [os.path.join(current, name) for name in sorted(os.listdir(current), reverse=True)]
            elif stat.S_ISCHR(info.st_mode):
                found.append((current, "c", info))
            elif stat.S_ISBLK(info.st_mode):
                found.append((current, "b", info))
        except OSError:
            continue
    return found


def describe(runc_words: str, cgroups: Cgroups) -> Mapping[str, Any]:
    """For NodeInfo. `runc_words` is what `runc --version` prints."""
    first = runc_words.split("\n", 1)[0].split()
    runc_version = first[-1] if first else "unknown"
    release = {}
    for line in (Path("/etc/os-release").read_text() if os.path.exists("/etc/os-release") else "").splitlines():
        key, _, value = line.partition("=")
        release[key] = value.strip('"')
    machine = platform.machine()
    return {
        "runc": runc_version,
        "kernel": platform.release(),
        "os_image": release.get("PRETTY_NAME", "Linux"),
        "architecture": _GO_ARCHITECTURES.get(machine, machine),
        "cgroup": 2 if cgroups.v2 else 1,
    }
