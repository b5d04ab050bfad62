"""Membership changes: simple, joint, learners, removal of the leader (section 6 of the paper; thesis, section 4)."""

from __future__ import annotations

import pytest

from edgekube.raft import confchange
from edgekube.raft.confchange import ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.raft.errors import ConfChangeError, ProposalDroppedError, RaftProtocolError
from edgekube.raft.messages import Entry, EntryType, Message, MessageType
from edgekube.raft.roles import FOLLOWER, LEADER
from tests.unit.raft.group import Group

ADD, REMOVE, LEARN = ConfChangeType.ADD_NODE, ConfChangeType.REMOVE_NODE, ConfChangeType.ADD_LEARNER_NODE


def change(
    *steps: tuple[ConfChangeType, int], transition: ConfChangeTransition = ConfChangeTransition.AUTO
) -> ConfChangeV2:
    return ConfChangeV2(transition, tuple(ConfChangeSingle(kind, member) for kind, member in steps))


def memberships(group: Group) -> set[str]:
    return {str(node.status().membership) for node in group.nodes.values()}


@pytest.mark.parametrize("async_storage_writes", [False, True])
def test_a_group_grows_from_one_to_five_and_shrinks_again(async_storage_writes: bool) -> None:
    group = Group((1,), async_storage_writes=async_storage_writes)
    group.elect(1)
    group.nodes[1].propose(b"early")
    for member in (2, 3, 4, 5):
        group.add(member)
        group.nodes[1].propose_conf_change(ConfChange(ADD, member))
        group.tick(3)
    assert memberships(group) == {"voters=(1 2 3 4 5)"}
    assert group.values(5) == [b"early"]
    for member in (5, 4, 3, 2):
        group.nodes[1].propose_conf_change(ConfChange(REMOVE, member))
        group.tick(3)
    group.nodes[1].propose(b"late")
    group.settle()
    assert group.values(1) == [b"early", b"late"]


def test_several_changes_go_through_a_joint_membership_that_leaves_itself() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    for member in (4, 5):
        group.add(member)
    group.nodes[1].propose_conf_change(change((ADD, 4), (ADD, 5), (REMOVE, 2), (LEARN, 3)))
    group.tick(4)
    assert str(group.nodes[1].status().membership) == "voters=(1 4 5) learners=(3)"
    assert group.nodes[3].raft.is_learner


def test_while_joint_both_majorities_are_needed() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    for member in (4, 5):
        group.add(member)
    explicit = ConfChangeTransition.JOINT_EXPLICIT
    group.nodes[1].propose_conf_change(change((ADD, 4), (ADD, 5), (REMOVE, 2), (REMOVE, 3), transition=explicit))
    group.tick(3)
    assert str(group.nodes[1].status().membership) == "voters=(1 4 5)&&(1 2 3)"
    for cut, value in (({2, 3}, b"new only"), ({4, 5}, b"old only")):
        group.cut = cut
        group.nodes[1].propose(value)
        group.tick(2)
        assert value not in group.values(1)
        group.cut = set()
        group.tick(2)
        assert value in group.values(1)
    group.nodes[1].propose_conf_change(ConfChangeV2())
    group.tick(2)
    assert str(group.nodes[1].status().membership) == "voters=(1 4 5)"


def test_one_change_at_a_time() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    group.keep = lambda message: message.type != MessageType.MsgAppResp
    group.nodes[1].propose_conf_change(ConfChange(ADD, 4))
    group.nodes[1].propose_conf_change(ConfChange(ADD, 5))
    log = group.nodes[1].raft.log
    kinds = [entry.type for entry in log.slice(2, log.last_index + 1)]
    assert kinds == [EntryType.CONF_CHANGE, EntryType.NORMAL]


@pytest.mark.parametrize("steps", [((REMOVE, 1), (REMOVE, 2), (REMOVE, 3)), ((LEARN, 1), (LEARN, 2), (LEARN, 3))])
def test_a_change_that_leaves_no_voter_is_refused_at_once(steps: tuple[tuple[ConfChangeType, int], ...]) -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    last = group.nodes[1].raft.log.last_index
    with pytest.raises(ConfChangeError, match="removed all voters"):
        group.nodes[1].propose_conf_change(change(*steps))
    assert group.nodes[1].raft.log.last_index == last
    group.nodes[1].propose_conf_change(ConfChange(ADD, 1))
    assert group.nodes[1].raft.log.last_index == last + 1


def test_an_unreadable_change_is_refused() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    bad = Entry(0, 0, EntryType.CONF_CHANGE_V2, b"\xc1")
    with pytest.raises(RaftProtocolError, match="no readable"):
        group.nodes[1].step(Message(MessageType.MsgProp, 1, 2, entries=(bad,)))


def test_a_change_that_does_not_fit_when_applied_changes_nothing() -> None:
    group = Group((1, 2, 3))
    with pytest.raises(ConfChangeError, match="non-joint"):
        group.nodes[2].apply_conf_change(ConfChangeV2())
    with pytest.raises(ConfChangeError, match="removed all voters"):
        group.nodes[2].apply_conf_change(change((REMOVE, 1), (REMOVE, 2), (REMOVE, 3)))
    assert str(group.nodes[2].status().membership) == "voters=(1 2 3)"


