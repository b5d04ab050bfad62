"""mount(2) and umount2(2)."""

import os
from enum import IntFlag

from edgekube.native._lib import check, lib, text

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


def mount(
    source: str | None,
    target: str,
    kind: str | None,
    flags: int = 0,
    data: str | None = None,
    *,
    folder: str | None = None,
) -> None:
    """Raises OSError; E2BIG for options that the kernel would cut off without a word.

    Relative paths in `data` start at `folder`, which is the working folder of this one call (not of the process).
    """
    if data is not None and len(os.fsencode(data)) > MOUNT_DATA_BYTES_MAX:
        raise OSError(7, f"mount options longer than {MOUNT_DATA_BYTES_MAX} bytes", target)
    if folder is not None:
        result = lib.ek_mount_from(text(folder), text(source), text(target), text(kind), int(flags), text(data))
        check(result, target, folder)
        return
    check(lib.ek_mount(text(source), text(target), text(kind), int(flags), text(data)), target, source)


def umount(target: str, flags: int = NOFOLLOW) -> None:
    check(lib.ek_umount(text(target), flags), target)
