"""Volumes of pods on this node: folders, tmpfs mounts and atomically updated configuration files.

emptyDir lives under the data folder and survives a reboot. Configuration volumes (configMap, secret, projected,
downwardAPI) live under the run folder, a tmpfs: secrets never touch the flash card and an update wears nothing.
"""

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgekube.kubelet.config import VOLUME_FILE_BYTES_MAX
from edgekube.kubelet.env import ConfigError, expand
from edgekube.kubelet.payload import Payload
from edgekube.native.files import Resolve, openat2
from edgekube.native.mounts import DETACH, MountFlag, mount, umount
from edgekube.runtime.api import Mount
from edgekube.types.core_v1 import Container, EphemeralContainer, HostPathVolumeSource, Pod, Volume
from edgekube.types.quantity import parse

DATA_LINK = "..data"
PROPAGATION = {"": "private", "None": "private", "HostToContainer": "rslave", "Bidirectional": "rshared"}


class HostPathError(ConfigError):
    """A hostPath is not of the type it was declared to be."""


class PodVolumes:
    """The volumes of one pod. All methods are synchronous, quick file work on local file systems."""

    def __init__(self, pod: Pod, *, data_dir: Path, run_dir: Path) -> None:
        self._uid = pod.metadata.uid
        self._data = data_dir / "pods" / self._uid
        self._run = run_dir / "pods" / self._uid
        security = pod.spec.securityContext
        self._fs_group = security.fsGroup if security is not None else None
        self._written: dict[str, Payload] = {}

    @property
    def run_dir(self) -> Path:
        """The pod's folder on tmpfs, made on first use: hosts, resolv.conf, termination messages."""
        self._run.mkdir(parents=True, exist_ok=True, mode=0o750)
        return self._run

    def path(self, volume: Volume) -> Path:
        """Host folder of a volume."""
        if volume.hostPath is not None:
            return Path(volume.hostPath.path)
        if volume.emptyDir is not None:
            return self._data / "volumes" / "kubernetes.io~empty-dir" / volume.name
        return self._run / "volumes" / volume.name

    def prepare(self, volume: Volume) -> None:
        """Make what can be made without the API: emptyDir and hostPath. Raises ConfigError."""
        if volume.hostPath is not None:
            check_host_path(volume.hostPath)
            return
        path = self.path(volume)
        if volume.emptyDir is None:
            return
        fresh = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        if volume.emptyDir.medium == "Memory":
            if not os.path.ismount(path):
                limit = volume.emptyDir.sizeLimit
                size = f",size={int(parse(limit))}" if limit else ""
                mount("tmpfs", str(path), "tmpfs", 0, f"mode=0777{size}")
                fresh = True
        elif volume.emptyDir.medium not in ("", "HugePages"):
            raise ConfigError(f'volume {volume.name}: unknown medium "{volume.emptyDir.medium}"')
        if fresh:
            path.chmod(0o777)
            if self._fs_group is not None:
                os.chown(path, -1, self._fs_group)
                path.chmod(0o2777)

    def write(self, volume: Volume, payload: Payload) -> bool:
        """Show exactly `payload` in the volume, all at once; returns whether anything changed."""
        if self._written.get(volume.name) == payload:
            return False
        total = sum(len(file.content) for file in payload.values())
        if total > VOLUME_FILE_BYTES_MAX:
            raise ConfigError(f"volume {volume.name} holds {total} bytes, more than {VOLUME_FILE_BYTES_MAX}")
        write_atomically(self.path(volume), payload, self._fs_group)
        self._written[volume.name] = payload
        return True

    def mounts(self, pod: Pod, container: Container | EphemeralContainer, env: Mapping[str, str]) -> list[Mount]:
        """The container's volumeMounts as bind mounts. Raises ConfigError."""
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        mounts: list[Mount] = []
        for wanted in container.volumeMounts:
            volume = volumes.get(wanted.name)
            if volume is None:
                raise ConfigError(f'volumeMount names volume "{wanted.name}", which the pod does not have')
            source = self.path(volume)
            below = wanted.subPath or expand(wanted.subPathExpr, env)
            if below:
                source = self._sub_path(container.name, len(mounts), source, below)
            mounts.append(
                Mount(
                    target=os.path.normpath(os.path.join("/", wanted.mountPath)),
                    source=str(source),
                    readonly=wanted.readOnly,
                    propagation=PROPAGATION[wanted.mountPropagation],
                )
            )
        return mounts

    def _sub_path(self, container: str, index: int, root: Path, below: str) -> Path:
        """A path inside a volume, resolved so that no symbolic link leads out of it, pinned by a bind mount.

        The pod can change its volume at any time, so the checked path must be the mounted one: it is opened below the
        root by openat2 and bound through /proc/self/fd (CVE-2021-25741).
        """
        if os.path.isabs(below) or ".." in Path(below).parts:
            raise ConfigError(f'subPath "{below}" must be relative and must not contain ".."')
        pin = self._run / "subpaths" / f"{container}-{index}"
        root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fd = openat2(root_fd, below, os.O_PATH, resolve=Resolve.IN_ROOT)
            except FileNotFoundError:
                make_folders(root_fd, below)
                fd = openat2(root_fd, below, os.O_PATH, resolve=Resolve.IN_ROOT)
            try:
                if os.path.ismount(pin):
                    umount(str(pin), DETACH)
                is_dir = stat.S_ISDIR(os.fstat(fd).st_mode)
                if is_dir:
                    pin.mkdir(parents=True, exist_ok=True)
                else:
                    pin.parent.mkdir(parents=True, exist_ok=True)
                    pin.touch()
                mount(f"/proc/self/fd/{fd}", str(pin), None, MountFlag.BIND)
            finally:
                os.close(fd)
        finally:
            os.close(root_fd)
        return pin

    def remove(self) -> None:
        """Unmount and delete everything the pod had on this node but its logs."""
        for base in (self._run, self._data):
            unmount_below(base)
            shutil.rmtree(base, ignore_errors=True)
        self._written.clear()


