"""The short way of a leader without peers: what it has stored is committed, and no message says so."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgekube.raft.confchange import ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.raft.messages import Entry, HardState, Message, MessageType
from edgekube.raft.rawnode import RawNode
from edgekube.raft.roles import FOLLOWER, LEADER
from tests.unit.raft.group import Group

PAYLOADS = (b"a", b"bb")


def alone() -> Group:
    group = Group((1,), async_storage_writes=True)
    group.elect(1)
    return group


def described(node: RawNode) -> object:
    status = node.status()
    progress = {member: str(one) for member, one in status.progress.items()}
    return status.hard_state, status.soft_state, progress, node.statistics()


def store(group: Group, entries: Sequence[Entry]) -> None:
    group.store(1, None, entries, None)


def test_it_comes_to_the_same_as_the_long_way() -> None:
    short, long = alone(), alone()
    for _ in range(3):
        entries = short.nodes[1].propose_alone(PAYLOADS)
        assert [entry.data for entry in entries] == list(PAYLOADS)
        assert not short.nodes[1].has_ready()
        assert short.nodes[1].raft.log.committed < entries[0].index, "nothing is committed before it is stored"
        store(short, entries)
        assert short.nodes[1].stored_alone(entries)
        short.apply(1, entries)
        short.nodes[1].applied_alone(entries)
        assert not short.nodes[1].has_ready()
        long.nodes[1].propose_batch(PAYLOADS)
        long.settle()
    assert short.values(1) == long.values(1) == [*PAYLOADS] * 3
    assert described(short.nodes[1]) == described(long.nodes[1])
    assert short.log(1) == long.log(1)


def test_what_may_not_be_applied_yet_comes_in_a_ready() -> None:
    group = alone()
    entries = group.nodes[1].propose_alone(PAYLOADS)
    store(group, entries)
    assert group.nodes[1].stored_alone(entries)
    group.settle()
    assert group.values(1) == [*PAYLOADS]
    assert group.nodes[1].propose_alone(PAYLOADS)


@pytest.mark.parametrize("voters", [(1, 2), (1, 2, 3)])
def test_it_is_not_for_who_has_peers(voters: tuple[int, ...]) -> None:
    group = Group(voters, async_storage_writes=True)
    leader = group.elect(1)
    before = described(leader)
    assert leader.propose_alone(PAYLOADS) == ()
    assert described(leader) == before


def test_it_is_not_for_who_has_a_learner_or_does_not_lead() -> None:
    group = Group((1,), learners=(2,), async_storage_writes=True)
    assert group.nodes[1].propose_alone(PAYLOADS) == ()
    assert group.elect(1).propose_alone(PAYLOADS) == ()


def test_it_waits_for_what_is_under_way() -> None:
    group = alone()
    node = group.nodes[1]
    node.propose(b"before")
    assert node.propose_alone(PAYLOADS) == ()
    group.ready(1)
    group.append_one(1)
    assert node.propose_alone(PAYLOADS) == ()
    group.settle()
    assert node.propose_alone(PAYLOADS)
    assert node.propose_alone(PAYLOADS) == (), "one batch at a time"


def test_nothing_is_proposed_before_the_term_is_stored() -> None:
    group = Group((1,), async_storage_writes=True)
    node = group.nodes[1]
    node.campaign()
    while node.raft.state is not LEADER:
        assert node.propose_alone(PAYLOADS) == ()
        group.ready(1)
        assert node.propose_alone(PAYLOADS) == ()
        group.append_one(1)
    assert node.propose_alone(PAYLOADS) == ()
    group.settle()
    assert node.propose_alone(PAYLOADS)


def test_a_membership_change_goes_behind_a_batch_under_way() -> None:
    group = alone()
    node = group.nodes[1]
    entries = node.propose_alone(PAYLOADS)
    change = ConfChangeV2(ConfChangeTransition.AUTO, (ConfChangeSingle(ConfChangeType.ADD_NODE, 2),))
    node.propose_conf_change(change)
    group.ready(1)
    (message,) = group.work[1]
    assert [entry.index for entry in message.entries] == [entries[-1].index + 1]
    store(group, entries)
    assert node.stored_alone(entries)
    group.apply(1, entries)
    node.applied_alone(entries)
    group.settle()
    assert group.machines[1].conf_state.voters == (1, 2)
    assert group.values(1) == [*PAYLOADS]
    assert node.propose_alone(PAYLOADS) == ()


def test_what_was_under_way_when_a_higher_term_came_is_committed_by_the_next() -> None:
    """A stranger's term makes a follower of it; the entries are reported with what the new term writes."""
    group = alone()
    node = group.nodes[1]
    entries = node.propose_alone(PAYLOADS)
    node.step(Message(MessageType.MsgHeartbeat, 1, 9, 7))
    assert node.raft.state is FOLLOWER
    store(group, entries)
    assert not node.stored_alone(entries)
    assert node.raft.log.committed < entries[0].index
    group.settle()
    assert group.values(1) == []
    assert group.machines[1].initial_state()[0] == HardState(7, 0, entries[0].index - 1)
    group.elect(1)
    assert group.values(1) == [*PAYLOADS]


def test_a_crash_before_it_is_stored_forgets_it() -> None:
    group = alone()
    group.nodes[1].propose_alone(PAYLOADS)
    group.start(1)
    group.elect(1)
    assert group.values(1) == []
