"""A store of any number of members, of which one leads: the Raft driver below, the state machine above.

A transaction of the leader's goes into its log; one of another member is forwarded to the leader (`writes` tells how
each comes into effect exactly once). Either way it is answered where it was made, after it was applied there. Read
barriers ask a quorum whether the leader still leads, many of them at a time. A member alone needs neither and does the
same with itself.

Members compare the rolling hashes of their states now and then; one that finds it has diverged from its leader raises
an alarm.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from random import Random
from struct import Struct
from typing import Final

import msgspec
import outcome
import trio

from edgekube.raft.application import Proposal, Settings
from edgekube.raft.confchange import ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.raft.errors import (
    ConfChangeError,
    ProposalDroppedError,
    RaftError,
    RaftProtocolError,
    SnapshotTemporarilyUnavailableError,
    StorageError,
)
from edgekube.raft.messages import ConfState, Entry, HardState, Snapshot
from edgekube.raft.node import RaftNode
from edgekube.raft.transport import NoTransport, PeerUnavailable, Transport
from edgekube.raft.wal import LogCorrupt, LogFailed, LogFull, Wal
from edgekube.store import command as commands
from edgekube.store import requests
from edgekube.store.api import (
    KEY_SIZE_BYTES_MAX,
    Compacted,
    Fenced,
    Guard,
    NotLeader,
    Op,
    Put,
    ReadOnly,
    StoreError,
    TxnResult,
)
from edgekube.store.backup import finish_restore
from edgekube.store.disk import Disk, IncomingState, Meta, StateDisk, StoreCorrupt, StoreFailed
from edgekube.store.history import Applied
from edgekube.store.kept import KeptLog, KeptState
from edgekube.store.limits import Limits, StoreStatistics
from edgekube.store.membership import Members, planned
from edgekube.store.requests import Answer, Verdict
from edgekube.store.state import Position
from edgekube.store.transfer import PAGE_COUNT, ChunkReader, ChunkWriter, SnapshotHead, decode_head, encode_head, split
from edgekube.store.writes import (
    WAITING_COUNT_MAX,
    WAITING_SIZE_BYTES_MAX,
    InFlight,
    OutcomeUnknown,
    Session,
    Taken,
    Write,
)

LEADER_WAIT_S: Final = 5.0  # so long a write or a barrier waits for somebody to lead
BARRIER_RETRY_S: Final = 0.5
FORWARD_RETRY_S: Final = 0.1
COMPARE_AFTER_S: Final = 30.0
PROMOTE_CHECK_S: Final = 1.0
FORWARD_COUNT_MAX: Final = 256
FORWARD_SIZE_BYTES_MAX: Final = 1024 * 1024
SNAPSHOT_HOLD_S: Final = 60.0  # a snapshot that was announced and not begun keeps history so long

_LAST_KEY: Final = b"\xff" * (KEY_SIZE_BYTES_MAX + 1)
_context: Final = Struct("<QQ")


class _Barrier:
    """Somebody who waits for a read barrier."""

    __slots__ = ("since", "task")

    def __init__(self, since: float) -> None:
        self.since = since
        self.task: trio.lowlevel.Task | None = None

    async def wait(self) -> int:
        self.task = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        index: int = await trio.lowlevel.wait_task_rescheduled(abort)
        return index

    def reply(self, index: int | StoreError) -> None:
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(
                task, outcome.Error(index) if isinstance(index, StoreError) else outcome.Value(index)
            )


@asynccontextmanager
async def open_replicated(
    data_dir: Path,
    run_dir: Path,
    *,
    member: int,
    transport: Transport | None = None,
    voters: Sequence[int] = (),
    addresses: Mapping[int, bytes] | None = None,
    join: bool = False,
    cluster_id: str = "",
    limits: Limits | None = None,
    settings: Settings | None = None,
    random: Random | None = None,
    promote: bool = True,
    alone: bool = False,
    note: Callable[[str], None] | None = None,
) -> AsyncIterator["ReplicatedStore"]:
    """Open (or create) a member's store in `data_dir/store`; `run_dir/store` takes what need not survive a reboot.

    Where nothing is stored yet, the group begins with `voters` (this member alone by default), who must all be told the
    same and the same `cluster_id`; or, with `join`, this member waits to be added by the leader of another one.
    `promote` lets the leader make voters of learners by itself (`membership.planned`); `alone` refuses a store that
    belongs to several members.

    Raises StoreError (StoreCorrupt, ReadOnly) with what to do. When the disk fails while the store is open, the body is
    cancelled and StoreFailed comes out: end the process.
    """
    limits = limits or Limits()
    random = random or Random()
    finish_restore(data_dir)
    conf_state = ConfState() if join else ConfState(voters=tuple(voters) or (member,))
    disk = Disk(
        data_dir / "store",
        run_dir,
        size_bytes_max=limits.database_size_max,
        first=first_meta(
            conf_state, addresses or {}, "" if join else cluster_id or f"{random.getrandbits(128):032x}", random
        ),
    )
    try:
        log = Wal(
            data_dir / "store" / "log",
            identity=disk.meta.identity,
            attested=disk.meta.log_position,
            segment_size=limits.segment_size,
        )
    except BaseException as error:
        disk.close()
        if isinstance(error, LogCorrupt):
            raise StoreCorrupt(str(error)) from error
        if isinstance(error, LogFull):
            raise ReadOnly(str(error)) from error
        raise
    others = {*disk.meta.conf_state.voters, *log.initial_state()[1].voters} - {member}
    if alone and others:
        log.close()
        disk.close()
        raise StoreCorrupt(f"this store belongs to a cluster with members {sorted(others)}, not to {member} alone")
    async with run_replicated(
        disk,
        log,
        member=member,
        transport=transport,
        limits=limits,
        settings=settings,
        random=random,
        promote=promote,
        note=note,
    ) as store:
        yield store


def first_meta(conf_state: ConfState, addresses: Mapping[int, bytes], cluster_id: str, random: Random) -> Meta:
    """What a database begins with: nothing and no entry, or, with a membership, the empty state after entry 1.

    (The first membership stands in no entry, so it counts as a snapshot; who joins later is sent one.)
    """
    mark = (1, 1) if conf_state.voters else (0, 0)
    return Meta(
        Position(*mark),
        cluster_id,
        random.randbytes(16),
        conf_state=conf_state,
        addresses=dict(addresses),
        installed=mark,
    )


@asynccontextmanager
async def open_store(
    data_dir: Path, run_dir: Path, *, member: int = 1, limits: Limits | None = None
) -> AsyncIterator["ReplicatedStore"]:
    """Open (or create) the store of a member that is alone, as `open_replicated` does; it leads from the start.

    Raises StoreCorrupt also for a store that belongs to several members.
    """
    async with open_replicated(data_dir, run_dir, member=member, limits=limits, alone=True) as store:
        yield store


@asynccontextmanager
async def run_replicated(
    disk: StateDisk,
    log: KeptLog,
    *,
    member: int,
    transport: Transport | None = None,
    limits: Limits | None = None,
    settings: Settings | None = None,
    random: Random | None = None,
    promote: bool = True,
    note: Callable[[str], None] | None = None,
) -> AsyncIterator["ReplicatedStore"]:
    """A store on an open database and log, which it closes at the end. See `open_replicated`."""
    try:
        await _finish_install(disk, log)
        store = ReplicatedStore(
            disk,
            log,
            member=member,
            transport=transport or NoTransport(),
            limits=limits or Limits(),
            settings=settings,
            random=random or Random(),
            promote=promote,
            note=note,
        )
    except BaseException:
        log.close()
        disk.close()
        raise
    try:
        try:
            async with trio.open_nursery() as nursery:
                await store.start(nursery)
                yield store
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the body's own exception, or the failure of one task
                raise group.exceptions[0] from group.exceptions[0].__cause__
            raise
    finally:
        store.close()


async def _finish_install(disk: StateDisk, log: KeptLog) -> None:
    """Where a crash came between installing a state and restoring the log behind it, restore the log."""
    meta = disk.meta
    index, term = meta.installed
    if log.first_index() - 1 >= index:
        return
    if meta.position.index != index:
        raise StoreCorrupt(
            f"the database is at entry {meta.position.index}, the log begins at {log.first_index()} and should begin "
            f"behind {index}: they do not belong together; restore the node from a backup"
        )
    hard_state, _ = log.initial_state()
    try:
        await log.reserve(1024)
        ticket = log.restore(index, term, meta.conf_state, HardState(hard_state.term, hard_state.vote, index))
        await log.sync(ticket)
    except LogFull as error:
        raise ReadOnly(str(error)) from error
    except LogFailed as error:
        raise StoreFailed(str(error)) from error


class ReplicatedStore(KeptState):
    """Implements `api.Store` and `raft.application.Application`; made by `open_replicated`."""

    def __init__(
        self,
        disk: StateDisk,
        log: KeptLog,
        *,
        member: int,
        transport: Transport,
        limits: Limits,
        settings: Settings | None,
        random: Random,
        promote: bool,
        note: Callable[[str], None] | None,
    ) -> None:
        """Raises StoreCorrupt when database and log do not belong together."""
        super().__init__(disk, log, limits)
        self._member = member
        self._transport = transport
        self._promote = promote
        self._note = note
        self._lacks_membership = disk.meta.conf_state == ConfState()
        if self._lacks_membership:
            self._membership_applied(0, log.initial_state()[1], {})
        self._check_files()
        self._queue: deque[Write] = deque()  # to be forwarded; surely in no log
        self._resend: list[Write] = []  # forwarded, and no answer came
        self._in_flight = InFlight(random.getrandbits(62) + 1)
        self._waiting_count = self._waiting_size = 0
        self._waiting_lot = trio.lowlevel.ParkingLot()  # callers held back
        self._forward_lot = trio.lowlevel.ParkingLot()  # the forwarder
        self._forward_scope = trio.CancelScope()
        self._sessions: dict[tuple[int, int], Session] = {}
        self._sessions_term = 0
        self._barriers: list[_Barrier] = []
        self._barrier_lot = trio.lowlevel.ParkingLot()
        self._barrier_number = 0
        self._barrier_index = -1
        self._applied_lot = trio.lowlevel.ParkingLot()
        self._compare_lot = trio.lowlevel.ParkingLot()
        self._compared_revision = self.revision
        self._promote_lot = trio.lowlevel.ParkingLot()
        self._incoming: tuple[Snapshot, IncomingState] | None = None
        self._receiving = False
        self._offers: dict[int, tuple[int, float]] = {}  # snapshots announced or being sent: revision, held until
        self._forwarded = self._compared = 0
        self._diverged = ""
        try:
            self._node = RaftNode(
                member,
                log,
                self,
                transport,
                conf_state=self.conf_state,
                random=random,
                settings=settings,
                note=note,
            )
        except (RaftError, StorageError) as error:
            raise StoreCorrupt(f"{error}; restore the node from a backup") from error

    # -- life

    def _check_files(self) -> None:
        log, state = self._log, self._state
        if not log.first_index() - 1 <= state.index <= log.last_index():
            raise StoreCorrupt(
                f"the database is at entry {state.index}, the log has {log.first_index()} to {log.last_index()}: "
                "they do not belong together; restore the node from a backup"
            )
        if log.term(state.index) != state.term:
            raise StoreCorrupt(f"database and log disagree about entry {state.index}; restore the node from a backup")
        if state.index == 0 and log.last_index():
            state.skip(1, log.term(1))  # what founded a group of an earlier version: an empty entry

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the tasks. A lone member has then applied all it has and leads, or its disk is full."""
        node = self._node
        if self._lacks_membership and self.conf_state.voters:
            try:
                await self.note_membership()
            except ReadOnly as error:
                self._read_only = str(error)
        self._transport.set_peers(self.addresses)
        nursery.start_soon(self._guarded, node.run)
        nursery.start_soon(self._guarded, self.run_keeper)
        nursery.start_soon(self._run_forwarder)
        nursery.start_soon(self._run_barriers)
        nursery.start_soon(self._run_comparer)
        if self._promote:
            nursery.start_soon(self._run_promoter)
        node.wake()
        while self._state.index < node.commit:
            await self._applied_lot.park()
        self._compared_revision = self.revision
        if self.conf_state.voters == (self._member,) and not self.conf_state.voters_outgoing:
            node.campaign()
            while not self.term and not self._read_only:
                await self._hub.wait_advanced()
        await trio.lowlevel.checkpoint()

    async def _guarded(self, task: Callable[[], object]) -> None:
        """Run a task whose disk may fail, and see to it that then nobody goes on as if it were well."""
        try:
            await task()  # type: ignore[misc]
        except (StorageError, StoreError) as error:
            raise self._failed(error) from error
        except BaseExceptionGroup as group:
            failures, rest = group.split((StorageError, StoreError))
            if failures is None or (rest is not None and rest.split(trio.Cancelled)[1] is not None):
                raise
            failure = _leaf(failures)
            raise self._failed(failure) from failure

    def _failed(self, error: Exception) -> StoreFailed:
        failure = StoreFailed(str(error))
        self._stop(failure)
        return failure

    def close(self) -> None:
        """Release the files. What was acknowledged is in the log; nothing is written here."""
        self._stop(StoreError("the store is closed"))
        if self._incoming is not None:
            self._incoming[1].discard()
        self._close_files()

    def _stop(self, error: StoreError) -> None:
        self._hub.fail(error)
        for write in (*self._in_flight.drain(), *self._queue, *self._node.withdraw()):
            if isinstance(write, Write):
                write.reply(type(error)(str(error)))
        self._queue.clear()
        self._resend.clear()
        self._waiting_lot.unpark_all()
        self._applied_lot.unpark_all()
        for barrier in self._barriers:
            barrier.reply(type(error)(str(error)))

    # -- leadership

    @property
    def term(self) -> int:
        """The term while this member leads and has applied all of earlier terms, else 0."""
        node = self._node
        return node.term if node.leads and self._state.term == node.term and not self._hub.failed else 0

    @property
    def lead(self) -> int:
        """The member that leads as far as this one knows; 0: nobody."""
        return self._node.lead

    @property
    def member(self) -> int:
        """Who this is."""
        return self._member

    async def wait_leader(self) -> int:
        """See `Store.wait_leader`."""
        await trio.lowlevel.checkpoint()
        self._hub.check()
        while not (term := self.term):
            await self._hub.wait_advanced()
        return term

    async def wait_not_leader(self, term: int) -> None:
        """See `Store.wait_not_leader`."""
        await trio.lowlevel.checkpoint()
        while self.term == term:
            try:
                await self._hub.wait_advanced()
            except StoreError:
                return

    def role_changed(self, lead: int, leads: bool, term: int) -> None:
        """See `Application.role_changed`."""
        self._hub.wake()
        self._forward_scope.cancel()
        self._forward_lot.unpark_all()
        self._barrier_lot.unpark_all()
        self._promote_lot.unpark_all()

    # -- writing

    async def txn(self, guards: Sequence[Guard], ops: Sequence[Op], *, term: int = 0) -> TxnResult:
        """See `Store.txn`. Over the database limit, transactions that only delete are still taken.

        Without a leader it waits a few seconds for one before it raises NotLeader. May also raise `OutcomeUnknown`.
        """
        command, data = commands.encode(guards, ops, term)
        self._admit(ops, term)
        if not ops:
            await self.read_barrier()
            return self._state.check(guards)
        while self._waiting_count >= WAITING_COUNT_MAX or self._waiting_size >= WAITING_SIZE_BYTES_MAX:
            await self._waiting_lot.park()
            self._admit(ops, term)
        size = len(data)
        write = Write(command, data)
        self._waiting_count += 1
        self._waiting_size += size
        self._submit(write)
        try:
            return await write.wait()
        finally:
            self._waiting_count -= 1
            self._waiting_size -= size
            if self._waiting_lot:
                self._waiting_lot.unpark()

    def _admit(self, ops: Sequence[Op], term: int) -> None:
        self._hub.check()
        if ops and (self._read_only or (self.read_only and any(isinstance(op, Put) for op in ops))):
            raise ReadOnly(self.read_only)
        if term and term != self.term:
            raise _fenced(term, self._node.term)

    def _submit(self, write: Write) -> None:
        """Send a transaction on its way, for the first time or again."""
        if self._node.leads:
            self._node.propose(write)
        elif write.required_term:
            write.reply(_fenced(write.required_term, self._node.term))
        else:
            self._enqueue(write)
            self._forward_lot.unpark()

    def _enqueue(self, write: Write) -> None:
        write.since = trio.current_time()
        self._queue.append(write)

    def proposed(self, batch: Sequence[Proposal]) -> None:
        """See `Application.proposed`."""
        for proposal in batch:
            if isinstance(proposal, Write):
                self._in_flight.add_own(proposal)
            elif isinstance(proposal, Taken):
                proposal.session.settle(proposal.sequence, accepted=True)

    def refused(self, batch: Sequence[Proposal], error: Exception) -> None:
        """See `Application.refused`."""
        for proposal in batch:
            if isinstance(proposal, Taken):
                proposal.session.settle(proposal.sequence, accepted=False)
            elif isinstance(proposal, Write):
                if isinstance(error, LogFull):
                    proposal.reply(ReadOnly(str(error)))
                elif proposal.required_term and (proposal.required_term != self._node.term or not self._node.leads):
                    proposal.reply(_fenced(proposal.required_term, self._node.term))
                else:
                    self._enqueue(proposal)
        if self._queue:
            self._forward_lot.unpark()

    def writing_stopped(self, reason: str) -> None:
        """See `Application.writing_stopped`."""
        self._read_only = reason
        self._hub.wake()

    # -- forwarding

    async def _run_forwarder(self) -> None:
        """Task: bring to the leader what this member may not propose itself."""
        queue, node = self._queue, self._node
        while True:
            while not queue and not self._resend:
                await self._forward_lot.park()
            if node.leads:
                self._resend.clear()  # the first entry of this term tells
                # Refused by itself a moment ago, for being too far ahead of the others or about to hand over.
                await trio.sleep(FORWARD_RETRY_S)
                for _ in range(len(queue)):
                    self._submit(queue.popleft())
            elif node.lead:
                await self._forward()
            else:
                self._give_up_waiting()
                with trio.move_on_after(FORWARD_RETRY_S):
                    await self._forward_lot.park()

    def _give_up_waiting(self) -> None:
        """Tell those who have waited long for a leader that there is none, if their write surely did not happen."""
        kept = []
        deadline = trio.current_time() - LEADER_WAIT_S
        for write in self._queue:
            if write.since > deadline:
                kept.append(write)
            else:
                self._in_flight.give_up(write)
                write.reply(NotLeader())
        self._queue.clear()
        self._queue.extend(kept)

    async def _forward(self) -> None:
        """Send one batch to the leader, and take its answer."""
        node, in_flight, queue = self._node, self._in_flight, self._queue
        lead, term = node.lead, node.term
        # What was sent in an earlier term is settled by the next entry that is applied.
        batch = [write for write in self._resend if in_flight.is_sent(write) and write.term == term]
        self._resend = batch[FORWARD_COUNT_MAX:]
        del batch[FORWARD_COUNT_MAX:]
        size = sum([len(write.data) for write in batch])
        while queue and len(batch) < FORWARD_COUNT_MAX and (not batch or size < FORWARD_SIZE_BYTES_MAX):
            write = queue.popleft()
            if write.task is None:
                in_flight.give_up(write)  # nobody waits any more
                continue
            if not write.sequence:
                in_flight.mark(write)
            in_flight.add_sent(write, term)
            size += len(write.data)
            batch.append(write)
        if not batch:
            return
        request = requests.Propose(
            term, in_flight.nonce, in_flight.floor, tuple([(write.sequence, write.data) for write in batch])
        )
        self._forwarded += len(batch)
        answer = Answer(Verdict.AGAIN)
        with trio.CancelScope() as self._forward_scope:  # cancelled when somebody else leads
            try:
                answer = requests.decode_answer(await self._transport.request(lead, requests.encode(request)))
            except (PeerUnavailable, RaftProtocolError):
                pass
        if answer.verdict == Verdict.ACCEPTED:
            return
        for write in batch:
            if not in_flight.is_sent(write) or write.term != term:
                continue
            if answer.verdict == Verdict.AGAIN or write.doubtful:
                write.doubtful = True
                self._resend.append(write)
            elif answer.verdict == Verdict.READ_ONLY:
                in_flight.give_up(write)
                write.reply(ReadOnly(answer.reason))
            else:
                in_flight.take_back(write)
                self._enqueue(write)
        if (lead, term) == (node.lead, node.term):
            with trio.move_on_after(FORWARD_RETRY_S):
                await self._forward_lot.park()

    async def answer(self, peer: int, request: bytes) -> bytes:
        """See `Application.answer`."""
        asked = requests.decode_request(request)
        if isinstance(asked, requests.Propose):
            return requests.encode(await self._take(peer, asked))
        return requests.encode(self._compare(asked))

    async def _take(self, peer: int, request: requests.Propose) -> Answer:
        """Propose what another member forwards."""
        node = self._node
        if not node.leads or node.term != request.term:
            return Answer(Verdict.NOT_LEADER)
        if self.read_only and (self._read_only or any(_puts(data) for _, data in request.commands)):
            return Answer(Verdict.READ_ONLY, self.read_only)
        if self._sessions_term != node.term:
            self._sessions, self._sessions_term = {}, node.term
        session = self._sessions.setdefault((peer, request.nonce), Session())
        data = dict(request.commands)
        fresh = session.admit(request.floor, list(data))
        for number in fresh:
            session.pending.add(number)
            node.propose(Taken(data[number], request.term, session, number))
        while session.pending:
            await session.lot.park()
        if all(number in session.accepted or number < session.floor for number in data):
            return Answer(Verdict.ACCEPTED)
        return Answer(Verdict.AGAIN)

    # -- applying

    @property
    def applied(self) -> int:
        """See `Application.applied`."""
        return self._state.index

    @property
    def may_apply(self) -> bool:
        """See `Application.may_apply`."""
        return not self._overloaded

    def apply(self, entries: Sequence[Entry]) -> None:
        """See `Application.apply`."""
        in_flight = self._in_flight
        now = trio.current_time()
        published: list[Applied] = []
        for entry in entries:
            if entry.term != self._state.term:
                self._apply_entry_of_new_term(entry, now, published)
                continue
            write = in_flight.own_at(entry.index, entry.term)
            self._apply_one(entry, write, now, published)
        self._applied_some(published)
        if self._applied_lot:
            self._applied_lot.unpark_all()
        if self._compare_lot and self._state.revision != self._compared_revision and not self._node.is_alone:
            self._compare_lot.unpark()

    def _apply_one(self, entry: Entry, write: Write | None, now: float, published: list[Applied]) -> None:
        if not entry.data:
            self._state.skip(entry.index, entry.term)
            return
        command = commands.decode(entry.data) if write is None else write.command
        done = self._apply_entry(entry, command, now)
        assert done is not None, f"entry {entry.index} is a transaction and was not applied as one"
        if done.applied is not None:
            published.append(done.applied)
        if write is None:
            write = self._in_flight.marked(command)
        elif write.sequence:
            self._in_flight.give_up(write)
        if write is not None:
            write.reply(_fenced(command.fence, entry.term) if done.fenced else done.result)

    def _apply_entry_of_new_term(self, entry: Entry, now: float, published: list[Applied]) -> None:
        self._apply_one(entry, self._in_flight.own_at(entry.index, entry.term), now, published)
        self._new_term_applied()

    def _new_term_applied(self) -> None:
        """An entry of a later term was applied: nothing of an earlier one will come any more."""
        for write in self._in_flight.lost(self._state.term):
            if write.required_term:
                write.reply(_fenced(write.required_term, self._state.term))
            else:
                self._submit(write)
        self._hub.wake()

    def apply_membership(self, entry: Entry, change: ConfChangeV2 | None, conf_state: ConfState) -> None:
        """See `Application.apply_membership`."""
        new_term = entry.term != self._state.term
        self._state.skip(entry.index, entry.term)
        addresses = dict(self.addresses)
        if change is not None and change.context:
            addresses.update(_decode_addresses(change.context))
        known = {*conf_state.voters, *conf_state.learners, *conf_state.voters_outgoing, *conf_state.learners_next}
        addresses = {member: address for member, address in addresses.items() if member in known}
        self._membership_applied(entry.index, conf_state, addresses)
        self._transport.set_peers(addresses)
        if new_term:
            self._new_term_applied()
        self._hub.wake()
        self._applied_lot.unpark_all()
        self._promote_lot.unpark_all()

    def _flushed(self) -> None:
        self._node.wake()

    # -- reading

    async def read_barrier(self) -> int:
        """See `Store.read_barrier`. Raises NotLeader when nobody has led for a few seconds."""
        await trio.lowlevel.checkpoint()
        self._hub.check()
        if self._node.is_alone and self.term:
            return self.revision  # nobody else acknowledges anything, and what it acknowledges it has applied
        barrier = _Barrier(trio.current_time())
        self._barriers.append(barrier)
        self._barrier_lot.unpark_all()
        await self.wait_index(await barrier.wait())
        return self.revision

    async def wait_index(self, index: int) -> None:
        """Wait until the entry at `index` is applied here."""
        while self._state.index < index:
            self._hub.check()
            await self._applied_lot.park()
        self._hub.check()

    def barrier_passed(self, index: int, context: bytes) -> None:
        """See `Application.barrier_passed`."""
        if context == _context.pack(self._in_flight.nonce, self._barrier_number):
            self._barrier_index = max(index, self._barrier_index)
            self._barrier_lot.unpark_all()

    async def _run_barriers(self) -> None:
        """Task: one barrier after the other, each for all who asked before it began."""
        while True:
            while not self._barriers:
                await self._barrier_lot.park()
            waiting, self._barriers = self._barriers, []
            try:
                index = await self._pass_barrier(waiting)
            except BaseException:
                self._barriers += waiting  # for `_stop` to answer
                raise
            for barrier in waiting:
                barrier.reply(index)

    async def _pass_barrier(self, waiting: Sequence[_Barrier]) -> int | StoreError:
        self._barrier_number += 1
        self._barrier_index = -1
        context = _context.pack(self._in_flight.nonce, self._barrier_number)
        while any(barrier.task is not None for barrier in waiting):
            lead, term = self._node.lead, self._node.term
            try:
                self._node.read_index(context)
            except ProposalDroppedError:
                pass  # too many are waiting at the leader: ask again
            with trio.move_on_after(BARRIER_RETRY_S):
                while self._barrier_index < 0 and (lead, term) == (self._node.lead, self._node.term):
                    await self._barrier_lot.park()
            if self._barrier_index >= 0:
                break
            if not self._node.lead and waiting[0].since + LEADER_WAIT_S < trio.current_time():
                return NotLeader()
        return self._barrier_index

    # -- snapshots

    def _log_wanted_from(self) -> int:
        return self._node.slowest_match()

    @property
    def _history_held(self) -> bool:
        now = trio.current_time()
        for key in [key for key, (_, until) in self._offers.items() if until < now]:
            del self._offers[key]
        return bool(self._offers)

    def snapshot(self, applied: int) -> Snapshot:
        """See `Application.snapshot`."""
        state = self._state
        if not self.conf_state.voters:
            raise SnapshotTemporarilyUnavailableError("this member has no state yet")
        head = SnapshotHead(self._cluster_id, state.revision, state.digest, dict(self.addresses))
        self._offers[state.index] = (state.revision, trio.current_time() + SNAPSHOT_HOLD_S)
        return Snapshot(state.index, state.term, self.conf_state, encode_head(head))

    async def snapshot_chunks(self, snapshot: Snapshot) -> AsyncGenerator[bytes, None]:
        """See `Application.snapshot_chunks`. The pages are read at the snapshot's revision, while writes go on."""
        revision = decode_head(snapshot).revision
        self._offers[snapshot.index] = (revision, inf)
        writer = ChunkWriter(snapshot)
        try:
            start = b"\x01"
            while page := self.range(start, _LAST_KEY, limit=PAGE_COUNT, revision=revision):
                for part in split(page):
                    yield writer.chunk(part)
                start = page[-1].key + b"\0"
                await trio.lowlevel.checkpoint()
            yield writer.chunk(())
        except (Compacted, StoreError) as error:
            raise RaftError(f"the state at revision {revision} is gone: {error}") from error
        finally:
            self._offers.pop(snapshot.index, None)

    async def receive_snapshot(self, snapshot: Snapshot, chunks: AsyncIterator[bytes]) -> None:
        """See `Application.receive_snapshot`."""
        head = decode_head(snapshot)
        if self._state.index > 0 and head.cluster_id != self._cluster_id:
            raise RaftError(f"the snapshot is of cluster {head.cluster_id}, this member belongs to {self._cluster_id}")
        if self._receiving or self._node.installs_snapshot:
            raise RaftError("another snapshot is on its way in")
        if self._incoming is not None:
            self._incoming[1].discard()
            self._incoming = None
        reader, incoming = ChunkReader(snapshot), self._disk.receive()
        self._receiving = True
        try:
            async for chunk in chunks:
                rows = reader.rows(chunk)
                if rows:
                    await incoming.add(rows)
            if not reader.complete:
                raise RaftError("the snapshot broke off")
        except StoreError as error:
            incoming.discard()
            raise RaftError(str(error)) from error
        except BaseException:
            incoming.discard()
            raise
        finally:
            self._receiving = False
        self._incoming = (snapshot, incoming)

    async def install_snapshot(self, snapshot: Snapshot) -> None:
        """See `Application.install_snapshot`."""
        if self._incoming is None or self._incoming[0] != snapshot:
            raise StoreFailed(
                f"the snapshot at {snapshot.index} was replaced before it was installed: restart the node"
            )
        incoming, self._incoming = self._incoming[1], None
        head = decode_head(snapshot)
        meta = Meta(
            Position(snapshot.index, snapshot.term, head.revision, head.digest),
            head.cluster_id,
            self._disk.meta.identity,
            log_position=self._log.synced_position,
            conf_state=snapshot.conf_state,
            addresses=head.addresses,
            installed=(snapshot.index, snapshot.term),
        )
        await self._install_state(incoming, meta, self._snapshot_installed)

    def _snapshot_installed(self) -> None:
        for write in self._in_flight.drain():
            write.reply(
                OutcomeUnknown(
                    "this member was too far behind and took over a snapshot: read to see whether it happened"
                )
            )
        self._compared_revision = self.revision
        self._transport.set_peers(self.addresses)
        self._applied_lot.unpark_all()

    # -- membership

    @property
    def members(self) -> Members:
        """Who belongs to the group, as of the last applied entry."""
        conf = self.conf_state
        return Members(
            voters=tuple(sorted({*conf.voters, *conf.voters_outgoing})),
            learners=tuple(sorted({*conf.learners, *conf.learners_next})),
            changing=bool(conf.voters_outgoing),
            addresses=dict(self.addresses),
        )

    async def add_learner(self, member: int, address: bytes = b"") -> None:
        """As leader, let a member join that holds a copy and has no vote. Raises NotLeader, MembershipRefused."""
        await self._change(
            [(ConfChangeType.ADD_LEARNER_NODE, member)],
            lambda members: member in (*members.learners, *members.voters),
            {member: address},
        )

    async def promote(self, *members: int) -> None:
        """As leader, give learners a vote, several at once through a joint membership."""
        await self._change(
            [(ConfChangeType.ADD_NODE, member) for member in members],
            lambda now: set(members) <= set(now.voters) and not now.changing,
        )

    async def remove(self, member: int) -> None:
        """As leader, remove a member, which may be this one."""
        await self._change(
            [(ConfChangeType.REMOVE_NODE, member)],
            lambda members: member not in (*members.voters, *members.learners),
        )

    def transfer_leader(self, member: int) -> None:
        """As leader, hand over to another voter; `wait_not_leader` tells when that is done."""
        if not self._node.leads:
            raise NotLeader(self._node.lead)
        self._node.transfer_leader(member)

    async def wait_members(self, condition: Callable[[Members], bool]) -> Members:
        """Wait until the membership, as applied here, meets a condition."""
        self._hub.check()
        while not condition(self.members):
            await self._hub.wait_advanced()
        return self.members

    async def _change(
        self,
        changes: Sequence[tuple[ConfChangeType, int]],
        done: Callable[[Members], bool],
        addresses: Mapping[int, bytes] | None = None,
    ) -> None:
        await trio.lowlevel.checkpoint()
        self._hub.check()
        context = msgspec.msgpack.encode(addresses) if addresses else b""
        change = ConfChangeV2(
            ConfChangeTransition.AUTO,
            tuple([ConfChangeSingle(kind, member) for kind, member in changes]),
            context,
        )
        term = self._node.term
        try:
            index = self._node.propose_membership(change)
        except ProposalDroppedError as error:
            raise NotLeader(self._node.lead) from error
        except ConfChangeError as error:
            raise MembershipRefused(str(error)) from error
        await self.wait_index(index)
        await self.wait_members(lambda members: not members.changing or self._node.term != term)
        if not done(self.members):
            raise MembershipRefused("another change of the membership was under way, or leadership was lost: try again")

    async def _run_promoter(self) -> None:
        """Task: as leader, make voters of learners as `membership.planned` says."""
        while True:
            if not self.term or not self.conf_state.learners:
                await self._promote_lot.park()
                continue
            members = planned(self.conf_state, self._caught_up())
            if members:
                try:
                    await self.promote(*members)
                except (NotLeader, MembershipRefused):
                    pass  # looked at again below
            with trio.move_on_after(PROMOTE_CHECK_S):
                await self._promote_lot.park()

    def _caught_up(self) -> set[int]:
        status = self._node.status()
        return {
            member
            for member, progress in status.progress.items()
            if progress.recent_active and progress.match >= self._state.index - WAITING_COUNT_MAX and progress.match > 0
        }

    # -- comparing

    async def _run_comparer(self) -> None:
        """Task: a while after something has changed, ask the leader whether it has come to the same state."""
        while True:
            await self._compare_lot.park()
            await trio.sleep(COMPARE_AFTER_S)
            lead = self._node.lead
            if lead in (0, self._member):
                continue
            asked = requests.Compare(self._cluster_id, self.revision, self._state.digest)
            try:
                answer = requests.decode_answer(await self._transport.request(lead, requests.encode(asked)))
            except (PeerUnavailable, RaftProtocolError):
                continue
            self._compared_revision = asked.revision
            if answer.verdict in (Verdict.SAME, Verdict.DIFFERENT):
                self._compared += 1
            if answer.verdict == Verdict.DIFFERENT:
                self._diverged = f"revision {asked.revision}: {asked.digest.hex()} here, {answer.reason} at {lead}"
                if self._note is not None:
                    self._note(f"alarm=diverged member={self._member} {self._diverged}")

    def _compare(self, asked: requests.Compare) -> Answer:
        if asked.cluster_id != self._cluster_id:
            return Answer(Verdict.DIFFERENT, f"cluster {self._cluster_id}")
        digest = self.digest_at(asked.revision)
        if digest is None:
            return Answer(Verdict.UNKNOWN)
        return Answer(Verdict.SAME if digest == asked.digest else Verdict.DIFFERENT, digest.hex())

    def digest_at(self, revision: int) -> bytes | None:
        """The rolling hash of the state at a revision, if it is remembered."""
        if revision == self.revision:
            return self._state.digest
        for applied in self._state.history.since(revision - 1):
            if applied.revision == revision:
                return applied.digest
        return None

    @property
    def diverged(self) -> str:
        """What differed when this member's state was last found to contradict the leader's; empty: nothing did."""
        return self._diverged

    def statistics(self) -> StoreStatistics:
        """See `StoreStatistics`."""
        log, state = self._log.statistics(), self._state
        return StoreStatistics(
            revision=state.revision,
            compacted=state.history.compacted,
            applied_index=state.index,
            term=self.term,
            database_bytes=self._database_used,
            log_segments=log.segments,
            log_syncs=log.syncs,
            log_bytes_written=log.bytes_written,
            flushes=self._flushes,
            recent_keys=state.recent_count,
            unflushed_transactions=len(self._unflushed),
            unflushed_bytes=self._unflushed_size,
            history_transactions=len(state.history),
            history_bytes=state.history.size_bytes,
            watchers=self._hub.watcher_count,
            waiting=self._waiting_count,
            read_only=self.read_only,
            lead=self._node.lead,
            forwarded=self._forwarded,
            compared=self._compared,
            diverged=self._diverged,
        )

    @property
    def node(self) -> RaftNode:
        """The driver, for its statistics."""
        return self._node


class MembershipRefused(StoreError):
    """The membership cannot be changed so, or not now."""


def _fenced(term: int, current: int) -> Fenced:
    return Fenced(f"the write belongs to term {term}, and this is term {current}: its leadership has ended")


def _puts(data: bytes) -> bool:
    return any(isinstance(op, Put) for op in commands.decode(data).ops)


def _decode_addresses(context: bytes) -> dict[int, bytes]:
    try:
        return msgspec.msgpack.decode(context, type=dict[int, bytes])
    except msgspec.MsgspecError:
        return {}


def _leaf(group: BaseExceptionGroup[BaseException]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
