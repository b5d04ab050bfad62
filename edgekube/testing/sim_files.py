"""Files of a simulated disk: what the log's own code reads and writes, on a disk that can lose power.

The model of a power cut: of calls under way any number was done. A file's content is durable when it was synced; of
what was written since, any subset of the 512-byte sectors has arrived. Changes of names become durable in order, at the
latest when their folder was synced. When only the process is killed, what it wrote stays readable, but is no more
durable than before. (`sim_os` lets the log's code use it.)
"""

import errno
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

import trio

SECTOR_BYTES: Final = 512


class SimFile:
    """One file: what reads see, what is durable, and the writes between."""

    def __init__(self) -> None:
        self.live = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes]] = []

    def settle(self) -> None:
        """Everything written is durable."""
        for offset, data in self.pending:
            _put(self.durable, offset, data)
        self.pending.clear()


NameChange = tuple[str, str, SimFile | None]
"""A name that ends, a name that begins (empty: none), and the file it then stands for."""


class _Step:
    """One call's effect on what is durable. `sync` says that it only makes durable what was done before."""

    __slots__ = ("act", "sync")

    def __init__(self, act: Callable[[], None], sync: bool) -> None:
        self.act = act
        self.sync = sync


class SimDisk:
    """A disk of one member. After `cut_power` or `kill` use what it returns; this one is a ghost's."""

    def __init__(self, rng: random.Random, latency_ms: float) -> None:
        self.rng = rng
        self.latency_ms = latency_ms
        self.factor = 1.0
        self.full = False
        self.held = False  # it hangs: nothing becomes durable meanwhile
        self.failing = False  # the next sync fails, and what it was to make durable never will be
        self.failed = False  # that has happened
        self.syncs = 0
        self.files: dict[str, SimFile] = {}
        self._durable_names: dict[str, SimFile] = {}
        self._name_changes: list[NameChange] = []
        self._under_way: list[list[_Step]] = []
        self._recording: list[_Step] | None = None

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return bool(self._under_way)

    # -- what calls do

    def write(self, file: SimFile, data: bytes, offset: int) -> None:
        """Write into the cache."""
        if self.full and offset + len(data) > len(file.live):
            raise OSError(errno.ENOSPC, "the simulated disk is full")
        _put(file.live, offset, data)
        self._do(lambda: file.pending.append((offset, data)))

    def sync(self, file: SimFile) -> None:
        """Make a file's content durable."""
        self.syncs += 1
        if self.failing:
            self.failing, self.failed = False, True
            self._do(file.pending.clear)
            raise OSError(errno.EIO, "the simulated disk failed")
        self._do(file.settle, sync=True)

    def change_names(self, old: str, new: str, file: SimFile | None) -> None:
        """Create, rename or remove."""
        change = (old, new, file)
        _rename(self.files, change)
        self._do(lambda: self._name_changes.append(change))

    def sync_names(self) -> None:
        """Make names durable."""

        def settle() -> None:
            for change in self._name_changes:
                _rename(self._durable_names, change)
            self._name_changes.clear()

        self._do(settle, sync=True)

    def _do(self, act: Callable[[], None], sync: bool = False) -> None:
        if self._recording is None:
            act()  # a call outside the threads is done when it returns
        else:
            self._recording.append(_Step(act, sync))

    # -- time and power

    async def perform(self, call: Callable[[], Any]) -> Any:
        """Do what a thread would do: its calls take effect in order, and are all durable as they ask at the end."""
        before, self._recording = self._recording, []
        steps = self._recording
        try:
            result = call()
        finally:
            self._recording = before
            self._under_way.append(steps)
            delay = self.rng.uniform(0.2, 1.8) * self.latency_ms * self.factor / 1000
            with trio.CancelScope(shield=True):
                await trio.sleep(delay)
                while self.held:  # noqa: ASYNC110
                    await trio.sleep(0.002)
            if steps in self._under_way:
                self._under_way.remove(steps)
                for step in steps:
                    step.act()
        return result

    def cut_power(self) -> "SimDisk":
        """The disk as the next start finds it after a power cut."""
        rng = self.rng
        for steps in self._under_way:
            for step in steps[: rng.randint(0, len(steps))]:
                step.act()
        names = dict(self._durable_names)
        for change in self._name_changes[: rng.randint(0, len(self._name_changes))]:
            _rename(names, change)
        after = self._next()
        for name, file in names.items():
            content = bytearray(file.durable)
            for offset, data in file.pending:
                _tear(content, offset, data, rng)
            kept = SimFile()
            kept.live, kept.durable = content, bytearray(content)
            after.files[name] = kept
        after._durable_names = dict(after.files)
        return after

    def kill(self) -> "SimDisk":
        """The disk as the next start finds it when the process alone is gone."""
        for steps in self._under_way:
            done = self.rng.randint(0, len(steps))
            for place, step in enumerate(steps):
                if place < done or not step.sync:
                    step.act()
        after = self._next()
        after.files, after._durable_names, after._name_changes = deepcopy(
            (self.files, self._durable_names, self._name_changes)
        )
        return after

    def _next(self) -> "SimDisk":
        self._under_way.clear()
        self.held = False
        after = SimDisk(self.rng, self.latency_ms)
        after.factor, after.full = self.factor, self.full
        return after


def _rename(names: dict[str, SimFile], change: NameChange) -> None:
    old, new, file = change
    names.pop(old, None)
    if new and file is not None:
        names[new] = file


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
