"""From a ContainerSpec and its surroundings to the OCI runtime's config.json: a pure function.

Sources: opencontainers/runtime-spec (config.md, config-linux.md); defaults in `defaults`.
"""

import signal
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from edgekube.runtime.api import ContainerSpec, Device, Mount, NamespaceMode, Resources, RuntimeFailure, Security
from edgekube.runtime.cgroups import CONTROLLERS, CPU_QUOTA_US_MIN, CPU_SHARES_MAX, CPU_SHARES_MIN
from edgekube.runtime.defaults import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    DEFAULT_PATH,
    MASKED_PATHS,
    READONLY_PATHS,
    default_mounts,
)
from edgekube.runtime.users import Identity
from edgekube.types.integers import natural

OCI_VERSION = "1.0.2"
ENV_BYTES_MAX = 1 << 20
OOM_SCORE_ADJ_MIN, OOM_SCORE_ADJ_MAX = -1000, 1000
PROPAGATIONS = {"private": "rprivate", "rslave": "rslave", "rshared": "rshared"}


class Machine(msgspec.Struct, frozen=True):
    """What this node's kernel and our own privileges allow; read once."""

    cgroup_v2: bool
    capabilities: frozenset[str]  # our own: more cannot be given
    oom_score_adj_min: int  # lower is refused without CAP_SYS_RESOURCE
    swap_accounting: bool  # v1: memory.memsw.* exists
    apparmor: bool
    controllers: frozenset[str] = CONTROLLERS  # what the kernel lacks is not asked of it: runc would refuse


class DeviceNode(msgspec.Struct, frozen=True):
    """A device on the host, as mknod(2) sees it."""

    path: str
    kind: str  # c or b
    major: int
    minor: int
    mode: int
    uid: int = 0
    gid: int = 0


class Surroundings(msgspec.Struct, frozen=True):
    """What the sandbox and the runtime provide. Namespace paths are pins; "" in a POD mode is a programming error."""

    rootfs: str
    cgroup: str  # below the hierarchy root
    network: NamespaceMode
    ipc: NamespaceMode
    pid: NamespaceMode
    net_path: str = ""
    ipc_path: str = ""
    uts_path: str = ""
    pid_path: str = ""
    shm: str | None = None


SIGNAL_MAX = 64


def _failure(message: str) -> RuntimeFailure:
    return RuntimeFailure("CreateContainerConfigError", message)


