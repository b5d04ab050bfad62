"""Asynchronous storage writes: the core goes on while two workers write and apply."""

from __future__ import annotations

import msgspec

from edgekube.raft.messages import LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, Entry, Message, MessageType, Snapshot
from edgekube.raft.roles import LEADER
from tests.unit.raft.group import Group


def test_a_leader_sends_before_its_own_write_is_done() -> None:
    group = Group(async_storage_writes=True)
    group.elect(1)
    group.sent.clear()
    group.nodes[1].propose(b"value")
    group.ready(1)
    assert [message.to for message in group.take(MessageType.MsgApp)] == [2, 3]
    assert group.machines[1].last_index() == 1


def test_a_leader_does_not_count_itself_before_its_write_is_done() -> None:
    group = Group((1, 2, 3), async_storage_writes=True)
    group.elect(1)
    group.cut = {3}
    group.nodes[1].propose(b"value")
    group.ready(1)
    (append,) = [message for message in group.network if message.type == MessageType.MsgApp and message.to == 2]
    group.network = []
    group.deliver(append)
    group.ready(2)
    group.append_one(2)
    (answer,) = group.network
    group.deliver(answer)
    assert group.nodes[1].raft.log.committed == 1
    group.append_one(1)
    assert group.nodes[1].raft.log.committed == 2


def test_entries_can_commit_before_the_leader_has_stored_them_but_are_not_applied() -> None:
    group = Group((1, 2, 3), async_storage_writes=True)
    group.elect(1)
    group.nodes[1].propose(b"value")
    group.ready(1)
    for message in group.network:
        group.deliver(message)
    group.network = []
    for member in (2, 3):
        group.ready(member)
        group.append_one(member)
    for message in group.network:
        group.deliver(message)
    assert group.nodes[1].raft.log.committed == 2
    group.ready(1)
    assert group.apply_work[1] == []
    group.settle()
    assert group.values(1) == [b"value"]


def test_a_vote_waits_for_its_write() -> None:
    group = Group(async_storage_writes=True)
    group.nodes[1].campaign()
    group.ready(1)
    for message in group.network:
        group.deliver(message)
    group.network = []
    group.ready(2)
    assert group.network == []
    group.append_one(2)
    assert [message.type for message in group.network] == [MessageType.MsgVoteResp]
    assert group.machines[2].initial_state()[0].vote == 1


def test_writes_overlap() -> None:
    group = Group((1,), async_storage_writes=True)
    group.elect(1)
    for value in (b"a", b"b", b"c"):
        group.nodes[1].propose(value)
        group.ready(1)
    assert [len(message.entries) for message in group.work[1]] == [1, 1, 1]
    assert len(group.nodes[1].raft.log.unstable.entries) == 3
    group.append_one(1)
    assert len(group.nodes[1].raft.log.unstable.entries) == 2
    group.settle()
    assert group.values(1) == [b"a", b"b", b"c"]


def test_work_goes_to_two_workers_in_the_last_messages() -> None:
    group = Group((1,), async_storage_writes=True)
    group.elect(1)
    node = group.nodes[1]
    node.propose(b"value")
    group.ready(1)
    group.append_one(1)
    node.propose(b"another")
    ready = node.ready()
    assert [message.to for message in ready.messages] == [LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD]
    assert [message.type for message in ready.messages[0].responses] == [
        MessageType.MsgAppResp,
        MessageType.MsgStorageAppendResp,
    ]


def test_a_crash_between_write_and_answer_loses_nothing_acknowledged() -> None:
    group = Group(async_storage_writes=True)
    group.elect(1)
    group.nodes[1].propose(b"value")
    group.ready(1)
    for message in group.network:
        group.deliver(message)
    group.network = []
    for member in (2, 3):
        group.ready(member)
    group.append_one(2)
    for message in group.network:
        group.deliver(message)
    group.append_one(1)
    assert group.nodes[1].raft.log.committed == 2
    # The third member crashes before its write; the others have it on disk.
    group.start(3)
    group.start(1)
    group.cut = {3}
    group.nodes[2].campaign()
    group.settle()
    assert group.nodes[2].raft.state is LEADER
    assert group.values(2) == [b"value"]


def test_a_snapshot_overtakes_entries_that_wait_to_be_applied() -> None:
    group = Group(async_storage_writes=True)
    group.elect(1)
    group.nodes[1].propose(b"a")
    group.settle()
    node = group.nodes[3]
    node.step(Message(MessageType.MsgApp, 3, 1, 1, 1, 2, 3, (Entry(1, 3, 0, b"b"),)))
    group.ready(3)
    group.append_one(3)
    group.ready(3)
    assert len(group.apply_work[3]) == 1
    snapshot = Snapshot(9, 1, group.conf_state, msgspec.msgpack.encode([b"all"]))
    node.step(Message(MessageType.MsgSnap, 3, 1, 1, snapshot=snapshot))
    group.settle_one(3)
    assert node.raft.log.applied == 9
    assert group.values(3) == [b"all"]
