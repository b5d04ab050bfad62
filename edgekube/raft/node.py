"""Driving one member: the core's wishes turned into log writes, messages and applied entries.

The core is only touched between two awaits, by three tasks: the *core* task takes in messages, the *ticker* tells it
of time, and the *writer* proposes what waits, writes the log and reports what is durable. Whatever the core wants in
return that needs no waiting is done at once (`_process`), so a proposal of a lone member costs one task switch and one
fdatasync, as if there were no consensus around it.

While the writer syncs, proposals and appends gather for its next round: that is the group commit. A leader's appends
leave when they are proposed, before its own sync; answers that promise something durable leave after it.

A round of the ticker that comes late counts as one tick: a member that was halted must not believe that the others were
silent meanwhile. A leader that answers barriers from its lease is told of the time it lost, though.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from random import Random
from typing import Final

import msgspec
import trio

from edgekube.raft import confchange
from edgekube.raft.application import Application, Log, Proposal, Settings
from edgekube.raft.confchange import ConfChangeV2
from edgekube.raft.config import Config, ReadOnlyOption
from edgekube.raft.errors import (
    ConfChangeError,
    ProposalDroppedError,
    RaftError,
    RaftProtocolError,
)
from edgekube.raft.messages import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_PROP,
    MSG_SNAP,
    MSG_TRANSFER_LEADER,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    Snapshot,
    decode_message,
    encode_message,
)
from edgekube.raft.rawnode import RawNode, Ready, SoftState, Statistics, Status
from edgekube.raft.readonly import ReadState
from edgekube.raft.roles import CANDIDATE, LEADER, PRE_CANDIDATE
from edgekube.raft.transport import Transport
from edgekube.raft.wal import LogFull

BATCH_COUNT_MAX: Final = 256
BATCH_SIZE_BYTES_MAX: Final = 1024 * 1024
INBOX_COUNT_MAX: Final = 4096
APPLY_COUNT_MAX: Final = 256  # entries applied before others get a turn
FULL_RETRY_S: Final = 2.0
_ENTRY_OVERHEAD_BYTES: Final = 64


class _CoreStorage:
    """What the core reads: the log, and snapshots of the application.

    The first entry counts as compacted always: the first membership stands in no entry, so a member that joins has to
    be sent a snapshot with it.
    """

    def __init__(self, log: Log, application: Application, conf_state: ConfState, commit: int) -> None:
        self._log = log
        self._application = application
        self._conf_state = conf_state
        self._commit = commit

    def initial_state(self) -> tuple[HardState, ConfState]:
        state, _ = self._log.initial_state()
        if self._commit > state.commit:
            state = HardState(state.term, state.vote, self._commit)
        return state, self._conf_state

    def entries(self, lo: int, hi: int, size_max: int) -> Sequence[Entry]:
        return self._log.entries(lo, hi, size_max)

    def term(self, index: int) -> int:
        return self._log.term(index)

    def last_index(self) -> int:
        return self._log.last_index()

    def first_index(self) -> int:
        first = self._log.first_index()
        return 2 if first == 1 and self._log.last_index() else first

    def snapshot(self) -> Snapshot:
        return self._application.snapshot(self._application.applied)


class NodeStatistics(msgspec.Struct, frozen=True):
    """Counters of a driver since it began."""

    core: Statistics
    lead: int
    messages_received: int
    messages_refused: int
    proposals: int
    batches: int
    ticks: int
    snapshots_sent: int
    snapshots_installed: int


class RaftNode:
    """One member of a group. `run` must be running; everything else is called from the same trio loop."""

    def __init__(
        self,
        member: int,
        log: Log,
        application: Application,
        transport: Transport,
        *,
        conf_state: ConfState,
        random: Random,
        settings: Settings | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        """`conf_state` is the membership as of `application.applied`; empty for a member that is to join.

        Raises `ConfigError`, `StorageError`.
        """
        self.id = member
        self._settings = settings = settings or Settings()
        self._log = log
        self._application = application
        self._transport = transport
        self._note = note
        commit = max(application.applied, _committed_alone(log, member))
        storage = _CoreStorage(log, application, conf_state, commit)
        self._raw = RawNode(
            Config(
                id=member,
                storage=storage,
                random=random,
                election_tick=settings.election_ticks,
                heartbeat_tick=settings.heartbeat_ticks,
                applied=application.applied,
                async_storage_writes=True,
                max_size_per_msg=settings.append_size_max,
                max_committed_size_per_ready=settings.apply_size_max,
                max_uncommitted_entries_size=settings.uncommitted_size_max,
                max_inflight_msgs=settings.inflight_max,
                max_inflight_bytes=settings.inflight_size_max,
                check_quorum=True,
                pre_vote=True,
                read_only=settings.read_only,
                disable_proposal_forwarding=True,
                step_down_on_removal=True,
                note=note,
            )
        )
        hard_state, _ = storage.initial_state()
        self._durable = (hard_state.term, hard_state.vote)
        self._commit = hard_state.commit  # what the log may say is committed
        self._conf_state = conf_state
        self._inbox: deque[Message] = deque()
        self._proposals: deque[Proposal] = deque()
        self._writes: deque[Message] = deque()
        self._applies: deque[Message] = deque()
        self._snapshots: deque[Message] = deque()
        self._writing = False
        self._unfinished = False
        self._core_lot = trio.lowlevel.ParkingLot()
        self._writer_lot = trio.lowlevel.ParkingLot()
        self._ticker_lot = trio.lowlevel.ParkingLot()
        self._sender_lot = trio.lowlevel.ParkingLot()
        self._last_tick = trio.current_time()
        self._random = random
        self._patience = 0  # ticks until a candidate tries again
        self._received = self._refused = self._proposed = self._batches = self._ticks = 0
        self._snapshots_sent = self._snapshots_installed = 0

    # -- what is known

    @property
    def term(self) -> int:
        """The present term."""
        return self._raw.raft.term

    @property
    def lead(self) -> int:
        """Who leads as far as this member knows; 0: nobody."""
        return self._raw.raft.lead

    @property
    def leads(self) -> bool:
        """Whether this member believes to lead."""
        return self._raw.raft.state is LEADER

    @property
    def is_alone(self) -> bool:
        """Whether this member leads a group of itself: nothing can happen but by its own doing."""
        return self._raw.raft.is_alone

    @property
    def conf_state(self) -> ConfState:
        """The membership as of the last applied entry."""
        return self._conf_state

    @property
    def commit(self) -> int:
        """Index of the last entry known to be committed."""
        return self._raw.raft.log.committed

    @property
    def last_index(self) -> int:
        """Index of the last entry of the log."""
        return self._raw.raft.log.last_index

    @property
    def installs_snapshot(self) -> bool:
        """Whether a snapshot was handed to the core and is not installed yet."""
        return self._raw.raft.log.has_snapshot or any(message.type == MSG_SNAP for message in self._inbox)

    def status(self) -> Status:
        """See `RawNode.status`."""
        return self._raw.status()

    def slowest_match(self) -> int:
        """As leader, the last index stored by the slowest member that was heard from lately; else the commit index."""
        raft = self._raw.raft
        if raft.state is not LEADER:
            return raft.log.committed
        matches = [
            progress.match for member, progress in raft.tracker.members if member != self.id and progress.recent_active
        ]
        return min([raft.log.committed, *matches])

    def statistics(self) -> NodeStatistics:
        """See `NodeStatistics`."""
        return NodeStatistics(
            self._raw.statistics(),
            self.lead,
            self._received,
            self._refused,
            self._proposed,
            self._batches,
            self._ticks,
            self._snapshots_sent,
            self._snapshots_installed,
        )

    # -- what goes in

    def propose(self, proposal: Proposal) -> None:
        """Append an entry as leader, together with what else waits; the application is told what became of it."""
        self._proposals.append(proposal)
        if self._writer_lot:
            self._writer_lot.unpark()

    def withdraw(self) -> list[Proposal]:
        """Take back what is not in the log yet, because the member ends."""
        withdrawn = list(self._proposals)
        self._proposals.clear()
        return withdrawn

    def campaign(self) -> None:
        """Stand for election now."""
        self._raw.campaign()
        self._process()

    def read_index(self, context: bytes) -> None:
        """Ask for a read barrier; answered by `Application.barrier_passed`, or never. Raises `ProposalDroppedError`."""
        if self._settings.read_only is ReadOnlyOption.LEASE_BASED:
            self._age_lease()
        self._raw.read_index(context)
        self._wake_core()

    def transfer_leader(self, member: int) -> None:
        """As leader, ask for `member` to lead; nothing happens when this member does not lead."""
        self._raw.transfer_leader(member)
        self._wake_core()

    def propose_membership(self, change: ConfChangeV2) -> int:
        """As leader, append a membership change; returns its index. Raises `ProposalDroppedError`, `ConfChangeError`.

        When the entry at that index turns out to be an ordinary one, the change was not possible then.
        """
        if not self.leads:
            raise ProposalDroppedError
        self._raw.propose_conf_change(change)
        index = self._raw.raft.log.last_index
        self._wake_core()
        return index

    def wake(self) -> None:
        """Something the node waits for may have changed: `Application.may_apply`."""
        self._wake_core()

    def receive(self, peer: int, message: Message) -> None:
        """See `Receiver.receive`. Drops messages beyond a bound: Raft repeats what matters."""
        if message.from_ != peer or message.to != self.id or message.type in (MSG_PROP, MSG_TRANSFER_LEADER):
            self._refuse(f"message type={message.type} peer={peer} claims from={message.from_} to={message.to}")
            return
        if message.type == MSG_SNAP and message.snapshot is not None:
            self._refuse(f"snapshot peer={peer} reason=it came without its content")
            return
        self._step_later(message)

    def _step_later(self, message: Message) -> None:
        if len(self._inbox) < INBOX_COUNT_MAX:
            self._inbox.append(message)
            self._wake_core()

    def _wake_core(self) -> None:
        self._unfinished = True
        self._core_lot.unpark()

    @property
    def cluster_id(self) -> str:
        """See `Receiver.cluster_id`."""
        return self._application.cluster_id

    def unreachable(self, peer: int) -> None:
        """See `Receiver.unreachable`."""
        self._raw.report_unreachable(peer)
        self._wake_core()

    async def answer(self, peer: int, request: bytes) -> bytes:
        """See `Receiver.answer`."""
        return await self._application.answer(peer, request)

    async def take_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        """See `Receiver.take_snapshot`."""
        message = decode_message(head)
        if message.from_ != peer or message.to != self.id or message.type != MSG_SNAP or message.snapshot is None:
            raise RaftProtocolError(f"member {peer} sent something else than a snapshot of its own")
        if message.term < self.term or message.snapshot.index <= self.commit:
            raise RaftProtocolError(f"the snapshot of member {peer} at {message.snapshot.index} brings nothing new")
        await self._application.receive_snapshot(message.snapshot, chunks)
        self._step_later(message)

    # -- tasks

    async def run(self) -> None:
        """Task: everything a member does. Ends with `LogFailed` or what else the storage raises."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._transport.run, self)
            nursery.start_soon(self._run_core)
            nursery.start_soon(self._run_writer)
            nursery.start_soon(self._run_ticker)
            nursery.start_soon(self._run_snapshots, nursery)

    async def _run_core(self) -> None:
        while True:
            while not self._inbox and not self._unfinished:
                await self._core_lot.park()
            self._unfinished = False
            raw, inbox = self._raw, self._inbox
            for _ in range(min(len(inbox), BATCH_COUNT_MAX)):
                message = inbox.popleft()
                self._received += 1
                try:
                    raw.step(message)
                except RaftProtocolError as error:
                    self._refuse(f"message type={message.type} peer={message.from_} reason={error}")
            self._process()
            await trio.lowlevel.checkpoint()

    async def _run_ticker(self) -> None:
        tick = self._settings.tick_s
        while True:
            if self.is_alone:
                await self._ticker_lot.park()
            self._last_tick = trio.current_time()
            await trio.sleep(tick)
            self._ticks += 1
            self._age_lease()
            self._raw.tick()
            self._campaign_again()
            self._process()

    def _campaign_again(self) -> None:
        """Stand again sooner than the core would by itself, at a random moment so that two do not keep colliding."""
        if self._raw.raft.state not in (PRE_CANDIDATE, CANDIDATE):
            self._patience = 0
            return
        if self._patience == 0:
            ticks = self._settings.campaign_ticks
            self._patience = 1 + ticks + self._random.randrange(ticks)
        self._patience -= 1
        if self._patience == 0:
            self._raw.campaign()

    def _age_lease(self) -> None:
        """Count the ticks that were missed against the lease, though not against anybody's silence."""
        missed = int((trio.current_time() - self._last_tick) / self._settings.tick_s) - 1
        if missed > 0 and self._settings.read_only is ReadOnlyOption.LEASE_BASED and self.leads:
            self._raw.raft.ticks += missed
            self._last_tick += missed * self._settings.tick_s

    async def _run_writer(self) -> None:
        while True:
            while not self._writes and not self._proposals:
                await self._writer_lot.park()
            if self._proposals:
                await self._take_in()
            if self._writes:
                self._writing = True
                try:
                    await self._write(self._take_writes())
                finally:
                    self._writing = False
                self._process()

    async def _run_snapshots(self, nursery: trio.Nursery) -> None:
        """Task: start the sending of each snapshot the core wants sent."""
        while True:
            while not self._snapshots:
                await self._sender_lot.park()
            nursery.start_soon(self._send_snapshot, self._snapshots.popleft())

    async def _send_snapshot(self, message: Message) -> None:
        assert message.snapshot is not None
        failed = True
        try:
            async with aclosing(self._application.snapshot_chunks(message.snapshot)) as chunks:
                await self._transport.send_snapshot(message.to, encode_message(message), chunks)
            failed = False
            self._snapshots_sent += 1
        except RaftError as error:
            self._tell(f"snapshot=failed to={message.to} index={message.snapshot.index} reason={error}")
        self._raw.report_snapshot(message.to, failed=failed)
        self._wake_core()

    # -- proposing

    async def _take_in(self) -> None:
        """Propose what waits, as much as fits one batch."""
        batch: list[Proposal] = []
        size = 0
        proposals, term = self._proposals, self.term
        stale: list[Proposal] = []
        while proposals and len(batch) < BATCH_COUNT_MAX:
            proposal = proposals[0]
            needed = len(proposal.data) + _ENTRY_OVERHEAD_BYTES
            if batch and size + needed > BATCH_SIZE_BYTES_MAX:
                break
            proposals.popleft()
            if proposal.required_term and proposal.required_term != term:
                stale.append(proposal)
                continue
            size += needed
            batch.append(proposal)
        if stale:
            self._application.refused(stale, ProposalDroppedError())
        if not batch:
            return
        if not self.leads:
            self._application.refused(batch, ProposalDroppedError())
            return
        data = [proposal.data for proposal in batch]
        try:
            await self._log.reserve(size)
            if self.term != term:
                raise ProposalDroppedError
            index = self.last_index
            alone = self._raw.propose_alone(data)
            if not alone:
                self._raw.propose_batch(data)
        except (ProposalDroppedError, LogFull) as error:
            self._application.refused(batch, error)
            return
        for proposal in batch:
            index += 1
            proposal.index = index
            proposal.term = term
        self._proposed += len(batch)
        self._batches += 1
        self._application.proposed(batch)
        if alone:
            await self._commit_alone(alone)
        self._process()

    async def _commit_alone(self, entries: Sequence[Entry]) -> None:
        """Store and apply what nobody else has a say in. There is space for it."""
        log = self._log
        self._writing = True
        try:
            await log.sync(log.append(entries))
        finally:
            self._writing = False
        if self._raw.stored_alone(entries):
            self._commit = entries[-1].index
            if self._application.may_apply:
                self._application.apply(entries)
                self._raw.applied_alone(entries)

    # -- writing

    def _take_writes(self) -> list[Message]:
        """What to make durable together: up to a snapshot, which goes alone, or to a bound on size."""
        writes = self._writes
        group = [writes.popleft()]
        if group[0].snapshot is not None:
            return group
        size = _size(group[0])
        while writes and writes[0].snapshot is None and (size := size + _size(writes[0])) <= BATCH_SIZE_BYTES_MAX:
            group.append(writes.popleft())
        return group

    async def _write(self, group: Sequence[Message]) -> None:
        """Make a group of MsgStorageAppend durable, then do what waits for it."""
        log = self._log
        ticket = 0
        for message in group:
            if message.snapshot is not None:
                ticket = await self._install(message)
            elif self._needs_write(message):
                ticket = await self._append(message)
            self._commit = max(self._commit, message.commit)
        if ticket:
            await log.sync(ticket)
        for message in group:
            self._respond(message)

    async def _append(self, message: Message) -> int:
        """Hand a message's entries and state to the log, whatever their size; only the last part is left unsynced."""
        log, entries = self._log, message.entries
        begin, size = 0, 0
        for position, entry in enumerate(entries):
            needed = len(entry.data) + _ENTRY_OVERHEAD_BYTES
            if size and size + needed > BATCH_SIZE_BYTES_MAX:
                await self._reserve(size)
                await log.sync(log.append(entries[begin:position]))
                begin, size = position, 0
            size += needed
        await self._reserve(size + 4 * _ENTRY_OVERHEAD_BYTES)
        if message.term:
            self._durable = (message.term, message.vote)
        # The commit index is only a hint for the next start: it goes along with something else, but never ahead of the
        # entries it is about, which may replace some that are only written now.
        self._commit = max(self._commit, message.commit)
        return log.append(entries[begin:] if begin else entries, HardState(*self._durable, self._commit))

    async def _reserve(self, size: int) -> None:
        """Wait until there is space. Meanwhile nothing is acknowledged, so the others go on without this member."""
        stopped = False
        while True:
            try:
                await self._log.reserve(size)
            except LogFull as error:
                stopped = True
                self._application.writing_stopped(str(error))
                await trio.sleep(FULL_RETRY_S)
                continue
            if stopped:
                self._application.writing_stopped("")
            return

    async def _install(self, message: Message) -> int:
        snapshot = message.snapshot
        assert snapshot is not None
        await self._application.install_snapshot(snapshot)
        await self._reserve(4 * _ENTRY_OVERHEAD_BYTES)
        if message.term:
            self._durable = (message.term, message.vote)
        self._commit = max(self._commit, snapshot.index)
        state = HardState(*self._durable, self._commit)
        self._conf_state = snapshot.conf_state
        self._snapshots_installed += 1
        return self._log.restore(snapshot.index, snapshot.term, snapshot.conf_state, state)

    def _needs_write(self, message: Message) -> bool:
        """Whether a message asks for something new to be durable; a commit index alone does not."""
        if message.entries:
            return True
        return bool(message.term) and (message.term, message.vote) != self._durable

    def _respond(self, message: Message) -> None:
        raw, own = self._raw, self.id
        for response in message.responses:
            if response.to != own:
                self._transport.send(response)
                continue
            try:
                raw.step(response)
            except RaftProtocolError as error:
                self._refuse(f"own answer type={response.type} reason={error}")

    # -- doing what the core wants

    def _process(self) -> None:
        """Do everything that needs no waiting; after many applied entries the core task goes on with the rest."""
        raw, applies = self._raw, self._applies
        applied = 0
        while True:
            if applies and self._application.may_apply:
                if applied >= APPLY_COUNT_MAX:
                    self._wake_core()
                    return
                message = applies.popleft()
                applied += len(message.entries)
                self._apply(message.entries)
                self._respond(message)
            elif raw.has_ready():
                self._handle(raw.ready())
            else:
                return

    def _handle(self, ready: Ready) -> None:
        if ready.soft_state is not None:
            self._role_changed(ready.soft_state)
        for message in ready.messages:
            to = message.to
            if to > 0:
                if message.type == MSG_SNAP:
                    self._snapshots.append(message)
                    self._sender_lot.unpark()
                else:
                    self._transport.send(message)
            elif to == LOCAL_APPEND_THREAD:
                self._storage_append(message)
            elif to == LOCAL_APPLY_THREAD:
                self._applies.append(message)
        for read in ready.read_states:
            self._barrier_passed(read)

    def _storage_append(self, message: Message) -> None:
        if message.snapshot is None and not self._writing and not self._writes and not self._needs_write(message):
            self._commit = max(self._commit, message.commit)
            self._respond(message)
            return
        self._writes.append(message)
        self._writer_lot.unpark()

    def _role_changed(self, soft_state: SoftState) -> None:
        if soft_state.state is LEADER:
            self._last_tick = trio.current_time()
        self._ticker_lot.unpark()
        self._application.role_changed(soft_state.lead, soft_state.state is LEADER, self.term)

    def _barrier_passed(self, read: ReadState) -> None:
        self._application.barrier_passed(read.index, read.context)

    def _apply(self, entries: Sequence[Entry]) -> None:
        applied = self._application.applied
        if entries[0].index <= applied:  # a snapshot has overtaken them
            entries = [entry for entry in entries if entry.index > applied]
        begin = 0
        for position, entry in enumerate(entries):
            if entry.type != EntryType.NORMAL:
                if position > begin:
                    self._application.apply(entries[begin:position])
                self._apply_membership(entry)
                begin = position + 1
        if begin < len(entries):
            self._application.apply(entries[begin:] if begin else entries)

    def _apply_membership(self, entry: Entry) -> None:
        change: ConfChangeV2 | None = None
        try:
            change = confchange.decode(entry).as_v2()
            self._conf_state = self._raw.apply_conf_change(change)
            # Who was alone has noted no commit index, and has to know from now on that this change is committed.
            self._commit = max(self._commit, entry.index)
            self._log.append((), HardState(*self._durable, self._commit))
            self._log.append((), None, self._conf_state)
        except ConfChangeError as error:
            change = None
            self._tell(f"membership_change=without_effect index={entry.index} reason={error}")
        self._application.apply_membership(entry, change, self._conf_state)
        self._ticker_lot.unpark()

    def _refuse(self, text: str) -> None:
        self._refused += 1
        self._tell(f"refused={text}")

    def _tell(self, text: str) -> None:
        if self._note is not None:
            self._note(f"member={self.id} term={self.term} {text}")


def _size(message: Message) -> int:
    return sum([len(entry.data) for entry in message.entries]) + _ENTRY_OVERHEAD_BYTES * len(message.entries)


def _committed_alone(log: Log, member: int) -> int:
    """How far the log is known to be committed without asking anybody.

    What a lone voter has stored is committed. The log tells whether it still is alone: it holds the membership that was
    applied last, ahead of every entry that was proposed under it. (The stored commit index lags behind.)
    """
    state, conf_state = log.initial_state()
    alone = conf_state.voters == (member,) and not conf_state.voters_outgoing
    return log.last_index() if alone else state.commit
