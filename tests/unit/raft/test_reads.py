"""Read barriers: a read that waits for one sees every write that was acknowledged before it was asked for."""

from __future__ import annotations

import random

import pytest

from edgekube.raft.confchange import ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.raft.config import Config, ReadOnlyOption
from edgekube.raft.errors import ConfigError, ProposalDroppedError
from edgekube.raft.leader import PENDING_READS_MAX, has_lease
from edgekube.raft.messages import ConfState, Entry, HardState, Message, MessageType
from edgekube.raft.readonly import ReadQueue, ReadState
from edgekube.raft.roles import LEADER
from tests.unit.raft.group import Group, StateMachine

LEASE = {"check_quorum": True, "read_only": ReadOnlyOption.LEASE_BASED}


def read(group: Group, member: int, context: bytes = b"read") -> list[ReadState]:
    group.machines[member].reads.clear()
    group.nodes[member].read_index(context)
    group.settle()
    return group.machines[member].reads


@pytest.mark.parametrize("settings", [{}, LEASE])
@pytest.mark.parametrize("member", [1, 2, 3, 4])
def test_a_barrier_names_the_commit_index_whoever_asks(settings: dict[str, object], member: int) -> None:
    group = Group(learners=(4,), **settings)
    group.elect(1)
    group.nodes[1].propose(b"value")
    group.settle()
    assert read(group, member) == [ReadState(2, b"read")]


def test_a_safe_barrier_costs_one_round_of_heartbeats_and_a_lease_none() -> None:
    for settings, heartbeats in (({}, 2), (LEASE, 0)):
        group = Group(**settings)
        group.elect(1)
        group.tick()
        group.sent.clear()
        read(group, 1)
        assert len(group.take(MessageType.MsgHeartbeat)) == heartbeats


def test_a_leader_that_lost_its_quorum_confirms_nothing() -> None:
    group = Group()
    group.elect(1)
    group.cut = {1}
    assert read(group, 1) == []
    group.elect(2)
    group.nodes[2].propose(b"newer")
    group.settle()
    # The answers that come late do not count for the barrier of a former term.
    group.cut = set()
    group.tick(3)
    assert group.machines[1].reads == []


def test_a_majority_confirms_and_one_of_five_does_not() -> None:
    group = Group((1, 2, 3, 4, 5))
    group.elect(1)
    group.cut = {3, 4, 5}
    assert read(group, 1) == []
    group.cut = {4, 5}
    group.tick()
    assert group.machines[1].reads == [ReadState(1, b"read")]


def test_learners_do_not_confirm() -> None:
    group = Group((1, 2, 3), learners=(4, 5))
    group.elect(1)
    group.cut = {2, 3}
    assert read(group, 1) == []


def test_both_halves_of_a_joint_membership_must_confirm() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    for member in (4, 5):
        group.add(member)
    changes = tuple(ConfChangeSingle(ConfChangeType.ADD_NODE, member) for member in (4, 5))
    changes += tuple(ConfChangeSingle(ConfChangeType.REMOVE_NODE, member) for member in (2, 3))
    group.nodes[1].propose_conf_change(ConfChangeV2(ConfChangeTransition.JOINT_EXPLICIT, changes))
    group.tick(3)
    assert str(group.nodes[1].status().membership) == "voters=(1 4 5)&&(1 2 3)"
    for cut in ({2, 3}, {4, 5}):
        group.cut = cut
        assert read(group, 1) == []
        group.cut = set()
        group.tick()
        assert len(group.machines[1].reads) == 1


def test_barriers_are_confirmed_in_order_and_echoes_only_once() -> None:
    queue = ReadQueue()
    queue.add(7, Message(MessageType.MsgReadIndex), leader=1)
    first = queue.context(5)
    queue.add(8, Message(MessageType.MsgReadIndex), leader=1)
    assert queue.acknowledge(2, first, 6)
    assert not queue.acknowledge(2, first, 6)
    assert queue.acked == {1: 2, 2: 1}
    assert queue.heard == {2: 5}
    assert [read.index for read in queue.release(1)] == [7]


def test_a_new_leader_waits_until_it_knows_what_is_committed() -> None:
    group = Group()
    group.elect(1)
    group.nodes[1].propose(b"acknowledged")
    group.settle()
    group.keep = lambda message: message.type != MessageType.MsgAppResp
    group.nodes[2].campaign()
    group.settle()
    assert read(group, 2) == []
    assert group.nodes[2].statistics().reads_pending == 1
    group.keep = lambda message: True
    group.tick(2)
    (state,) = group.machines[2].reads
    assert state.index >= 3


