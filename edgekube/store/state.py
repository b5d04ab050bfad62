"""The replicated state machine: applies committed entries to the keys, and nothing else.

Deterministic by construction: it sees entry bytes and its own state, never a clock, a schema or randomness, so members
of different versions reach the same state; `digest` rolls over every change and lets them compare.

State is an overlay of recent changes (a dict) over a `Base` (LMDB, or nothing for a volatile store). The owner moves
the older part of the overlay into the base from time to time (`settle`); until then the log carries it.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, Protocol

import msgspec

from edgekube.store import command as commands
from edgekube.store.api import Delete, Event, Guard, GuardKind, KeyValue, Op, TxnResult
from edgekube.store.history import Applied, History, remembered_size

REVISION_FIRST: Final = 1
DIGEST_SIZE_BYTES: Final = 8

_pack_change = Struct("<QIi").pack


class Base(Protocol):
    """The durable part under the overlay; reads are synchronous and see its last commit."""

    def get(self, key: bytes) -> KeyValue | None:
        """The value of a key, or None."""
        ...

    def scan(self, start: bytes, end: bytes, limit: int) -> list[KeyValue]:
        """Up to `limit` (0: all) keys of [start, end), ascending."""
        ...

    def count(self, start: bytes, end: bytes) -> int:
        """How many keys [start, end) holds."""
        ...


class NoBase:
    """The base of a volatile store: everything lives in the overlay."""

    def get(self, key: bytes) -> KeyValue | None:
        """Always None."""
        return None

    def scan(self, start: bytes, end: bytes, limit: int) -> list[KeyValue]:
        """Always empty."""
        return []

    def count(self, start: bytes, end: bytes) -> int:
        """Always 0."""
        return 0


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far a state has come: the last entry applied, the revision and rolling hash after it."""

    index: int = 0
    term: int = 0
    revision: int = REVISION_FIRST
    digest: bytes = bytes(DIGEST_SIZE_BYTES)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What applying one entry did. `fenced`: refused, it carried the term of another leadership."""

    result: TxnResult
    applied: Applied | None = None
    fenced: bool = False


class StateMachine:
    """Keys, revision and history. Single owner; nothing here waits."""

    def __init__(self, base: Base, position: Position, *, compacted: int | None = None) -> None:
        self.base = base
        self.index = position.index
        self.term = position.term
        self.revision = position.revision
        self.digest = position.digest
        self.history = History(position.revision if compacted is None else compacted)
        self._recent: dict[bytes, KeyValue | None] = {}  # None: deleted since the base
        self._recent_keys: list[bytes] = []  # the same keys, sorted
        self._deleted: dict[bytes, int] = {}  # at which revision those were deleted that are None in `_recent`
        self._keep_tombstones = not isinstance(base, NoBase)

    @property
    def position(self) -> Position:
        """Where the state stands now."""
        return Position(self.index, self.term, self.revision, self.digest)

    @property
    def recent_count(self) -> int:
        """Keys in the overlay."""
        return len(self._recent)

    # -- applying

    def skip(self, index: int, term: int) -> None:
        """Advance past an entry that changes no key (a new leader's empty one, a membership change)."""
        self._advance(index, term)

    def apply(self, index: int, term: int, command: commands.Command, now: float) -> Outcome:
        """Apply one committed transaction. `now` only labels the history (local clock)."""
        self._advance(index, term)
        if command.fence and command.fence != term:
            return Outcome(TxnResult(False, self.revision), fenced=True)
        checked = self.check(command.guards)
        if not checked.succeeded:
            return Outcome(checked)
        revision = self.revision + 1
        events = tuple([event for op in command.ops if (event := self._write(op, revision)) is not None])
        if not events:
            return Outcome(TxnResult(True, self.revision))
        self.revision = revision
        self.digest = _rolled(self.digest, revision, events)
        applied = Applied(index, term, revision, self.digest, events, remembered_size(events), now)
        self.history.append(applied)
        return Outcome(TxnResult(True, revision), applied)

    def _advance(self, index: int, term: int) -> None:
        if index != self.index + 1 or term < self.term:
            raise RuntimeError(f"entry {index} of term {term} cannot follow entry {self.index} of term {self.term}")
        self.index, self.term = index, term

    def check(self, guards: Sequence[Guard]) -> TxnResult:
        """What a transaction of these guards and no operations answers."""
        failed = []
        for guard in guards:
            current = self.get(guard.key)
            if guard.kind == GuardKind.MOD_REVISION:
                holds = (0 if current is None else current.mod_revision) == guard.value
            else:
                holds = current is not None
            if not holds:
                failed.append((guard.key, current))
        return TxnResult(not failed, self.revision, tuple(failed))

    def _write(self, op: Op, revision: int) -> Event | None:
        key = op.key
        previous = self.get(key)
        if isinstance(op, Delete):
            if previous is None:
                return None
            if self._keep_tombstones:
                if key not in self._recent:
                    insort(self._recent_keys, key)
                self._recent[key] = None
                self._deleted[key] = revision
            else:
                del self._recent[key]
                del self._recent_keys[bisect_left(self._recent_keys, key)]
            last = commands.spliced(op, revision) if op.value else None
            return Event(revision, key, None, previous, last)
        value = commands.spliced(op, revision)
        if previous is None:
            kv = KeyValue(key, value, revision, revision, 1)
        else:
            kv = KeyValue(key, value, previous.create_revision, revision, previous.version + 1)
        if key not in self._recent:
            insort(self._recent_keys, key)
        self._recent[key] = kv
        return Event(revision, key, kv, previous)

    # -- reading

    def get(self, key: bytes) -> KeyValue | None:
        """The applied value of a key."""
        try:
            return self._recent[key]
        except KeyError:
            return self.base.get(key)

    def range(self, start: bytes, end: bytes, limit: int = 0, revision: int = 0) -> list[KeyValue]:
        """Keys in [start, end) now, or as of `revision`. Raises Compacted or FutureRevision."""
        overlay = self._overlay(start, end)
        if revision and revision != self.revision:
            self.history.check(revision, self.revision)
            undone = {
                event.key: event.previous
                for applied in self.history.since(revision)
                for event in reversed(applied.events)
                if start <= event.key < end
            }
            if undone:
                merged = dict(overlay)
                merged.update(undone)
                overlay = sorted(merged.items(), key=_first)
        if not overlay:
            return self.base.scan(start, end, limit)
        return self._merged(start, end, limit, overlay)

    def count(self, start: bytes, end: bytes) -> int:
        """How many keys [start, end) holds now."""
        count = self.base.count(start, end)
        for key, kv in self._overlay(start, end):
            count += (kv is not None) - (self._keep_tombstones and self.base.get(key) is not None)
        return count

    def _overlay(self, start: bytes, end: bytes) -> list[tuple[bytes, KeyValue | None]]:
        keys = self._recent_keys
        recent = self._recent
        return [(key, recent[key]) for key in keys[bisect_left(keys, start) : bisect_left(keys, end)]]

    def _merged(
        self, start: bytes, end: bytes, limit: int, overlay: list[tuple[bytes, KeyValue | None]]
    ) -> list[KeyValue]:
        result: list[KeyValue] = []
        position = 0
        while True:
            wanted = limit - len(result) if limit else 0
            below = self.base.scan(start, end, wanted)
            complete = not wanted or len(below) < wanted
            last = b"" if complete else below[-1].key
            upto = len(overlay) if complete else bisect_right(overlay, last, position, key=_first)
            if upto > position:
                found: dict[bytes, KeyValue | None] = {kv.key: kv for kv in below}
                found.update(overlay[position:upto])
                below = [kv for key in sorted(found) if (kv := found[key]) is not None]
            result += below
            if complete or len(result) >= limit:
                return result[:limit] if limit else result
            position = upto
            start = last + b"\0"

    def advance_to(self, revision: int) -> None:
        """Jump to a later revision without a change: history before it is compacted."""
        if revision <= self.revision:
            raise ValueError(f"revision {revision} is not after {self.revision}")
        self.revision = revision
        self.history.reset(revision)

    def replace(self, position: Position) -> None:
        """The base was replaced by a later state: all that is known here beside it is void."""
        self.index, self.term = position.index, position.term
        self.revision, self.digest = position.revision, position.digest
        self._recent.clear()
        self._recent_keys.clear()
        self._deleted.clear()
        self.history.reset(position.revision)

    # -- moving the overlay into the base

    def settle(self, written: Iterable[bytes], revision: int) -> None:
        """The base holds these keys as of `revision` now: drop from the overlay those that have not changed since."""
        recent, deleted = self._recent, self._deleted
        for key in written:
            if key not in recent:
                continue
            kv = recent[key]
            if (deleted[key] if kv is None else kv.mod_revision) <= revision:
                del recent[key]
                deleted.pop(key, None)
        self._recent_keys = sorted(recent)


def _first(item: tuple[bytes, KeyValue | None]) -> bytes:
    return item[0]


def _rolled(digest: bytes, revision: int, events: Sequence[Event]) -> bytes:
    rolling = blake2b(digest, digest_size=DIGEST_SIZE_BYTES)
    for event in events:
        value = None if event.kv is None else event.kv.value
        rolling.update(_pack_change(revision, len(event.key), -1 if value is None else len(value)))
        rolling.update(event.key)
        if value is not None:
            rolling.update(value)
    return rolling.digest()
