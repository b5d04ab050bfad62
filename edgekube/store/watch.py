"""Watches: who gets which events, without copying them per watcher.

Watchers of the same range share one list of that range's remembered events (a channel); each keeps only its place in
it. A write therefore costs one append per range that sees the key, whatever the number of watchers, plus waking those
that wait. Ranges that are a prefix (nearly all) are found by looking the key's leading bytes up, others one by one.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Final

import trio

from edgekube.store.api import Compacted, Event, Watch, prefix_end
from edgekube.store.history import Applied
from edgekube.store.state import StateMachine

_revision: Final = attrgetter("revision")


class _Channel:
    """The remembered events of one range: `events[0]` has sequence number `base`."""

    __slots__ = ("base", "end", "events", "lot", "start", "watchers")

    def __init__(self, start: bytes, end: bytes, events: list[Event]) -> None:
        self.start = start
        self.end = end
        self.events = events
        self.base = 0
        self.watchers = 0
        self.lot = trio.lowlevel.ParkingLot()

    def forget(self, compacted: int) -> None:
        """Drop events up to and including `compacted`."""
        gone = bisect_right(self.events, compacted, key=_revision)
        if gone:
            del self.events[:gone]
            self.base += gone


class WatchHub:
    """All open watches on one state machine."""

    def __init__(self, state: StateMachine) -> None:
        self._state = state
        self._by_prefix: dict[bytes, _Channel] = {}
        self._prefix_lengths: list[int] = []
        self._others: dict[tuple[bytes, bytes], _Channel] = {}
        self._advanced = trio.lowlevel.ParkingLot()
        self._failure: Exception | None = None

    @property
    def watcher_count(self) -> int:
        """Open watches."""
        return sum(channel.watchers for channel in self._channels())

    def _channels(self) -> Iterator[_Channel]:
        yield from self._by_prefix.values()
        yield from self._others.values()

    # -- from the engine

    def publish(self, batch: Iterable[Applied]) -> None:
        """Hand out what was just applied, in order, and wake whoever waits for it."""
        by_prefix, lengths = self._by_prefix, self._prefix_lengths
        touched: set[_Channel] = set()
        for applied in batch:
            for event in applied.events:
                key = event.key
                for length in lengths:
                    channel = by_prefix.get(key[:length])
                    if channel is not None and len(key) >= length:
                        channel.events.append(event)
                        touched.add(channel)
                for channel in self._others.values():
                    if channel.start <= key < channel.end:
                        channel.events.append(event)
                        touched.add(channel)
        for channel in touched:
            channel.lot.unpark_all()
        self._advanced.unpark_all()

    def forget(self) -> None:
        """The history was trimmed: trim the channels alike."""
        compacted = self._state.history.compacted
        for channel in self._channels():
            channel.forget(compacted)

    def reset(self) -> None:
        """The state was replaced by a later one: nobody has seen what lies between, so every open watch is cut off."""
        for channel in self._channels():
            channel.base += len(channel.events) + 1
            channel.events.clear()
            channel.lot.unpark_all()
        self._advanced.unpark_all()

    def fail(self, error: Exception) -> None:
        """The store has stopped: everyone who waits, now or later, gets `error`."""
        self._failure = error
        for channel in self._channels():
            channel.lot.unpark_all()
        self._advanced.unpark_all()

    def wake(self) -> None:
        """Wake those who wait for the revision, so that they look at something else that changed."""
        self._advanced.unpark_all()

    # -- to the users

    async def wait_advanced(self) -> None:
        """Wait for the next publish (or wake). Raises what `fail` was given."""
        self.check()
        await self._advanced.park()
        self.check()

    @property
    def failed(self) -> bool:
        """Whether the store has stopped."""
        return self._failure is not None

    def check(self) -> None:
        """Raises what `fail` was given, if it was called."""
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def watch(self, start: bytes, end: bytes, *, after: int, batch_max: int) -> AsyncIterator[Watch]:
        """See `Store.watch`."""
        if batch_max < 1:
            raise ValueError(f"batch_max is {batch_max}; a watch must be allowed at least one event at a time")
        self.check()
        self._state.history.check(after, self._state.revision)
        channel = self._open(start, end)
        channel.watchers += 1
        try:
            place = channel.base + bisect_right(channel.events, after, key=_revision)
            yield _Watch(self, self._state, channel, place, after, batch_max)
        finally:
            channel.watchers -= 1
            if not channel.watchers:
                self._close(channel)

    def _open(self, start: bytes, end: bytes) -> _Channel:
        is_prefix = _is_prefix(start, end)
        known = self._by_prefix.get(start) if is_prefix else self._others.get((start, end))
        if known is not None:
            return known
        channel = _Channel(start, end, self._state.history.events(start, end))
        if is_prefix:
            self._by_prefix[start] = channel
            self._prefix_lengths = sorted({len(prefix) for prefix in self._by_prefix})
        else:
            self._others[(start, end)] = channel
        return channel

    def _close(self, channel: _Channel) -> None:
        if self._by_prefix.get(channel.start) is channel:
            del self._by_prefix[channel.start]
            self._prefix_lengths = sorted({len(prefix) for prefix in self._by_prefix})
        else:
            del self._others[(channel.start, channel.end)]


class _Watch:
    """One watcher's place in a channel; see `api.Watch`."""

    def __init__(
        self, hub: WatchHub, state: StateMachine, channel: _Channel, place: int, after: int, batch_max: int
    ) -> None:
        self._hub = hub
        self._state = state
        self._channel = channel
        self._place = place
        self._handed = after
        self._batch_max = batch_max

    @property
    def progress(self) -> int:
        """Revision up to which everything was handed out; moves with the store while nothing matches."""
        channel = self._channel
        position = self._place - channel.base
        if position < 0:
            return self._handed
        if position < len(channel.events):
            return channel.events[position].revision - 1
        return self._state.revision

    async def next(self) -> Sequence[Event]:
        """Wait for events; never returns none."""
        channel = self._channel
        if self._place < channel.base + len(channel.events):
            await trio.lowlevel.checkpoint()  # before anything is taken, so that cancelling loses nothing
        while self._place >= channel.base + len(channel.events):
            self._hub.check()
            await channel.lot.park()
        return self.next_nowait()

    def next_nowait(self) -> Sequence[Event]:
        """What is there now."""
        self._hub.check()
        channel = self._channel
        position = self._place - channel.base
        if position < 0:
            raise Compacted(self._state.history.compacted)
        events = channel.events
        stop = position + self._batch_max
        if stop < len(events):
            revision = events[stop - 1].revision
            while stop < len(events) and events[stop].revision == revision:
                stop += 1
        batch = events[position:stop]
        if batch:
            self._place += len(batch)
            self._handed = batch[-1].revision
        return batch


class Revisions:
    """Applied revisions as they advance; only the latest is kept for a slow reader."""

    def __init__(self, hub: WatchHub, state: StateMachine) -> None:
        self._hub = hub
        self._state = state
        self._seen = state.revision

    def __aiter__(self) -> "Revisions":
        return self

    async def __anext__(self) -> int:
        while self._state.revision == self._seen:
            await self._hub.wait_advanced()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._seen = self._state.revision
        return self._seen


def _is_prefix(start: bytes, end: bytes) -> bool:
    return start.strip(b"\xff") != b"" and prefix_end(start) == end
