"""Control groups, version 1 (also hybrid) and version 2: created, limited, measured, emptied, removed.

A path is given below the hierarchy's root, without a leading slash: `edgekube/burstable/pod<uid>`. In version 1 it
stands for one folder in each mounted hierarchy. Sources: the kernel's admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import errno
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from edgekube.runtime.api import ContainerStats, Resources

CPU_SHARES_MIN, CPU_SHARES_MAX = 2, 262_144
CPU_QUOTA_US_MIN = 1000
DEPTH_MAX = 16
_V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
CONTROLLERS = frozenset(("cpu", "cpuset", "memory", "pids"))  # those that limits are written to
_SHIM_CONTROLLERS = ("cpu", "memory", "pids", "name=systemd", "")  # where accounting or service managers look


class Layout(msgspec.Struct, frozen=True):
    """Where the hierarchies are mounted.

    `hierarchies` maps a v1 controller (or `name=systemd`) to its mount point; `""` is the unified one.
    """

    v2: bool
    hierarchies: Mapping[str, str]

    def roots(self) -> tuple[str, ...]:
        """Each mount point once (several v1 controllers may share one)."""
        return tuple(dict.fromkeys(self.hierarchies.values()))


def detect(mountinfo: str) -> Layout:
    """From the text of /proc/self/mountinfo (proc(5)). Version 2 is meant when no v1 controller is mounted."""
    hierarchies: dict[str, str] = {}
    v1 = False
    for line in mountinfo.splitlines():
        fields = line.split()
        if "-" not in fields:
            continue
        kind, _, super_options = fields[fields.index("-") + 1 :][:3]
        mount_point = fields[4]
        if kind == "cgroup2":
            hierarchies.setdefault("", mount_point)
        elif kind == "cgroup":
            for option in super_options.split(","):
                if option in ("rw", "ro", "xattr", "clone_children", "noprefix") or option.startswith("release_agent="):
                    continue
                v1 = v1 or not option.startswith("name=")
                hierarchies.setdefault(option, mount_point)
    if not hierarchies:
        raise FileNotFoundError("no control group file system is mounted: mount cgroup2 on /sys/fs/cgroup")
    return Layout(v2=not v1, hierarchies={"": hierarchies[""]} if not v1 else hierarchies)


def cpu_weight(shares: int) -> int:
    """cpu.weight (1..10000) for cpu.shares (2..262144), by the mapping runc 1.1 and the kubelet use."""
    shares = min(max(shares, CPU_SHARES_MIN), CPU_SHARES_MAX)
    return 1 + (shares - CPU_SHARES_MIN) * 9999 // (CPU_SHARES_MAX - CPU_SHARES_MIN)


def limit_files(resources: Resources, *, v2: bool) -> list[tuple[str, str, str]]:
    """(controller, file, value) to write, in an order the kernel accepts."""
    files: list[tuple[str, str, str]] = []
    quota = resources.cpu_quota_us
    if quota is not None and quota >= 0:
        quota = max(quota, CPU_QUOTA_US_MIN)
    if resources.cpu_shares is not None:
        if v2:
            files.append(("cpu", "cpu.weight", str(cpu_weight(resources.cpu_shares))))
        else:
            shares = min(max(resources.cpu_shares, CPU_SHARES_MIN), CPU_SHARES_MAX)
            files.append(("cpu", "cpu.shares", str(shares)))
    if quota is not None:
        if v2:
            files.append(("cpu", "cpu.max", f"{'max' if quota < 0 else quota} {resources.cpu_period_us}"))
        else:
            files.append(("cpu", "cpu.cfs_period_us", str(resources.cpu_period_us)))
            files.append(("cpu", "cpu.cfs_quota_us", str(quota)))
    if resources.memory_limit_bytes is not None:
        limit = resources.memory_limit_bytes
        if v2:
            files.append(("memory", "memory.max", str(limit) if limit > 0 else "max"))
        else:
            files.append(("memory", "memory.limit_in_bytes", str(limit) if limit > 0 else "-1"))
    if resources.pids_limit is not None:
        files.append(("pids", "pids.max", str(resources.pids_limit) if resources.pids_limit > 0 else "max"))
    if resources.cpuset_cpus:
        files.append(("cpuset", "cpuset.cpus", resources.cpuset_cpus))
    if v2:
        files += [(name.split(".", 1)[0], name, value) for name, value in resources.unified.items()]
    return files


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def _number(path: str) -> int:
    try:
        text = _read(path).strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _fields(path: str) -> dict[str, int]:
    """`key value` lines."""
    try:
        lines = _read(path).splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


class Cgroups:
    """All operations on this machine's hierarchies. No state but the layout; a call costs some tens of microseconds."""

    def __init__(self, layout: Layout | None = None) -> None:
        self.layout = layout or detect(Path("/proc/self/mountinfo").read_text())

    @property
    def v2(self) -> bool:
        return self.layout.v2

    def controllers(self) -> frozenset[str]:
        """Which of CONTROLLERS this machine has. Raspberry Pi kernels boot without memory unless told otherwise."""
        if not self.v2:
            return CONTROLLERS & self.layout.hierarchies.keys()
        return CONTROLLERS.intersection(_read(f"{self.layout.hierarchies['']}/cgroup.controllers").split())

    def folder(self, controller: str, path: str) -> str | None:
        """The folder of `path` where `controller` is; None when no hierarchy has it."""
        root = self.layout.hierarchies.get("" if self.v2 else controller)
        return None if root is None else f"{root}/{path}"

    def folders(self, path: str) -> list[str]:
        return [f"{root}/{path}" for root in self.layout.roots()]

    def exists(self, path: str) -> bool:
        return any(os.path.isdir(folder) for folder in self.folders(path))

    def ensure(self, path: str, resources: Resources | None = None) -> None:
        """Creates `path` with its parents and writes the limits. Raises OSError naming the file."""
        parts = path.strip("/").split("/")
        if len(parts) > DEPTH_MAX or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"not a cgroup path: {path!r}")
        for root in self.layout.roots():
            folder = root
            for part in parts:
                if self.v2:
                    self._delegate(folder)
                folder = f"{folder}/{part}"
                try:
                    os.mkdir(folder, 0o755)
                except FileExistsError:
                    continue
                if not self.v2 and root == self.layout.hierarchies.get("cpuset"):
                    self._inherit_cpuset(folder)
        if resources is not None:
            self.apply(path, resources)

    @staticmethod
    def _delegate(folder: str) -> None:
        """Passes on every controller the folder itself has (a folder that holds processes refuses: EBUSY)."""
        try:
            has = set(_read(f"{folder}/cgroup.controllers").split())
            given = set(_read(f"{folder}/cgroup.subtree_control").split())
        except OSError:
            return
        for controller in _V2_CONTROLLERS:
            if controller in has - given:
                try:
                    Path(folder, "cgroup.subtree_control").write_text(f"+{controller}")
                except OSError as error:
                    if error.errno not in (errno.EBUSY, errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL):
                        raise

    @staticmethod
    def _inherit_cpuset(folder: str) -> None:
        """A new v1 cpuset is empty, and no process can enter it until it has both."""
        for name in ("cpuset.cpus", "cpuset.mems"):
            value = _read(os.path.join(os.path.dirname(folder), name)).strip()
            Path(folder, name).write_text(value)

    def apply(self, path: str, resources: Resources) -> None:
        """Writes the limits that are set. A controller this machine lacks is passed over (`edgekube check` tells)."""
        for controller, name, value in limit_files(resources, v2=self.v2):
            folder = self.folder(controller, path)
            if folder is None or not os.path.exists(f"{folder}/{name}"):
                continue
            with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                file.write(value)

    def shim_files(self, path: str) -> list[str]:
        """The cgroup.procs files a shim writes itself into."""
        wanted = [self.layout.hierarchies[name] for name in _SHIM_CONTROLLERS if name in self.layout.hierarchies]
        return [f"{root}/{path}/cgroup.procs" for root in dict.fromkeys(wanted)]

    def oom_file(self, path: str) -> str | None:
        """The file with the `oom_kill` count."""
        folder = self.folder("memory", path)
        if folder is None:
            return None
        return f"{folder}/{'memory.events' if self.v2 else 'memory.oom_control'}"

    def oom_kills(self, path: str) -> int:
        name = self.oom_file(path)
        return _fields(name).get("oom_kill", 0) if name else 0

    def pids(self, path: str) -> set[int]:
        """Processes in `path` and below it, over all hierarchies."""
        found: set[int] = set()
        for folder in self.folders(path):
            for below in [folder, *_below(folder)]:
                try:
                    found.update(int(line) for line in _read(f"{below}/cgroup.procs").split())
                except OSError:
                    continue
        return found

    def kill(self, path: str) -> bool:
        """One SIGKILL to all that is in there; True when nothing was. Call again until then: processes may fork."""
        if self.v2:
            folder = f"{self.layout.hierarchies['']}/{path}"
            try:
                Path(folder, "cgroup.kill").write_text("1")
            except FileNotFoundError:
                pass  # before Linux 5.14, or the group is gone
            else:
                return not self.pids(path)
        pids = self.pids(path)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not pids

    def remove(self, path: str) -> bool:
        """Removes `path` and what is below it, in all hierarchies; False when a process is (still) inside."""
        gone = True
        for folder in self.folders(path):
            for below in [*reversed(list(_below(folder))), folder]:
                try:
                    os.rmdir(below)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                        raise
                    gone = False
        return gone

    def children(self, path: str) -> set[str]:
        """Names of the groups directly below `path`, over all hierarchies."""
        names: set[str] = set()
        for folder in self.folders(path):
            try:
                names.update(entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
            except OSError:
                continue
        return names

    def stats(self, path: str) -> ContainerStats | None:
        """None when the group is gone. Working set is usage without inactive file pages, as the kubelet counts it."""
        if self.v2:
            folder = f"{self.layout.hierarchies['']}/{path}"
            if not os.path.isdir(folder):
                return None
            memory = _fields(f"{folder}/memory.stat")
            usage = _number(f"{folder}/memory.current")
            return ContainerStats(
                cpu_usage_ns=_fields(f"{folder}/cpu.stat").get("usage_usec", 0) * 1000,
                memory_usage_bytes=usage,
                memory_working_set_bytes=max(usage - memory.get("inactive_file", 0), 0),
                memory_rss_bytes=memory.get("anon", 0),
                pids=_number(f"{folder}/pids.current"),
            )
        memory_folder = self.folder("memory", path)
        cpu_folder = self.folder("cpuacct", path)
        if not any(folder and os.path.isdir(folder) for folder in (memory_folder, cpu_folder)):
            return None
        memory = _fields(f"{memory_folder}/memory.stat")
        usage = _number(f"{memory_folder}/memory.usage_in_bytes")
        return ContainerStats(
            cpu_usage_ns=_number(f"{cpu_folder}/cpuacct.usage"),
            memory_usage_bytes=usage,
            memory_working_set_bytes=max(usage - memory.get("total_inactive_file", 0), 0),
            memory_rss_bytes=memory.get("total_rss", 0),
            pids=_number(f"{self.folder('pids', path)}/pids.current"),
        )


def _below(folder: str) -> Iterator[str]:
    """Folders below `folder`, parents first."""
    try:
        entries = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for entry in entries:
        yield entry
        yield from _below(entry)
