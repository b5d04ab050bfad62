"""A group of members driven by the commands of etcd-io/raft's interaction scenarios.

The commands and what they print are those of its `rafttest.InteractionEnv`. Log lines are not reproduced: the runner
drops them from the expected output.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgekube.raft import confchange
from edgekube.raft.confchange import ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.raft.config import Config, ReadOnlyOption
from edgekube.raft.errors import CompactedError, RaftProtocolError, UnavailableError
from edgekube.raft.messages import (
    MSG_SNAP,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPLY,
    NO_LIMIT,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Snapshot,
)
from edgekube.raft.rawnode import RawNode
from edgekube.raft.storage import MemoryStorage
from tests.unit.raft import describe
from tests.unit.raft.datadriven import Case

LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"]
ELECTION_TICK = 3
HEARTBEAT_TICK = 1
CHANGES = {
    "v": ConfChangeType.ADD_NODE,
    "l": ConfChangeType.ADD_LEARNER_NODE,
    "r": ConfChangeType.REMOVE_NODE,
    "u": ConfChangeType.UPDATE_NODE,
}
TRANSITIONS = {
    "auto": ConfChangeTransition.AUTO,
    "implicit": ConfChangeTransition.JOINT_IMPLICIT,
    "explicit": ConfChangeTransition.JOINT_EXPLICIT,
}


class CommandError(Exception):
    """A command failed; the text is its output."""


class HistoryStorage(MemoryStorage):
    """Asked for a snapshot it gives the state as of the last applied entry."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Snapshot] = []

    def snapshot(self) -> Snapshot:
        return self.history[-1]


@dataclass
class Member:
    node: RawNode
    storage: HistoryStorage
    async_writes: bool
    append_work: list[Message] = field(default_factory=list)
    apply_work: list[Message] = field(default_factory=list)


def parse_changes(text: str) -> tuple[ConfChangeSingle, ...]:
    changes = []
    for token in text.split():
        if len(token) < 2:
            raise CommandError(f"unknown token {token}")
        if token[0] not in CHANGES:
            raise CommandError(f"unknown input: {token}")
        changes.append(ConfChangeSingle(CHANGES[token[0]], int(token[1:])))
    return tuple(changes)


