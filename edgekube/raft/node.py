"""Driving one member: the core's wishes turned into log writes, messages and applied entries.

The core is only touched between two awaits, by three tasks: the *core* task takes in messages, the *ticker* tells it
of time, and the *writer* proposes what waits, writes the log and reports what is durable. Whatever the core wants in
return that needs no waiting is done at once (`_process`), so a proposal of a lone member costs one task switch and one
fdatasync, as if there were no consensus around it.

While the writer syncs, proposals and appends gather for its next round: that is the group commit. A leader's appends
leave when they are proposed, before its own sync; answers that promise something durable leave after it.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from typing import Final

import msgspec
import trio

from edgekube.raft import confchange
from edgekube.raft.application import Application, Log, Proposal, Settings
from edgekube.raft.confchange import ConfChangeV2
from edgekube.raft.config import Config
from edgekube.raft.corestorage import CoreStorage
from edgekube.raft.errors import (
    ConfChangeError,
    ProposalDroppedError,
    RaftError,
    RaftProtocolError,
)
from edgekube.raft.logwriter import LogWriter
from edgekube.raft.messages import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_PROP,
    MSG_SNAP,
    MSG_TRANSFER_LEADER,
    ConfState,
    Entry,
    EntryType,
    Message,
    decode_message,
)
from edgekube.raft.proposals import BATCH_COUNT_MAX, ProposalQueue
from edgekube.raft.rawnode import RawNode, Ready, SoftState, Statistics, Status
from edgekube.raft.readonly import ReadState
from edgekube.raft.roles import LEADER
from edgekube.raft.snapshotsender import SnapshotSender
from edgekube.raft.ticker import Ticker
from edgekube.raft.transport import Transport
from edgekube.raft.wal import LogFull

INBOX_COUNT_MAX: Final = 4096
APPLY_COUNT_MAX: Final = 256  # entries applied before others get a turn


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
        storage = CoreStorage(member, log, application, conf_state)
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
        self._writer = LogWriter(log, application, hard_state)
        self._ticker = Ticker(self._raw, settings, random, self._process)
        self._sender = SnapshotSender(application, transport, self._snapshot_sent)
        self._inbox: deque[Message] = deque()
        self._proposals = ProposalQueue()
        self._applies: deque[Message] = deque()
        self._unfinished = False
        self._core_lot = trio.lowlevel.ParkingLot()
        self._writer_lot = trio.lowlevel.ParkingLot()
        self._received = self._refused = self._proposed = self._batches = 0

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
            self._ticker.ticks,
            self._sender.count,
            self._writer.installed,
        )

    # -- what goes in

    def propose(self, proposal: Proposal) -> None:
        """Append an entry as leader, together with what else waits; the application is told what became of it."""
        self._proposals.append(proposal)
        if self._writer_lot:
            self._writer_lot.unpark()

    def withdraw(self) -> list[Proposal]:
        """Take back what is not in the log yet, because the member ends."""
        return self._proposals.withdraw()

    def campaign(self) -> None:
        """Stand for election now."""
        self._raw.campaign()
        self._process()

    def read_index(self, context: bytes) -> None:
        """Ask for a read barrier; answered by `Application.barrier_passed`, or never. Raises `ProposalDroppedError`."""
        self._ticker.age_lease()
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
            nursery.start_soon(self._ticker.run)
            nursery.start_soon(self._sender.run)

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

    async def _run_writer(self) -> None:
        writer = self._writer
        while True:
            while not writer and not self._proposals:
                await self._writer_lot.park()
            if self._proposals:
                await self._take_in()
            if writer:
                for message in await writer.write():
                    self._respond(message)
                self._process()

    def _snapshot_sent(self, message: Message, failure: RaftError | None) -> None:
        if failure is not None:
            index = message.snapshot.index if message.snapshot is not None else 0
            self._tell(f"snapshot=failed to={message.to} index={index} reason={failure}")
        self._raw.report_snapshot(message.to, failed=failure is not None)
        self._wake_core()

    # -- proposing

    async def _take_in(self) -> None:
        """Propose what waits, as much as fits one batch."""
        term = self.term
        batch, size, stale = self._proposals.take(term)
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
        """Store and apply what nobody else has a say in."""
        await self._writer.write_alone(entries)
        if self._raw.stored_alone(entries) and self._application.may_apply:
            self._application.apply(entries)
            self._raw.applied_alone(entries)

    # -- doing what the core wants

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

    def _process(self) -> None:
        """Do everything that needs no waiting; after many applied entries the core task goes on with the rest."""
        raw, applies = self._raw, self._applies
        applied = 0
        while True:
            # A snapshot on its way in stands for all that waits: the core has its membership already, and the changes
            # that led to it must not be made once more.
            if applies and self._application.may_apply and not raw.raft.log.has_snapshot:
                if applied >= APPLY_COUNT_MAX:
                    self._wake_core()
                    return
                message = applies[0]
                applied += len(message.entries)
                self._apply(message.entries)
                applies.popleft()  # not before: when applying fails, the other task must not go on behind it
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
                    self._sender.send(message)
                else:
                    self._transport.send(message)
            elif to == LOCAL_APPEND_THREAD:
                self._storage_append(message)
            elif to == LOCAL_APPLY_THREAD:
                self._applies.append(message)
        for read in ready.read_states:
            self._barrier_passed(read)

    def _storage_append(self, message: Message) -> None:
        if self._writer.offer(message):
            self._writer_lot.unpark()
        else:
            self._respond(message)

    def _role_changed(self, soft_state: SoftState) -> None:
        self._ticker.role_changed()
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
        raw = self._raw
        change: ConfChangeV2 | None = None
        conf_state = raw.raft.tracker.membership.conf_state()
        try:
            change = confchange.decode(entry).as_v2()
            conf_state = raw.apply_conf_change(change)
            self._writer.note_membership(entry.index, conf_state)
        except ConfChangeError as error:
            change = None
            self._tell(f"membership_change=without_effect index={entry.index} reason={error}")
        self._application.apply_membership(entry, change, conf_state)
        self._ticker.membership_changed()

    def _refuse(self, text: str) -> None:
        self._refused += 1
        self._tell(f"refused={text}")

    def _tell(self, text: str) -> None:
        if self._note is not None:
            self._note(f"member={self.id} term={self.term} {text}")
