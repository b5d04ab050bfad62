"""What a simulated member has on its disk: a log whose unsynced end a crash may tear off, and a database behind it.

This is the disk of the core's simulation, by record: what a record-by-record log with checksums gives back after a
crash is a prefix of what was written. The log's own file format is put to the test where the whole store is simulated.
"""

import random
from collections.abc import Sequence
from typing import Final

import msgspec

from edgekube.raft.errors import SnapshotTemporarilyUnavailableError
from edgekube.raft.messages import ConfState, Entry, HardState, Snapshot
from edgekube.raft.storage import MemoryStorage
from edgekube.store.api import KeyValue
from edgekube.store.state import Position, StateMachine

FIRST_INDEX: Final = 1
"""Where the initial members' logs begin: behind a snapshot of the empty store that carries the first membership."""


class Database(msgspec.Struct, frozen=True):
    """The applied state that is on disk, one atomic commit: `state.Base` over a dict."""

    position: Position
    conf_state: ConfState
    keys: dict[bytes, KeyValue]

    def get(self, key: bytes) -> KeyValue | None:
        """See `Base.get`."""
        return self.keys.get(key)

    def scan(self, start: bytes, end: bytes, limit: int) -> list[KeyValue]:
        """See `Base.scan`."""
        found = [self.keys[key] for key in sorted(self.keys) if start <= key < end]
        return found[:limit] if limit else found

    def count(self, start: bytes, end: bytes) -> int:
        """See `Base.count`."""
        return sum(start <= key < end for key in self.keys)


class Batch(msgspec.Struct, frozen=True):
    """Records to write together, in this order."""

    entries: Sequence[Entry]
    hard_state: HardState | None
    snapshot: Snapshot | None

    @property
    def count(self) -> int:
        """How many records these are."""
        return len(self.entries) + (self.hard_state is not None) + (self.snapshot is not None)


class Records(MemoryStorage):
    """A log in memory that can be copied and take a part of a batch."""

    def copy(self) -> "Records":
        """The same log once more."""
        twin = Records()
        twin._hard_state, twin._snapshot = self._hard_state, self._snapshot
        twin._entries, twin._offset, twin._offset_term = [*self._entries], self._offset, self._offset_term
        return twin

    def take(self, batch: Batch, count: int) -> None:
        """Write the first `count` records of a batch."""
        if batch.snapshot is not None:
            if not count:
                return
            if batch.snapshot.index > self._snapshot.index:
                self.apply_snapshot(batch.snapshot)
            count -= 1
        self.append(batch.entries[:count])
        if batch.hard_state is not None and count > len(batch.entries):
            self.set_hard_state(batch.hard_state)

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is here, or a snapshot that covers it."""
        if index <= self._offset:
            return True
        return index <= self.last_index() and self.term(index) == term


def database_of(machine: StateMachine, conf_state: ConfState) -> Database:
    """The machine's present state as a database."""
    keys = {kv.key: kv for kv in machine.range(b"\x01", b"\xff")}
    return Database(machine.position, conf_state, keys)


_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(tuple[Position, list[KeyValue]])


class SimStorage(Records):
    """What the core reads; `durable` is what would be there after a crash."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = random.Random(seed)
        self.durable = Records()
        self.database = Database(Position(), ConfState(), {})
        self.machine: StateMachine | None = None  # of the running member
        self.conf_state = ConfState()  # as of the last applied entry
        self.rotten = False

    def begin(self, conf_state: ConfState) -> None:
        """The disk of a member of the first membership."""
        start = Snapshot(FIRST_INDEX, 1, conf_state)
        self.apply_snapshot(start)
        self.durable.apply_snapshot(start)
        self.database = Database(Position(index=FIRST_INDEX, term=1), conf_state, {})

    # -- what the core reads besides the log

    def initial_state(self) -> tuple[HardState, ConfState]:
        """See `Storage.initial_state`."""
        return super().initial_state()[0], self.database.conf_state

    def snapshot(self) -> Snapshot:
        """A snapshot of the state as it is applied; now and then it takes a while."""
        if self.machine is None or self._rng.random() < 0.2:
            raise SnapshotTemporarilyUnavailableError
        machine = self.machine
        data = _encode((machine.position, machine.range(b"\x01", b"\xff")))
        return Snapshot(machine.index, machine.term, self.conf_state, data)

    # -- what the driver does

    def complete(self, batch: Batch) -> None:
        """A batch is on disk. A snapshot's state becomes the database in the same instant."""
        self.durable.take(batch, batch.count)
        if batch.snapshot is not None:
            self.install(batch.snapshot)

    def install(self, snapshot: Snapshot) -> None:
        """Make a snapshot the database."""
        position, found = _decoder.decode(snapshot.data)
        self.database = Database(position, snapshot.conf_state, {kv.key: kv for kv in found})

    def cut(self, index: int) -> None:
        """Drop the entries up to `index`."""
        for log in (self, self.durable):
            if log.first_index() <= index <= log.last_index():
                log.compact(index)

    def crash(self, torn: Sequence[Batch]) -> None:
        """Forget what was not synced; of the batches being written any number of records may have arrived."""
        records = sum(batch.count for batch in torn)
        arrived = self._rng.randint(0, records) if records else 0
        for batch in torn:
            count = min(arrived, batch.count)
            if count:
                self.durable.take(batch, count)
                if batch.snapshot is not None:
                    self.install(batch.snapshot)
            arrived -= count
        fresh = self.durable.copy()
        self._hard_state, self._snapshot = fresh._hard_state, fresh._snapshot
        self._entries, self._offset, self._offset_term = fresh._entries, fresh._offset, fresh._offset_term
        self.machine = None
