"""Namespaces: made and pinned by bind mounts, entered, and sockets opened inside them."""

from collections.abc import Mapping
from enum import IntFlag

from edgekube.native._lib import check, ffi, lib, strings, text


class Namespace(IntFlag):
    """clone(2)'s CLONE_NEW*, for `setns`."""

    MOUNT = 0x00020000
    CGROUP = 0x02000000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


def setns(fd: int, kind: Namespace) -> None:
    """Moves the calling thread only. Never on a thread that is used for anything else."""
    check(lib.ek_setns(fd, int(kind)))


def pin(
    *,
    net: str | None = None,
    ipc: str | None = None,
    uts: str | None = None,
    hostname: str | None = None,
    sysctls: Mapping[str, str] | None = None,
) -> None:
    """Makes new namespaces and binds each onto its file, which must exist; lo is up, sysctls and hostname are set.

    `sysctls` maps files below /proc/sys to values. Raises OSError naming the step or file that failed; what was bound
    until then stays for the caller to unmount.
    """
    entries = dict(sysctls or {})
    paths, kept_paths = strings(list(entries), terminated=False)
    values, kept_values = strings(list(entries.values()), terminated=False)
    failed = ffi.new("char[]", 512)
    result = lib.ek_pin_namespaces(
        text(net), text(ipc), text(uts), text(hostname), paths, values, len(entries), failed, len(failed)
    )
    del kept_paths, kept_values
    check(result, ffi.string(failed).decode(errors="replace"))


def socket_in_netns(netns_fd: int, family: int, kind: int, protocol: int = 0) -> int:
    """A socket (close-on-exec descriptor) that belongs to the given network namespace.

    A thread of its own enters the namespace, opens the socket and ends (0.1 ms): the caller never leaves its own.
    """
    return check(lib.ek_socket_in_netns(netns_fd, family, kind, protocol))
