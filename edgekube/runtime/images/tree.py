"""A layer's folder, and how names in it resolve when it lies on the layers below (overlayfs semantics).

A layer may say `lib/x.so` where a lower layer has `lib -> usr/lib`. Unpacked blindly that makes a folder `lib` which
hides the link and half the system with it. So every parent is looked up component by component in the merged view: this
layer first, then each lower one from the top, honouring whiteouts and opaque folders exactly as overlayfs will.

Nothing here follows a symlink in the kernel. Links are read and resolved by us, with the layer's root as `/`.
"""

import os
import stat
from collections import OrderedDict
from collections.abc import Sequence

from edgekube.runtime.images.beneath import OpenBeneath, open_beneath, remove_tree
from edgekube.runtime.images.faults import LayerFault, quoted

OPAQUE_XATTR = "trusted.overlay.opaque"
SYMLINKS_MAX = 40
DEPTH_MAX = 256
OPEN_FOLDERS_MAX = 32
RESOLVED_MAX = 8192
FOLDER_BYTES_MAX = 64 * 1024 * 1024  # held for times set last, in this process
_FOLDER_OVERHEAD_BYTES = 200
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_of(name: bytes) -> list[bytes]:
    """The components of an archive name: absolute becomes relative, `a/../b` becomes `b`. Raises LayerFault.

    A name that climbs above the root is refused, not clipped: no honest tool writes one.
    """
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise LayerFault(f"entry {quoted(name)} points outside the layer")
            parts.pop()
        elif len(part) > 255:
            raise LayerFault(f"entry {quoted(name)} has a component longer than 255 bytes")
        else:
            parts.append(part)
    if len(parts) > DEPTH_MAX:
        raise LayerFault(f"entry {quoted(name)} is {len(parts)} folders deep, the limit is {DEPTH_MAX}")
    return parts


def is_whiteout(status: os.stat_result) -> bool:
    """Overlayfs marks a deleted name with a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


class Folder:
    """A folder of the merged view at its real path. `own`: this layer has it. `lowers`: layers that add to it."""

    __slots__ = ("depth", "lowers", "own", "parent", "path")

    def __init__(self, path: bytes, parent: "Folder | None", own: bool, lowers: tuple[int, ...]) -> None:
        self.path = path
        self.parent = parent
        self.own = own
        self.lowers = lowers
        self.depth: int = parent.depth + 1 if parent else 0

    def at(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


class Found:
    """What a name is in the merged view: a folder, a link's target, or another file of layer `where` (-1: own)."""

    __slots__ = ("folder", "status", "target", "where")

    def __init__(
        self, *, folder: Folder | None = None, target: bytes | None = None, status: os.stat_result, where: int
    ) -> None:
        self.folder = folder
        self.target = target
        self.status = status
        self.where = where


