"""The half of a store that only reads: the same for every engine that applies entries to a `StateMachine`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from edgekube.store.api import KeyValue, Watch
from edgekube.store.state import StateMachine
from edgekube.store.watch import Revisions, WatchHub


class LocalReads:
    """Reads, watches and waits on the applied state of this member; engines add writing and leadership."""

    def __init__(self, state: StateMachine, cluster_id: str) -> None:
        self._state = state
        self._hub = WatchHub(state)
        self._cluster_id = cluster_id

    @property
    def revision(self) -> int:
        """Latest applied revision."""
        return self._state.revision

    @property
    def compacted(self) -> int:
        """Oldest revision a watch may start after, or a range may be read at."""
        return self._state.history.compacted

    @property
    def cluster_id(self) -> str:
        """Identity of this history."""
        return self._cluster_id

    @property
    def digest(self) -> str:
        """Rolling hash of the applied state; members at the same revision must agree on it."""
        return self._state.digest.hex()

    def get(self, key: bytes) -> KeyValue | None:
        """See `Store.get`."""
        self._hub.check()
        return self._state.get(key)

    def range(self, start: bytes, end: bytes, *, limit: int = 0, revision: int = 0) -> Sequence[KeyValue]:
        """See `Store.range`."""
        self._hub.check()
        return self._state.range(start, end, limit, revision)

    def count(self, start: bytes, end: bytes) -> int:
        """See `Store.count`."""
        self._hub.check()
        return self._state.count(start, end)

    def watch(
        self, start: bytes, end: bytes, *, after: int, batch_max: int = 500
    ) -> AbstractAsyncContextManager[Watch]:
        """See `Store.watch`."""
        return self._hub.watch(start, end, after=after, batch_max=batch_max)

    def subscribe(self) -> AsyncIterator[int]:
        """See `Store.subscribe`."""
        return Revisions(self._hub, self._state)

    async def wait_applied(self, revision: int) -> None:
        """See `Store.wait_applied`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._hub.check()
        while self._state.revision < revision:
            await self._hub.wait_advanced()
