"""Files of a simulated disk: what the log's own code reads and writes, on a disk that can lose power.

The log opens, writes, syncs and renames as ever; its `os` and its paths are replaced by `SimOs` and `SimPath` while a
simulation runs, and its threads by `SimThreads`, which do the same calls in order, in virtual time.

The model of a power cut: of calls under way any number was done. A file's content is durable when it was synced; of
what was written since, any subset of the 512-byte sectors has arrived. Changes of names become durable in order, at the
latest when their folder was synced.
"""

import errno
import os
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import trio

SECTOR_BYTES: Final = 512


class SimFile:
    """One file: what reads see, what is durable, and the writes between."""

    def __init__(self) -> None:
        self.live = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes]] = []


class _Step:
    """One call's effect on what is durable."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act


class SimDisk:
    """A disk of one member. After `cut_power` use what it returns; this one is a ghost that reaches nobody."""

    def __init__(self, rng: random.Random, latency_ms: float) -> None:
        self.rng = rng
        self.latency_ms = latency_ms
        self.factor = 1.0
        self.full = False
        self.files: dict[str, SimFile] = {}
        self._durable_names: dict[str, SimFile] = {}
        self._name_changes: list[Callable[[dict[str, SimFile]], None]] = []
        self._under_way: list[list[_Step]] = []
        self.recording: list[_Step] | None = None
        self.lies = False  # answers syncs and does nothing: for tests of the simulation

    # -- what calls do

    def write(self, file: SimFile, data: bytes, offset: int) -> None:
        """Write into the cache."""
        if self.full and offset + len(data) > len(file.live):
            raise OSError(errno.ENOSPC, "the simulated disk is full")
        _put(file.live, offset, data)
        self._do(lambda: file.pending.append((offset, data)))

    def sync(self, file: SimFile) -> None:
        """Make a file's content durable."""
        self._do(lambda: self._settle(file))

    def _settle(self, file: SimFile) -> None:
        if self.lies:
            return
        for offset, data in file.pending:
            _put(file.durable, offset, data)
        file.pending.clear()

    def change_names(self, change: Callable[[dict[str, SimFile]], None]) -> None:
        """Create, rename or remove."""
        change(self.files)
        self._do(lambda: self._name_changes.append(change))

    def sync_names(self) -> None:
        """Make names durable."""

        def settle() -> None:
            for change in self._name_changes:
                change(self._durable_names)
            self._name_changes.clear()

        self._do(settle)

    def _do(self, act: Callable[[], None]) -> None:
        if self.recording is None:
            act()  # a call outside the threads is done when it returns
        else:
            self.recording.append(_Step(act))

    # -- time and power

    async def perform(self, call: Callable[[], Any]) -> Any:
        """Do what a thread would do: its calls take effect in order, and are all durable as they ask at the end."""
        before, self.recording = self.recording, []
        steps = self.recording
        try:
            result = call()
        finally:
            self.recording = before
            self._under_way.append(steps)
            delay = self.rng.uniform(0.2, 1.8) * self.latency_ms * self.factor / 1000
        with trio.CancelScope(shield=True):
            await trio.sleep(delay)
        if steps in self._under_way:
            self._under_way.remove(steps)
            for step in steps:
                step.act()
        return result

    def cut_power(self) -> "SimDisk":
        """The disk as the next start finds it."""
        rng = self.rng
        for steps in self._under_way:
            for step in steps[: rng.randint(0, len(steps))]:
                step.act()
        self._under_way.clear()
        names = dict(self._durable_names)
        for change in self._name_changes[: rng.randint(0, len(self._name_changes))]:
            change(names)
        after = SimDisk(rng, self.latency_ms)
        after.factor, after.full, after.lies = self.factor, self.full, self.lies
        for name, file in names.items():
            content = bytearray(file.durable)
            for offset, data in file.pending:
                _tear(content, offset, data, rng)
            kept = SimFile()
            kept.live, kept.durable = content, bytearray(content)
            after.files[name] = kept
        after._durable_names = dict(after.files)
        return after


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _tear(content: bytearray, offset: int, data: bytes, rng: random.Random) -> None:
    """All, none, half, all but one or a leading part of a write's sectors arrive."""
    first, last = offset // SECTOR_BYTES, (offset + len(data) - 1) // SECTOR_BYTES
    mode = rng.randrange(5)
    chosen = rng.randint(first, last)
    for sector in range(first, last + 1):
        if (True, False, rng.random() < 0.5, sector != chosen, sector < chosen)[mode]:
            begin = max(sector * SECTOR_BYTES, offset)
            end = min((sector + 1) * SECTOR_BYTES, offset + len(data))
            _put(content, begin, data[begin - offset : end - offset])


