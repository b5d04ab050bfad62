"""A pod's shared namespaces and /dev/shm, held by mounts alone: no process keeps them alive.

Each pin is a bind mount of /proc/self/ns/X on a file below the runtime's own tmpfs. That tmpfs is private and
unbindable, so pins are not copied into other mount namespaces, where they would outlive their removal here.
"""

import contextlib
import errno
import os
from pathlib import Path

import msgspec

from edgekube.native.files import FsType, fs_type
from edgekube.native.mounts import MountFlag, mount
from edgekube.native.namespaces import pin
from edgekube.runtime.api import NamespaceMode, RuntimeFailure, Sandbox, SandboxSpec
from edgekube.runtime.layout import Paths, read_if_there, write_whole
from edgekube.runtime.overlay import unmount
from edgekube.types.unreadable import UNREADABLE

PIN_NAMES = ("net", "ipc", "uts")
HOSTNAME_BYTES_MAX = 64  # uname(2)
# Sysctls that belong to a network or ipc namespace; all others would change the node (sysctl/net.rst, kernel.rst).
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


class SandboxRecord(msgspec.Struct, frozen=True):
    spec: SandboxSpec
    created_at: str


def mount_private_tmpfs(folder: str) -> None:
    """Once per boot; again is nothing."""
    if fs_type(folder) == FsType.TMPFS and os.stat(folder).st_dev != os.stat(os.path.dirname(folder)).st_dev:
        return
    mount("edgekube", folder, "tmpfs", MountFlag.NOSUID | MountFlag.NODEV, "mode=0711,size=16m")
    mount(None, folder, None, MountFlag.PRIVATE)
    mount(None, folder, None, MountFlag.UNBINDABLE)
    for name in ("ns", "shm", "root"):
        os.mkdir(f"{folder}/{name}", 0o711)


def sysctl_parts(name: str) -> list[str]:
    """The path of a sysctl below /proc/sys; both spellings of sysctl(8), `a.b` and `a/b`, are read."""
    dotted = name.replace("/", ".") if "/" in name and "." not in name.split("/", 1)[0] else name
    return dotted.split(".")


def sysctl_is_the_pods(name: str, *, own_network: bool, own_ipc: bool) -> bool:
    """Whether a namespace of the pod's own holds the sysctl."""
    dotted = ".".join(sysctl_parts(name))
    return own_network if dotted.startswith("net.") else own_ipc and dotted.startswith(_IPC_SYSCTLS)


def sysctl_files(spec: SandboxSpec) -> dict[str, str]:
    """Files below /proc/sys for the pod's sysctls. Raises RuntimeFailure for one that is not the pod's to set."""
    files = {}
    for name, value in spec.sysctls.items():
        parts = sysctl_parts(name)
        if any(part in ("", "..") or "/" in part for part in parts):
            raise RuntimeFailure("CreatePodSandboxError", f"malformed sysctl name {name!r}")
        own_network, own_ipc = spec.network is NamespaceMode.POD, spec.ipc is NamespaceMode.POD
        if not sysctl_is_the_pods(name, own_network=own_network, own_ipc=own_ipc):
            raise RuntimeFailure(
                "CreatePodSandboxError",
                f"sysctl {name!r} is not namespaced, or the pod uses the node's namespace: it cannot be set for a pod",
            )
        files["/proc/sys/" + "/".join(parts)] = value
    return files


def wanted_pins(spec: SandboxSpec) -> tuple[str, ...]:
    names = []
    if spec.network is NamespaceMode.POD:
        names += ["net", "uts"]
    if spec.ipc is NamespaceMode.POD:
        names.append("ipc")
    return tuple(names)


def create(paths: Paths, spec: SandboxSpec) -> None:
    """Namespaces and /dev/shm. Leaves nothing behind when it fails (RuntimeFailure CreatePodSandboxError)."""
    folder = paths.pins(spec.id)
    names = wanted_pins(spec)
    try:
        remove(paths, spec.id)
        os.mkdir(folder, 0o711)
        files = {}
        for name in names:
            files[name] = f"{folder}/{name}"
            os.close(os.open(files[name], os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o600))
        if names:
            pin(
                net=files.get("net"),
                ipc=files.get("ipc"),
                uts=files.get("uts"),
                hostname=_hostname(spec) if "uts" in files else None,
                sysctls=sysctl_files(spec),
            )
        elif spec.sysctls:
            sysctl_files(spec)
        if spec.ipc is not NamespaceMode.NODE:
            shm = paths.shm(spec.id)
            os.mkdir(shm, 0o1777)
            flags = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC
            mount("shm", shm, "tmpfs", flags, f"mode=1777,size={spec.shm_size_bytes}")
    except OSError as error:
        remove(paths, spec.id)
        raise RuntimeFailure("CreatePodSandboxError", f"sandbox of {spec.name}: {error}") from error
    except BaseException:
        remove(paths, spec.id)
        raise


def _hostname(spec: SandboxSpec) -> str:
    return os.fsencode(spec.hostname)[:HOSTNAME_BYTES_MAX].decode(errors="ignore")


def remove(paths: Paths, sandbox_id: str) -> None:
    """Unmounts and unlinks each pin: unmounting alone leaves copies in mount namespaces made meanwhile."""
    folder = paths.pins(sandbox_id)
    for name in PIN_NAMES:
        unmount(f"{folder}/{name}")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(f"{folder}/{name}")
    shm = paths.shm(sandbox_id)
    unmount(shm)
    for empty in (shm, folder):
        try:
            os.rmdir(empty)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def pins_valid(paths: Paths, spec: SandboxSpec) -> bool:
    """A pin is on nsfs; a file that lost its mount is on our tmpfs."""
    for name in wanted_pins(spec):
        try:
            if fs_type(f"{paths.pins(spec.id)}/{name}") != FsType.NSFS:
                return False
        except OSError:
            return False
    return spec.ipc is NamespaceMode.NODE or os.path.ismount(paths.shm(spec.id))


def save(paths: Paths, record: SandboxRecord) -> None:
    write_whole(paths.sandbox(record.spec.id), msgspec.json.encode(record))


def forget(paths: Paths, sandbox_id: str) -> None:
    Path(paths.sandbox(sandbox_id)).unlink(missing_ok=True)


def load_all(paths: Paths) -> list[SandboxRecord]:
    """Every readable record; an unreadable one is removed (its parts are then leftovers)."""
    records = []
    for name in sorted(os.listdir(paths.sandboxes)):
        path = f"{paths.sandboxes}/{name}"
        try:
            records.append(msgspec.json.decode(read_if_there(path) or b"", type=SandboxRecord))
        except UNREADABLE:
            Path(path).unlink(missing_ok=True)
    return records


def as_sandbox(paths: Paths, record: SandboxRecord, *, ready: bool) -> Sandbox:
    netns = f"{paths.pins(record.spec.id)}/net" if record.spec.network is NamespaceMode.POD else ""
    return Sandbox(spec=record.spec, created_at=record.created_at, netns_path=netns, ready=ready)
