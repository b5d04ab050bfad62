"""What a disk may hold after a power cut, reconstructed from a recording of every write and sync (`recorder.c`).

The model of the disk: a file's content is durable when an fdatasync or fsync of it has returned, or when it was written
through a descriptor with O_DSYNC; of everything else any subset of the 512-byte sectors may have arrived. Changes of
names become durable in order, at the latest when their folder was synced.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CREATE, WRITE, SIZE, SYNC_BEGIN, SYNC_END, FOLDER_SYNC, RENAME, UNLINK = range(1, 9)
_head = struct.Struct("<IIQQQQ")


@dataclass(frozen=True)
class Record:
    kind: int
    dsync: bool
    inode: int
    offset: int
    path: str
    data: bytes


def records(log: Path) -> Iterator[Record]:
    data = log.read_bytes()
    at = 0
    while at < len(data):
        kind, flags, inode, offset, size, path_size = _head.unpack_from(data, at)
        at += _head.size
        path = data[at : at + path_size].decode()
        at += path_size
        yield Record(kind, bool(flags & 1), inode, offset, path, data[at : at + size])
        at += size


@dataclass
class Content:
    """Bytes and size of a file (the tail of zeros is not kept)."""

    data: bytearray = field(default_factory=bytearray)
    size: int = 0

    def write(self, offset: int, data: bytes) -> None:
        if len(self.data) < offset + len(data):
            self.data.extend(bytes(offset + len(data) - len(self.data)))
        self.data[offset : offset + len(data)] = data
        self.size = max(self.size, offset + len(data))

    def resize(self, size: int) -> None:
        del self.data[size:]
        self.size = size

    def copy(self) -> "Content":
        return Content(bytearray(self.data), self.size)


@dataclass
class _File:
    durable: Content = field(default_factory=Content)
    pending: list[Record] = field(default_factory=list)
    syncing: int = 0  # how many of the pending were issued before the sync under way

    def settle(self, count: int) -> None:
        for record in self.pending[:count]:
            _apply(self.durable, record)
        del self.pending[:count]


def _apply(content: Content, record: Record) -> None:
    if record.kind == SIZE:
        content.resize(record.offset)
    else:
        content.write(record.offset, record.data)


class Disk:
    """Follows a recording; can be asked at any point what a power cut might leave."""

    def __init__(self, folder: Path, *, lies: str = "") -> None:
        self._folder = str(folder)
        self._lies = lies  # syncs of files whose names end so are answered and not done
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}  # durable
        self._renames: list[Record] = []  # not yet durable, in order
        self._current: dict[str, int] = {}

    def follow(self, record: Record) -> None:
        if record.kind in (WRITE, SIZE):
            file = self._files.setdefault(record.inode, _File())
            file.pending.append(record)
            if record.dsync and not self._lied(record):
                # Only this write is durable; what was issued before it may still be missing.
                _apply(file.durable, file.pending.pop())
        elif record.kind == SYNC_BEGIN:
            file = self._files.setdefault(record.inode, _File())
            file.syncing = len(file.pending)
        elif record.kind == SYNC_END and not self._lied(record):
            file = self._files[record.inode]
            file.settle(file.syncing)
        elif record.kind in (CREATE, RENAME, UNLINK):
            if record.kind != CREATE or self._current.get(record.path) != record.inode:
                if record.kind == CREATE:
                    self._files[record.inode] = _File()  # inode numbers are used again
                self._renames.append(record)
                _rename(self._current, record)
        elif record.kind == FOLDER_SYNC:
            for rename in self._renames:
                _rename(self._names, rename)
            self._renames.clear()

    def _lied(self, record: Record) -> bool:
        return bool(self._lies) and record.path.endswith(self._lies)

    def leave(self, target: Path, rng: random.Random, how: str) -> None:
        """Write one possible outcome of a cut now below `target`: `how` is none, all, or some."""
        names = dict(self._names)
        keep = {"none": 0, "all": len(self._renames)}.get(how, rng.randint(0, len(self._renames)))
        for rename in self._renames[:keep]:
            _rename(names, rename)
        for path, inode in names.items():
            file = self._files.get(inode, _File())
            content = file.durable.copy()
            for record in file.pending:
                if how == "none":
                    continue
                if how == "all" or record.kind == SIZE:
                    if how == "all" or rng.random() < 0.5:
                        _apply(content, record)
                    continue
                _tear(content, record, rng)
            place = target / path[len(self._folder) + 1 :]
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as out:
                out.write(content.data)
                out.truncate(content.size)


def _tear(content: Content, record: Record, rng: random.Random) -> None:
    """Some of a write's sectors arrive: one in two, all but one, or a leading part."""
    first, last = record.offset // SECTOR, (record.offset + len(record.data) - 1) // SECTOR
    mode = rng.choice(["half", "one missing", "leading"])
    chosen = rng.randint(first, last)
    for sector in range(first, last + 1):
        arrives = {"half": rng.random() < 0.5, "one missing": sector != chosen, "leading": sector < chosen}[mode]
        if arrives:
            begin = max(sector * SECTOR, record.offset)
            end = min((sector + 1) * SECTOR, record.offset + len(record.data))
            content.write(begin, record.data[begin - record.offset : end - record.offset])


def _rename(names: dict[str, int], record: Record) -> None:
    if record.kind == CREATE:
        names[record.path] = record.inode
    elif record.kind == UNLINK:
        names.pop(record.path, None)
    elif record.path in names:
        names[record.data.decode()] = names.pop(record.path)
    else:  # a folder
        old, new = record.path + "/", record.data.decode() + "/"
        for path in [path for path in names if path.startswith(old)]:
            names[new + path[len(old) :]] = names.pop(path)
