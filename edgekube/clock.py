"""Cluster time: never before the latest date this cluster has seen, for a Pi has no clock battery.

max(system clock, a floor kept on disk). The floor is the newest modification time of the store's files, which are
written anyway: keeping it costs no write of its own.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import trio

PLAUSIBLE = datetime(2025, 1, 1, tzinfo=UTC).timestamp()  # no build of this program was running before


class ClusterClock:
    """Seconds since 1970 that never go back. While the system clock lies behind the floor, time runs on from there."""

    def __init__(self, floor: float = 0.0) -> None:
        self._floor = max(floor, PLAUSIBLE)
        self._floor_set_at = time.monotonic()

    def time(self) -> float:
        """Cluster time in seconds since 1970."""
        system = time.time()
        running = self._floor + (time.monotonic() - self._floor_set_at)
        if system >= running:
            return system
        return running if running - system > 1.0 else system

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    def observe(self, seen: float) -> None:
        """Another member's time, or a date in a stored object: time does not fall behind it."""
        if seen > self.time():
            self._floor, self._floor_set_at = seen, time.monotonic()

    @property
    def plausible(self) -> bool:
        """Whether the system clock itself can be believed (CronJobs wait for that)."""
        return time.time() >= self._floor


def floor_of(paths: Iterable[Path]) -> float:
    """The newest modification time among existing files."""
    newest = 0.0
    for path in paths:
        try:
            newest = max(newest, path.stat().st_mtime)
        except OSError:
            continue
    return newest


class LoopLag(trio.abc.Instrument):
    """How long the event loop is busy between two looks at what is ready: so long whatever becomes ready may wait.

    The node's own measure of its health. Some readings of clocks a turn, and no timer: an idle loop stays idle. The
    CPU of the longest turn tells work of the loop from a machine that gave it no processor. `measured` is the time to
    count in.
    """

    def __init__(self) -> None:
        self._began, self._began_cpu = time.perf_counter(), time.thread_time()
        self.reset()

    def reset(self) -> None:
        """Forget the turns so far (those of the start)."""
        self._turns = 0
        self._busy_seconds = 0.0
        self._worst_seconds = 0.0
        self._worst_cpu_seconds = 0.0
        self._over_5ms = 0
        self._over_50ms = 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)

    def after_io_wait(self, timeout: float) -> None:
        self._began, self._began_cpu = time.perf_counter(), time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        busy = time.perf_counter() - self._began
        self._turns += 1
        self._busy_seconds += busy
        if busy > 0.005:
            self._over_5ms += 1
            self._over_50ms += busy > 0.05
            self._worst_seconds = max(self._worst_seconds, busy)
            self._worst_cpu_seconds = max(self._worst_cpu_seconds, time.thread_time() - self._began_cpu)

    def statistics(self) -> dict[str, float]:
        """Since the node was ready: turns of the loop, the busy time of all, the longest, and how many were long.

        `worst_cpu_seconds` is the most CPU that a turn took, which need not have been the longest.
        """
        return {
            "turns_total": self._turns,
            "busy_seconds_total": round(self._busy_seconds, 6),
            "worst_seconds": round(self._worst_seconds, 6),
            "worst_cpu_seconds": round(self._worst_cpu_seconds, 6),
            "over_5ms_total": self._over_5ms,
            "over_50ms_total": self._over_50ms,
        }
