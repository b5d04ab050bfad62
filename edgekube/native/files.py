"""Paths resolved inside a root (openat2(2)), what kind of file system a path is on, and changes below it."""

import os
from enum import IntFlag

from edgekube.native._lib import check, lib, text


class Resolve(IntFlag):
    """openat2(2)'s RESOLVE_*."""

    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10


class FsType(IntFlag):
    """statfs(2)'s f_type."""

    NSFS = 0x6E736673
    TMPFS = 0x01021994
    OVERLAYFS = 0x794C7630
    CGROUP = 0x27E0EB
    CGROUP2 = 0x63677270
    PROC = 0x9FA0


class Change(IntFlag):
    """inotify(7)'s IN_*."""

    MODIFY = 0x02
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200


def watch_path(path: str, changes: Change) -> int:
    """An inotify descriptor (non-blocking, close-on-exec), readable when one of `changes` happens at or in `path`."""
    return check(lib.ek_inotify(text(path), int(changes)), path)


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: Resolve = Resolve(0)) -> int:
    """A new descriptor (close-on-exec). With Resolve.IN_ROOT `dir_fd` is `/` for the path and its symlinks."""
    if not flags & (os.O_CREAT | getattr(os, "O_TMPFILE", 0)):
        mode = 0  # the kernel refuses a mode it would not use
    return check(lib.ek_openat2(dir_fd, text(path), flags, mode, int(resolve)), path)


def open_in_root(root: str, path: str, flags: int = os.O_RDONLY, *, mode: int = 0) -> int:
    """Opens `path` as if `root` were `/`; magic links are refused. Cannot leave `root`, whatever its symlinks say."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return openat2(root_fd, path, flags, mode=mode, resolve=Resolve.IN_ROOT | Resolve.NO_MAGICLINKS)
    finally:
        os.close(root_fd)


def syncfs(fd: int) -> None:
    """Write out the whole file system that `fd` is on; blocks until it is on the disk. Not for the loop."""
    check(lib.ek_syncfs(fd))


def fs_type(path: str) -> int:
    """statfs(2)'s f_type as an unsigned number; compare with FsType."""
    result = int(lib.ek_fs_type(text(path)))
    return check(result, path) if result < 0 else result