@pytest.mark.parametrize("step_down_on_removal", [False, True])
def test_a_removed_leader_steps_down_if_told_to(step_down_on_removal: bool) -> None:
    group = Group((1, 2, 3), step_down_on_removal=step_down_on_removal)
    group.elect(1)
    group.nodes[1].propose_conf_change(ConfChange(REMOVE, 1))
    group.settle()
    assert (group.nodes[1].raft.state is FOLLOWER) is step_down_on_removal
    with pytest.raises(ProposalDroppedError):
        group.nodes[1].propose(b"value")
    group.nodes[1].campaign()
    group.settle()
    assert group.nodes[1].raft.term == 1
    group.nodes[2].campaign()
    group.settle()
    assert group.leader.raft.id == 2


def test_a_leader_that_removed_itself_does_not_count_itself() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    group.nodes[1].propose_conf_change(ConfChange(REMOVE, 1))
    group.nodes[1].propose(b"after")
    group.keep = lambda message: not (message.from_ == 3 and message.type == MessageType.MsgAppResp)
    group.settle()
    # Entry 2 took 1 and 2; what follows needs 2 and 3.
    assert group.nodes[1].raft.log.committed in (2, 3)
    assert 1 not in group.nodes[1].raft.tracker.membership.voters


def test_learners_get_everything_and_decide_nothing() -> None:
    group = Group((1,), learners=(2, 3))
    group.elect(1)
    group.cut = {2}
    group.nodes[1].propose(b"value")
    group.settle()
    assert group.values(1) == group.values(3) == [b"value"]
    group.tick(40, 3)
    assert group.nodes[3].raft.term == 1
    group.nodes[3].campaign()
    assert group.nodes[3].raft.state is FOLLOWER


def test_a_learner_is_promoted_and_then_counts() -> None:
    group = Group((1,), learners=(2,))
    group.elect(1)
    group.nodes[1].propose_conf_change(ConfChange(ADD, 2))
    group.settle()
    group.cut = {2}
    group.nodes[1].propose(b"value")
    group.settle()
    assert group.values(1) == []
    group.cut = set()
    group.tick(3)
    assert group.values(2) == [b"value"]


def test_a_learner_that_does_not_know_of_its_promotion_votes() -> None:
    group = Group((1, 2), learners=(3,))
    group.elect(1)
    # 3 stores the change, but never hears that it is committed.
    group.keep = lambda message: not (message.to == 3 and message.commit >= 2)
    group.nodes[1].propose_conf_change(ConfChange(ADD, 3))
    group.settle()
    assert group.nodes[3].raft.is_learner
    assert group.nodes[2].status().membership.voters == {1, 2, 3}
    group.keep = lambda message: True
    group.cut = {1}
    group.nodes[2].campaign()
    group.settle()
    assert group.nodes[2].raft.state is LEADER


def test_no_campaign_while_a_committed_change_is_unapplied() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    follower = group.nodes[2]
    follower.step(Message(MessageType.MsgApp, 2, 1, 1, 1, 1, 2, (Entry(1, 2, *confchange.encode(ConfChange(ADD, 4))),)))
    follower.campaign()
    assert follower.raft.state is FOLLOWER
    group.settle()
    follower.campaign()
    assert follower.raft.state is not FOLLOWER


def test_a_leader_leaves_a_joint_membership_it_inherited() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    for member in (4, 5):
        group.add(member)
    # The first leader enters the joint membership and is gone before it can leave it.
    group.keep = lambda message: (
        not any(entry.type == EntryType.CONF_CHANGE_V2 and not entry.data for entry in message.entries)
    )
    group.nodes[1].propose_conf_change(change((ADD, 4), (ADD, 5)))
    group.tick(3)
    assert group.nodes[2].status().membership.auto_leave
    group.cut = {1}
    group.keep = lambda message: True
    group.elect(2)
    group.tick(3)
    assert memberships(group) - {str(group.nodes[1].status().membership)} == {"voters=(1 2 3 4 5)"}


def test_leaving_a_joint_membership_is_tried_again_after_a_failed_handover() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    group.add(4)
    group.nodes[1].propose_conf_change(change((ADD, 4), (REMOVE, 3)))
    group.ready(1)
    group.cut = {3}
    group.nodes[1].transfer_leader(3)
    group.settle()
    assert group.nodes[1].status().membership.auto_leave
    group.tick(15)
    assert str(group.nodes[1].status().membership) == "voters=(1 2 4)"


def test_responses_of_a_stranger_are_refused() -> None:
    group = Group((1, 2, 3))
    group.elect(1)
    with pytest.raises(RaftProtocolError, match="peer not found"):
        group.nodes[1].step(Message(MessageType.MsgAppResp, 1, 9, 1, 0, 1))


@pytest.mark.parametrize(
    ("kind", "text"), [(MessageType.MsgHup, "local message"), (MessageType.MsgStorageAppendResp, "local message")]
)
def test_local_messages_of_a_peer_are_refused(kind: MessageType, text: str) -> None:
    group = Group((1, 2, 3))
    with pytest.raises(RaftProtocolError, match=text):
        group.nodes[1].step(Message(kind, 1, 2, 1))


def test_changes_keep_their_encoding() -> None:
    for value in (
        ConfChange(ADD, 7, b"address"),
        change((ADD, 7), (LEARN, 8), transition=ConfChangeTransition.JOINT_IMPLICIT),
        ConfChangeV2(),
    ):
        assert confchange.decode(Entry(1, 1, *confchange.encode(value))) == value
    assert confchange.encode(ConfChangeV2()) == (EntryType.CONF_CHANGE_V2, b"")