class SimPath:
    """A path on a simulated disk, as far as the log uses paths."""

    def __init__(self, disk: SimDisk, name: str) -> None:
        self.disk = disk
        self.name = name

    def __truediv__(self, name: str) -> "SimPath":
        return SimPath(self.disk, f"{self.name}/{name}")

    def __str__(self) -> str:
        return self.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self.name.rpartition("/")[2].rpartition(".")[0]

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Folders are there."""

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.name in self.disk.files

    def glob(self, pattern: str) -> "Iterator[SimPath]":
        """Files of this folder that end as `pattern` (`*suffix`) does."""
        for name in sorted(self.disk.files):
            if name.startswith(self.name + "/") and name.endswith(pattern[1:]):
                yield SimPath(self.disk, name)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the name."""
        if self.name not in self.disk.files:
            if missing_ok:
                return
            raise FileNotFoundError(self.name)

        def change(names: dict[str, SimFile]) -> None:
            names.pop(self.name, None)

        self.disk.change_names(change)

    def rename(self, target: "SimPath") -> None:
        """Change the name."""
        file = self.disk.files[self.name]

        def change(names: dict[str, SimFile]) -> None:
            names.pop(self.name, None)
            names[target.name] = file

        self.disk.change_names(change)


class SimOs:
    """`os`, for the modules of the log. Anything that is no simulated file goes to the real one."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._open: dict[int, tuple[SimDisk, SimFile | None]] = {}
        self._next = 1_000_000

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def urandom(self, size: int) -> bytes:
        """Random bytes from the seed."""
        return self._rng.randbytes(size)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        """A descriptor of a simulated file or folder."""
        if not isinstance(path, SimPath):
            return os.open(path, flags, mode)
        disk, file = path.disk, None
        if not flags & os.O_DIRECTORY:
            file = disk.files.get(path.name)
            if file is None:
                if not flags & os.O_CREAT:
                    raise FileNotFoundError(path.name)
                created = file = SimFile()
                disk.change_names(lambda names: names.__setitem__(path.name, created))
            elif flags & os.O_TRUNC:
                created = file = SimFile()
                disk.change_names(lambda names: names.__setitem__(path.name, created))
        self._next += 1
        self._open[self._next] = (disk, file)
        return self._next

    def close(self, fd: int) -> None:
        """Close it."""
        if fd not in self._open:
            os.close(fd)
        else:
            del self._open[fd]

    def disk_of(self, fd: int) -> SimDisk:
        """The disk an open descriptor is on."""
        return self._open[fd][0]

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        """Write into the cache."""
        disk, file = self._open[fd]
        assert file is not None
        disk.write(file, bytes(data), offset)
        return len(data)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read, also what is not durable."""
        _, file = self._open[fd]
        assert file is not None
        return bytes(file.live[offset : offset + size])

    def fdatasync(self, fd: int) -> None:
        """Make content durable."""
        disk, file = self._open[fd]
        assert file is not None
        disk.sync(file)

    def fsync(self, fd: int) -> None:
        """Make content, or names, durable."""
        disk, file = self._open[fd]
        if file is None:
            disk.sync_names()
        else:
            disk.sync(file)
