"""A store of one member: the replicated log and state machine, with itself as the only voter.

The files are those of a Raft member (terms, votes, membership), so a cluster grows out of it by handing the folder to
the Raft driver. At each start it elects itself: the term rises, and with it the fence against writes of before.

Two tasks own everything. The committer turns waiting transactions into log entries, one batch a sync, and applies them
in order. The keeper moves what is older than the history kept into the database, in one commit a minute of activity,
and lets go of log segments and history; it sleeps without a timer once all is written.

The database trails on purpose. A restart replays the log from where the database stands, and what it replays is again
the history that watches resume from: the keys before each change are only known while the database is older.
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Final

import msgspec
import outcome
import trio

from edgekube.raft.messages import ConfState, Entry, EntryType, HardState
from edgekube.raft.wal import LogCorrupt, LogFailed, LogFull, Wal
from edgekube.raft.walformat import SEGMENT_SIZE_BYTES
from edgekube.store import command as commands
from edgekube.store.api import Fenced, Guard, KeyValue, NotLeader, Op, Put, ReadOnly, StoreError, TxnResult
from edgekube.store.backup import finish_restore
from edgekube.store.disk import DATABASE_SIZE_BYTES_MAX, Disk, StoreCorrupt, StoreFailed
from edgekube.store.history import Applied
from edgekube.store.reads import LocalReads
from edgekube.store.state import Outcome, Position, StateMachine

BATCH_COUNT_MAX: Final = 256
BATCH_SIZE_BYTES_MAX: Final = 1024 * 1024
WAITING_COUNT_MAX: Final = 4096
WAITING_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024
_REPLAY_SLICE_BYTES: Final = 256 * 1024
_ENTRY_OVERHEAD_BYTES: Final = 64


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a store. Sizes in bytes, ages in seconds.

    `history_age_kept` is how far back watches can resume after a restart (the log carries it), `history_age_max` how
    long the running process remembers; whichever of size and count is reached first cuts both short. Up to
    `history_size_idle` is remembered however old.
    """

    database_size_max: int = DATABASE_SIZE_BYTES_MAX
    segment_size: int = SEGMENT_SIZE_BYTES
    segments_max: int = 8
    history_size_max: int = 8 * 1024 * 1024
    history_count_max: int = 10_000
    history_size_idle: int = 1024 * 1024
    history_age_kept: float = 60.0
    history_age_max: float = 300.0


class StoreStatistics(msgspec.Struct, frozen=True):
    """A moment's figures of a store. `unflushed_*` is what the log carries and the database does not have yet."""

    revision: int
    compacted: int
    applied_index: int
    term: int
    database_bytes: int
    log_segments: int
    log_syncs: int
    log_bytes_written: int
    flushes: int
    recent_keys: int
    unflushed_transactions: int
    unflushed_bytes: int
    history_transactions: int
    history_bytes: int
    watchers: int
    waiting: int
    read_only: str


class _Waiting:
    """A transaction on its way; `task` is None once its caller was cancelled."""

    __slots__ = ("command", "data", "task")

    def __init__(self, command: commands.Command, data: bytes) -> None:
        self.command = command
        self.data = data
        self.task: trio.lowlevel.Task | None = None

    async def wait(self) -> TxnResult:
        self.task = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        result: TxnResult = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def reply(self, result: "TxnResult | StoreError") -> None:
        task, self.task = self.task, None
        if task is not None:
            answer: outcome.Outcome[TxnResult] = (
                outcome.Error(result) if isinstance(result, StoreError) else outcome.Value(result)
            )
            trio.lowlevel.reschedule(task, answer)


@asynccontextmanager
async def open_store(
    data_dir: Path, run_dir: Path, *, member: int = 1, limits: Limits | None = None
) -> AsyncIterator["SingleStore"]:
    """Open (or create) the store in `data_dir/store`; `run_dir/store` takes what need not survive a reboot.

    Raises StoreError (StoreCorrupt, ReadOnly) with what to do. When the disk fails while the store is open, the body is
    cancelled and StoreFailed comes out: end the process.
    """
    finish_restore(data_dir)
    store = SingleStore(data_dir / "store", run_dir, member, limits or Limits())
    try:
        await store.start()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.run_committer)
                nursery.start_soon(store.run_keeper)
                yield store
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the body's own exception, or the failure of one task
                raise group.exceptions[0] from group.exceptions[0].__cause__
            raise
    finally:
        store.close()


