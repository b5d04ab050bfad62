"""mount(2) and the newer mount interface (fsopen, fsmount, move_mount, mount_setattr)."""

import os
from enum import IntFlag

from edgekube.native._lib import check, ffi, lib, text

MOUNT_DATA_BYTES_MAX = 4095  # the kernel copies one page of options and silently drops the rest


class MountFlag(IntFlag):
    """mount(2)'s MS_*."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    REMOUNT = 32
    NOATIME = 1024
    BIND = 4096
    MOVE = 8192
    REC = 16384
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20


DETACH = 2  # umount2(2): MNT_DETACH
NOFOLLOW = 8  # umount2(2): UMOUNT_NOFOLLOW

_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD = -100


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """Raises OSError; E2BIG for options that the kernel would cut off without a word."""
    if data is not None and len(os.fsencode(data)) > MOUNT_DATA_BYTES_MAX:
        raise OSError(7, f"mount options longer than {MOUNT_DATA_BYTES_MAX} bytes", target)
    check(lib.ek_mount(text(source), text(target), text(kind), int(flags), text(data)), target, source)


def umount(target: str, flags: int = NOFOLLOW) -> None:
    check(lib.ek_umount(text(target), flags), target)


def mount_by_options(kind: str, target: str, options: list[tuple[str, str]], *, attributes: int = 0) -> None:
    """fsopen, one fsconfig per option, fsmount, move_mount: no limit on the options' total length.

    Raises OSError with the kernel's own explanation where it gives one. overlayfs takes `lowerdir+` since Linux 6.5.
    """
    fs_fd = check(lib.ek_fsopen(text(kind)), target)
    try:
        for key, value in options:
            _explained(lib.ek_fsconfig(fs_fd, _FSCONFIG_SET_STRING, text(key), text(value), 0), fs_fd, target)
        _explained(lib.ek_fsconfig(fs_fd, _FSCONFIG_CMD_CREATE, ffi.NULL, ffi.NULL, 0), fs_fd, target)
        mount_fd = _explained(lib.ek_fsmount(fs_fd, attributes), fs_fd, target)
        try:
            check(lib.ek_move_mount(mount_fd, b"", _AT_FDCWD, text(target), _MOVE_MOUNT_F_EMPTY_PATH), target)
        finally:
            os.close(mount_fd)
    finally:
        os.close(fs_fd)


def _explained(result: int, fs_fd: int, target: str) -> int:
    if result >= 0:
        return result
    try:
        words = os.read(fs_fd, 4096).decode(errors="replace").strip()
    except OSError:
        words = ""
    raise OSError(-result, f"{os.strerror(-result)}: {words}" if words else os.strerror(-result), target)