class LayerTree:
    """Writes one layer at `root_fd`, over `lower_fds` (bottom first)."""

    def __init__(
        self, root_fd: int, lower_fds: Sequence[int] = (), *, open_beneath: OpenBeneath = open_beneath
    ) -> None:
        self.root_fd = root_fd
        self.lower_fds = tuple(lower_fds)
        self._open_beneath = open_beneath
        self._root = Folder(b"", None, True, tuple(range(len(lower_fds) - 1, -1, -1)))
        self._resolved: dict[bytes, Folder] = {}
        self._links: set[bytes] = set()
        self._fds: OrderedDict[bytes, int] = OrderedDict()
        self._opaque: set[bytes] = set()
        self._attributes: dict[bytes, tuple[int, int]] = {}
        self._folder_bytes = 0

    # -- resolving -------------------------------------------------------------------------------------------------

    def parent(self, parts: Sequence[bytes]) -> Folder:
        """The folder `parts` names in the merged view, made in this layer where missing. Raises LayerFault."""
        key = b"/".join(parts)
        known = self._resolved.get(key)
        if known is not None:
            return known
        found = self._resolve(parts, make=True)
        assert found is not None
        self._own(found)
        if len(self._resolved) >= RESOLVED_MAX:
            self._forget()
        self._resolved[key] = found
        return found

    def find_parent(self, parts: Sequence[bytes]) -> Folder | None:
        """As `parent`, making nothing: None where it does not exist."""
        return self._resolve(parts, make=False)

    def look(self, folder: Folder, name: bytes) -> Found | None:
        """What `name` is inside `folder` in the merged view; None when absent or whited out."""
        path = folder.at(name)
        if folder.own:
            try:
                status = os.lstat(name, dir_fd=self.fd(folder.path))
            except FileNotFoundError:
                pass
            else:
                if is_whiteout(status):
                    return None
                if stat.S_ISDIR(status.st_mode):
                    lowers = () if path in self._opaque else self._look_lower(folder, name)[1]
                    return Found(folder=Folder(path, folder, True, lowers), status=status, where=-1)
                target = os.readlink(name, dir_fd=self.fd(folder.path)) if stat.S_ISLNK(status.st_mode) else None
                return Found(target=target, status=status, where=-1)
        found, lowers = self._look_lower(folder, name)
        if found is None:
            return None
        status, where = found
        if lowers:
            return Found(folder=Folder(path, folder, False, lowers), status=status, where=where)
        target = os.readlink(path, dir_fd=self.lower_fds[where]) if stat.S_ISLNK(status.st_mode) else None
        return Found(target=target, status=status, where=where)

    def lower_has(self, folder: Folder, name: bytes) -> bool:
        """Whether a lower layer shows `name` in `folder`: whether there is something to hide."""
        return self._look_lower(folder, name)[0] is not None

    def lower_names(self) -> set[bytes]:
        """Names the lower layers show in the root folder. Overlayfs knows no opaque root: each is hidden by itself."""
        names = {name for fd in self.lower_fds for name in map(os.fsencode, os.listdir(fd))}
        return {name for name in names if self.lower_has(self._root, name)}

    def _look_lower(self, folder: Folder, name: bytes) -> tuple[tuple[os.stat_result, int] | None, tuple[int, ...]]:
        path = folder.at(name)
        top: tuple[os.stat_result, int] | None = None
        lowers: list[int] = []
        # Every layer in folder.lowers has folder.path as a real folder, so no component before `name` is a link.
        for index in folder.lowers:
            try:
                status = os.lstat(path, dir_fd=self.lower_fds[index])
            except FileNotFoundError:
                continue
            if is_whiteout(status):
                break
            if not stat.S_ISDIR(status.st_mode):
                if top is None:
                    top = (status, index)
                break
            if top is None:
                top = (status, index)
            lowers.append(index)
            if self._is_opaque(index, path):
                break
        return top, tuple(lowers)

    def _is_opaque(self, index: int, path: bytes) -> bool:
        fd = self._open_beneath(self.lower_fds[index], path, _FOLDER)
        try:
            return os.getxattr(fd, OPAQUE_XATTR) == b"y"
        except OSError:
            return False
        finally:
            os.close(fd)

    def _resolve(self, parts: Sequence[bytes], *, make: bool) -> Folder | None:
        pending = list(reversed(parts))
        here = self._root
        hops = 0
        links: list[bytes] = []
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                here = here.parent or self._root
                continue
            if here.depth >= DEPTH_MAX:
                raise LayerFault(f"folders are nested deeper than {DEPTH_MAX}")
            if len(name) > 255:
                raise LayerFault(f"a link leads to {quoted(name)}, a name longer than 255 bytes")
            found = self.look(here, name)
            if found is None:
                if not make:
                    return None
                self._own(here)
                here = self._make(here, name)
            elif found.folder is not None:
                here = found.folder
            elif found.target is not None:
                hops += 1
                if hops > SYMLINKS_MAX:
                    raise LayerFault(f"{quoted(b'/'.join(parts))} passes more than {SYMLINKS_MAX} symlinks")
                links.append(here.at(name))
                if found.target.startswith(b"/"):
                    here = self._root
                pending.extend(reversed(found.target.split(b"/")))
            else:
                raise LayerFault(f"{quoted(here.at(name))} is a file, and an entry wants it to be a folder")
        if make:
            self._links.update(links)
        return here

    # -- changing --------------------------------------------------------------------------------------------------

    def fd(self, path: bytes) -> int:
        """An open descriptor of this layer's own folder `path`; it stays ours."""
        fd = self._fds.get(path)
        if fd is not None:
            self._fds.move_to_end(path)
            return fd
        fd = self._open_beneath(self.root_fd, path, _FOLDER) if path else os.dup(self.root_fd)
        if len(self._fds) >= OPEN_FOLDERS_MAX:
            os.close(self._fds.popitem(last=False)[1])
        self._fds[path] = fd
        return fd

    def open_lower(self, lower_fd: int, path: bytes) -> int:
        """A lower layer's file, for reading. The caller closes it."""
        return self._open_beneath(lower_fd, path, os.O_RDONLY | os.O_NONBLOCK)

    def _own(self, folder: Folder) -> None:
        """Make a folder that only lower layers have exist here too, looking the same: overlayfs shows the upper's."""
        missing = []
        step: Folder | None = folder
        while step is not None and not step.own:
            missing.append(step)
            step = step.parent
        for each in reversed(missing):
            assert each.parent is not None
            name = each.path.rpartition(b"/")[2]
            status = os.lstat(each.path, dir_fd=self.lower_fds[each.lowers[0]])
            parent_fd = self.fd(each.parent.path)
            os.mkdir(name, 0o700, dir_fd=parent_fd)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=parent_fd, follow_symlinks=False)
            each.own = True
            self.set_attributes(each.path, stat.S_IMODE(status.st_mode), status.st_mtime_ns)

    def _make(self, folder: Folder, name: bytes) -> Folder:
        path = folder.at(name)
        parent_fd = self.fd(folder.path)
        hidden = self._drop_whiteout(parent_fd, name)
        os.mkdir(name, 0o755, dir_fd=parent_fd)
        os.chmod(name, 0o755, dir_fd=parent_fd)
        if hidden:
            self.make_opaque(path)
        self.created(path)
        return Folder(path, folder, True, ())

    def _drop_whiteout(self, parent_fd: int, name: bytes) -> bool:
        try:
            status = os.lstat(name, dir_fd=parent_fd)
        except FileNotFoundError:
            return False
        if is_whiteout(status):
            os.unlink(name, dir_fd=parent_fd)
            return True
        return False

    def make_opaque(self, path: bytes) -> None:
        """Hide all that lower layers have in this layer's folder `path`."""
        os.setxattr(self.fd(path), OPAQUE_XATTR, b"y")
        self._opaque.add(path)
        self._account(path)
        self._forget()

    def is_opaque(self, path: bytes) -> bool:
        return path in self._opaque

    def remove(self, folder: Folder, name: bytes) -> None:
        """Delete this layer's own `name`, whatever it is."""
        path = folder.at(name)
        parent_fd = self.fd(folder.path)
        status = os.lstat(name, dir_fd=parent_fd)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=parent_fd)
            self.created(path)
            return
        # Resolved folders and open descriptors may lie inside what goes.
        self._forget()
        self._close_folders()
        remove_tree(self.fd(folder.path), name)
        below = path + b"/"
        self._opaque = {p for p in self._opaque if p != path and not p.startswith(below)}
        self._attributes = {p: kept for p, kept in self._attributes.items() if p != path and not p.startswith(below)}

    def created(self, path: bytes) -> None:
        """Must follow each new name: a link that others were resolved through may be hidden now."""
        if path in self._links:
            self._forget()

    def set_attributes(self, path: bytes, mode: int, mtime_ns: int) -> None:
        """Mode and time of a folder, applied by `finish`: writing into it would change its time again."""
        if path not in self._attributes:
            self._account(path)
        self._attributes[path] = (mode, mtime_ns)

    def finish(self) -> None:
        """Apply the folders' modes and times, now that nothing is written into them."""
        for path, (mode, mtime_ns) in self._attributes.items():
            fd = self.fd(path)
            os.fchmod(fd, mode)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        self._attributes.clear()

    def close(self) -> None:
        self._close_folders()

    def _account(self, path: bytes) -> None:
        self._folder_bytes += len(path) + _FOLDER_OVERHEAD_BYTES
        if self._folder_bytes > FOLDER_BYTES_MAX:
            raise LayerFault("layer has more folders than an honest one needs")

    def _forget(self) -> None:
        self._resolved.clear()
        self._links.clear()

    def _close_folders(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
