"""The folder of the log: its segments, the spare, and the plain file calls. All of it blocks: call it in a thread.

A segment gets its name only when its header is synced, and the spare only when it is filled, so a name never stands for
half a file.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgekube.raft import walformat as fmt

_FILL_BYTES: Final = 256 * 1024
_SPARE: Final = "spare"
_SUFFIX: Final = ".log"


class Segment:
    """An open segment; `prior` is the index of the last entry before it."""

    __slots__ = ("fd", "number", "path", "prior")

    def __init__(self, number: int, path: Path, fd: int, prior: int) -> None:
        self.number = number
        self.path = path
        self.fd = fd
        self.prior = prior


class LogFolder:
    """Owns the names in the folder; `has_spare` tells whether the next segment is ready."""

    def __init__(self, path: Path, segment_size: int, identity: bytes) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._segment_size = segment_size
        self._identity = identity
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.has_spare = (path / _SPARE).exists()

    def close(self) -> None:
        """Give up the folder; may be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def sync(self) -> None:
        """Make the names durable."""
        os.fsync(self._fd)

    def found(self) -> list[tuple[int, Path]]:
        """Number and path of all segments, ascending; leftovers of unfinished work are removed."""
        for path in self._path.glob("*.tmp"):
            path.unlink()
        return sorted((int(path.stem, 16), path) for path in self._path.glob("*" + _SUFFIX))

    def make_spare(self) -> None:
        """A filled file under the name of the spare. Raises OSError, and leaves nothing then."""
        temporary = self._path / (_SPARE + ".tmp")
        try:
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                zeros = bytes(min(_FILL_BYTES, self._segment_size))
                for offset in range(0, self._segment_size, len(zeros)):
                    pwrite(fd, zeros[: self._segment_size - offset], offset)
                os.fsync(fd)
            finally:
                os.close(fd)
            temporary.rename(self._path / _SPARE)
            self.sync()
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        self.has_spare = True

    def activate(self, number: int) -> Segment:
        """Turn the spare into segment `number`; makes one if there is none."""
        if not self.has_spare:
            self.make_spare()
        spare = self._path / _SPARE
        path = self._path / f"{number:016x}{_SUFFIX}"
        fd = os.open(spare, os.O_RDWR | os.O_CLOEXEC)
        try:
            pwrite(fd, fmt.encode_segment_header(number, self._segment_size, self._identity), 0)
            os.fdatasync(fd)
            spare.rename(path)
            self.has_spare = False
            self.sync()
        except BaseException:
            os.close(fd)
            raise
        return Segment(number, path, fd, 0)

    def drop(self, gone: Sequence[Segment]) -> None:
        """Keep one dropped segment as the spare, remove the others; oldest first, so that no gap can appear."""
        for segment in gone:
            os.close(segment.fd)
            if self.has_spare:
                segment.path.unlink()
            else:
                segment.path.rename(self._path / _SPARE)
                self.has_spare = True
        self.sync()


def pwrite(fd: int, data: bytes, offset: int) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def write_and_sync(writes: Sequence[tuple[int, int, bytes]]) -> None:
    """Do writes of (fd, offset, data), then one fdatasync a file."""
    for fd, offset, data in writes:
        pwrite(fd, data, offset)
    for fd in {fd for fd, _, _ in writes}:
        os.fdatasync(fd)


def read_file(fd: int, size: int) -> bytes:
    """The file's bytes, at most one more than `size`."""
    parts = []
    offset = 0
    while offset <= size and (data := os.pread(fd, size + 1 - offset, offset)):
        parts.append(data)
        offset += len(data)
    return b"".join(parts)
