"""Unpacking one layer: decompress, hash, read the tar, write the folder that overlayfs will show.

The layer is hostile until shown otherwise. Limits are the constants below and `Limits`; any breach is a `LayerFault`
and the caller throws the folder away. Rules: image-spec layer.md, and overlayfs for whiteouts and opaque folders.
"""

import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple, Protocol, cast

import zstandard

from edgekube.runtime.images import tar
from edgekube.runtime.images.beneath import OpenBeneath, open_beneath
from edgekube.runtime.images.faults import LayerFault, quoted
from edgekube.runtime.images.tree import Folder, LayerTree, parts_of

INPUT_CHUNK_BYTES = 131_072
OUTPUT_CHUNK_BYTES = 262_144
ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024
TIME_NS_MAX = (1 << 34) * 1_000_000_000
ID_MAX = (1 << 32) - 2
CAPABILITY_BYTES_MAX = 64
# Nodes every chroot may need. runc mounts its own /dev; any other node in an image only waits for a missing device
# cgroup, so it is left out.
HARMLESS_NODES = frozenset(((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)))


class Limits(NamedTuple):
    """Of one layer."""

    bytes_max: int = 32 * 1024**3
    entries_max: int = 1_000_000
    # Deflate cannot exceed 1032:1 and honest layers stay below 50; zstd has no bound of its own.
    ratio_max: int = 1100
    free_bytes_min: int = 64 * 1024**2


class Unpacked(NamedTuple):
    diff_id: str
    size_bytes: int  # of files, as written
    entries: int
    skipped_nodes: int


