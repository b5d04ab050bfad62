"""Members of a group over a network that a test controls: it can delay, drop, repeat and cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from edgekube.raft import confchange
from edgekube.raft.config import Config
from edgekube.raft.errors import ConfChangeError, PeerNotFoundError, RaftProtocolError
from edgekube.raft.messages import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Snapshot,
)
from edgekube.raft.rawnode import RawNode
from edgekube.raft.readonly import ReadState
from edgekube.raft.roles import LEADER
from edgekube.raft.storage import MemoryStorage


class StateMachine(MemoryStorage):
    """A storage together with the application above it, which keeps the data of all applied entries in order."""

    def __init__(self, conf_state: ConfState) -> None:
        super().__init__()
        self.conf_state = conf_state
        self.applied_index = 0
        self.applied_term = 0
        self.values: list[bytes] = []
        self.reads: list[ReadState] = []

    def initial_state(self) -> tuple[HardState, ConfState]:
        return super().initial_state()[0], self.conf_state

    def snapshot(self) -> Snapshot:
        data = msgspec.msgpack.encode(self.values)
        return Snapshot(self.applied_index, self.applied_term, self.conf_state, data)

    def restore(self, snapshot: Snapshot) -> None:
        self.apply_snapshot(snapshot)
        self.conf_state = snapshot.conf_state
        self.applied_index, self.applied_term = snapshot.index, snapshot.term
        self.values = msgspec.msgpack.decode(snapshot.data, type=list[bytes]) if snapshot.data else []


class Group:
    """See the module. `network` holds the messages under way; `cut` the members that hear and say nothing."""

    def __init__(
        self, voters: Iterable[int] = (1, 2, 3), *, learners: Iterable[int] = (), seed: int = 0, **settings: Any
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.conf_state = ConfState(tuple(voters), tuple(learners))
        self.machines: dict[int, StateMachine] = {}
        self.nodes: dict[int, RawNode] = {}
        self.network: list[Message] = []
        self.sent: list[Message] = []
        self.refused: list[RaftProtocolError] = []
        self.work: dict[int, list[Message]] = {}
        self.apply_work: dict[int, list[Message]] = {}
        self.cut: set[int] = set()
        self.keep: Callable[[Message], bool] = lambda message: True
        for member in (*self.conf_state.voters, *self.conf_state.learners):
            self.add(member)

    @property
    def is_async(self) -> bool:
        return bool(self.settings.get("async_storage_writes"))

    def add(self, member: int, **settings: Any) -> RawNode:
        """Start a member that has stored nothing yet but the first membership, which no entry tells."""
        self.machines[member] = StateMachine(self.conf_state)
        return self.start(member, **settings)

    def start(self, member: int, **settings: Any) -> RawNode:
        """Start a member, or start it again from what it has stored."""
        machine = self.machines[member]
        config = {"election_tick": 10, "heartbeat_tick": 1, **self.settings, **settings}
        generator = random.Random(self.seed * 100 + member)
        node = RawNode(Config(id=member, storage=machine, random=generator, applied=machine.applied_index, **config))
        self.nodes[member] = node
        self.work[member], self.apply_work[member] = [], []
        return node

    @property
    def leader(self) -> RawNode:
        """The leader of the highest term."""
        leaders = [node for node in self.nodes.values() if node.raft.state is LEADER]
        return max(leaders, key=lambda node: node.raft.term)

    def elect(self, member: int) -> RawNode:
        """Make a member leader."""
        self.nodes[member].campaign()
        self.settle()
        assert self.nodes[member].raft.state is LEADER
        return self.nodes[member]

    def store(
        self,
        member: int,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        snapshot: Snapshot | None,
    ) -> None:
        machine = self.machines[member]
        if snapshot is not None:
            machine.restore(snapshot)
        machine.append(entries)
        if hard_state is not None:
            machine.set_hard_state(hard_state)

    def apply(self, member: int, entries: Sequence[Entry]) -> None:
        machine = self.machines[member]
        for entry in entries:
            if self.is_async and entry.index <= machine.applied_index:
                continue  # A snapshot has overtaken it.
            assert entry.index == machine.applied_index + 1, "entries are applied in order, each once"
            machine.applied_index, machine.applied_term = entry.index, entry.term
            if entry.type == EntryType.NORMAL:
                if entry.data:
                    machine.values.append(entry.data)
                continue
            try:
                machine.conf_state = self.nodes[member].apply_conf_change(confchange.decode(entry))
            except ConfChangeError as error:
                self.refused.append(error)

    def ready(self, member: int) -> None:
        """Do what one Ready asks for."""
        node = self.nodes[member]
        ready = node.ready()
        self.machines[member].reads += ready.read_states
        for message in ready.messages:
            if message.to == LOCAL_APPEND_THREAD:
                self.work[member].append(message)
            elif message.to == LOCAL_APPLY_THREAD:
                self.apply_work[member].append(message)
        if not self.is_async:
            self.store(member, ready.hard_state, ready.entries, ready.snapshot)
        self.send([message for message in ready.messages if message.to > 0])
        if not self.is_async:
            self.apply(member, ready.committed_entries)
            node.advance(ready)

    def append_one(self, member: int) -> None:
        """Let the append worker of a member do its next piece of work."""
        message = self.work[member].pop(0)
        state = HardState(message.term, message.vote, message.commit)
        self.store(member, None if state == HardState() else state, message.entries, message.snapshot)
        self.answer(member, message.responses)

    def apply_one(self, member: int) -> None:
        """Let the apply worker of a member do its next piece of work."""
        message = self.apply_work[member].pop(0)
        self.apply(member, message.entries)
        self.answer(member, message.responses)

    def answer(self, member: int, responses: Sequence[Message]) -> None:
        for response in responses:
            if response.to == member:
                try:
                    self.nodes[member].step(response)
                except PeerNotFoundError as error:
                    self.refused.append(error)
            else:
                self.send([response])

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.sent.append(message)
            if self.keep(message) and message.from_ not in self.cut and message.to not in self.cut:
                self.network.append(message)

    def deliver(self, message: Message) -> None:
        node = self.nodes.get(message.to)
        if node is None or message.to in self.cut:
            return
        try:
            node.step(message)
        except RaftProtocolError as error:
            self.refused.append(error)

    def settle_one(self, member: int) -> None:
        """Let one member work until it waits for others."""
        node = self.nodes[member]
        while node.has_ready() or self.work[member] or self.apply_work[member]:
            if node.has_ready():
                self.ready(member)
            while self.work[member]:
                self.append_one(member)
            while self.apply_work[member]:
                self.apply_one(member)

    def settle(self) -> None:
        """Let everybody work until there is nothing left to do."""
        for _ in range(10_000):
            busy = False
            for member, node in list(self.nodes.items()):
                if node.has_ready() or self.work[member] or self.apply_work[member]:
                    busy = True
                    self.settle_one(member)
            messages, self.network = self.network, []
            for message in messages:
                busy = True
                self.deliver(message)
            if not busy:
                return
        raise AssertionError("the group does not come to rest")

    def tick(self, times: int = 1, *members: int) -> None:
        """Let time pass for some members, or for all that are not cut off, settling after each tick."""
        for _ in range(times):
            for member in members or [one for one in self.nodes if one not in self.cut]:
                self.nodes[member].tick()
            self.settle()

    def take(self, kind: MessageType) -> list[Message]:
        """The messages of a type sent so far; forgets them all."""
        found = [message for message in self.sent if message.type == kind]
        self.sent = []
        return found

    def values(self, member: int) -> list[bytes]:
        return self.machines[member].values

    def log(self, member: int) -> list[tuple[int, int]]:
        """(index, term) of every entry a member has, durable or not."""
        log = self.nodes[member].raft.log
        return [(entry.index, entry.term) for entry in log.slice(log.first_index, log.last_index + 1)]


def seeded(entries: Sequence[tuple[int, int]], hard_state: HardState, conf_state: ConfState) -> StateMachine:
    """A machine whose log holds entries of these (index, term)."""
    machine = StateMachine(conf_state)
    machine.append([Entry(term, index, 0, b"%d/%d" % (term, index)) for index, term in entries])
    machine.set_hard_state(hard_state)
    return machine
