"""Whatever a peer sends, a member raises `RaftProtocolError` or nothing; whatever the network does, a group is safe."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekube.raft import confchange
from edgekube.raft.confchange import ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.raft.config import ReadOnlyOption
from edgekube.raft.core import Raft
from edgekube.raft.errors import RaftProtocolError
from edgekube.raft.messages import ConfState, Entry, Message, MessageType, Snapshot, decode_message, encode_message
from edgekube.raft.roles import LEADER, CampaignType
from tests.unit.raft.group import Group

small = st.integers(min_value=0, max_value=8)
numbers = st.one_of(small, st.integers(min_value=0, max_value=(1 << 63) - 1))
# Mostly the term that the group is in: a message of a much higher one would make all that follow outdated.
terms = st.sampled_from([0, 1, 1, 1, 1, 1, 1, 2, 3, 1 << 40, 1 << 62, (1 << 63) - 1])
members = st.integers(min_value=0, max_value=5)
changes = st.builds(
    ConfChangeV2,
    st.sampled_from(ConfChangeTransition),
    st.lists(st.builds(ConfChangeSingle, st.sampled_from(ConfChangeType), members), max_size=3).map(tuple),
)
payloads = st.one_of(st.binary(max_size=4), changes.map(msgspec.msgpack.encode))
entries = st.builds(Entry, small, small, st.integers(min_value=0, max_value=3), payloads)
conf_states = st.builds(
    ConfState,
    st.lists(members, max_size=3).map(tuple),
    st.lists(members, max_size=2).map(tuple),
    st.lists(members, max_size=3).map(tuple),
    st.lists(members, max_size=1).map(tuple),
    st.booleans(),
)
snapshots = st.none() | st.builds(Snapshot, numbers, small, conf_states)
messages = st.builds(
    Message,
    st.integers(min_value=0, max_value=25),
    members,
    members,
    terms,
    small,
    numbers,
    numbers,
    st.lists(entries, max_size=3).map(tuple),
    st.booleans(),
    numbers,
    snapshots,
    st.sampled_from([b"", b"x", b"CampaignTransfer", (1).to_bytes(8, "big"), (1 << 60).to_bytes(8, "big")]),
)


@st.composite
def appends(draw: st.DrawFn) -> Message:
    """Appends that hang together, so that they get past the outer checks."""
    index, log_term = draw(st.sampled_from([(0, 0), (1, 1), (1, 1), (2, 1), (2, 1), (3, 2), (5, 3)]))
    term = max(log_term, draw(st.sampled_from([1, 1, 1, 2, 3])))
    prior, carried = log_term, []
    for position in range(draw(st.integers(min_value=0, max_value=4))):
        log_term = draw(st.integers(min_value=log_term, max_value=term))
        kind = draw(st.integers(min_value=0, max_value=2))
        carried.append(Entry(log_term, index + 1 + position, kind, draw(payloads)))
    return Message(MessageType.MsgApp, 1, draw(members), term, prior, index, draw(small), tuple(carried))


@st.composite
def plausible(draw: st.DrawFn) -> Message:
    """Messages of other members that nearly fit the state: terms and positions are low, as they are in the group."""
    low = st.integers(min_value=0, max_value=4)
    term = draw(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 1, 2, 3]))
    kind = draw(
        st.sampled_from(
            [
                MessageType.MsgAppResp,
                MessageType.MsgAppResp,
                MessageType.MsgHeartbeat,
                MessageType.MsgHeartbeatResp,
                MessageType.MsgPreVote,
                MessageType.MsgPreVoteResp,
                MessageType.MsgSnap,
                MessageType.MsgTimeoutNow,
                MessageType.MsgTransferLeader,
                MessageType.MsgVote,
                MessageType.MsgVoteResp,
            ]
        )
    )
    snapshot = None
    if kind == MessageType.MsgSnap:
        voters = draw(st.sets(st.integers(min_value=1, max_value=5), min_size=1, max_size=4))
        outgoing = draw(st.sampled_from([(), (), (1, 2, 3)]))
        learners = {1} - voters - set(outgoing)
        state = ConfState(tuple(voters), tuple(learners), outgoing, (), bool(outgoing))
        snapshot = Snapshot(draw(low), draw(st.integers(min_value=1, max_value=term)), state)
    return Message(
        kind,
        1,
        draw(st.integers(min_value=2, max_value=4)),
        term,
        draw(low),
        draw(low),
        draw(low),
        reject=draw(st.booleans()),
        reject_hint=draw(low),
        snapshot=snapshot,
    )


actions = st.sampled_from(["tick", "propose", "campaign", "read", "compact", "change", "transfer"])
steps = st.one_of(messages, appends(), plausible(), plausible(), st.tuples(actions, members, changes))
SETTINGS = [
    {},
    {"check_quorum": True, "pre_vote": True, "step_down_on_removal": True},
    {"check_quorum": True, "read_only": ReadOnlyOption.LEASE_BASED, "disable_conf_change_validation": True},
    {"async_storage_writes": True, "max_size_per_msg": 8, "max_committed_size_per_ready": 16, "max_inflight_msgs": 2},
]


def act(group: Group, what: str, member: int, change: ConfChangeV2) -> None:
    node = group.nodes[1]
    try:
        match what:
            case "tick":
                node.tick()
            case "propose":
                node.propose(b"value")
            case "campaign":
                node.campaign()
            case "read":
                node.read_index(b"context")
            case "change":
                node.propose_conf_change(change)
            case "transfer":
                node.transfer_leader(member)
            case "compact":
                machine = group.machines[1]
                if machine.applied_index >= machine.first_index():
                    machine.compact(machine.applied_index)
    except RaftProtocolError:
        pass


@pytest.mark.parametrize("number", range(len(SETTINGS)))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25), st.sampled_from([None, 1, 2]))
def test_no_message_of_a_peer_raises_anything_else(number: int, todo: list[object], leader: int | None) -> None:
    group = Group(learners=(4,), seed=1, **SETTINGS[number])
    if leader is not None:
        group.elect(leader)
        group.nodes[leader].propose(b"first")
        group.settle()
    # From here on the first member hears only what the test invents; the others answer what it sends.
    for step in todo:
        if isinstance(step, Message):
            try:
                group.nodes[1].step(step)
            except RaftProtocolError:
                pass
        else:
            assert isinstance(step, tuple)
            act(group, *step)
        # A lie can undo an agreement, but the member itself stays in order and goes on working.
        group.settle_one(1)
        group.network = []
        log = group.nodes[1].raft.log
        assert log.applied <= log.applying <= log.committed <= log.last_index


def lie(draw: random.Random, raft: Raft) -> Message:
    """A message that takes its numbers from the state of its receiver, some of them a little off."""

    def near(value: int) -> int:
        return max(value + draw.choice([0, 0, 0, 0, 0, -1, 1, -2, 3]), 0)

    log = raft.log
    kind = draw.choice(list(MessageType))
    term = 0 if kind in (MessageType.MsgProp, MessageType.MsgReadIndex) else raft.term + draw.choice([0] * 30 + [1, -1])
    index = near(draw.choice([log.last_index, log.committed, log.applied, 0, log.first_index]))
    carried = []
    if kind in (MessageType.MsgApp, MessageType.MsgProp, MessageType.MsgReadIndex, MessageType.MsgReadIndexResp):
        for position in range(draw.choice([0, 1, 1, 1, 2, 3])):
            data = draw.choice([b"", b"lie", msgspec.msgpack.encode(ConfChange(ConfChangeType(draw.randrange(4)), 3))])
            carried.append(Entry(max(raft.term, 1), index + 1 + position, draw.choice([0, 0, 0, 1, 2]), data))
    snapshot = None
    if kind == MessageType.MsgSnap:
        voters = tuple(draw.sample([1, 2, 3, 4, 5], draw.randint(1, 4)))
        snapshot = Snapshot(near(log.last_index), max(raft.term, 1), ConfState(voters, (1,) if 1 not in voters else ()))
    return Message(
        kind,
        1,
        draw.choice([1, 2, 2, 3, 3, 4]),
        term,
        near(log.term(index) or 0),
        index,
        near(log.committed),
        tuple(carried),
        draw.random() < 0.3,
        near(draw.choice([log.last_index, log.committed, 0])),
        snapshot,
        draw.choice([b"", CampaignType.TRANSFER.value, raft.reads.context(near(raft.ticks))]),
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_a_member_stays_in_order_among_liars(seed: int, number: int) -> None:
    draw = random.Random(seed)
    answered = set()
    for step in range(600):
        if step % 100 == 0:
            # Lies about the membership may have made it a learner for good.
            group = Group(learners=(4,), seed=seed, **SETTINGS[number])
            node = group.nodes[1]
        if draw.random() < 0.02:
            # Be a leader as often as not; nobody else is asked.
            node.campaign()
            for voter in sorted(node.raft.tracker.membership.voters_all - {1}):
                group.settle_one(1)
                kind = MessageType.MsgPreVoteResp if node.raft.pre_vote else MessageType.MsgVoteResp
                node.step(Message(kind, 1, voter, node.raft.term + node.raft.pre_vote))
                group.settle_one(1)
                node.step(Message(MessageType.MsgVoteResp, 1, voter, node.raft.term))
        message = lie(draw, node.raft)
        try:
            node.step(message)
            answered.add((node.raft.state, message.type))
        except RaftProtocolError:
            pass
        act(group, draw.choice(["tick", "tick", "propose", "read", "compact", "transfer"]), 3, ConfChangeV2())
        group.settle_one(1)
        group.network = []
    assert len(answered) > 20


@given(messages)
def test_messages_survive_the_wire(message: Message) -> None:
    data = encode_message(message)
    assert encode_message(decode_message(data)) == data


@given(st.one_of(st.binary(max_size=80), messages.map(encode_message).flatmap(lambda data: st.just(data[:-1]))))
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    try:
        message = decode_message(data)
    except RaftProtocolError:
        return
    assert encode_message(message)


@pytest.mark.parametrize(
    "data",
    [
        encode_message(Message(MessageType.MsgApp, 1, -1, 1)),
        msgspec.msgpack.encode([3, 1, 2, (1 << 64) - 1]),
        msgspec.msgpack.encode([3, 1, 2, 1, 0, 0, 0, "entries"]),
        b"\x9e\x00\x00\x00\x00\x00\x00\x00\x90\xc2\x00\xc0\xc4\x00\x00\x91" * 100_000,
    ],
    ids=["sender is a worker", "number too large", "wrong type", "nested too deep"],
)
def test_the_wire_carries_nothing_impossible(data: bytes) -> None:
    with pytest.raises(RaftProtocolError, match="are no message"):
        decode_message(data)


@given(st.integers(min_value=0, max_value=2), st.binary(max_size=40))
def test_a_change_decodes_or_is_refused(kind: int, data: bytes) -> None:
    try:
        change = confchange.decode(Entry(1, 1, kind, data))
    except RaftProtocolError:
        return
    assert confchange.decode(Entry(1, 1, *confchange.encode(change))) == change


class Checker:
    """The safety properties of figure 3 of the paper, checked after every step of a run."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.leaders: dict[int, int] = {}
        self.committed: dict[int, Entry] = {}

    def check(self) -> None:
        for member, node in self.group.nodes.items():
            raft = node.raft
            if raft.state is LEADER:
                assert self.leaders.setdefault(raft.term, member) == member, "two leaders in one term"
            machine = self.group.machines[member]
            first = machine.first_index()
            for entry in machine.entries(first, min(machine.last_index(), machine.applied_index) + 1, 1 << 30):
                known = self.committed.setdefault(entry.index, entry)
                assert known == entry, "two members applied different entries at one index"


