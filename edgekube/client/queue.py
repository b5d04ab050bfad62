"""A work queue of keys: de-duplicated, serial per key, with exponential back-off (client-go's workqueue).

A key added while it is being worked on is handed out once more afterwards; a key is never worked on twice at once.
"""

import heapq
import random
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

import trio

K = TypeVar("K", bound=Hashable)

BACKOFF_BASE_SECONDS = 0.05
BACKOFF_MAX_SECONDS = 300.0  # client-go's default is 1000 s; a Pi's owner should not wait that long
BACKOFF_JITTER = 0.1


class WorkQueue(Generic[K]):
    """Keys waiting for a worker. All methods but `get` are synchronous; one trio task or many may call `get`."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()  # in _ready, or dirty while being processed
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}  # the time that counts among a key's entries in _delayed
        self._sequence = 0
        self._wakeup = trio.Event()
        self._rng = rng or random.Random()

    def add(self, key: K) -> None:
        """Work on `key` soon."""
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wakeup.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Work on `key` after a delay; of several delays for a key the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        at = trio.current_time() + seconds
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            self._sequence += 1
            heapq.heappush(self._delayed, (at, self._sequence, key))
            self._wakeup.set()

    def retry(self, key: K) -> None:
        """Work on `key` again after its back-off, which doubles with each call until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BACKOFF_MAX_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(failures, 32))
        self.add_after(key, delay * (1 + BACKOFF_JITTER * self._rng.random()))

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key's work succeeded: its next failure starts from the shortest back-off."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key; the caller must call `done` with it."""
        # Before a key is taken: what is cancelled here must not take one along.
        await trio.lowlevel.checkpoint()
        while True:
            self._promote()
            if self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._processing.add(key)
                return key
            self._wakeup = trio.Event()
            deadline = self._delayed[0][0] if self._delayed else float("inf")
            with trio.CancelScope(deadline=deadline):
                await self._wakeup.wait()

    def done(self, key: K) -> None:
        """The work on `key` ended, well or badly."""
        self._processing.discard(key)
        if key in self._waiting:
            self._ready.append(key)
            self._wakeup.set()

    def __len__(self) -> int:
        return len(self._ready)

    def _promote(self) -> None:
        now = trio.current_time()
        while self._delayed and self._delayed[0][0] <= now:
            at, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)
