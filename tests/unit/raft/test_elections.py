"""Elections with pre-vote and quorum check: who may disturb whom."""

from __future__ import annotations

import pytest

from edgekube.raft.messages import Message, MessageType
from edgekube.raft.roles import FOLLOWER, LEADER, PRE_CANDIDATE
from tests.unit.raft.group import Group

BOTH = {"pre_vote": True, "check_quorum": True}


def test_a_group_elects_a_leader_by_itself_and_keeps_it() -> None:
    group = Group(seed=3, **BOTH)
    group.tick(25)
    leader = group.leader.raft.id
    term = group.leader.raft.term
    group.tick(100)
    assert (group.leader.raft.id, group.leader.raft.term) == (leader, term)
    assert {node.raft.lead for node in group.nodes.values()} == {leader}


@pytest.mark.parametrize("seed", range(5))
def test_a_lost_leader_is_replaced_within_three_election_timeouts(seed: int) -> None:
    group = Group((1, 2, 3), seed=seed, **BOTH)
    group.elect(1)
    group.cut = {1}
    group.tick(30)
    assert group.leader.raft.id in (2, 3)
    group.cut = set()
    group.tick(2)
    assert group.nodes[1].raft.state is FOLLOWER
    assert group.nodes[1].raft.lead == group.leader.raft.id


def test_with_pre_vote_a_member_that_was_cut_off_comes_back_without_an_election() -> None:
    group = Group(**BOTH)
    group.elect(1)
    group.cut = {3}
    group.tick(60, 3)
    assert group.nodes[3].raft.state is PRE_CANDIDATE
    assert group.nodes[3].raft.term == 1
    group.cut = set()
    group.tick(5)
    assert (group.leader.raft.id, group.leader.raft.term) == (1, 1)
    assert group.nodes[3].raft.lead == 1


def test_without_pre_vote_it_forces_one() -> None:
    group = Group()
    group.elect(1)
    group.cut = {3}
    group.tick(60, 3)
    assert group.nodes[3].raft.term > 1
    group.cut = set()
    group.tick(40)
    assert group.leader.raft.term > 1


def test_a_member_with_a_higher_term_is_not_locked_out() -> None:
    """Its answer to the leader's heartbeat carries the term, or it would ignore the leader for ever."""
    group = Group(**BOTH)
    group.elect(1)
    group.cut = {3}
    group.nodes[3].raft.become_candidate()
    group.settle()
    group.cut = set()
    group.tick(40)
    assert len({node.raft.term for node in group.nodes.values()}) == 1
    assert {node.raft.lead for node in group.nodes.values()} == {group.leader.raft.id}


def test_a_leader_that_hears_from_no_quorum_steps_down() -> None:
    group = Group((1, 2, 3, 4, 5), check_quorum=True, election_tick=10)
    group.elect(1)
    group.cut = {4, 5}
    group.tick(40)
    assert group.nodes[1].raft.state is LEADER
    group.cut = {3, 4, 5}
    group.tick(20, 1, 2)
    assert group.nodes[1].raft.state is FOLLOWER


def test_a_pre_vote_changes_neither_term_nor_vote() -> None:
    group = Group(pre_vote=True)
    group.nodes[2].step(Message(MessageType.MsgPreVote, 2, 1, 7))
    ready = group.nodes[2].ready()
    assert ready.hard_state is None
    assert [(m.type, m.term, m.reject) for m in ready.messages] == [(MessageType.MsgPreVoteResp, 7, False)]


def test_a_vote_resets_the_election_timeout_and_a_refusal_does_not() -> None:
    group = Group()
    node = group.nodes[2]
    for _ in range(5):
        node.tick()
    node.step(Message(MessageType.MsgPreVote, 2, 1, 1))
    assert node.raft.election_elapsed == 5
    node.step(Message(MessageType.MsgVote, 2, 1, 1))
    assert node.raft.election_elapsed == 0


def test_one_voter_leads_itself_when_its_vote_is_stored() -> None:
    group = Group((1,), **BOTH)
    group.tick(25)
    assert group.leader.raft.id == 1
    group.nodes[1].propose(b"value")
    group.settle()
    assert group.values(1) == [b"value"]
    group.tick(50)
    assert group.nodes[1].raft.state is LEADER


def test_an_idle_leader_sends_heartbeats_and_nothing_else() -> None:
    group = Group(**BOTH)
    group.elect(1)
    group.sent.clear()
    group.tick(20)
    assert {message.type for message in group.sent} == {MessageType.MsgHeartbeat, MessageType.MsgHeartbeatResp}
    single = Group((1,), **BOTH)
    single.elect(1)
    for _ in range(50):
        single.nodes[1].tick()
        assert not single.nodes[1].has_ready()


def test_notes_are_few_and_say_who_leads() -> None:
    lines: list[str] = []
    group = Group((1,), note=lines.append)
    group.elect(1)
    for _ in range(10):
        group.nodes[1].propose(b"value")
        group.tick()
    assert [line for line in lines if "became=leader" in line] == ["member=1 term=1 became=leader last_index=1"]
    assert len(lines) == 3
