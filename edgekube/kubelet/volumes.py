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
from edgekube.kubelet.payload import File, Payload
from edgekube.kubelet.spec import recursively_readonly
from edgekube.native.files import Resolve, openat2
from edgekube.native.mounts import DETACH, MountFlag, mount, umount
from edgekube.runtime.api import Mount
from edgekube.runtime.trees import remove_tree
from edgekube.types.core_v1 import (
    Container,
    EmptyDirVolumeSource,
    EphemeralContainer,
    HostPathVolumeSource,
    Pod,
    Volume,
)
from edgekube.types.pod_resources import NANO
from edgekube.types.quantity import nano

DATA_LINK = "..data"
NAME_MAX, PAYLOAD_PATH_MAX = 255, 4096
PROPAGATION = {"": "private", "None": "private", "HostToContainer": "rslave", "Bidirectional": "rshared"}


# What this process writes, as root, while containers run: they may look at it and never change it (CVE-2017-1002102).
CONFIGURATION = ("configMap", "secret", "downwardAPI", "projected")
SUPPORTED = (*CONFIGURATION, "emptyDir", "hostPath")
# With a PersistentVolumeClaim the volume comes in as the hostPath of its PersistentVolume (podfiles.py).


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
        self._resolved: dict[str, Volume] = {}
        limits = [nano(c.resources.limits.get("memory", "0")) // NANO for c in pod.spec.containers]
        self._memory_limit = sum(limits) if limits and all(limits) else 0

    @property
    def disk_dir(self) -> Path:
        """The pod's folder on disk, made on first use: for files that containers can make as large as they like."""
        self._data.mkdir(parents=True, exist_ok=True, mode=0o750)
        return self._data

    def path(self, volume: Volume) -> Path:
        """Host folder of a volume."""
        volume = self._resolved.get(volume.name, volume)
        if volume.hostPath is not None:
            return Path(volume.hostPath.path)
        if volume.emptyDir is not None:
            return self._data / "volumes" / "kubernetes.io~empty-dir" / volume.name
        return self._run / "volumes" / volume.name

    def resolve(self, volume: Volume) -> None:
        """A claim's volume turned out to be this one."""
        self._resolved[volume.name] = volume

    def prepare(self, volume: Volume) -> None:
        """Make what can be made without the API: emptyDir and hostPath. Raises ConfigError."""
        if volume.hostPath is not None:
            check_host_path(volume.hostPath)
            return
        if volume.emptyDir is None:
            kind = kind_of(volume)
            if kind not in SUPPORTED:
                words = f'volumes of kind "{kind}" are not supported by this node; it has {", ".join(SUPPORTED)}'
                raise ConfigError(words)
            return
        path, medium = self.path(volume), volume.emptyDir.medium
        if medium not in ("", "Memory"):
            raise ConfigError(
                f'an emptyDir of medium "{medium}" is not supported by this node: leave it out, or Memory'
            )
        fresh = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        if medium == "Memory" and not os.path.ismount(path):
            mount("tmpfs", str(path), "tmpfs", 0, f"mode=0777{self._tmpfs_size(volume.emptyDir)}")
            fresh = True
        if fresh:
            path.chmod(0o777)
            if self._fs_group is not None:
                os.chown(path, -1, self._fs_group)
                path.chmod(0o2777)

    def _tmpfs_size(self, source: EmptyDirVolumeSource) -> str:
        """The smaller of its own limit and the containers' memory limits; the kernel's half of memory without one."""
        own = nano(source.sizeLimit) // NANO if source.sizeLimit else 0
        size = min((amount for amount in (own, self._memory_limit) if amount), default=0)
        return f",size={size}" if size else ""

    def write(self, volume: Volume, payload: Payload) -> bool:
        """Show exactly `payload` in the volume, all at once; returns whether anything changed."""
        if self._written.get(volume.name) == payload:
            return False
        for name in payload:
            check_payload_path(name)
        total = sum(len(file.content) for file in payload.values())
        if total > VOLUME_FILE_BYTES_MAX:
            raise ConfigError(f"volume {volume.name} holds {total} bytes, more than {VOLUME_FILE_BYTES_MAX}")
        changed = not shows(self.path(volume), payload, self._fs_group)
        if changed:
            write_atomically(self.path(volume), payload, self._fs_group)
        self._written[volume.name] = payload
        return changed

    def mounts(self, pod: Pod, container: Container | EphemeralContainer, env: Mapping[str, str]) -> list[Mount]:
        """The container's volumeMounts as bind mounts. Raises ConfigError."""
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        mounts: list[Mount] = []
        if container.volumeDevices:
            raise ConfigError("raw block volumes (volumeDevices) are not supported by this node")
        for wanted in container.volumeMounts:
            volume = volumes.get(wanted.name)
            if volume is None:
                raise ConfigError(f'volumeMount names volume "{wanted.name}", which the pod does not have')
            source = self.path(volume)
            below = wanted.subPath or expand(wanted.subPathExpr, env)
            if below:
                try:
                    source = self._sub_path(container.name, len(mounts), source, below)
                except OSError as error:
                    words = f'failed to prepare subPath "{below}" for volumeMount "{wanted.name}": {error.strerror}'
                    raise ConfigError(words) from error
            mounts.append(
                Mount(
                    target=os.path.normpath(os.path.join("/", wanted.mountPath)),
                    source=str(source),
                    readonly=wanted.readOnly or kind_of(volume) in CONFIGURATION,
                    propagation=PROPAGATION[wanted.mountPropagation],
                    options=("rro",) if recursively_readonly(wanted) else (),
                )
            )
        return mounts

    def _sub_path(self, container: str, index: int, root: Path, below: str) -> Path:
        """A path inside a volume, resolved so that no symbolic link leads out of it, pinned by a bind mount.

        The pod can change its volume at any time, so the checked path must be the mounted one: it is opened below the
        root by openat2 and bound through /proc/self/fd (CVE-2021-25741).
        """
        if os.path.isabs(below) or ".." in Path(below).parts or "\0" in below:
            raise ConfigError(f'subPath {below!r} must be relative and must not contain ".." or NUL')
        pin = self._run / "subpaths" / f"{container}-{index}"
        root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fd = openat2(root_fd, below, os.O_PATH, resolve=Resolve.IN_ROOT)
            except FileNotFoundError:
                make_folders(root_fd, below)
                fd = openat2(root_fd, below, os.O_PATH, resolve=Resolve.IN_ROOT)
            try:
                _clear_pin(pin)
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

    async def remove(self) -> None:
        """Unmount and delete everything the pod had on this node but its logs."""
        for base in (self._run, self._data):
            unmount_below(base)
            await remove_tree(str(base))
        self._written.clear()


def _clear_pin(pin: Path) -> None:
    """Of the start before: the same name may be a file now and have been a folder then."""
    if not pin.exists():
        return
    while os.path.ismount(pin):
        umount(str(pin), DETACH)
    if pin.is_dir():
        pin.rmdir()
    else:
        pin.unlink()


def kind_of(volume: Volume) -> str:
    """The field that says what the volume is."""
    return next((n for n in volume.__struct_fields__ if n != "name" and getattr(volume, n) is not None), "emptyDir")


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
    if "\0" in source.path:
        raise ConfigError(f"hostPath {source.path!r} contains a NUL character")
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


def check_payload_path(name: str) -> None:
    """A path in a configuration volume: relative, inside it, and none of our own names. Raises ConfigError."""
    if not name or name.startswith(("/", "..")) or ".." in Path(name).parts or "\0" in name:
        raise ConfigError(
            f"invalid path {name!r} in a volume: it must be relative and must not contain or begin with .."
        )
    if len(name) > PAYLOAD_PATH_MAX or any(len(part.encode()) > NAME_MAX for part in Path(name).parts):
        raise ConfigError(f"path {name[:64]!r}... in a volume is too long")


def _file_mode(file: File, group: int | None) -> int:
    """With an fsGroup its members can read what the owner can."""
    return file.mode | (0o440 if group is not None else 0)


def shows(root: Path, payload: Payload, group: int | None) -> bool:
    """Whether a configuration volume holds exactly these files already (as after a restart of this process)."""
    base = root / DATA_LINK
    try:
        found = {str(p.relative_to(base)) for p in base.rglob("*") if not p.is_dir()}
        if found != {os.path.normpath(name) for name in payload}:
            return False
        for name, file in payload.items():
            info = (base / name).stat()
            if stat.S_IMODE(info.st_mode) != _file_mode(file, group) or info.st_size != len(file.content):
                return False
            if (base / name).read_bytes() != file.content or (group is not None and info.st_gid != group):
                return False
        return base.is_dir()
    except OSError:
        return False


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
        path.chmod(_file_mode(file, group))
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
