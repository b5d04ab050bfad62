"""Applied state that is kept: entries go into the state machine, and from there, later, into the database.

The keeper moves what is older than the history kept into the database, in one commit a minute of activity, and lets go
of log segments and history; it sleeps without a timer once all is written.

The database trails on purpose. A restart replays the log from where the database stands, and what it replays is again
the history that watches resume from: the keys before each change are only known while the database is older.
"""

from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from typing import Final, Protocol

import msgspec
import trio

from edgekube.raft.application import Log
from edgekube.raft.messages import ConfState, Entry, EntryType
from edgekube.raft.wal import LogFailed, LogFull, WalStatistics
from edgekube.store import command as commands
from edgekube.store.api import KeyValue, ReadOnly
from edgekube.store.disk import IncomingState, Meta, StateDisk, StoreFailed
from edgekube.store.history import Applied
from edgekube.store.limits import Limits
from edgekube.store.reads import LocalReads
from edgekube.store.state import Outcome, Position, StateMachine

HELD_FACTOR: Final = 4  # history and unflushed state may grow to so many times their bound while they are held


class KeptLog(Log, Protocol):
    """The log as its keeper sees it: `wal.Wal`, or something in memory that behaves like it."""

    @property
    def synced_position(self) -> int:
        """See `Wal.synced_position`."""
        ...

    @property
    def segment_count(self) -> int:
        """See `Wal.segment_count`."""
        ...

    @property
    def wants_spare(self) -> bool:
        """See `Wal.wants_spare`."""
        ...

    async def prepare(self) -> None:
        """See `Wal.prepare`."""
        ...

    async def compact(self, index: int) -> None:
        """See `Wal.compact`."""
        ...

    def statistics(self) -> WalStatistics:
        """See `Wal.statistics`."""
        ...

    def close(self) -> None:
        """See `Wal.close`."""
        ...


class _Membership(msgspec.Struct, frozen=True, gc=False):
    """A membership, and the entry it came with."""

    index: int
    conf_state: ConfState
    addresses: Mapping[int, bytes]


