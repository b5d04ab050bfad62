"""Kernel settings under /proc/sys/net, of the network namespace of the calling thread."""

from collections.abc import Mapping
from pathlib import Path

from edgekube.network.api import NetworkFailure

ROOT = Path("/proc/sys")


def read_sysctl(name: str) -> str | None:
    """The value of `net/ipv4/ip_forward` and the like; None where the kernel has no such setting."""
    try:
        return (ROOT / name).read_text().strip()
    except FileNotFoundError:
        return None


def write_sysctl(name: str, wanted: str) -> str | None:
    """Set it; returns the value it had, None when it was already so. Raises NetworkFailure."""
    found = read_sysctl(name)
    if found == wanted:
        return None
    try:
        (ROOT / name).write_text(wanted)
    except OSError as error:
        raise NetworkFailure(
            f"set sysctl {name.replace('/', '.')} to {wanted}: {error.strerror}; set it on the host and start again"
        ) from error
    return found


def restore_sysctls(values: Mapping[str, str]) -> list[str]:
    """Write saved values back; returns what could not be restored, in words."""
    failures = []
    for name, wanted in values.items():
        try:
            write_sysctl(name, wanted)
        except NetworkFailure as error:
            failures.append(str(error))
    return failures