def test_one_answer_confirms_all_barriers_before_it() -> None:
    group = Group()
    group.elect(1)
    node = group.nodes[1]
    group.keep = lambda message: message.type != MessageType.MsgHeartbeatResp
    for context in (b"a", b"b", b"c"):
        node.read_index(context)
    group.settle()
    assert group.machines[1].reads == []
    group.keep = lambda message: True
    group.tick()
    assert [state.context for state in group.machines[1].reads] == [b"a", b"b", b"c"]


def test_an_echo_of_a_number_never_sent_confirms_nothing() -> None:
    group = Group()
    group.elect(1)
    group.keep = lambda message: message.type != MessageType.MsgHeartbeatResp
    group.nodes[1].read_index(b"read")
    group.settle()
    for context in ((2).to_bytes(8, "big") + bytes(8), b"x" * 16, b"short", b""):
        group.nodes[1].step(Message(MessageType.MsgHeartbeatResp, 1, 2, 1, context=context))
    group.settle()
    assert group.machines[1].reads == []


def test_barriers_that_wait_are_limited() -> None:
    group = Group()
    group.elect(1)
    group.cut = {2, 3}
    for _ in range(PENDING_READS_MAX):
        group.nodes[1].read_index(b"")
        group.nodes[1].raft.msgs.clear()
    with pytest.raises(ProposalDroppedError):
        group.nodes[1].read_index(b"")


def test_a_follower_without_leader_lets_the_asker_wait() -> None:
    group = Group()
    assert read(group, 2) == []


def test_a_barrier_that_comes_back_to_its_asker_is_answered() -> None:
    """Passed on to a leader of before, who by then follows the asker and passes it back."""
    group = Group()
    group.elect(2)
    group.nodes[1].read_index(b"read")
    group.ready(1)
    (asked,) = [message for message in group.network if message.type == MessageType.MsgReadIndex]
    group.network.clear()
    group.elect(1)
    group.nodes[2].step(asked)
    group.settle()
    assert [read.context for read in group.machines[1].reads] == [b"read"]
    assert not group.refused


def test_one_voter_answers_at_once() -> None:
    group = Group((1,), learners=(2,))
    group.elect(1)
    group.cut = {2}
    assert read(group, 1) == [ReadState(1, b"read")]


def test_one_voter_that_was_restarted_knows_first_what_it_had_committed() -> None:
    """The commit index is stored along with other things, so what was stored last may be behind."""
    machine = StateMachine(ConfState((1,)))
    machine.append([Entry(1, 1), Entry(1, 2, 0, b"acknowledged")])
    machine.set_hard_state(HardState(1, 1, 1))
    group = Group((1,), async_storage_writes=True)
    group.machines[1] = machine
    node = group.start(1)
    node.campaign()
    group.ready(1)
    group.append_one(1)
    assert node.raft.state is LEADER
    node.read_index(b"read")
    group.settle()
    assert machine.reads == [ReadState(3, b"read")]


def test_leases_need_the_quorum_check() -> None:
    settings = {"random": random.Random(1), "storage": StateMachine(ConfState((1,)))}
    with pytest.raises(ConfigError, match="check_quorum"):
        Config(id=1, read_only=ReadOnlyOption.LEASE_BASED, **settings).validate()


@pytest.mark.parametrize("seed", range(20))
def test_no_lease_outlives_the_election_of_another_leader(seed: int) -> None:
    group = Group(seed=seed, election_tick=5, **LEASE)
    group.elect(1)
    group.tick(1 + seed % 7)
    assert has_lease(group.nodes[1].raft)
    group.cut = {1}
    draw = random.Random(seed)
    for _ in range(60):
        # Ticks come once a round to everybody, but in any order.
        for member in draw.sample([1, 2, 3], 3):
            if draw.random() < 0.05 and member != 1:
                group.start(member)
            group.nodes[member].tick()
            group.settle()
            others = [group.nodes[other] for other in (2, 3)]
            if any(node.raft.state is LEADER for node in others):
                assert not has_lease(group.nodes[1].raft)
                return
    pytest.fail("nobody was elected")


def test_a_handover_voids_the_lease() -> None:
    group = Group(**LEASE)
    group.elect(1)
    group.tick()
    assert has_lease(group.nodes[1].raft)
    group.keep = lambda message: message.type != MessageType.MsgTimeoutNow
    group.nodes[1].transfer_leader(2)
    group.tick(11)
    assert group.nodes[1].raft.state is LEADER
    assert not has_lease(group.nodes[1].raft)
    assert len(read(group, 1)) == 1
