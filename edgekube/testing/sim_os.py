"""What the log's code uses of the operating system, on a simulated disk: paths, descriptors and threads."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import trio

from edgekube.raft import wal, walfiles
from edgekube.testing.sim_files import SimDisk, SimFile
from edgekube.testing.sim_trio import Patches


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

        self.disk.change_names(self.name, "", None)

    def rename(self, target: "SimPath") -> None:
        """Change the name."""
        self.disk.change_names(self.name, target.name, self.disk.files[self.name])


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
                file = SimFile()
                disk.change_names("", path.name, file)
            elif flags & os.O_TRUNC:
                file = SimFile()
                disk.change_names("", path.name, file)
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


class SimSyncer:
    """`raft.syncer.Syncer`, without its thread."""

    sim_os: SimOs

    def __init__(self, function: Callable[[Sequence[tuple[int, int, bytes]]], None]) -> None:
        self._function = function

    async def run(self, batch: Sequence[tuple[int, int, bytes]]) -> None:
        """See `Syncer.run`."""
        await self.sim_os.disk_of(batch[0][0]).perform(lambda: self._function(batch))

    def close(self) -> None:
        """There is no thread to end."""


def simulate_files(patches: Patches, rng: random.Random) -> None:
    """Let the log use simulated disks, and no thread."""
    sim_os = SimOs(rng)

    async def run_sync(call: Callable[..., Any], *args: Any, limiter: Any = None, **_: Any) -> Any:
        return await call.__self__._path.disk.perform(lambda: call(*args))  # type: ignore[attr-defined]

    patches.set(wal, "os", sim_os)
    patches.set(walfiles, "os", sim_os)
    patches.set(wal, "Syncer", type("RunSyncer", (SimSyncer,), {"sim_os": sim_os}))
    patches.set(trio.to_thread, "run_sync", run_sync)
