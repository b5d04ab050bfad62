"""Handing leadership over."""

from __future__ import annotations

import pytest

from edgekube.raft.errors import ProposalDroppedError
from edgekube.raft.messages import MessageType
from edgekube.raft.roles import FOLLOWER, LEADER
from tests.unit.raft.group import Group


@pytest.mark.parametrize("settings", [{}, {"check_quorum": True, "pre_vote": True}])
@pytest.mark.parametrize("asked", [1, 2, 3])
def test_leadership_moves_whoever_is_asked(settings: dict[str, object], asked: int) -> None:
    group = Group(**settings)
    group.elect(1)
    group.nodes[asked].transfer_leader(3)
    group.settle()
    assert group.leader.raft.id == 3
    assert group.nodes[1].raft.state is FOLLOWER
    group.nodes[1].propose(b"value")
    group.settle()
    assert group.values(2) == [b"value"]


def test_a_transferee_that_is_behind_is_brought_up_to_date_first() -> None:
    group = Group()
    group.elect(1)
    group.cut = {3}
    group.nodes[1].propose(b"value")
    group.settle()
    group.cut = set()
    group.nodes[1].transfer_leader(3)
    assert not [message for message in group.nodes[1].raft.msgs if message.type == MessageType.MsgTimeoutNow]
    group.tick(2)
    assert group.leader.raft.id == 3
    assert group.values(3) == [b"value"]


def test_a_transferee_that_needs_a_snapshot_gets_it_first() -> None:
    group = Group()
    group.elect(1)
    group.cut = {3}
    group.nodes[1].propose(b"value")
    group.settle()
    group.machines[1].compact(2)
    group.cut = set()
    group.nodes[1].transfer_leader(3)
    group.tick(3)
    assert group.leader.raft.id == 3
    assert group.values(3) == [b"value"]


def test_no_proposals_while_leadership_is_being_handed_over() -> None:
    group = Group()
    group.elect(1)
    group.cut = {3}
    group.nodes[1].transfer_leader(3)
    for propose in (lambda: group.nodes[1].propose(b"value"), lambda: group.nodes[1].propose_batch([b"a", b"b"])):
        with pytest.raises(ProposalDroppedError):
            propose()


def test_a_transfer_ends_after_an_election_timeout() -> None:
    group = Group(election_tick=10)
    group.elect(1)
    group.cut = {3}
    group.nodes[1].transfer_leader(3)
    group.tick(9, 1)
    assert group.nodes[1].status().lead_transferee == 3
    group.tick(1, 1)
    assert group.nodes[1].status().lead_transferee == 0
    group.nodes[1].propose(b"value")
    group.settle()
    assert group.values(2) == [b"value"]


@pytest.mark.parametrize("to", [1, 4, 9])
def test_a_transfer_to_oneself_a_learner_or_a_stranger_is_ignored(to: int) -> None:
    group = Group(learners=(4,))
    group.elect(1)
    group.nodes[1].transfer_leader(to)
    group.settle()
    assert group.leader.raft.id == 1
    assert group.nodes[1].status().lead_transferee == 0


def test_a_second_transfer_replaces_the_first() -> None:
    group = Group()
    group.elect(1)
    group.cut = {2}
    group.nodes[1].transfer_leader(2)
    group.nodes[1].transfer_leader(3)
    group.settle()
    assert group.leader.raft.id == 3


def test_a_transfer_overrides_the_lease_of_the_leader() -> None:
    group = Group(check_quorum=True)
    group.elect(1)
    group.nodes[2].campaign()
    group.settle()
    assert group.nodes[3].raft.lead == 1, "an ordinary campaign is ignored while a leader is heard"
    other = Group(check_quorum=True)
    other.elect(1)
    other.nodes[1].transfer_leader(2)
    other.settle()
    assert other.nodes[2].raft.state is LEADER


def test_a_forgotten_leader_frees_the_vote() -> None:
    group = Group(check_quorum=True, pre_vote=True)
    group.elect(1)
    group.cut = {1}
    group.nodes[2].campaign()
    group.settle()
    assert group.nodes[2].raft.state is not LEADER
    group.nodes[3].forget_leader()
    group.nodes[2].campaign()
    group.settle()
    assert group.nodes[2].raft.state is LEADER