def make_folders(root_fd: int, below: str) -> None:
    """Make the folders of a subPath inside an open volume root, never through a link that leads out."""
    parts = Path(below).parts
    for depth in range(1, len(parts) + 1):
        parent = "/".join(parts[: depth - 1]) or "."
        parent_fd = openat2(root_fd, parent, os.O_PATH | os.O_DIRECTORY, resolve=Resolve.IN_ROOT)
        try:
            os.mkdir(parts[depth - 1], 0o755, dir_fd=parent_fd)
        except FileExistsError:
            pass
        finally:
            os.close(parent_fd)


def unmount_below(base: Path) -> None:
    """Detach every mount at or below a folder, deepest first."""
    prefix = str(base)
    with open("/proc/self/mountinfo") as table:
        points = [line.split()[4].encode().decode("unicode_escape") for line in table]
    for point in sorted(points, key=len, reverse=True):
        if point == prefix or point.startswith(prefix + "/"):
            umount(point, DETACH)


def check_host_path(source: HostPathVolumeSource) -> None:
    """Check, and for the OrCreate types make, a host path (HostPathType)."""
    path = Path(source.path)
    match source.type:
        case "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        case "FileOrCreate":
            path.touch(mode=0o644)
    tests = {
        "Directory": (stat.S_ISDIR, "a directory"),
        "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
        "File": (stat.S_ISREG, "a file"),
        "FileOrCreate": (stat.S_ISREG, "a file"),
        "Socket": (stat.S_ISSOCK, "a socket file"),
        "CharDevice": (stat.S_ISCHR, "a character device"),
        "BlockDevice": (stat.S_ISBLK, "a block device"),
    }
    if source.type not in tests:
        # Without a type nothing is checked, and a missing folder is made, as container engines do for bind mounts.
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        return
    is_it, words = tests[source.type]
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = 0
    if not is_it(mode):
        raise HostPathError(f"hostPath type check failed: {source.path} is not {words}")


class _Stamp(msgspec.Struct):
    count: int = 0


_stamp = _Stamp()


def write_atomically(root: Path, payload: Payload, group: int | None) -> None:
    """Replace a volume's files in one rename, so that a reader sees all of the old or all of the new.

    Files are in a dated folder; `..data` points to it; top-level names are links through `..data`. The layout is the
    one Kubernetes documents for configMap volumes, and what file watchers inside containers rely on.
    """
    root.mkdir(parents=True, exist_ok=True)
    _stamp.count += 1
    current = root / DATA_LINK
    old = os.readlink(current) if current.is_symlink() else ""
    fresh = root / f"..{os.getpid()}_{_stamp.count}"
    while fresh.name == old or fresh.exists():
        _stamp.count += 1
        fresh = root / f"..{os.getpid()}_{_stamp.count}"
    fresh.mkdir(mode=0o755)
    fresh.chmod(0o755)
    for name, file in payload.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(file.mode | (0o440 if group is not None else 0))
    swap = root / "..data_tmp"
    swap.unlink(missing_ok=True)
    swap.symlink_to(fresh.name)
    swap.rename(current)
    tops = {Path(name).parts[0] for name in payload}
    for name in tops:
        link = root / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA_LINK}/{name}")
    for entry in root.iterdir():
        if entry.name in (DATA_LINK, fresh.name) or entry.name in tops:
            continue
        if entry.is_symlink():
            entry.unlink()
        elif entry.name.startswith(".."):
            shutil.rmtree(entry, ignore_errors=True)
