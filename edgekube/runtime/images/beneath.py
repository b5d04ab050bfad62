"""Opening a path inside a folder without ever following a symlink, whoever wrote the names."""

import errno
import os
from typing import Protocol

from edgekube.runtime.images.faults import LayerFault


class OpenBeneath(Protocol):
    def __call__(self, root_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
        """Open `path`, relative to `root_fd`; a symlink in any component is an error. Raises OSError."""
        ...


def walk_beneath(root_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """`OpenBeneath` in Python: one openat(O_NOFOLLOW) a component. Raises OSError, LayerFault for `..`."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise LayerFault(f"{path!r} leaves its folder")
    if not parts:
        return os.open(b".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=root_fd)
    parent = root_fd
    try:
        for part in parts[:-1]:
            step = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            if parent != root_fd:
                os.close(parent)
            parent = step
        return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent)
    finally:
        if parent != root_fd:
            os.close(parent)


def _openat2(root_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    # Imported here: the sans-IO users of this package need no native part.
    from edgekube.native.files import Resolve, openat2

    resolve = Resolve.BENEATH | Resolve.NO_SYMLINKS | Resolve.NO_MAGICLINKS | Resolve.NO_XDEV
    return openat2(root_fd, os.fsdecode(path) or ".", flags | os.O_CLOEXEC, mode=mode, resolve=resolve)


_kernel_resolves = True


def open_beneath(root_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """`OpenBeneath` by openat2(2): one system call. Kernels before 5.6 and sandboxes without it get the walk."""
    global _kernel_resolves
    if _kernel_resolves:
        try:
            return _openat2(root_fd, path, flags, mode)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
            _kernel_resolves = False
    return walk_beneath(root_fd, path, flags, mode)


def remove_tree(parent_fd: int, name: bytes) -> int:
    """Delete `name` below `parent_fd` and all in it, crossing no symlink; returns bytes freed. Missing is fine.

    Iterative, one open folder a level: a hostile depth costs descriptors, not the interpreter's stack.
    """
    try:
        status = os.lstat(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return 0
    if status.st_mode & 0o170000 != 0o040000:
        os.unlink(name, dir_fd=parent_fd)
        return status.st_blocks * 512 if status.st_nlink == 1 else 0
    freed = 0
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    stack: list[tuple[bytes, int, list[bytes]]] = []
    try:
        stack.append((name, os.open(name, flags, dir_fd=parent_fd), []))
        freed += _unlink_files(stack[-1])
        while stack:
            _, fd, folders = stack[-1]
            if folders:
                child = folders.pop()
                stack.append((child, os.open(child, flags, dir_fd=fd), []))
                freed += _unlink_files(stack[-1])
            else:
                done, fd, _ = stack.pop()
                os.close(fd)
                os.rmdir(done, dir_fd=stack[-1][1] if stack else parent_fd)
    finally:
        for _, fd, _ in stack:
            os.close(fd)
    return freed


def _unlink_files(level: tuple[bytes, int, list[bytes]]) -> int:
    _, fd, folders = level
    freed = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(os.fsencode(entry.name))
            else:
                status = entry.stat(follow_symlinks=False)
                os.unlink(entry.name, dir_fd=fd)
                if status.st_nlink == 1:
                    freed += status.st_blocks * 512
    return freed
