"""Checks any `Store` against the plainest model of what it promises: a list of all states that ever were.

`Checker` makes each call on the store and on the model and compares: results, ranges now and at older revisions,
counts, and everything its watches hand out. The programs come from a test (hypothesis, or a seeded generator).
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from edgekube.store.api import (
    Compacted,
    Event,
    FutureRevision,
    Guard,
    GuardKind,
    KeyValue,
    Op,
    Put,
    Store,
    TxnResult,
    Watch,
)

State = dict[bytes, KeyValue]


class Model:
    """All states by revision, and all events."""

    def __init__(self, revision: int = 1) -> None:
        self.first = revision
        self.states: list[State] = [{}]
        self.events: list[Event] = []

    @property
    def revision(self) -> int:
        """Latest revision."""
        return self.first + len(self.states) - 1

    @property
    def now(self) -> State:
        """The latest state."""
        return self.states[-1]

    def at(self, revision: int) -> State:
        """The state as of a revision."""
        return self.states[revision - self.first]

    def txn(self, guards: Sequence[Guard], ops: Sequence[Op]) -> TxnResult:
        """What a transaction must answer; it is applied."""
        failed = []
        for guard in guards:
            kv = self.now.get(guard.key)
            mod_revision = kv.mod_revision if kv else 0
            if (kv is None) if guard.kind == GuardKind.EXISTS else (mod_revision != guard.value):
                failed.append((guard.key, kv))
        if failed:
            return TxnResult(False, self.revision, tuple(failed))
        state, revision, events = dict(self.now), self.revision + 1, []
        for op in ops:
            value = op.value
            if op.splice >= 0:
                value = value[: op.splice] + str(revision).encode() + value[op.splice :]
            previous = state.get(op.key)
            if isinstance(op, Put):
                created, version = (previous.create_revision, previous.version + 1) if previous else (revision, 1)
                state[op.key] = KeyValue(op.key, value, created, revision, version)
                events.append(Event(revision, op.key, state[op.key], previous))
            elif previous:
                del state[op.key]
                events.append(Event(revision, op.key, None, previous, value if op.value else None))
        if events:
            self.states.append(state)
            self.events += events
        return TxnResult(True, self.revision)


class Checker:
    """One store beside one model. Use as an async context manager; it closes its watches at the end."""

    def __init__(self, store: Store, model: Model) -> None:
        self.store = store
        self.model = model
        self._watches: list[tuple[Watch, bytes, bytes, int]] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Checker":
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def txn(self, guards: Sequence[Guard], ops: Sequence[Op]) -> None:
        """Do it on both and compare."""
        expected = self.model.txn(guards, ops)
        assert await self.store.txn(guards, ops) == expected
        assert self.store.revision == self.model.revision

    def range(self, start: bytes, end: bytes, limit: int, revision: int) -> None:
        """Compare a range, which may be out of bounds."""
        try:
            found = list(self.store.range(start, end, limit=limit, revision=revision))
        except Compacted as error:
            self._check_compacted(revision, error)
            return
        except FutureRevision:
            assert revision > self.model.revision
            return
        assert not revision or self.store.compacted <= revision <= self.model.revision
        state = self.model.at(revision) if revision else self.model.now
        expected = [state[key] for key in sorted(state) if start <= key < end]
        assert found == (expected[:limit] if limit else expected)

    def _check_compacted(self, revision: int, error: Compacted) -> None:
        assert revision < self.store.compacted == error.oldest

    def point_reads(self, keys: Sequence[bytes], start: bytes, end: bytes) -> None:
        """Compare gets and a count."""
        for key in keys:
            assert self.store.get(key) == self.model.now.get(key)
        assert self.store.count(start, end) == sum(start <= key < end for key in self.model.now)

    async def open_watch(self, start: bytes, end: bytes, after: int, batch_max: int) -> None:
        """Open one more watch; drained by `drain`."""
        try:
            watch = await self._stack.enter_async_context(
                self.store.watch(start, end, after=after, batch_max=batch_max)
            )
        except Compacted as error:
            self._check_compacted(after, error)
            return
        except FutureRevision:
            assert after > self.model.revision
            return
        self._watches.append((watch, start, end, after))

    def drain(self, batches: int) -> None:
        """Take up to so many batches from every watch and compare them with the model's events."""
        kept = []
        for watch, start, end, after in self._watches:
            due = [event for event in self.model.events if event.revision > after and start <= event.key < end]
            try:
                for _ in range(batches):
                    batch = list(watch.next_nowait())
                    assert batch == due[: len(batch)]
                    due = due[len(batch) :]
                    if batch:
                        after = batch[-1].revision
                        assert not due or due[0].revision > after, "a batch ended inside a transaction"
                    elif due:
                        raise AssertionError(f"events are missing: {due[:3]}")
                    assert watch.progress == (due[0].revision - 1 if due else self.model.revision)
            except Compacted:
                assert due[0].revision <= self.store.compacted
                continue
            kept.append((watch, start, end, after))
        self._watches = kept