class Environment:
    """The members, the messages between them, and the output of the present command."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.messages: list[Message] = []
        self.level = 0
        self.output: list[str] = []
        self.commands: dict[str, Callable[[Case], None]] = {
            "_breakpoint": lambda case: None,
            "add-nodes": self.add_nodes,
            "campaign": self.campaign,
            "compact": self.compact,
            "deliver-msgs": self.deliver,
            "forget-leader": self.forget_leader,
            "log-level": self.log_level,
            "process-append-thread": self.process_append_thread,
            "process-apply-thread": self.process_apply_thread,
            "process-ready": self.process_ready,
            "propose": self.propose,
            "propose-conf-change": self.propose_conf_change,
            "raft-log": self.raft_log,
            "raft-state": self.raft_state,
            "read-index": self.read_index,
            "report-snapshot": self.report_snapshot,
            "report-unreachable": self.report_unreachable,
            "send-snapshot": self.send_snapshot,
            "set-randomized-election-timeout": self.set_randomized_election_timeout,
            "stabilize": self.stabilize,
            "status": self.status,
            "tick-election": self.tick_election,
            "tick-heartbeat": self.tick_heartbeat,
            "transfer-leadership": self.transfer_leadership,
        }

    @property
    def quiet(self) -> bool:
        return self.level == len(LEVELS) - 1

    def handle(self, case: Case) -> list[str]:
        """Run a command and return the lines it prints."""
        self.output = []
        problem = None
        try:
            command = self.commands.get(case.command)
            if command is None:
                raise CommandError("unknown command")
            command(case)
        except (CommandError, RaftProtocolError) as error:
            problem = str(error)
        except CompactedError:
            problem = "requested index is unavailable due to compaction"
        except UnavailableError:
            problem = "requested entry at index is unavailable"
        if problem is not None:
            if self.quiet:
                return [problem]
            self.output.append(problem)
        return self.output or ["ok"]

    def print(self, text: str) -> None:
        if not self.quiet:
            self.output += text.split("\n")

    @contextmanager
    def indented(self) -> Iterator[None]:
        outer, self.output = self.output, []
        yield
        self.output = outer + ["  " + line for line in self.output]

    def member(self, case: Case, position: int = 0) -> Member:
        return self.members[int(case.words[position]) - 1]

    def chosen(self, case: Case) -> list[tuple[int, Member]]:
        return [(int(word), self.members[int(word) - 1]) for word in case.words]

    def add_nodes(self, case: Case) -> None:
        index = int(case.value("index", "0"))
        state = ConfState(
            voters=tuple(map(int, case.values("voters"))), learners=tuple(map(int, case.values("learners")))
        )
        content = case.value("content").encode()
        known = {
            "voters", "learners", "index", "content", "inflight", "async-storage-writes", "prevote", "checkquorum",
            "max-committed-size-per-ready", "disable-conf-change-validation", "read-only", "step-down-on-removal",
            "max-size-per-msg", "max-inflight-bytes", "max-uncommitted-size", "disable-proposal-forwarding",
        }  # fmt: skip
        unknown = {name for name, _ in case.arguments[1:]} - known
        assert not unknown, f"{case.position}: unknown options {unknown}"

        def flag(name: str) -> bool:
            return case.value(name, "false") in ("true", "1", "t", "T", "TRUE", "True")

        bootstrap = bool(index or state != ConfState() or content)
        for _ in range(int(case.words[0])):
            storage = HistoryStorage()
            snapshot = Snapshot(index, 1 if bootstrap else 0, state, content)
            if bootstrap:
                if index <= 1:
                    raise CommandError("index must be specified as > 1 due to bootstrap")
                storage.apply_snapshot(snapshot)
            storage.history.append(snapshot)
            async_writes = flag("async-storage-writes")
            member = len(self.members) + 1
            config = Config(
                id=member,
                storage=storage,
                random=random.Random(member),
                election_tick=ELECTION_TICK,
                heartbeat_tick=HEARTBEAT_TICK,
                applied=index,
                async_storage_writes=async_writes,
                max_size_per_msg=int(case.value("max-size-per-msg", str(NO_LIMIT))),
                max_committed_size_per_ready=int(case.value("max-committed-size-per-ready", "0")),
                max_uncommitted_entries_size=int(case.value("max-uncommitted-size", "0")),
                max_inflight_msgs=int(case.value("inflight", str(2**31 - 1))),
                max_inflight_bytes=int(case.value("max-inflight-bytes", "0")),
                check_quorum=flag("checkquorum"),
                pre_vote=flag("prevote"),
                read_only=ReadOnlyOption(case.value("read-only", "safe")),
                disable_proposal_forwarding=flag("disable-proposal-forwarding"),
                disable_conf_change_validation=flag("disable-conf-change-validation"),
                step_down_on_removal=flag("step-down-on-removal"),
            )
            self.members.append(Member(RawNode(config), storage, async_writes))

    def campaign(self, case: Case) -> None:
        self.member(case).node.campaign()

    def forget_leader(self, case: Case) -> None:
        self.member(case).node.forget_leader()

    def read_index(self, case: Case) -> None:
        self.member(case).node.read_index(case.words[1].encode())

    def transfer_leadership(self, case: Case) -> None:
        self.members[int(case.value("from")) - 1].node.transfer_leader(int(case.value("to")))

    def report_unreachable(self, case: Case) -> None:
        if len(case.words) != 2:
            raise CommandError("must specify exactly two node indexes: node on which to report, and reported node")
        self.member(case).node.report_unreachable(int(case.words[1]))

    def report_snapshot(self, case: Case) -> None:
        self.member(case).node.report_snapshot(int(case.words[1]), failed=case.value("status") == "failure")

    def set_randomized_election_timeout(self, case: Case) -> None:
        timeout = int(case.value("timeout"))
        assert timeout
        self.member(case).node.raft.randomized_election_timeout = timeout

    def tick_election(self, case: Case) -> None:
        for _ in range(ELECTION_TICK):
            self.member(case).node.tick()

    def tick_heartbeat(self, case: Case) -> None:
        for _ in range(HEARTBEAT_TICK):
            self.member(case).node.tick()

    def set_level(self, name: str) -> None:
        if name.upper() not in LEVELS:
            raise CommandError(f"log levels must be either of [{' '.join(LEVELS)}]")
        self.level = LEVELS.index(name.upper())

    def log_level(self, case: Case) -> None:
        self.set_level(case.words[0])

    def compact(self, case: Case) -> None:
        self.member(case).storage.compact(int(case.words[1]))
        self.raft_log(case)

    def raft_log(self, case: Case) -> None:
        storage = self.member(case).storage
        first, last = storage.first_index(), storage.last_index()
        if last < first:
            self.print(f"log is empty: first index={first}, last index={last}")
            return
        self.print("\n".join(describe.entries(storage.entries(first, last + 1, NO_LIMIT))))

    def raft_state(self, case: Case) -> None:
        for member in self.members:
            status = member.node.status()
            voter = "(Voter)" if status.id in status.membership.voters_all else "(Non-Voter)"
            self.print(
                f"{status.id}: {status.soft_state.state.name} {voter} "
                f"Term:{status.hard_state.term} Lead:{status.soft_state.lead}"
            )

    def status(self, case: Case) -> None:
        for member, progress in sorted(self.member(case).node.status().progress.items()):
            self.print(f"{member}: {progress}")

    def propose(self, case: Case) -> None:
        self.member(case).node.propose(case.words[1].encode())

    def propose_conf_change(self, case: Case) -> None:
        v1 = False
        transition = ConfChangeTransition.AUTO
        for name, values in case.arguments[1:]:
            for value in values:
                if name == "v1":
                    v1 = value == "true"
                elif name == "transition":
                    if value not in TRANSITIONS:
                        raise CommandError(f"unknown transition {value}")
                    transition = TRANSITIONS[value]
                else:
                    raise CommandError(f"unknown command {name}")
        changes = parse_changes(case.input)
        node = self.member(case).node
        if not v1:
            node.propose_conf_change(ConfChangeV2(transition, changes))
            return
        if len(changes) > 1 or transition is not ConfChangeTransition.AUTO:
            raise CommandError("v1 conf change can only have one operation and no transition")
        node.propose_conf_change(ConfChange(changes[0].type, changes[0].node_id))

    def send_snapshot(self, case: Case) -> None:
        sender, receiver = map(int, case.words)
        member = self.members[sender - 1]
        message = Message(MSG_SNAP, receiver, sender, member.node.raft.term, snapshot=member.storage.snapshot())
        self.messages.append(message)
        self.print(describe.message(message))

    def split(self, member: int, kind: int | None, drop: bool) -> list[Message]:
        """Take the messages for a member out of the network."""

        def is_meant(message: Message) -> bool:
            local = message.from_ == message.to or message.from_ < 0 or message.to < 0
            return message.to == member and not (drop and local) and (kind is None or message.type == kind)

        taken = [message for message in self.messages if is_meant(message)]
        self.messages = [message for message in self.messages if not is_meant(message)]
        return taken

    def deliver_to(self, member: int, *, kind: int | None = None, drop: bool = False) -> int:
        taken = self.split(member, kind, drop)
        for message in taken:
            self.print(("dropped: " if drop else "") + describe.message(message))
            if not drop:
                try:
                    self.members[message.to - 1].node.step(message)
                except RaftProtocolError as error:
                    self.print(str(error))
        return len(taken)

    def deliver(self, case: Case) -> None:
        kind = None
        recipients: list[tuple[int, bool]] = []
        for name, values in case.arguments:
            if not values:
                recipients.append((int(name), False))
            elif name == "drop":
                recipients += [(int(value), True) for value in values]
            elif name == "type":
                kind = int(MessageType[values[0]])
        if sum([self.deliver_to(member, kind=kind, drop=drop) for member, drop in recipients]) == 0:
            self.print("no messages")

    def each(self, case: Case, what: str, work: Callable[[Member], None]) -> None:
        chosen = self.chosen(case)
        for number, member in chosen:
            if len(chosen) > 1:
                self.print(f"> {number} {what}")
                with self.indented():
                    work(member)
            else:
                work(member)

    def process_ready(self, case: Case) -> None:
        self.each(case, "handling Ready", self.ready)

    def process_append_thread(self, case: Case) -> None:
        self.each(case, "processing append thread", self.append_thread)

    def process_apply_thread(self, case: Case) -> None:
        self.each(case, "processing apply thread", self.apply_thread)

    def ready(self, member: Member) -> None:
        ready = member.node.ready()
        self.print(describe.ready(ready))
        if not member.async_writes:
            self.store(member, ready.hard_state, ready.entries, ready.snapshot)
            self.apply(member, ready.committed_entries)
        for message in ready.messages:
            if message.type == MSG_STORAGE_APPEND:
                member.append_work.append(message)
            elif message.type == MSG_STORAGE_APPLY:
                member.apply_work.append(message)
            else:
                assert message.to > 0
                self.messages.append(message)
        if not member.async_writes:
            member.node.advance(ready)

    def append_thread(self, member: Member) -> None:
        if not member.append_work:
            self.print("no append work to perform")
            return
        message = member.append_work.pop(0)
        self.worker(message)
        state = HardState(message.term, message.vote, message.commit)
        self.store(member, None if state == HardState() else state, message.entries, message.snapshot)
        self.messages += message.responses

    def apply_thread(self, member: Member) -> None:
        if not member.apply_work:
            self.print("no apply work to perform")
            return
        message = member.apply_work.pop(0)
        self.worker(message)
        self.apply(member, message.entries)
        self.messages += message.responses

    def worker(self, message: Message) -> None:
        self.print("Processing:")
        work = {name: getattr(message, name) for name in message.__struct_fields__ if name != "responses"}
        self.print(describe.message(Message(**work)))
        self.print("Responses:")
        for response in message.responses:
            self.print(describe.message(response))

    def store(
        self, member: Member, state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None
    ) -> None:
        if state is not None:
            member.storage.set_hard_state(state)
        if snapshot is not None:
            if entries:
                raise CommandError("can't apply snapshot and entries at the same time")
            member.storage.apply_snapshot(snapshot)
            return
        member.storage.append(entries)

    def apply(self, member: Member, entries: Sequence[Entry]) -> None:
        for entry in entries:
            history = member.storage.history
            update, state = entry.data, history[-1].conf_state
            if entry.type != EntryType.NORMAL:
                change = confchange.decode(entry)
                update, state = change.context, member.node.apply_conf_change(change)
            history.append(Snapshot(entry.index, entry.term, state, history[-1].data + update))

    def stabilize(self, case: Case) -> None:
        level = self.level
        if case.values("log-level"):
            self.set_level(case.value("log-level"))
        try:
            self.run(self.chosen(case) or list(enumerate(self.members, 1)))
        finally:
            self.level = level

    def run(self, members: list[tuple[int, Member]]) -> None:
        """Let these members work until none of them has anything left to do."""
        done = False
        while not done:
            done = True
            for number, member in members:
                if member.node.has_ready():
                    done = False
                    self.print(f"> {number} handling Ready")
                    with self.indented():
                        self.ready(member)
            for number, _ in members:
                if any(message.to == number for message in self.messages):
                    done = False
                    self.print(f"> {number} receiving messages")
                    with self.indented():
                        self.deliver_to(number)
            for number, member in members:
                if member.append_work:
                    done = False
                    self.print(f"> {number} processing append thread")
                    while member.append_work:
                        with self.indented():
                            self.append_thread(member)
            for number, member in members:
                if member.apply_work:
                    done = False
                    self.print(f"> {number} processing apply thread")
                    while member.apply_work:
                        with self.indented():
                            self.apply_thread(member)
