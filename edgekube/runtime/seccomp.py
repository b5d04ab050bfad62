"""The default system call filter: flattened at build time for one architecture, completed per container.

`flatten` turns a distribution's default profile (containers-common's JSON: rules with `includes` and `excludes` by
architecture and capability) into the small data file `edgekube/data/seccomp.json`. `default_profile` makes from it the
`linux.seccomp` object of the OCI runtime spec for a container's capabilities. Only the native architecture is listed:
each further one costs runc 5 ms of CPU a start.

The distribution's list is made for containers in user namespaces and lets everybody mount and unshare. Ours follows
Docker's and containerd's documented defaults instead: what makes namespaces, mounts or keyrings needs a capability.
"""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from edgekube.runtime.api import RuntimeFailure
from edgekube.types.unreadable import UNREADABLE

DATA_PATH = Path(__file__).resolve().parent.parent / "data" / "seccomp.json"
ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}

EPERM = 1
ENOSYS = 38
NAMESPACE_FLAGS = 0x7E020000  # every CLONE_NEW* that clone(2) takes

_MOUNTING = (
    "fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root quotactl_fd setns syslog "
    "umount umount2 unshare"
)
_NEEDS_SYS_ADMIN = frozenset(_MOUNTING.split())
_NEEDS_SYS_BOOT = frozenset({"reboot"})
_NEVER = frozenset({"keyctl", "add_key", "request_key"})
_PTRACE = frozenset({"process_vm_readv", "process_vm_writev", "pidfd_getfd"})


class Argument(msgspec.Struct, frozen=True):
    """One condition on a system call's argument (runtime-spec config-linux.md, seccomp)."""

    index: int
    value: int
    op: str
    valueTwo: int = 0


class Rule(msgspec.Struct, frozen=True):
    names: tuple[str, ...]
    action: str = "SCMP_ACT_ALLOW"
    errnoRet: int | None = None
    args: tuple[Argument, ...] = ()


class Profile(msgspec.Struct, frozen=True):
    """The data file. `refused` answers EPERM unless a capability of the container allows it; the rest is ENOSYS."""

    architecture: str
    allowed: tuple[str, ...]
    refused: tuple[str, ...]
    by_capability: dict[str, tuple[str, ...]]
    rules: tuple[Rule, ...]


def flatten(source: bytes, machine: str, native_calls: frozenset[str] = frozenset()) -> bytes:
    """The data file's bytes. Names that are not in `native_calls` (what the architecture has) are left out."""
    document = msgspec.json.decode(source)
    go_name = _GO_NAMES[machine]
    allowed: set[str] = set()
    refused: set[str] = set()
    by_capability: dict[str, set[str]] = {}
    rules: list[Rule] = []
    for entry in document["syscalls"]:
        includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
        if includes.get("arches") and go_name not in includes["arches"]:
            continue
        if go_name in (excludes.get("arches") or ()):
            continue
        names = set(entry["names"])
        capabilities = includes.get("caps") or ()
        if "socket" in names:
            continue  # audit sockets are harmless without CAP_AUDIT_WRITE: one unconditional rule, as Docker has it
        if entry["action"] == "SCMP_ACT_ERRNO":
            refused |= names
        elif entry["action"] == "SCMP_ACT_ALLOW" and capabilities:
            for capability in capabilities:
                by_capability.setdefault(capability, set()).update(names)
        elif entry["action"] == "SCMP_ACT_ALLOW" and entry.get("args"):
            conditions = msgspec.convert(entry["args"], tuple[Argument, ...])
            rules.append(Rule(names=tuple(sorted(names)), args=conditions))
        elif entry["action"] == "SCMP_ACT_ALLOW":
            allowed |= names
    allowed |= {"socket"}
    allowed -= _NEEDS_SYS_ADMIN | _NEEDS_SYS_BOOT | _NEVER | _PTRACE | {"clone", "clone3"}
    by_capability.setdefault("CAP_SYS_ADMIN", set()).update(_NEEDS_SYS_ADMIN | {"clone", "clone3"})
    by_capability.setdefault("CAP_SYS_BOOT", set()).update(_NEEDS_SYS_BOOT)
    by_capability.setdefault("CAP_SYS_PTRACE", set()).update(_PTRACE)
    refused |= _NEEDS_SYS_ADMIN | _NEEDS_SYS_BOOT | _NEVER | _PTRACE

    def kept(names: set[str]) -> tuple[str, ...]:
        return tuple(sorted(names & native_calls if native_calls else names))

    for names in by_capability.values():
        refused |= names - allowed - {"clone", "clone3"}
    profile = Profile(
        architecture=ARCHITECTURES[machine],
        allowed=kept(allowed),
        refused=kept(refused),
        by_capability={name: kept(names) for name, names in sorted(by_capability.items())},
        rules=tuple(rules),
    )
    return msgspec.json.format(msgspec.json.encode(profile), indent=1)


@cache
def _load() -> Profile:
    try:
        return msgspec.json.decode(DATA_PATH.read_bytes(), type=Profile)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{DATA_PATH} is missing: run `python3 native/build.py`") from error


def default_profile(capabilities: frozenset[str], profile: Profile | None = None) -> dict[str, Any]:
    """`linux.seccomp` for a container that has these capabilities (`CAP_...`)."""
    profile = profile or _load()
    allowed = set(profile.allowed)
    for capability in capabilities:
        allowed.update(profile.by_capability.get(capability, ()))
    rules = [Rule(names=tuple(sorted(allowed))), *profile.rules]
    if "clone" not in allowed:
        # clone without new namespaces; clone3 hides its flags in memory, so glibc is told to fall back to clone.
        no_namespaces = Argument(index=0, value=NAMESPACE_FLAGS, valueTwo=0, op="SCMP_CMP_MASKED_EQ")
        rules.append(Rule(names=("clone",), args=(no_namespaces,)))
        rules.append(Rule(names=("clone3",), action="SCMP_ACT_ERRNO", errnoRet=ENOSYS))
    refused = tuple(name for name in profile.refused if name not in allowed)
    rules.append(Rule(names=refused, action="SCMP_ACT_ERRNO", errnoRet=EPERM))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": [profile.architecture],
        "syscalls": msgspec.to_builtins(rules),
    }


PROFILE_BYTES_MAX = 1 << 20


def read_profile(path: str) -> dict[str, Any]:
    """A profile a user wrote (seccompProfile Localhost), already in the runtime spec's form. Raises RuntimeFailure."""
    try:
        with open(path, "rb") as file:
            profile = msgspec.json.decode(file.read(PROFILE_BYTES_MAX))
    except (OSError, *UNREADABLE) as error:
        raise RuntimeFailure("CreateContainerError", f"cannot load seccomp profile {path!r}: {error}") from error
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise RuntimeFailure("CreateContainerError", f"cannot load seccomp profile {path!r}: no defaultAction")
    return profile