def parse_signal(text: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Raises RuntimeFailure for what is no signal."""
    name = text.strip().upper()
    if number := natural(name, SIGNAL_MAX):
        return number
    name = name.removeprefix("SIG")
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    steps = natural(offset, SIGNAL_MAX) if sign else 0
    if base in ("RTMIN", "RTMAX") and steps is not None:
        number = int(signal.SIGRTMIN if base == "RTMIN" else signal.SIGRTMAX) + (steps if sign == "+" else -steps)
        if int(signal.SIGRTMIN) <= number <= int(signal.SIGRTMAX):
            return number
    found = signal.Signals.__members__.get(f"SIG{name}")
    if found is None:
        raise _failure(f"unknown stop signal {text!r}: use a name like SIGTERM or a number from 1 to 64")
    return int(found)


def capabilities(security: Security, available: frozenset[str]) -> frozenset[str]:
    """Default plus added minus dropped, no more than we have. Names with or without CAP_, any case, or ALL."""

    def named(names: Sequence[str]) -> set[str]:
        wanted: set[str] = set()
        for name in names:
            upper = name.upper()
            if upper == "ALL":
                wanted |= set(CAPABILITIES)
                continue
            full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
            if full not in CAPABILITIES:
                raise _failure(f"unknown capability {name!r}")
            wanted.add(full)
        return wanted

    if security.privileged:
        return available
    added, dropped = named(security.add_capabilities), named(security.drop_capabilities)
    base = set() if "ALL" in {name.upper() for name in security.drop_capabilities} else DEFAULT_CAPABILITIES - dropped
    if "ALL" in {name.upper() for name in security.add_capabilities}:
        added -= dropped
    return frozenset((base | added) & available)


def build(
    spec: ContainerSpec,
    around: Surroundings,
    identity: Identity,
    machine: Machine,
    *,
    seccomp: Callable[[frozenset[str]], Mapping[str, Any] | None],
    device: Callable[[Device], Sequence[DeviceNode]],
    host_devices: Callable[[], Sequence[DeviceNode]],
) -> dict[str, Any]:
    """config.json as a value. `device` looks up what a Device names, `host_devices` what a privileged container sees,
    `seccomp` the filter for a set of capabilities. Raises RuntimeFailure(CreateContainerConfigError)."""
    security = spec.security
    granted = capabilities(security, machine.capabilities)
    nodes = list(host_devices()) if security.privileged else []
    rules: list[dict[str, Any]] = [{"allow": security.privileged, "access": "rwm"}]
    for wanted in spec.devices:
        for node in device(wanted):
            nodes.append(node)
            rules.append(
                {
                    "allow": True,
                    "type": node.kind,
                    "major": node.major,
                    "minor": node.minor,
                    "access": wanted.permissions,
                }
            )
    config: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": _process(spec, identity, granted, machine),
        "root": {"path": around.rootfs, "readonly": security.readonly_rootfs},
        "mounts": _mounts(spec, around),
        "linux": {
            "namespaces": _namespaces(around, private_cgroup=machine.cgroup_v2 and not security.privileged),
            "cgroupsPath": "/" + around.cgroup,
            "resources": _resources(spec.resources, machine, whole=True) | {"devices": rules},
            "devices": [_device_entry(node) for node in {node.path: node for node in nodes}.values()],
        },
    }
    linux = config["linux"]
    strongest = {mount.propagation for mount in spec.mounts}
    for propagation in ("rshared", "rslave"):
        if propagation in strongest:
            linux["rootfsPropagation"] = propagation
            break
    if not security.privileged:
        if not security.proc_mount_unmasked:
            linux["maskedPaths"] = list(MASKED_PATHS)
            linux["readonlyPaths"] = list(READONLY_PATHS)
        if security.seccomp != "unconfined" and (profile := seccomp(granted)) is not None:
            linux["seccomp"] = profile
    if machine.apparmor and security.apparmor and not security.privileged:
        config["process"]["apparmorProfile"] = security.apparmor
    return config


def _process(spec: ContainerSpec, identity: Identity, granted: frozenset[str], machine: Machine) -> dict[str, Any]:
    if not spec.args:
        raise RuntimeFailure("CreateContainerError", "no command specified: neither the image nor the pod names one")
    if not spec.cwd.startswith("/"):
        raise _failure(f"working directory {spec.cwd!r} is not absolute")
    if sum(len(entry) for entry in spec.env) > ENV_BYTES_MAX:
        raise _failure(f"the environment is larger than {ENV_BYTES_MAX} bytes")
    for entry in (*spec.args, *spec.env, spec.cwd):
        if "\0" in entry:
            raise _failure("a NUL character in the command, environment or working directory")
    env = list(spec.env)
    if not any(entry.startswith("PATH=") for entry in env):
        env.insert(0, DEFAULT_PATH)
    if spec.tty and not any(entry.startswith("TERM=") for entry in env):
        env.append("TERM=xterm")
    names = sorted(granted)
    score = min(max(spec.oom_score_adj, machine.oom_score_adj_min, OOM_SCORE_ADJ_MIN), OOM_SCORE_ADJ_MAX)
    return {
        "terminal": spec.tty,
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups)},
        "args": list(spec.args),
        "env": env,
        "cwd": spec.cwd,
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": spec.security.no_new_privileges,
        "oomScoreAdj": score,
    }


def _namespaces(around: Surroundings, *, private_cgroup: bool) -> list[dict[str, str]]:
    namespaces: list[dict[str, str]] = [{"type": "mount"}]
    if private_cgroup:
        namespaces.append({"type": "cgroup"})
    if around.network is not NamespaceMode.NODE:
        namespaces.append({"type": "network", "path": around.net_path})
        # The host's network goes with the host's name: Kubernetes gives such a pod the node's hostname.
        namespaces.append({"type": "uts", "path": around.uts_path})
    if around.ipc is not NamespaceMode.NODE:
        namespaces.append({"type": "ipc", "path": around.ipc_path})
    if around.pid is NamespaceMode.CONTAINER:
        namespaces.append({"type": "pid"})
    elif around.pid is NamespaceMode.POD:
        # The pod's first process has no path to join yet: it makes the namespace.
        namespaces.append({"type": "pid", "path": around.pid_path} if around.pid_path else {"type": "pid"})
    return namespaces


def _mounts(spec: ContainerSpec, around: Surroundings) -> list[dict[str, Any]]:
    """Ours first unless the pod mounts something there itself; parents before what lies in them."""
    own = {_normal(mount.target) for mount in spec.mounts}
    mounts = [
        mount
        for mount in default_mounts(privileged=spec.security.privileged, shm=around.shm)
        if mount["destination"] not in own
    ]
    wanted = [_mount_entry(mount) for mount in spec.mounts]
    mounts += wanted
    return sorted(mounts, key=lambda mount: _normal(mount["destination"]).count("/"))


def _normal(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/" + "/".join(parts)


def _mount_entry(mount: Mount) -> dict[str, Any]:
    if not mount.target.startswith("/") or ".." in mount.target.split("/"):
        raise _failure(f"mount target {mount.target!r} must be absolute and without `..`")
    if "\0" in mount.target + mount.source:
        raise _failure(f"a NUL character in the mount of {mount.source!r} at {mount.target!r}")
    access = "ro" if mount.readonly else "rw"
    if mount.type == "bind":
        propagation = PROPAGATIONS.get(mount.propagation)
        if propagation is None:
            raise _failure(f"unknown mount propagation {mount.propagation!r} for {mount.target}")
        options = ["rbind", propagation, access, *mount.options]
        return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}
    return {
        "destination": mount.target,
        "type": mount.type,
        "source": mount.source or mount.type,
        "options": ["nosuid", "nodev", access, *mount.options],
    }


def _resources(resources: Resources, machine: Machine, *, whole: bool = False) -> dict[str, Any]:
    """A limit whose controller this machine lacks is left out, as for pods (`edgekube check` tells).

    With `whole`, on version 2, the out-of-memory killer takes all of a container or nothing (memory.oom.group), as the
    kubelet has it: nobody watches for half a container.
    """
    cpu: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    unified: dict[str, str] = {}
    if resources.cpu_shares is not None:
        cpu["shares"] = min(max(resources.cpu_shares, CPU_SHARES_MIN), CPU_SHARES_MAX)
    if resources.cpu_quota_us is not None and resources.cpu_quota_us > 0:
        cpu["quota"] = max(resources.cpu_quota_us, CPU_QUOTA_US_MIN)
        cpu["period"] = resources.cpu_period_us
    if resources.cpuset_cpus:
        cpu["cpus"] = resources.cpuset_cpus
    if resources.memory_limit_bytes is not None and resources.memory_limit_bytes > 0:
        memory["limit"] = resources.memory_limit_bytes
        if machine.swap_accounting:
            memory["swap"] = resources.memory_limit_bytes  # memory and swap together: no swap, as Kubernetes defaults
    if machine.cgroup_v2:
        unified = {"memory.oom.group": "1"} if whole and "memory" in machine.controllers else {}
        unified |= resources.unified
    if "cpuset" not in machine.controllers:
        cpu.pop("cpus", None)
    result: dict[str, Any] = {}
    if cpu and "cpu" in machine.controllers:
        result["cpu"] = cpu
    if memory and "memory" in machine.controllers:
        result["memory"] = memory
    if resources.pids_limit is not None and resources.pids_limit > 0 and "pids" in machine.controllers:
        result["pids"] = {"limit": resources.pids_limit}
    if unified:
        result["unified"] = unified
    return result


def update_document(resources: Resources, machine: Machine) -> dict[str, Any]:
    """What `runc update --resources -` takes. -1 lifts a limit."""
    document = _resources(resources, machine)
    if resources.cpu_quota_us is not None and resources.cpu_quota_us <= 0 and "cpu" in machine.controllers:
        document.setdefault("cpu", {})["quota"] = -1
    if (
        resources.memory_limit_bytes is not None
        and resources.memory_limit_bytes <= 0
        and "memory" in machine.controllers
    ):
        document["memory"] = {"limit": -1} | ({"swap": -1} if machine.swap_accounting else {})
    return document


def _device_entry(node: DeviceNode) -> dict[str, Any]:
    return {
        "path": node.path,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "fileMode": stat.S_IMODE(node.mode),
        "uid": node.uid,
        "gid": node.gid,
    }


def exec_process(
    process: Mapping[str, Any], command: Sequence[str], *, tty: bool, term: str = "xterm"
) -> dict[str, Any]:
    """process.json of an exec: the container's own process with another command."""
    if not command:
        raise RuntimeFailure("ExecFailed", "no command given to exec")
    env = list(process["env"])
    if tty and not any(entry.startswith("TERM=") for entry in env):
        env.append(f"TERM={term}")
    return {**process, "args": list(command), "terminal": tty, "env": env}