class KeptState(LocalReads):
    """The state of one member, its database, and what lies between them."""

    def __init__(self, disk: StateDisk, log: KeptLog, limits: Limits) -> None:
        meta = disk.meta
        super().__init__(StateMachine(disk, meta.position), meta.cluster_id)
        self._disk = disk
        self._log = log
        self._limits = limits
        self._read_only = ""
        self._keeper_lot = trio.lowlevel.ParkingLot()  # the keeper, idle
        self._flushed_lot = trio.lowlevel.ParkingLot()  # whoever waits for the next flush
        self._disk_lock = trio.Lock()
        self._unflushed: deque[Applied] = deque()
        self._unflushed_size = 0
        self._flushes = 0
        self._database_used = disk.used_bytes
        self._segments_after_compaction = 0
        self._memberships: deque[_Membership] = deque([_Membership(0, meta.conf_state, meta.addresses)])

    @property
    def read_only(self) -> str:
        """Why writes are refused; empty when they are not."""
        if self._read_only:
            return self._read_only
        if self._database_used + self._unflushed_size > self._limits.database_size_max:
            return (
                f"the database has reached its limit of {self._limits.database_size_max} bytes: "
                "delete objects, or raise the limit"
            )
        return ""

    # -- what an engine says

    def _log_wanted_from(self) -> int:
        """The log up to this index is not needed by anybody else."""
        return self._state.index

    @property
    def _history_held(self) -> bool:
        """Whether somebody reads at an old revision, so that history must stay."""
        return False

    def _flushed(self) -> None:
        """A flush is done."""

    # -- applying

    def _apply_entry(self, entry: Entry, command: commands.Command | None, now: float) -> Outcome | None:
        """Apply one entry; None when it is no transaction. `command` saves decoding it."""
        if entry.type != EntryType.NORMAL or not entry.data:
            self._state.skip(entry.index, entry.term)
            return None
        done = self._state.apply(entry.index, entry.term, command or commands.decode(entry.data), now)
        if done.applied is not None:
            self._unflushed.append(done.applied)
            self._unflushed_size += done.applied.size
        return done

    def _membership_applied(self, index: int, conf_state: ConfState, addresses: Mapping[int, bytes]) -> None:
        self._memberships.append(_Membership(index, conf_state, addresses))

    @property
    def addresses(self) -> Mapping[int, bytes]:
        """Where the members are found, as of the last applied entry."""
        return self._memberships[-1].addresses

    @property
    def conf_state(self) -> ConfState:
        """The membership as of the last applied entry."""
        return self._memberships[-1].conf_state

    @property
    def _overloaded(self) -> bool:
        """Whether so much waits to be flushed that nothing more should be applied."""
        return self._unflushed_size > HELD_FACTOR * self._limits.history_size_max

    def _applied_some(self, published: list[Applied]) -> None:
        """Hand out what was applied, and see whether the keeper has to do something."""
        if published:
            self._hub.publish(published)
            self._trim_history()
        if self._pressed() or self._log.wants_spare or (published and len(self._unflushed) == len(published)):
            self._keeper_lot.unpark()

    def _trim_history(self) -> None:
        """Hold the history within its bounds; a good deal at once, because the watches' channels are walked, too."""
        limits, history = self._limits, self._state.history
        if history.size_bytes <= limits.history_size_max and len(history) <= limits.history_count_max:
            return
        factor = HELD_FACTOR if self._history_held else 1
        if history.size_bytes > factor * limits.history_size_max or len(history) > factor * limits.history_count_max:
            history.trim(
                size_bytes_max=factor * limits.history_size_max * 7 // 8,
                count_max=factor * limits.history_count_max * 7 // 8,
            )
            self._hub.forget()

    # -- keeping

    async def run_keeper(self) -> None:
        """Task: write to the database what has come of age or is too much; forget old history.

        Ends with StoreFailed or LogFailed when the disk fails.
        """
        while True:
            due = min(self._flush_due(), self._forget_due())
            if due > trio.current_time():
                with trio.move_on_at(due):
                    await self._keeper_lot.park()
            now = trio.current_time()
            try:
                if self._flush_due() <= now:
                    await self._flush(now)
                await self._log.prepare()
            except ReadOnly as error:
                self._read_only = str(error)
            except LogFull:
                pass  # the writes that need the space will be told
            if self._forget_due() <= now and not self._history_held:
                history = self._state.history
                history.trim(
                    size_bytes_max=self._limits.history_size_max,
                    count_max=self._limits.history_count_max,
                    before=now - self._limits.history_age_max + 1.0,
                    size_bytes_min=self._limits.history_size_idle,
                )
                self._hub.forget()

    def _flush_due(self) -> float:
        """When the next flush is due: now if the log carries too much, later if something will come of age."""
        if self._read_only:
            return inf
        if self._pressed():
            return -inf
        return self._unflushed[0].time + 2 * self._limits.history_age_kept if self._unflushed else inf

    @property
    def _segments_pressing(self) -> bool:
        """Whether a flush could let go of log segments, and should.

        What the last compaction left for slow followers does not count.
        """
        limit = max(self._limits.segments_max, self._segments_after_compaction + 1)
        return self._log.segment_count > limit and self._state.index > self._disk.meta.position.index

    def _pressed(self) -> bool:
        limits = self._limits
        return (
            self._unflushed_size > limits.history_size_max
            or len(self._unflushed) > limits.history_count_max
            or self._segments_pressing
        )

    def _forget_due(self) -> float:
        """When the oldest history will be too old to keep."""
        history = self._state.history
        oldest = history.oldest()
        if oldest is None or self._history_held or history.size_bytes - oldest.size < self._limits.history_size_idle:
            return inf
        return oldest.time + self._limits.history_age_max

    async def _flush(self, now: float) -> None:
        """Commit the older part of what the log carries: all that is of age, or half of it when there is too much."""
        async with self._disk_lock:
            limits, unflushed = self._limits, self._unflushed
            if self._segments_pressing:
                before, size_kept, count_kept = inf, 0, 0
            elif self._pressed():
                before, size_kept, count_kept = -inf, limits.history_size_max // 2, limits.history_count_max // 2
            else:
                before, size_kept, count_kept = now - limits.history_age_kept, limits.history_size_max, len(unflushed)
            size, count = self._unflushed_size, 0
            changes: dict[bytes, KeyValue | None] = {}
            last: Applied | None = None
            for applied in unflushed:
                if applied.time > before and size <= size_kept and len(unflushed) - count <= count_kept:
                    break
                last = applied
                count += 1
                size -= applied.size
                for event in applied.events:
                    changes[event.key] = event.kv
            if count == len(unflushed):
                position = self._state.position
            elif last is None:
                return
            else:
                position = Position(last.index, last.term, last.revision, last.digest)
            with trio.CancelScope(shield=True):
                await self._disk.commit(sorted(changes.items()), self._meta_at(position))
                self._state.settle(changes, position.revision)
                for _ in range(count):
                    self._unflushed_size -= unflushed.popleft().size
                self._flushes += 1
                self._database_used = self._disk.used_bytes
                await self._compact(position.index)
        self._flushed_lot.unpark_all()
        self._flushed()

    def _meta_at(self, position: Position) -> Meta:
        memberships = self._memberships
        while len(memberships) > 1 and memberships[1].index <= position.index:
            memberships.popleft()
        return msgspec.structs.replace(
            self._disk.meta,
            position=position,
            log_position=self._log.synced_position,
            conf_state=memberships[0].conf_state,
            addresses=dict(memberships[0].addresses),
        )

    async def _compact(self, index: int) -> None:
        """Let go of the log up to `index`, but for what followers still need, within the limit."""
        if self._log.segment_count <= self._limits.segments_kept_max:
            index = min(index, self._log_wanted_from())
        await self._log.compact(index)
        self._segments_after_compaction = self._log.segment_count

    async def note_membership(self) -> None:
        """Make the membership durable beside the position, where a database of an earlier version lacks it."""
        async with self._disk_lock:
            await self._disk.commit((), self._meta_at(self._disk.meta.position))

    async def sync_log(self) -> None:
        """Make durable what the log was told so far. Raises ReadOnly, StoreFailed."""
        try:
            await self._log.reserve(1024)
            await self._log.sync(self._log.append())
        except LogFull as error:
            raise ReadOnly(str(error)) from error
        except LogFailed as error:
            raise StoreFailed(str(error)) from error

    async def install_state(self, incoming: IncomingState, meta: Meta, switched: Callable[[], None]) -> None:
        """Replace the whole state. Watches are cut off with `Compacted`."""

        def switch() -> None:
            self._state.replace(meta.position)
            self._unflushed.clear()
            self._unflushed_size = 0
            self._memberships.clear()
            self._memberships.append(_Membership(meta.position.index, meta.conf_state, meta.addresses))
            self._cluster_id = meta.cluster_id
            self._database_used = self._disk.used_bytes
            switched()
            self._hub.reset()

        async with self._disk_lock:
            await self._disk.install(incoming, meta, switch)

    def _close_files(self) -> None:
        self._log.close()
        self._disk.close()
