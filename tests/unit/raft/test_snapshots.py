"""Members that are too far behind, or new, get a snapshot (section 7 of the paper)."""

from __future__ import annotations

import pytest

from edgekube.raft.errors import RaftProtocolError, SnapshotTemporarilyUnavailableError
from edgekube.raft.messages import ConfState, Message, MessageType, Snapshot
from edgekube.raft.progress import PROBE, REPLICATE, SNAPSHOT
from tests.unit.raft.group import Group

THREE = ConfState((1, 2, 3))


def behind(**settings: object) -> Group:
    """A group whose third member misses what the leader has compacted away."""
    group = Group(**settings)
    group.elect(1)
    group.cut = {3}
    for value in (b"a", b"b", b"c"):
        group.nodes[1].propose(value)
        group.settle()
    group.machines[1].compact(3)
    group.cut = set()
    return group


@pytest.mark.parametrize("async_storage_writes", [False, True])
def test_a_snapshot_catches_a_member_up(async_storage_writes: bool) -> None:
    group = behind(async_storage_writes=async_storage_writes)
    group.tick(2)
    assert len(group.take(MessageType.MsgSnap)) == 1
    assert group.values(3) == [b"a", b"b", b"c"]
    group.nodes[1].propose(b"d")
    group.settle()
    assert group.values(3) == [b"a", b"b", b"c", b"d"]
    assert group.nodes[1].status().progress[3].state is REPLICATE


def test_nothing_is_sent_while_a_snapshot_is_on_its_way() -> None:
    group = behind()
    group.keep = lambda message: message.type != MessageType.MsgSnap
    group.tick(2)
    progress = group.nodes[1].status().progress[3]
    assert (progress.state, progress.pending_snapshot, progress.next) == (SNAPSHOT, 4, 5)
    group.sent.clear()
    group.nodes[1].propose(b"d")
    group.tick(5)
    assert not [m for m in group.sent if m.to == 3 and m.type in (MessageType.MsgApp, MessageType.MsgSnap)]


def test_a_failed_snapshot_is_sent_again() -> None:
    group = behind()
    group.keep = lambda message: message.type != MessageType.MsgSnap
    group.tick(2)
    group.keep = lambda message: True
    group.nodes[1].report_snapshot(3, failed=True)
    progress = group.nodes[1].status().progress[3]
    assert (progress.state, progress.next, progress.is_paused) == (PROBE, progress.match + 1, True)
    group.tick(2)
    assert group.values(3) == [b"a", b"b", b"c"]


def test_a_snapshot_reported_sent_is_probed_behind() -> None:
    group = behind()
    group.keep = lambda message: message.type != MessageType.MsgSnap
    group.tick(2)
    group.nodes[1].report_snapshot(3, failed=False)
    progress = group.nodes[1].status().progress[3]
    assert (progress.state, progress.next, progress.is_paused) == (PROBE, 5, True)


def test_a_member_that_was_not_heard_from_gets_no_snapshot() -> None:
    group = Group()
    group.cut = {3}
    group.elect(1)
    group.nodes[1].propose(b"a")
    group.settle()
    group.machines[1].compact(2)
    group.tick(5)
    assert group.take(MessageType.MsgSnap) == []


def test_a_snapshot_that_is_not_ready_yet_is_asked_for_again() -> None:
    group = behind()
    machine = group.machines[1]
    real = machine.snapshot

    def unavailable() -> Snapshot:
        raise SnapshotTemporarilyUnavailableError

    machine.snapshot = unavailable  # type: ignore[method-assign]
    group.tick(3)
    assert group.values(3) == []
    machine.snapshot = real  # type: ignore[method-assign]
    group.tick(3)
    assert group.values(3) == [b"a", b"b", b"c"]


def test_nothing_is_applied_and_no_campaign_begins_before_a_snapshot_is_stored() -> None:
    group = Group()
    node = group.nodes[2]
    node.step(Message(MessageType.MsgSnap, 2, 1, 3, snapshot=Snapshot(10, 3, THREE)))
    ready = node.ready()
    assert ready.snapshot is not None
    assert ready.committed_entries == ()
    assert not node.raft.promotable
    assert node.raft.log.applied == 0
    group.machines[2].apply_snapshot(ready.snapshot)
    node.advance(ready)
    assert node.raft.promotable
    assert node.raft.log.applied == 10


def test_a_snapshot_brings_its_membership() -> None:
    group = Group()
    state = ConfState((2, 5, 7), (8,), (1, 2, 3), (3,), True)
    group.nodes[2].step(Message(MessageType.MsgSnap, 2, 1, 3, snapshot=Snapshot(10, 3, state)))
    assert group.nodes[2].status().membership.conf_state() == state


def test_a_snapshot_for_others_is_ignored() -> None:
    group = Group()
    group.nodes[2].step(Message(MessageType.MsgSnap, 2, 1, 3, snapshot=Snapshot(10, 3, ConfState((1, 3)))))
    assert group.nodes[2].raft.log.last_index == 0


@pytest.mark.parametrize(
    "state",
    [
        ConfState((1, 2), learners=(2,)),
        ConfState((1, 2), learners_next=(3,)),
        ConfState((1, 2), auto_leave=True),
        ConfState((), voters_outgoing=(2,)),
        ConfState((0, 2)),
    ],
)
def test_a_snapshot_with_an_impossible_membership_is_refused(state: ConfState) -> None:
    group = Group()
    with pytest.raises(RaftProtocolError, match="invalid"):
        group.nodes[2].step(Message(MessageType.MsgSnap, 2, 1, 3, snapshot=Snapshot(10, 3, state)))
    assert group.nodes[2].raft.log.last_index == 0
    assert group.nodes[2].status().membership.voters == {1, 2, 3}


def test_a_log_that_has_it_all_is_kept_and_committed() -> None:
    group = Group()
    group.elect(1)
    group.keep = lambda message: message.type != MessageType.MsgAppResp
    group.nodes[1].propose(b"a")
    group.settle()
    follower = group.nodes[2].raft
    assert (follower.log.last_index, follower.log.committed) == (2, 1)
    group.nodes[2].step(Message(MessageType.MsgSnap, 2, 1, 1, snapshot=Snapshot(2, 1, THREE)))
    assert follower.log.committed == 2
    assert follower.log.unstable.snapshot is None


def test_an_older_snapshot_than_was_sent_serves_if_the_log_reaches_back() -> None:
    group = behind()
    group.cut = {3}
    group.nodes[1].propose(b"d")
    group.settle()
    group.cut = set()
    group.keep = lambda message: message.type != MessageType.MsgSnap
    group.tick(2)
    assert group.nodes[1].status().progress[3].pending_snapshot == 5
    group.keep = lambda message: True
    # Somebody else gave it the state at 4; the leader's log begins at 4.
    group.deliver(Message(MessageType.MsgSnap, 3, 1, 1, snapshot=Snapshot(4, 1, THREE, b"\x90")))
    group.settle()
    assert group.nodes[1].status().progress[3].state is REPLICATE
    assert group.nodes[1].status().progress[3].match == 5
