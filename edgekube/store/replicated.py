"""A store of any number of members, of which one leads: the Raft driver below, the state machine above.

A transaction of the leader's goes into its log; one of another member is forwarded to the leader (`writes` tells how
each comes into effect exactly once). Either way it is answered where it was made, after it was applied there. What a
member has to do with others is in `peers` and its parts; a member alone never needs them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextvars import copy_context
from random import Random
from typing import TYPE_CHECKING

import trio

from edgekube.raft.application import Proposal, Settings
from edgekube.raft.confchange import ConfChangeV2
from edgekube.raft.errors import RaftError, StorageError
from edgekube.raft.messages import ConfState, Entry, Snapshot
from edgekube.raft.node import RaftNode
from edgekube.raft.transport import Transport
from edgekube.raft.wal import LogFull
from edgekube.store import command as commands
from edgekube.store.api import Fenced, Guard, NotLeader, Op, Put, ReadOnly, StoreError, TxnResult
from edgekube.store.disk import StateDisk, StoreCorrupt, StoreFailed
from edgekube.store.failstop import run_fail_stop
from edgekube.store.history import Applied
from edgekube.store.kept import KeptLog, KeptState
from edgekube.store.limits import Limits, StoreStatistics
from edgekube.store.membership import Members, decode_addresses, members_of
from edgekube.store.writes import (
    WAITING_COUNT_MAX,
    WAITING_SIZE_BYTES_MAX,
    InFlight,
    OutcomeUnknown,
    Taken,
    Write,
)

if TYPE_CHECKING:
    from edgekube.store.peers import Peers


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
        """The files belong together (`opening`). Raises StoreCorrupt for what the core refuses."""
        super().__init__(disk, log, limits)
        self._member = member
        self._transport = transport
        self._promote = promote
        self._note = note
        self._lacks_membership = disk.meta.conf_state == ConfState()
        if self._lacks_membership:
            self._membership_applied(0, log.initial_state()[1], {})
        if self._state.index == 0 and log.last_index():
            self._state.skip(1, log.term(1))  # what founded a group of an earlier version: an empty entry
        self._in_flight = InFlight(random.getrandbits(62) + 1)
        self._waiting_count = self._waiting_size = 0
        self._waiting_lot = trio.lowlevel.ParkingLot()  # callers held back
        self._applied_lot = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None
        self._context = copy_context()  # of the store's own tasks, whoever it is that makes them necessary
        self._peers: Peers | None = None
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

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the tasks. A lone member has then applied all it has and leads, or its disk is full."""
        node = self._node
        if self._lacks_membership and self.conf_state.voters:
            try:
                await self.note_membership()
            except ReadOnly as error:
                self._read_only = str(error)
        self._nursery = nursery
        self._transport.set_peers(self.addresses)
        nursery.start_soon(run_fail_stop, node.run, self._failed)
        nursery.start_soon(run_fail_stop, self.run_keeper, self._failed)
        node.wake()
        while self._state.index < node.commit:
            await self._applied_lot.park()
        if self.conf_state != ConfState(voters=(self._member,)):
            self._with_peers()
        if self.conf_state.voters == (self._member,) and not self.conf_state.voters_outgoing:
            node.campaign()
            while not self.term and not self._read_only:
                await self._hub.wait_advanced()
        await trio.lowlevel.checkpoint()

    def _failed(self, error: Exception) -> StoreFailed:
        failure = StoreFailed(str(error))
        self._stop(failure)
        return failure

    def close(self) -> None:
        """Release the files. What was acknowledged is in the log; nothing is written here."""
        self._stop(StoreError("the store is closed"))
        self._close_files()

    def _stop(self, error: StoreError) -> None:
        self._hub.fail(error)
        for write in (*self._in_flight.drain(), *self._node.withdraw()):
            if isinstance(write, Write):
                write.reply(type(error)(str(error)))
        if self._peers is not None:
            self._peers.stop(error)
        self._waiting_lot.unpark_all()
        self._applied_lot.unpark_all()

    def _with_peers(self) -> "Peers":
        """What this member has to do with others, from now on."""
        if self._peers is None:
            # Here, and not above: a member alone has no use for it.
            from edgekube.store.peers import Peers

            assert self._nursery is not None, "the store was not started"
            self._peers = self._context.run(
                Peers,
                self,
                self._nursery,
                state=self._state,
                disk=self._disk,
                log=self._log,
                transport=self._transport,
                in_flight=self._in_flight,
                refusal=lambda: (self.read_only, bool(self._read_only)),
                promote=self._promote,
                note=self._note,
            )
        return self._peers

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
        if self._peers is not None:
            self._peers.role_changed()

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
        self.submit(write)
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

    def submit(self, write: Write) -> None:
        """Send a transaction on its way, for the first time or again."""
        if self._node.leads:
            self._node.propose(write)
        elif write.required_term:
            write.reply(_fenced(write.required_term, self._node.term))
        else:
            self._with_peers().forwarder.append(write)

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
                    self._with_peers().forwarder.append(proposal)

    def writing_stopped(self, reason: str) -> None:
        """See `Application.writing_stopped`."""
        self._read_only = reason
        self._hub.wake()

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
        now = trio.current_time()
        published: list[Applied] = []
        term = self._state.term
        for entry in entries:
            self._apply_one(entry, now, published)
            if entry.term != term:
                self._new_term_applied()
                term = entry.term
        self._applied_some(published)
        if self._applied_lot:
            self._applied_lot.unpark_all()
        if self._peers is not None:
            self._peers.comparer.applied()

    def _apply_one(self, entry: Entry, now: float, published: list[Applied]) -> None:
        if not entry.data:
            self._state.skip(entry.index, entry.term)
            return
        write = self._in_flight.own_at(entry.index, entry.term)
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

    def _new_term_applied(self) -> None:
        """An entry of a later term was applied: nothing of an earlier one will come any more."""
        for write in self._in_flight.lost(self._state.term):
            if write.required_term:
                write.reply(_fenced(write.required_term, self._state.term))
            else:
                self.submit(write)
        self._hub.wake()

    def apply_membership(self, entry: Entry, change: ConfChangeV2 | None, conf_state: ConfState) -> None:
        """See `Application.apply_membership`."""
        new_term = entry.term != self._state.term
        self._state.skip(entry.index, entry.term)
        members = members_of(conf_state)
        addresses = {**self.addresses, **(decode_addresses(change.context) if change is not None else {})}
        addresses = {member: address for member, address in addresses.items() if member in members}
        self._membership_applied(entry.index, conf_state, addresses)
        self._transport.set_peers(addresses)
        if members != {self._member}:
            self._with_peers().changes.wake()
        if new_term:
            self._new_term_applied()
        self._hub.wake()
        self._applied_lot.unpark_all()

    def _flushed(self) -> None:
        self._node.wake()

    # -- reading

    async def read_barrier(self) -> int:
        """See `Store.read_barrier`. Raises NotLeader when nobody has led for a few seconds."""
        await trio.lowlevel.checkpoint()
        self._hub.check()
        if self._node.is_alone and self.term:
            return self.revision  # nobody else acknowledges anything, and what it acknowledges it has applied
        await self.wait_index(await self._with_peers().barriers.wait())
        return self.revision

    async def wait_index(self, index: int) -> None:
        """Wait until the entry at `index` is applied here."""
        while self._state.index < index:
            self._hub.check()
            await self._applied_lot.park()
        self._hub.check()

    def barrier_passed(self, index: int, context: bytes) -> None:
        """See `Application.barrier_passed`."""
        if self._peers is not None:
            self._peers.barriers.passed(index, context)

    # -- between members, for the driver

    async def answer(self, peer: int, request: bytes) -> bytes:
        """See `Application.answer`."""
        return await self._with_peers().answer(peer, request)

    def _log_wanted_from(self) -> int:
        return self._node.slowest_match()

    @property
    def _history_held(self) -> bool:
        return self._peers is not None and self._peers.snapshots.held

    def snapshot(self, applied: int) -> Snapshot:
        """See `Application.snapshot`."""
        return self._with_peers().snapshots.head()

    def snapshot_chunks(self, snapshot: Snapshot) -> AsyncGenerator[bytes, None]:
        """See `Application.snapshot_chunks`."""
        return self._with_peers().snapshots.chunks(snapshot)

    async def receive_snapshot(self, snapshot: Snapshot, chunks: AsyncIterator[bytes]) -> None:
        """See `Application.receive_snapshot`."""
        await self._with_peers().snapshots.receive(snapshot, chunks)

    async def install_snapshot(self, snapshot: Snapshot) -> None:
        """See `Application.install_snapshot`."""
        await self._with_peers().snapshots.install(snapshot, self._snapshot_installed)

    def _snapshot_installed(self) -> None:
        for write in self._in_flight.drain():
            write.reply(
                OutcomeUnknown(
                    "this member was too far behind and took over a snapshot: read to see whether it happened"
                )
            )
        self._with_peers().comparer.installed()
        self._transport.set_peers(self.addresses)
        self._applied_lot.unpark_all()

    # -- membership

    @property
    def members(self) -> Members:
        """Who belongs to the group, as of the last applied entry."""
        return Members.of(self.conf_state, self.addresses)

    async def add_learner(self, member: int, address: bytes = b"") -> None:
        """As leader, let a member join that holds a copy and has no vote. Raises NotLeader, MembershipRefused."""
        await self._check_running()
        await self._with_peers().changes.add_learner(member, address)

    async def promote(self, *members: int) -> None:
        """As leader, give learners a vote, several at once through a joint membership."""
        await self._check_running()
        await self._with_peers().changes.promote(members)

    async def remove(self, member: int) -> None:
        """As leader, remove a member, which may be this one."""
        await self._check_running()
        await self._with_peers().changes.remove(member)

    async def _check_running(self) -> None:
        await trio.lowlevel.checkpoint()
        self._hub.check()

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

    @property
    def diverged(self) -> str:
        """What differed when this member's state was last found to contradict the leader's; empty: nothing did."""
        return self._peers.comparer.diverged if self._peers is not None else ""

    def statistics(self) -> StoreStatistics:
        """See `StoreStatistics`."""
        log, state, peers = self._log.statistics(), self._state, self._peers
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
            forwarded=peers.forwarder.count if peers is not None else 0,
            compared=peers.comparer.count if peers is not None else 0,
            diverged=self.diverged,
        )

    @property
    def node(self) -> RaftNode:
        """The driver, for its statistics."""
        return self._node


def _fenced(term: int, current: int) -> Fenced:
    return Fenced(f"the write belongs to term {term}, and this is term {current}: its leadership has ended")
