"""One member of a simulated group: the real core and state machine, driven by the simplest driver that is right.

Its disk takes time, its worker applies a little later, and a crash forgets all but what was synced. The driver of the
product does more at once and is simulated by itself; this one exists so that thousands of runs of the core are cheap.
Wrong variants of it prove that the simulation notices.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence

from edgekube.raft import confchange
from edgekube.raft.config import Config, ReadOnlyOption
from edgekube.raft.errors import ConfChangeError, PeerNotFoundError, ProposalDroppedError
from edgekube.raft.messages import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_APP,
    MSG_SNAP,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    decode_message,
    encode_message,
)
from edgekube.raft.rawnode import RawNode, Ready
from edgekube.raft.roles import LEADER, CampaignType
from edgekube.raft.tracker import Membership
from edgekube.store.api import KeyValue, StoreError
from edgekube.store.state import Outcome, StateMachine
from edgekube.store.watch import WatchHub
from edgekube.testing import sim_machine
from edgekube.testing.sim_checks import Checks
from edgekube.testing.sim_plan import Plan
from edgekube.testing.sim_storage import Batch, SimStorage, database_of
from edgekube.testing.sim_world import Network, SimulationFailed, World

TICK: float = 20.0
ELECTION_TICKS: int = 8
HEARTBEAT_TICKS: int = 2
ROUNDS_MAX: int = 2000

Reply = Callable[[Outcome | None], None]
"""Gets what applying a proposal did; None: it is in no log and never will be."""


class Restarted(StoreError):
    """The member crashed, or took over a snapshot: its watches end."""


class Member:
    """See the module. `node` is None while it is down."""

    def __init__(
        self, member: int, plan: Plan, world: World, network: Network, checks: Checks, peers: "dict[int, Member]"
    ) -> None:
        self.id = member
        self.plan = plan
        self.world = world
        self.network = network
        self.checks = checks
        self.peers = peers
        self.storage = SimStorage(plan.seed * 7919 + member)
        self.rng = random.Random(plan.seed * 104_729 + member)
        self.version = sim_machine.OLD
        self.disk_factor = 1.0
        self.disk_full = False
        self.stalled_until = 0.0
        self.drift = 1.0 + plan.drift * (self.rng.random() * 2 - 1)
        self.starts = 0
        self.removed = False
        self.on_publish: Callable[[Member], None] = lambda member: None
        self.node: RawNode | None = None

    # -- life

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.node is not None

    @property
    def leads(self) -> bool:
        """Whether it believes to lead."""
        return self.node is not None and self.node.raft.state is LEADER

    @property
    def term(self) -> int:
        """Its term."""
        return self.node.raft.term if self.node is not None else 0

    def stand(self) -> None:
        """Stand for election, without asking first whether it could win."""
        if self.node is not None and self.world.now >= self.stalled_until:
            self.node.raft.hup(CampaignType.TRANSFER)
            self.pump()

    def start(self) -> None:
        """Start from what is on disk."""
        assert self.node is None, "it runs"
        plan, storage = self.plan, self.storage
        if storage.rotten:
            return  # the checksums tell: it must not come back, and is replaced by another
        self.starts += 1
        database = storage.database
        self.committed = 0
        self.machine = StateMachine(database, database.position)
        self.hub = WatchHub(self.machine)
        storage.machine, storage.conf_state = self.machine, database.conf_state
        self.writes: deque[Message] = deque()
        self.writing: list[Batch] = []
        self.applies: deque[Message] = deque()
        self.pending: dict[int, tuple[int, Reply]] = {}
        self.reads: dict[bytes, Callable[[int], None]] = {}
        self.barriers: list[tuple[int, Callable[[], None]]] = []
        self.unflushed: dict[bytes, KeyValue | None] = {}
        self.busy = False
        self.node = RawNode(
            Config(
                id=self.id,
                storage=storage,
                random=random.Random(self.rng.random()),
                election_tick=ELECTION_TICKS,
                heartbeat_tick=HEARTBEAT_TICKS,
                applied=database.position.index,
                async_storage_writes=plan.asynchronous,
                max_size_per_msg=plan.message_size,
                max_inflight_msgs=plan.window,
                max_uncommitted_entries_size=1 << 16,
                check_quorum=plan.check_quorum,
                pre_vote=plan.pre_vote,
                read_only=ReadOnlyOption.LEASE_BASED if plan.lease else ReadOnlyOption.SAFE,
                disable_proposal_forwarding=True,
                step_down_on_removal=plan.step_down,
            )
        )
        self.checks.contents(self.id, self.machine.revision, database.keys)
        self.committed = self.node.raft.log.committed
        self.membership = self.node.raft.tracker.membership
        self.after(TICK * self.drift, self.tick)
        self.after(self.rng.uniform(100, 2000), self.flush)
        self.pump()

    def crash(self) -> None:
        """Stop at once; unsynced writes are lost, or torn."""
        if self.node is None:
            return
        self.node = None
        self.storage.crash(self.writing)
        self.hub.fail(Restarted("the member crashed"))

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Do something later, if this member has not crashed by then; a stalled one does it when it goes on."""
        starts = self.starts

        def due() -> None:
            if self.starts != starts or self.node is None:
                return
            if self.world.now < self.stalled_until:
                self.world.after(self.stalled_until - self.world.now, due)
            else:
                call()

        self.world.after(delay, due)

    # -- what goes in

    def tick(self) -> None:
        """Time passes; ticks missed while it stood still count as one."""
        assert self.node is not None
        self.after(TICK * self.drift, self.tick)
        self.node.tick()
        self.pump()

    def jump(self, ticks: int) -> None:
        """Ticks in a burst."""
        for _ in range(ticks):
            if self.node is not None:
                self.node.tick()
                self.pump()

    def arrive(self, message: Message) -> None:
        """A message from the network."""
        if self.node is None:
            return
        if self.world.now < self.stalled_until:
            self.after(self.stalled_until - self.world.now, lambda: self.arrive(message))
            return
        if self.disk_full and (message.type == MSG_SNAP or (message.type == MSG_APP and message.entries)):
            return
        self.world.note(1, self.id, message.type, message.from_, message.term, message.index, message.commit)
        self.step(message)
        self.pump()

    def step(self, message: Message) -> None:
        """Let the core act on a message. A stranger's answer is no news; anything else it refuses is a failure."""
        assert self.node is not None
        try:
            self.node.step(message)
        except PeerNotFoundError:
            pass

    def propose(self, data: bytes, reply: Reply) -> bool:
        """As leader, take a command in; `reply` tells what became of it, unless this member crashes."""
        if self.node is None or not self.leads or self.disk_full or self.world.now < self.stalled_until:
            return False
        try:
            self.node.propose(data)
        except ProposalDroppedError:
            return False
        log = self.node.raft.log
        self.pending[log.last_index] = (self.node.raft.term, reply)
        self.pump()
        return True

    def read(self, context: bytes, reply: Callable[[], None]) -> bool:
        """Ask for a barrier; `reply` is called once it is passed and applied."""
        if self.node is None or self.world.now < self.stalled_until:
            return False
        try:
            self.node.read_index(context)
        except ProposalDroppedError:
            return False
        self.reads[context] = lambda index: self.when_applied(index, reply)
        self.pump()
        return True

    def when_applied(self, index: int, call: Callable[[], None]) -> None:
        """Call once `index` is applied."""
        if self.machine.index >= index:
            call()
        else:
            self.barriers.append((index, call))

    # -- driving the core

    def pump(self) -> None:
        """Do what the core wants done, then look at what has become of it."""
        node = self.node
        assert node is not None
        rounds = 0
        while node.has_ready() and not self.busy:
            rounds += 1
            if rounds > ROUNDS_MAX:
                raise SimulationFailed(f"member {self.id} never has enough: {node.raft.log.last_index} entries")
            ready = node.ready()
            for read in ready.read_states:
                answer = self.reads.pop(read.context, None)
                if answer is not None:
                    answer(read.index)
            if self.plan.asynchronous:
                self.take(ready)
            else:
                self.take_whole(ready)
        self.observe()

    def observe(self) -> None:
        """Hand the state to the checks."""
        node = self.node
        assert node is not None
        self.checks.role(self.id, node)
        committed = node.raft.log.committed
        if committed != self.committed:
            before, self.committed = self.committed, committed
            self.check_stored(committed)
            self.checks.commits(self.id, node, before, committed)
        self.membership = node.raft.tracker.membership

    def check_stored(self, index: int) -> None:
        """What a leader commits in its term is on the disks of a quorum."""
        node = self.node
        assert node is not None
        term = node.raft.log.term(index)
        if node.raft.state is not LEADER or term != node.raft.term:
            return
        # What was committed may itself have changed the membership since.
        if not self.is_stored(index, term, self.membership) and not self.is_stored(
            index, term, node.raft.tracker.membership
        ):
            raise SimulationFailed(
                f"member {self.id} commits {index} of term {term}, which no quorum of {self.membership} has stored"
            )

    def is_stored(self, index: int, term: int, membership: Membership) -> bool:
        """Whether a quorum has an entry on disk."""
        for voters in (membership.voters, membership.outgoing):
            stored = sum(self.peers[voter].storage.durable.holds(index, term) for voter in voters)
            if voters and stored <= len(voters) // 2:
                return False
        return True

    def take(self, ready: Ready) -> None:
        """Hand the parts of a Ready to their workers."""
        for message in ready.messages:
            if message.to == LOCAL_APPEND_THREAD:
                self.enqueue(message)
            elif message.to == LOCAL_APPLY_THREAD:
                self.applies.append(message)
                self.after(self.rng.uniform(0, 2), self.apply_one)
            else:
                self.send(message)

    def take_whole(self, ready: Ready) -> None:
        """Without asynchronous writes: store, then send, apply and advance."""
        batch = Batch(ready.entries, ready.hard_state, ready.snapshot)
        self.see(batch)
        if not ready.must_sync and ready.snapshot is None:
            self.storage.complete(batch)
            self.finish_whole(ready)
            return
        self.busy = True
        self.writing = [batch]

        def done() -> None:
            self.busy = False
            self.writing = []
            self.storage.complete(batch)
            self.finish_whole(ready)
            self.pump()

        self.after(self.latency(), done)

    def finish_whole(self, ready: Ready) -> None:
        """A whole Ready is stored."""
        node = self.node
        assert node is not None
        if ready.snapshot is not None:
            self.installed()
        for message in ready.messages:
            self.send(message)
        self.apply(ready.committed_entries)
        node.advance(ready)

    def enqueue(self, message: Message) -> None:
        """Writing: what waits is written together."""
        self.see(batch_of(message))
        self.writes.append(message)
        if not self.writing:
            self.write()

    def write(self) -> None:
        """Write what waits, up to a snapshot, which goes alone."""
        group: list[Message] = []
        while self.writes and not (group and self.writes[0].snapshot is not None):
            group.append(self.writes.popleft())
            if group[-1].snapshot is not None:
                break
        if not group:
            return
        self.writing = [batch_of(message) for message in group]
        self.after(self.latency(), lambda: self.written(group))

    def written(self, group: Sequence[Message]) -> None:
        """A group is on disk: say what was to be said then."""
        for batch in self.writing:
            self.storage.complete(batch)
            if batch.snapshot is not None:
                self.installed()
        self.writing = []
        for message in group:
            self.respond(message.responses)
        self.write()
        self.pump()

    def see(self, batch: Batch) -> None:
        """The log takes records in: they can be read, and are not durable yet."""
        if batch.snapshot is not None:
            self.storage.take(Batch((), None, batch.snapshot), 1)
        if batch.entries:
            first = batch.entries[0].index
            self.checks.appended(self.id, batch.entries, self.storage.term(first - 1))
        self.storage.take(Batch(batch.entries, batch.hard_state, None), len(batch.entries) + 1)

    def installed(self) -> None:
        """A snapshot has become the state."""
        database = self.storage.database
        self.checks.contents(self.id, database.position.revision, database.keys)
        self.machine = StateMachine(database, database.position)
        self.storage.machine, self.storage.conf_state = self.machine, database.conf_state
        self.hub.fail(Restarted("a snapshot was taken over"))
        self.hub = WatchHub(self.machine)
        self.passed()

    def latency(self) -> float:
        """How long the next write takes."""
        return self.rng.uniform(0.2, 1.8) * self.plan.disk * self.disk_factor

    def respond(self, responses: Sequence[Message]) -> None:
        """Deliver what a worker has to say."""
        for response in responses:
            if response.to == self.id:
                self.step(response)
            else:
                self.send(response)

    def send(self, message: Message) -> None:
        """Let a message go."""
        self.checks.sent(message)
        receiver = self.peers.get(message.to)
        if receiver is None or message.to == self.id:
            raise SimulationFailed(f"member {self.id} sends to {message.to}: {message}")
        if message.type == MSG_SNAP:

            def arrived() -> None:
                receiver.arrive(message)
                self.report_snapshot(message.to, failed=False)

            self.network.send(self.id, message.to, arrived, lambda: self.report_snapshot(message.to, failed=True))
            return
        if self.rng.random() < 0.02:
            message = decode_message(encode_message(message))
        self.network.send(self.id, message.to, lambda: receiver.arrive(message), lambda: self.lost(message.to))

    def lost(self, member: int) -> None:
        """Sometimes a transport notices that nobody is there."""
        if self.node is not None and self.rng.random() < 0.3:
            self.node.report_unreachable(member)
            self.pump()

    def report_snapshot(self, member: int, *, failed: bool) -> None:
        """A snapshot has arrived, or not."""
        if self.node is not None:
            self.node.report_snapshot(member, failed=failed)
            self.pump()

    # -- applying

    def apply_one(self) -> None:
        """The worker that applies does its next piece."""
        message = self.applies.popleft()
        self.apply([entry for entry in message.entries if entry.index > self.machine.index])
        self.respond(message.responses)
        self.pump()

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply committed entries."""
        node = self.node
        assert node is not None
        machine = self.machine
        for entry in entries:
            if self.plan.asynchronous and not self.storage.durable.holds(entry.index, entry.term):
                raise SimulationFailed(f"member {self.id} applies {entry.index}, which its own log may yet lose")
            outcome: Outcome | None = None
            if entry.type != EntryType.NORMAL:
                # The core may ask for a snapshot meanwhile: index and membership must belong together.
                try:
                    state = self.change_membership(entry)
                except ConfChangeError:
                    state = self.storage.conf_state
                machine.skip(entry.index, entry.term)
                self.storage.conf_state = state
            elif not entry.data:
                machine.skip(entry.index, entry.term)
            else:
                command = sim_machine.decode(entry.data, self.version)
                outcome = machine.apply(entry.index, entry.term, command, self.world.now)
                if outcome.applied is not None:
                    self.checks.changed(self.id, outcome.applied)
                    self.hub.publish((outcome.applied,))
                    self.unflushed.update({event.key: event.kv for event in outcome.applied.events})
            self.checks.applied(self.id, entry.index, node.raft.log.committed, machine.digest, self.storage.conf_state)
            waiting = self.pending.pop(entry.index, None)
            if waiting is not None:
                waiting[1](outcome if waiting[0] == entry.term else None)
        if entries:
            self.world.note(2, self.id, machine.index, machine.revision, node.raft.term)
            if len(machine.history) > 60:
                machine.history.trim(size_bytes_max=1 << 30, count_max=self.rng.randint(10, 50))
                self.hub.forget()
            self.passed()
            self.on_publish(self)

    def change_membership(self, entry: Entry) -> ConfState:
        """A committed change takes effect."""
        assert self.node is not None
        state = self.node.apply_conf_change(confchange.decode(entry))
        self.checks.switched(entry.index, state)
        return state

    def passed(self) -> None:
        """Call those who waited for what is applied now."""
        due = [call for index, call in self.barriers if index <= self.machine.index]
        self.barriers = [waiting for waiting in self.barriers if waiting[0] > self.machine.index]
        for call in due:
            call()

    def flush(self) -> None:
        """Write the applied state to the database, then let go of a part of the log."""
        self.after(self.rng.uniform(100, 2000), self.flush)
        machine = self.machine
        database = database_of(machine, self.storage.conf_state)
        written, self.unflushed = self.unflushed, {}

        def done() -> None:
            if self.machine is not machine or self.storage.database.position.index > database.position.index:
                return  # a snapshot was taken over meanwhile
            self.storage.database = database
            machine.base = database
            machine.settle(written, database.position.revision)

        self.after(self.latency(), done)

    def compact(self, keep: int) -> None:
        """Drop entries that the database has."""
        self.storage.cut(self.storage.database.position.index - keep)


def batch_of(message: Message) -> Batch:
    """What a MsgStorageAppend asks to be written."""
    state = HardState(message.term, message.vote, message.commit)
    return Batch(message.entries, None if state == HardState() else state, message.snapshot)
