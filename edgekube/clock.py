"""Cluster time: never before the latest date this cluster has seen (DESIGN section 2: a Pi has no clock battery).

max(system clock, a floor kept on disk). The floor is the newest modification time of the store's files, which are
written anyway: keeping it costs no write of its own.
"""

import time
from collections.abc import Iterable
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


class LoopLag:
    """How late the event loop wakes a sleeper: the node's own measure of its health. Sampled, not polled hard."""

    SAMPLE_SECONDS = 10.0

    def __init__(self) -> None:
        self.worst_seconds = 0.0
        self.last_seconds = 0.0
        self.samples = 0

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            due = trio.current_time() + self.SAMPLE_SECONDS
            await trio.sleep_until(due)
            self.last_seconds = max(0.0, trio.current_time() - due)
            self.worst_seconds = max(self.worst_seconds, self.last_seconds)
            self.samples += 1

    def statistics(self) -> dict[str, float]:
        return {
            "last_seconds": self.last_seconds,
            "worst_seconds": self.worst_seconds,
            "samples_total": self.samples,
        }