class Window:
    """Part of an open file as a stream: a layer inside an archive is read where it lies."""

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self._fd = fd
        self._at = offset
        self._end = offset + length

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._at
        data = os.pread(self._fd, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data


class Stream:
    """A `tar.Source` over a compressed file: gzip, zstd or plain, told apart by their first bytes.

    Hashes the uncompressed bytes (`diff_id`) and, when asked, the compressed ones, and enforces the size limits.
    """

    def __init__(self, file: "Window | BinaryIO", limits: Limits, *, hash_input: bool = False) -> None:
        self._file = file
        self._limits = limits
        self._diff = hashlib.sha256()
        self._input = hashlib.sha256() if hash_input else None
        self._buffer = b""
        self._at = 0
        self._in_bytes = 0
        self._out_bytes = 0
        first = self._pull()
        self._zlib: zlib._Decompress | None = None
        self._zstd: zstandard.ZstdDecompressionReader | None = None
        self._pending = first
        self._gzip = first[:2] == b"\x1f\x8b"
        if self._gzip:
            self._zlib = zlib.decompressobj(31)
        elif first[:4] == b"\x28\xb5\x2f\xfd" or (first[:4][1:] == b"\x2a\x4d\x18" and 0x50 <= first[0] <= 0x5F):
            self._zstd = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX).stream_reader(
                cast(BinaryIO, _Again(self)), read_size=INPUT_CHUNK_BYTES, read_across_frames=True
            )

    def _pull(self) -> bytes:
        data = self._file.read(INPUT_CHUNK_BYTES)
        self._in_bytes += len(data)
        if self._input is not None:
            self._input.update(data)
        return data

    def next_input(self) -> bytes:
        """The next compressed bytes: those looked at to tell the format come first."""
        if self._pending:
            data, self._pending = self._pending, b""
            return data
        return self._pull()

    def _next_output(self) -> bytes:
        try:
            if self._gzip:
                return self._next_gzip()
            if self._zstd is not None:
                return self._zstd.read(OUTPUT_CHUNK_BYTES)
        except (zlib.error, zstandard.ZstdError) as error:
            raise LayerFault(f"compressed data is damaged: {error}") from None
        return self.next_input()

    def _next_gzip(self) -> bytes:
        while True:
            if self._zlib is None or self._zlib.eof:
                rest = self._zlib.unused_data if self._zlib is not None else b""
                rest = rest or self.next_input()
                if not rest.strip(b"\0"):
                    if rest:
                        self._zlib = None
                        continue
                    return b""
                self._zlib = zlib.decompressobj(31)
                self._pending = rest
            data = self._zlib.unconsumed_tail or self.next_input()
            if not data:
                raise LayerFault("compressed data ends early")
            out = self._zlib.decompress(data, OUTPUT_CHUNK_BYTES)
            if out:
                return out

    def _fill(self) -> bool:
        out = self._next_output()
        if not out:
            return False
        self._diff.update(out)
        self._out_bytes += len(out)
        if self._out_bytes > self._limits.bytes_max:
            raise LayerFault(f"layer is larger than {self._limits.bytes_max} bytes unpacked")
        if self._out_bytes > self._limits.ratio_max * max(self._in_bytes, 65_536):
            raise LayerFault(f"layer unpacks to more than {self._limits.ratio_max} times its size: a bomb")
        self._buffer = out
        self._at = 0
        return True

    def read(self, size: int) -> bytes:
        have = len(self._buffer) - self._at
        if have >= size:
            data = self._buffer[self._at : self._at + size]
            self._at += size
            return data
        pieces = []
        while size:
            if self._at == len(self._buffer) and not self._fill():
                break
            piece = self._buffer[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        while size:
            if self._at == len(self._buffer) and not self._fill():
                # A last entry without its padding is tolerated, as tar does.
                return
            step = min(size, len(self._buffer) - self._at)
            self._at += step
            size -= step

    def drain(self) -> None:
        """Read to the end: the diff id covers what follows the archive's end too."""
        while self._fill():
            pass

    def finish_input(self) -> None:
        """Hash what compressed bytes are left, so that `input_digest` covers the whole file."""
        while self._pull():
            pass

    @property
    def diff_id(self) -> str:
        return "sha256:" + self._diff.hexdigest()

    @property
    def input_digest(self) -> str:
        assert self._input is not None
        return "sha256:" + self._input.hexdigest()


class _Again:
    """The compressed side of a `Stream` as the file object zstandard wants."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        data = self._rest or self._stream.next_input()
        if 0 <= size < len(data):
            self._rest = data[size:]
            return data[:size]
        self._rest = b""
        return data


def unpack_layer(
    stream: Stream,
    root_fd: int,
    lower_fds: Sequence[int] = (),
    *,
    limits: Limits = Limits(),
    open_beneath: OpenBeneath = open_beneath,
    alive: "Alive | None" = None,
) -> Unpacked:
    """Write the layer in `stream` into the empty folder `root_fd`, over `lower_fds` (bottom first).

    Raises LayerFault for what the layer does wrong and OSError for what the machine cannot do (ENOSPC, EIO).
    """
    tree = LayerTree(root_fd, lower_fds, open_beneath=open_beneath)
    writer = _Writer(tree, stream, limits, alive)
    try:
        writer.run()
        stream.drain()
        tree.finish()
    finally:
        tree.close()
    return Unpacked(stream.diff_id, writer.written, writer.entries, writer.skipped_nodes)


class Alive(Protocol):
    def __call__(self) -> None:
        """Asked now and then; raises to stop."""
        ...


class _Writer:
    def __init__(self, tree: LayerTree, stream: Stream, limits: Limits, alive: Alive | None) -> None:
        self._tree = tree
        self._reader = tar.Reader(stream)
        self._limits = limits
        self._alive = alive
        # What we make is ours already: no folder is set-group-id before `finish`.
        self._creator = (os.geteuid(), os.getegid())
        self.written = 0
        self.entries = 0
        self.skipped_nodes = 0

    def run(self) -> None:
        for entry in self._reader:
            self.entries += 1
            if self.entries > self._limits.entries_max:
                raise LayerFault(f"layer has more than {self._limits.entries_max} entries")
            if self.entries & 255 == 1:
                self._check_free()
                if self._alive is not None:
                    self._alive()
            try:
                self._apply(entry)
            except OSError as error:
                if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL):
                    raise LayerFault(f"entry {quoted(entry.name)}: {error.strerror}") from error
                raise

    def _check_free(self) -> None:
        status = os.fstatvfs(self._tree.root_fd)
        if status.f_bavail * status.f_frsize < self._limits.free_bytes_min:
            raise OSError(errno.ENOSPC, "less than the reserve of free space is left for images")

    def _apply(self, entry: tar.Entry) -> None:
        parts = parts_of(entry.name)
        if not parts:
            if entry.kind == tar.DIRECTORY:
                os.fchown(self._tree.root_fd, _id(entry.uid), _id(entry.gid))
                self._tree.set_attributes(b"", entry.mode & 0o7777, _time(entry.mtime_ns))
                return
            raise LayerFault(f"entry {quoted(entry.name)} would replace the root folder")
        base = parts[-1]
        if any(part.startswith(b".wh.") for part in parts):
            self._whiteout(entry, parts)
            return
        if entry.kind == tar.HARDLINK:
            self._hardlink(entry, parts)
            return
        folder = self._tree.parent(parts[:-1])
        if entry.kind in (tar.CHARACTER, tar.BLOCK_DEVICE) and (
            entry.kind == tar.BLOCK_DEVICE or (entry.major, entry.minor) not in HARMLESS_NODES
        ):
            self.skipped_nodes += 1
            return
        try:
            self._create(entry, folder, base)
        except FileExistsError:
            if self._make_room(entry, folder, base):
                self._create(entry, folder, base)

    def _create(self, entry: tar.Entry, folder: Folder, base: bytes) -> None:
        fd = self._tree.fd(folder.path)
        path = folder.at(base)
        uid, gid, mtime = _id(entry.uid), _id(entry.gid), _time(entry.mtime_ns)
        if entry.kind == tar.REGULAR:
            self._regular(entry, fd, base)
        elif entry.kind == tar.DIRECTORY:
            os.mkdir(base, 0o700, dir_fd=fd)
            if (uid, gid) != self._creator:
                os.chown(base, uid, gid, dir_fd=fd, follow_symlinks=False)
            self._tree.set_attributes(path, entry.mode & 0o7777, mtime)
        else:
            if entry.kind == tar.SYMLINK:
                if not entry.link:
                    raise LayerFault(f"symlink {quoted(entry.name)} has no target")
                os.symlink(entry.link, base, dir_fd=fd)
            elif entry.kind == tar.FIFO:
                os.mkfifo(base, 0o600, dir_fd=fd)
            else:
                os.mknod(base, stat.S_IFCHR | 0o600, os.makedev(entry.major, entry.minor), dir_fd=fd)
            if (uid, gid) != self._creator:
                os.chown(base, uid, gid, dir_fd=fd, follow_symlinks=False)
            if entry.kind != tar.SYMLINK:
                # Our own new node, in a folder nobody else writes: nothing can have turned it into a link.
                os.chmod(base, entry.mode & 0o7777, dir_fd=fd)
            os.utime(base, ns=(mtime, mtime), dir_fd=fd, follow_symlinks=False)
        self._tree.created(path)

    def _regular(self, entry: tar.Entry, parent_fd: int, base: bytes) -> None:
        if self.written + entry.size > self._limits.bytes_max:
            raise LayerFault(f"layer is larger than {self._limits.bytes_max} bytes unpacked")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(base, flags, 0o600, dir_fd=parent_fd)
        try:
            if entry.segments is not None:
                os.ftruncate(fd, entry.size)
                for offset, length in entry.segments:
                    self._segment(fd, offset, length)
            elif entry.stored:
                self._reader.data(lambda piece: _write(fd, piece))
            owner = (_id(entry.uid), _id(entry.gid))
            if owner != self._creator:
                os.fchown(fd, *owner)
            # After chown, which clears the setuid bits and file capabilities.
            os.fchmod(fd, entry.mode & 0o7777)
            if entry.capability:
                if len(entry.capability) > CAPABILITY_BYTES_MAX:
                    raise LayerFault(f"entry {quoted(entry.name)} has an overlong security.capability")
                os.setxattr(fd, "security.capability", entry.capability)
            mtime = _time(entry.mtime_ns)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)
        self.written += entry.stored

    def _segment(self, fd: int, offset: int, length: int) -> None:
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            piece = self._reader.take(min(length, INPUT_CHUNK_BYTES))
            _write(fd, piece)
            length -= len(piece)

    def _make_room(self, entry: tar.Entry, folder: Folder, base: bytes) -> bool:
        """An entry repeats a name of this layer. Returns False when a folder entry only renewed its attributes."""
        fd = self._tree.fd(folder.path)
        status = os.lstat(base, dir_fd=fd)
        path = folder.at(base)
        if entry.kind != tar.DIRECTORY:
            self._tree.remove(folder, base)
            return True
        if stat.S_ISDIR(status.st_mode):
            os.chown(base, _id(entry.uid), _id(entry.gid), dir_fd=fd, follow_symlinks=False)
            self._tree.set_attributes(path, entry.mode & 0o7777, _time(entry.mtime_ns))
            return False
        # A folder after something else (or after a whiteout): what lower layers have under that name stays gone.
        self._tree.remove(folder, base)
        self._create(entry, folder, base)
        if self._tree.lower_has(folder, base):
            self._tree.make_opaque(path)
        return False

    def _whiteout(self, entry: tar.Entry, parts: list[bytes]) -> None:
        base = parts[-1]
        if base == b".wh..wh..opq" and not any(part.startswith(b".wh.") for part in parts[:-1]):
            folder = self._tree.parent(parts[:-1])
            if not folder.path:
                for name in self._tree.lower_names():
                    self._hide(folder, name)
            elif folder.lowers and not self._tree.is_opaque(folder.path):
                self._tree.make_opaque(folder.path)
            return
        # aufs kept its own notes (.wh..wh.plnk, .wh..wh.aufs); they mean nothing here.
        if any(part.startswith(b".wh..wh.") for part in parts):
            return
        name = base.removeprefix(b".wh.")
        if any(part.startswith(b".wh.") for part in parts[:-1]) or name in (b"", b".", b".."):
            raise LayerFault(f"whiteout {quoted(entry.name)} names nothing that could be deleted")
        above = self._tree.find_parent(parts[:-1])
        if above is None or not self._tree.lower_has(above, name):
            return
        self._hide(self._tree.parent(parts[:-1]), name)

    def _hide(self, folder: Folder, name: bytes) -> None:
        """What lower layers show as `name` goes; what this layer has under it stays."""
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=self._tree.fd(folder.path))
            self._tree.created(folder.at(name))
        except FileExistsError:
            found = self._tree.look(folder, name)
            if found is not None and found.folder is not None and not self._tree.is_opaque(found.folder.path):
                self._tree.make_opaque(found.folder.path)

    def _hardlink(self, entry: tar.Entry, parts: list[bytes]) -> None:
        target = parts_of(entry.link)
        if not target:
            raise LayerFault(f"hard link {quoted(entry.name)} has no target")
        folder = self._tree.parent(parts[:-1])
        source_folder = self._tree.find_parent(target[:-1])
        found = self._tree.look(source_folder, target[-1]) if source_folder is not None else None
        if source_folder is None or found is None or found.folder is not None:
            where = quoted(entry.link)
            raise LayerFault(f"hard link {quoted(entry.name)} points to {where}, which is no file of this image")
        if (source_folder.path, target[-1]) == (folder.path, parts[-1]) and found.where == -1:
            return
        if found.where != -1:
            source_folder = self._tree.parent(target[:-1])
            self._copy_up(source_folder, target[-1], found.where)
        source_fd = self._tree.fd(source_folder.path)
        for attempt in range(2):
            try:
                os.link(
                    target[-1],
                    parts[-1],
                    src_dir_fd=source_fd,
                    dst_dir_fd=self._tree.fd(folder.path),
                    follow_symlinks=False,
                )
                break
            except FileExistsError:
                if attempt:
                    raise
                self._tree.remove(folder, parts[-1])
                source_fd = self._tree.fd(source_folder.path)
            except FileNotFoundError:
                raise LayerFault(f"hard link {quoted(entry.name)} would replace the folder its target is in") from None
        self._tree.created(folder.at(parts[-1]))

    def _copy_up(self, folder: Folder, name: bytes, where: int) -> None:
        """Bring a lower layer's file into this one: overlayfs has no link between layers."""
        path = folder.at(name)
        lower_fd = self._tree.lower_fds[where]
        status = os.lstat(path, dir_fd=lower_fd)
        parent_fd = self._tree.fd(folder.path)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(path, dir_fd=lower_fd), name, dir_fd=parent_fd)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=parent_fd, follow_symlinks=False)
        elif stat.S_ISREG(status.st_mode):
            self._copy_file(parent_fd, name, lower_fd, path, status)
        else:
            raise LayerFault(f"hard link to {quoted(path)}, a special file of a lower layer")
        os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=parent_fd, follow_symlinks=False)
        self._tree.created(path)

    def _copy_file(self, parent_fd: int, name: bytes, lower_fd: int, path: bytes, status: os.stat_result) -> None:
        self.written += status.st_size
        if self.written > self._limits.bytes_max:
            raise LayerFault(f"layer is larger than {self._limits.bytes_max} bytes unpacked")
        source = self._tree.open_lower(lower_fd, path)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=parent_fd)
            try:
                while piece := os.read(source, OUTPUT_CHUNK_BYTES):
                    _write(fd, piece)
                os.fchown(fd, status.st_uid, status.st_gid)
                os.fchmod(fd, stat.S_IMODE(status.st_mode))
                try:
                    capability = os.getxattr(source, "security.capability")
                except OSError:
                    capability = b""
                if capability:
                    os.setxattr(fd, "security.capability", capability)
            finally:
                os.close(fd)
        finally:
            os.close(source)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _id(value: int) -> int:
    if not 0 <= value <= ID_MAX:
        raise LayerFault(f"{value} is no user or group id")
    return value


def _time(value: int) -> int:
    return max(-TIME_NS_MAX, min(TIME_NS_MAX, value))