class SingleStore(LocalReads):
    """Implements `api.Store`; made by `open_store`."""

    def __init__(self, store_dir: Path, run_dir: Path, member: int, limits: Limits) -> None:
        self._limits = limits
        self._member = member
        self._current_term = 0
        self._read_only = ""
        self._waiting: deque[_Waiting] = deque()
        self._waiting_size = 0
        self._waiting_lot = trio.lowlevel.ParkingLot()  # callers held back
        self._work_lot = trio.lowlevel.ParkingLot()  # the committer, idle
        self._keeper_lot = trio.lowlevel.ParkingLot()  # the keeper, idle
        self._flushed_lot = trio.lowlevel.ParkingLot()  # the committer, held back
        self._unflushed: deque[Applied] = deque()
        self._unflushed_size = 0
        self._flushes = 0
        self._disk = Disk(store_dir, run_dir, size_bytes_max=limits.database_size_max)
        try:
            meta = self._disk.meta
            self._wal = Wal(
                store_dir / "log",
                identity=meta.identity,
                attested=meta.log_position,
                segment_size=limits.segment_size,
            )
        except LogCorrupt as error:
            self._disk.close()
            raise StoreCorrupt(str(error)) from error
        except LogFull as error:
            self._disk.close()
            raise ReadOnly(str(error)) from error
        except BaseException:
            self._disk.close()
            raise
        self._database_used = self._disk.used_bytes
        super().__init__(StateMachine(self._disk, meta.position), meta.cluster_id)

    # -- life

    async def start(self) -> None:
        """Replay the log and become the leader of a new term."""
        wal, state = self._wal, self._state
        hard_state, conf_state = wal.initial_state()
        if conf_state not in (ConfState(), ConfState(voters=(self._member,))):
            raise StoreCorrupt(f"this store belongs to a cluster of members {conf_state.voters}, not to one alone")
        if not wal.first_index() - 1 <= state.index <= wal.last_index():
            raise StoreCorrupt(
                f"the database is at entry {state.index}, the log has {wal.first_index()} to {wal.last_index()}: "
                "they do not belong together; restore the node from a backup"
            )
        if wal.term(state.index) != state.term:
            raise StoreCorrupt(f"database and log disagree about entry {state.index}; restore the node from a backup")
        while state.index < wal.last_index():
            try:
                entries = wal.entries(state.index + 1, wal.last_index() + 1, _REPLAY_SLICE_BYTES)
            except LogCorrupt as error:
                raise StoreCorrupt(str(error)) from error
            now = trio.current_time()
            for entry in entries:
                self._apply(entry, None, now)
            self._trim_history()
            await trio.lowlevel.checkpoint()
        term = hard_state.term + 1
        entry = Entry(term, wal.last_index() + 1)
        try:
            await wal.reserve(_ENTRY_OVERHEAD_BYTES * 4)
            ticket = wal.append(
                (entry,), HardState(term, self._member, wal.last_index()), ConfState(voters=(self._member,))
            )
            await wal.sync(ticket)
        except LogFull as error:
            self._read_only = str(error)
            return
        except LogFailed as error:
            raise StoreFailed(str(error)) from error
        self._apply(entry, None, trio.current_time())
        self._current_term = term

    def close(self) -> None:
        """Release the files. What was acknowledged is in the log; nothing is written here."""
        self._current_term = 0
        self._stop(StoreError("the store is closed"))
        self._wal.close()
        self._disk.close()

    def _stop(self, error: StoreError) -> None:
        self._hub.fail(error)
        while self._waiting:
            self._waiting.popleft().reply(type(error)(str(error)))
        self._waiting_lot.unpark_all()

    # -- writing

    @property
    def term(self) -> int:
        """The term while this store leads, else 0."""
        return self._current_term

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

    async def txn(self, guards: Sequence[Guard], ops: Sequence[Op], *, term: int = 0) -> TxnResult:
        """See `Store.txn`. Over the database limit, transactions that only delete are still taken."""
        command, data = commands.encode(guards, ops, term)
        self._admit(ops, term)
        while len(self._waiting) >= WAITING_COUNT_MAX or self._waiting_size >= WAITING_SIZE_BYTES_MAX:
            await self._waiting_lot.park()
            self._admit(ops, term)
        if not ops:
            # All acknowledged writes are applied here, so the present state is the answer; it needs no log entry.
            await trio.lowlevel.checkpoint()
            return self._state.check(guards)
        waiting = _Waiting(command, data)
        self._waiting.append(waiting)
        self._waiting_size += len(data)
        self._work_lot.unpark()
        return await waiting.wait()

    def _admit(self, ops: Sequence[Op], term: int) -> None:
        self._hub.check()
        if ops and (self._read_only or (self.read_only and any(isinstance(op, Put) for op in ops))):
            raise ReadOnly(self.read_only)
        if not self._current_term:
            raise NotLeader
        if term and term != self._current_term:
            raise _fenced(term, self._current_term)

    async def run_committer(self) -> None:
        """Task: log, sync and apply what waits, batch by batch."""
        while True:
            while not self._waiting:
                await self._work_lot.park()
            while self._unflushed_size > 4 * self._limits.history_size_max:
                await self._flushed_lot.park()
            batch, size = self._take_batch()
            try:
                await self._commit(batch, size)
            except LogFull as error:
                for waiting in batch:
                    waiting.reply(ReadOnly(str(error)))
            except LogFailed as error:
                for waiting in batch:
                    waiting.reply(StoreFailed(str(error)))
                raise self._failed(error) from error

    def _take_batch(self) -> tuple[list[_Waiting], int]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH_COUNT_MAX:
            needed = len(self._waiting[0].data) + _ENTRY_OVERHEAD_BYTES
            if batch and size + needed > BATCH_SIZE_BYTES_MAX:
                break
            size += needed
            batch.append(self._waiting.popleft())
            self._waiting_size -= len(batch[-1].data)
        self._waiting_lot.unpark_all()
        return batch, size

    async def _commit(self, batch: Sequence[_Waiting], size: int) -> None:
        wal, term = self._wal, self._current_term
        await wal.reserve(size)
        index = wal.last_index()
        entries = [Entry(term, index + 1 + n, EntryType.NORMAL, waiting.data) for n, waiting in enumerate(batch)]
        with trio.CancelScope(shield=True):
            await wal.sync(wal.append(entries))
        now = trio.current_time()
        published: list[Applied] = []
        for entry, waiting in zip(entries, batch, strict=True):
            done = self._apply(entry, waiting.command, now)
            if done is None:
                raise RuntimeError(f"entry {entry.index} is a transaction and was not applied as one")
            if done.applied is not None:
                published.append(done.applied)
            waiting.reply(_fenced(waiting.command.fence, term) if done.fenced else done.result)
        self._hub.publish(published)
        self._trim_history()
        if self._pressed() or wal.wants_spare or (published and len(self._unflushed) == len(published)):
            self._keeper_lot.unpark()

    def _apply(self, entry: Entry, command: commands.Command | None, now: float) -> Outcome | None:
        if entry.type != EntryType.NORMAL or not entry.data:
            self._state.skip(entry.index, entry.term)
            return None
        done = self._state.apply(entry.index, entry.term, command or commands.decode(entry.data), now)
        if done.applied is not None:
            self._unflushed.append(done.applied)
            self._unflushed_size += done.applied.size
        return done

    # -- keeping

    def _trim_history(self) -> None:
        """Hold the history within its bounds; a good deal at once, because the watches' channels are walked, too."""
        limits, history = self._limits, self._state.history
        if history.size_bytes > limits.history_size_max or len(history) > limits.history_count_max:
            history.trim(size_bytes_max=limits.history_size_max * 7 // 8, count_max=limits.history_count_max * 7 // 8)
            self._hub.forget()

    async def run_keeper(self) -> None:
        """Task: write to the database what has come of age or is too much; forget old history."""
        while True:
            due = min(self._flush_due(), self._forget_due())
            if due > trio.current_time():
                with trio.move_on_at(due):
                    await self._keeper_lot.park()
            now = trio.current_time()
            try:
                if self._flush_due() <= now:
                    await self._flush(now)
                await self._wal.prepare()
            except ReadOnly as error:
                self._read_only = str(error)
            except LogFull:
                pass  # the writes that need the space will be told
            except (StoreFailed, LogFailed) as error:
                raise self._failed(error) from error
            if self._forget_due() <= now:
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

    def _pressed(self) -> bool:
        limits = self._limits
        return (
            self._unflushed_size > limits.history_size_max
            or len(self._unflushed) > limits.history_count_max
            or self._wal.segment_count > limits.segments_max
        )

    def _forget_due(self) -> float:
        """When the oldest history will be too old to keep."""
        history = self._state.history
        oldest = history.oldest()
        if oldest is None or history.size_bytes - oldest.size < self._limits.history_size_idle:
            return inf
        return oldest.time + self._limits.history_age_max

    async def _flush(self, now: float) -> None:
        """Commit the older part of what the log carries: all that is of age, or half of it when there is too much."""
        limits, unflushed = self._limits, self._unflushed
        if self._wal.segment_count > limits.segments_max:
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
        meta = msgspec.structs.replace(self._disk.meta, position=position, log_position=self._wal.synced_position)
        with trio.CancelScope(shield=True):
            await self._disk.commit(sorted(changes.items()), meta)
            self._state.settle(changes, position.revision)
            for _ in range(count):
                self._unflushed_size -= unflushed.popleft().size
            self._flushes += 1
            self._database_used = self._disk.used_bytes
            await self._wal.compact(position.index)
        self._flushed_lot.unpark_all()

    def _failed(self, error: Exception) -> StoreFailed:
        """Fail stop: nobody may go on as if the disk were well."""
        self._current_term = 0
        failure = StoreFailed(str(error))
        self._stop(failure)
        return failure

    # -- leadership: this member's own as long as the store is open

    async def read_barrier(self) -> int:
        """See `Store.read_barrier`; a write is acknowledged here only after it was applied here."""
        await trio.lowlevel.checkpoint()
        self._hub.check()
        if not self._current_term:
            raise NotLeader
        return self.revision

    async def wait_leader(self) -> int:
        """See `Store.wait_leader`."""
        await trio.lowlevel.checkpoint()
        self._hub.check()
        while not self._current_term:
            await self._hub.wait_advanced()
        return self._current_term

    async def wait_not_leader(self, term: int) -> None:
        """See `Store.wait_not_leader`."""
        await trio.lowlevel.checkpoint()
        while self._current_term == term:
            try:
                await self._hub.wait_advanced()
            except StoreError:
                return

    def statistics(self) -> StoreStatistics:
        """See `StoreStatistics`."""
        wal, state = self._wal.statistics(), self._state
        return StoreStatistics(
            revision=state.revision,
            compacted=state.history.compacted,
            applied_index=state.index,
            term=self._current_term,
            database_bytes=self._database_used,
            log_segments=wal.segments,
            log_syncs=wal.syncs,
            log_bytes_written=wal.bytes_written,
            flushes=self._flushes,
            recent_keys=state.recent_count,
            unflushed_transactions=len(self._unflushed),
            unflushed_bytes=self._unflushed_size,
            history_transactions=len(state.history),
            history_bytes=state.history.size_bytes,
            watchers=self._hub.watcher_count,
            waiting=len(self._waiting),
            read_only=self.read_only,
        )


def _fenced(term: int, current: int) -> Fenced:
    return Fenced(f"the write belongs to term {term}, and this is term {current}: its leadership has ended")