def run(seed: int, steps: int, voters: tuple[int, ...] = (1, 2, 3), **config: object) -> Group:
    """A seeded run with loss, repetition, reordering, partitions, restarts and membership changes."""
    group = Group(voters, seed=seed, election_tick=5, **config)
    checker = Checker(group)
    draw = random.Random(seed)
    group.elect(draw.choice(voters))
    proposed = 0
    for _ in range(steps):
        member = draw.choice(list(group.nodes))
        node = group.nodes[member]
        action = draw.random()
        if action < 0.5:
            for _ in range(draw.randint(1, 4)):
                if not group.network:
                    break
                message = group.network.pop(draw.randrange(len(group.network)) if draw.random() < 0.2 else 0)
                fate = draw.random()
                if fate > 0.03:
                    group.deliver(message)
                if fate > 0.97:
                    group.network.append(message)
        elif action < 0.75:
            if node.has_ready():
                group.ready(member)
        elif action < 0.81:
            if group.work[member]:
                group.append_one(member)
        elif action < 0.87:
            if group.apply_work[member]:
                group.apply_one(member)
        elif action < 0.93:
            node.tick()
        elif action < 0.975:
            proposed += 1
            try:
                node.propose(b"%d" % proposed)
            except RaftProtocolError:
                pass
        elif action < 0.98:
            group.cut = set() if group.cut else {member}
        elif action < 0.985:
            group.start(member)
        elif action < 0.99:
            machine = group.machines[member]
            if machine.applied_index >= machine.first_index():
                machine.compact(machine.applied_index)
        elif action < 0.994:
            node.transfer_leader(draw.choice(voters))
        else:
            kind = draw.choice([ConfChangeType.ADD_NODE, ConfChangeType.ADD_NODE, *ConfChangeType])
            others = [draw.choice(voters) for _ in range(draw.randint(0, 2))]
            change = ConfChangeV2(
                draw.choice(list(ConfChangeTransition)), tuple(ConfChangeSingle(kind, other) for other in others)
            )
            try:
                node.propose_conf_change(change)
            except RaftProtocolError:
                pass
        checker.check()
    group.cut = set()
    return group


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_a_hostile_network_breaks_no_promise(seed: int, number: int) -> None:
    run(seed, 1500, **SETTINGS[number])


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_the_hostile_network_does_not_stop_everything(number: int) -> None:
    applied = 0
    for seed in range(4):
        group = run(seed, 1500, **SETTINGS[number])
        applied += max(machine.applied_index for machine in group.machines.values())
    assert applied > 20


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("async_storage_writes", [False, True])
def test_a_group_recovers_when_the_network_does(seed: int, async_storage_writes: bool) -> None:
    config = {
        "check_quorum": True,
        "pre_vote": True,
        "step_down_on_removal": True,
        "async_storage_writes": async_storage_writes,
    }
    group = run(seed, 1500, **config)
    for _ in range(40):
        for node in group.nodes.values():
            leader = node.raft.lead
            for member in group.nodes:
                if leader == node.raft.id and member != leader:
                    node.report_snapshot(member, failed=False)
        group.tick(3)
    values = [group.values(member) for member in group.leader.raft.tracker.progress]
    assert all(value == values[0] for value in values)
    group.leader.propose(b"done")
    # Long enough for another election, should the leader find itself removed.
    group.tick(40)
    assert all(group.values(member)[-1] == b"done" for member in group.leader.raft.tracker.progress)
