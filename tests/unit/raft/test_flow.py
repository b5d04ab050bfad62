"""How much is sent, kept waiting and applied at a time."""

from __future__ import annotations

import random

import pytest

from edgekube.raft.config import Config
from edgekube.raft.errors import ConfigError, ProposalDroppedError
from edgekube.raft.messages import (
    ConfState,
    Entry,
    HardState,
    Message,
    MessageType,
    entries_size,
    entry_size,
    limit_size,
    payloads_size,
)
from edgekube.raft.progress import PROBE, REPLICATE, Inflights, Progress
from edgekube.raft.rawnode import RawNode
from edgekube.raft.storage import MemoryStorage
from tests.unit.raft.group import Group, seeded


def appends(group: Group, to: int) -> list[Message]:
    return [message for message in group.take(MessageType.MsgApp) if message.to == to and message.entries]


def test_the_window_of_appends_is_respected_and_reopened() -> None:
    group = Group(max_inflight_msgs=3)
    group.elect(1)
    group.sent.clear()
    group.keep = lambda message: message.type != MessageType.MsgAppResp
    for number in range(5):
        group.nodes[1].propose(b"%d" % number)
    group.settle()
    assert [message.index for message in appends(group, 2)] == [1, 2, 3]
    assert len(group.nodes[1].status().progress[2].inflights) == 3
    group.keep = lambda message: True
    group.tick(3)
    assert group.values(2) == [b"0", b"1", b"2", b"3", b"4"]
    assert len(group.nodes[1].status().progress[2].inflights) == 0


def test_the_window_in_bytes_lets_the_append_that_reaches_it_pass() -> None:
    group = Group(max_size_per_msg=10, max_inflight_bytes=10)
    group.elect(1)
    group.sent.clear()
    group.keep = lambda message: message.type != MessageType.MsgAppResp
    for _ in range(4):
        group.nodes[1].propose(b"x" * 6)
    group.settle()
    assert len(appends(group, 2)) == 2
    group.keep = lambda message: True
    group.tick(3)
    assert len(group.values(3)) == 4


def test_acknowledging_the_last_append_frees_the_window_up_to_it() -> None:
    window = Inflights(4, 1 << 30)
    for index in (3, 5, 9, 10):
        window.add(index, 1)
    assert window.full
    window.free_to(2)
    assert len(window) == 4
    window.free_to(9)
    assert len(window) == 1
    assert not window.full


def test_a_new_follower_is_probed_with_one_append_at_a_time() -> None:
    group = Group()
    group.keep = lambda message: message.type != MessageType.MsgAppResp
    group.nodes[1].campaign()
    group.settle()
    for _ in range(3):
        group.nodes[1].propose(b"value")
        group.settle()
    assert len(appends(group, 2)) == 1
    # A heartbeat round allows one more.
    group.tick()
    assert len(appends(group, 2)) == 1


def test_an_append_is_cut_to_its_size_but_carries_one_entry() -> None:
    group = Group(max_size_per_msg=50)
    group.elect(1)
    group.cut = {2}
    payloads = [b"x" * 15, b"x" * 15, b"x" * 15, b"x" * 200, b"y"]
    group.nodes[1].propose_batch(payloads)
    group.settle()
    group.cut = set()
    group.sent.clear()
    group.tick(3)
    assert [len(message.entries) for message in appends(group, 2)] == [2, 1, 1, 1]
    assert group.values(2) == payloads


def test_size_limits_count_as_etcd_does() -> None:
    entry = Entry(1, 1, 0, b"x" * 10)
    assert entry_size(entry) == 2 + 2 + 2 + 2 + 10
    assert entry_size(Entry(300, 1, 0)) == 2 + 3 + 2
    assert limit_size([entry] * 3, 0) == [entry]
    assert limit_size([entry] * 3, 36) == [entry] * 2
    assert limit_size([], 0) == []


def test_the_size_of_many_entries_is_the_sum_of_theirs() -> None:
    draw = random.Random(7)
    for _ in range(300):
        first = draw.choice([1, 120, 16_300, 1 << 30])
        entries = [
            Entry(draw.choice([1, 1, 200]), first + i, 0, b"x" * draw.choice([0, 1, 5, 127, 128, 300]))
            for i in range(draw.randrange(6))
        ]
        entries.sort(key=lambda entry: entry.term)
        entries = [Entry(entry.term, first + i, 0, entry.data) for i, entry in enumerate(entries)]
        assert entries_size(entries) == sum(entry_size(entry) for entry in entries)
        assert payloads_size(entries) == sum(len(entry.data) for entry in entries)


@pytest.mark.parametrize("async_storage_writes", [False, True])
def test_committed_entries_are_handed_out_in_portions(async_storage_writes: bool) -> None:
    group = Group((1,), max_committed_size_per_ready=40, async_storage_writes=async_storage_writes)
    group.elect(1)
    node = group.nodes[1]
    node.propose_batch([b"x" * 10] * 7)
    portions = []
    while node.has_ready() or group.work[1] or group.apply_work[1]:
        if node.has_ready():
            before = len(group.values(1))
            group.ready(1)
            portions.append(len(group.values(1)) - before)
        for member in (1,):
            while group.work[member]:
                group.append_one(member)
            if group.apply_work[member]:
                before = len(group.values(1))
                group.apply_one(member)
                portions.append(len(group.values(1)) - before)
    assert max(portions) == 2
    assert sum(portions) == 7


def test_proposals_are_dropped_when_too_much_is_uncommitted() -> None:
    group = Group(max_uncommitted_entries_size=100)
    group.elect(1)
    group.cut = {2, 3}
    node = group.nodes[1]
    node.propose(b"x" * 90)
    with pytest.raises(ProposalDroppedError):
        node.propose(b"x" * 11)
    node.propose(b"x" * 10)
    with pytest.raises(ProposalDroppedError):
        node.propose_batch([b"x"])
    assert node.statistics().uncommitted_size == 100
    node.propose(b"")
    group.cut = set()
    group.tick(3)
    assert node.statistics().uncommitted_size == 0
    node.propose(b"x" * 500)
    group.settle()
    assert [len(value) for value in group.values(2)] == [90, 10, 500]


def test_a_batch_is_one_append_and_all_or_nothing() -> None:
    group = Group(max_uncommitted_entries_size=100)
    group.elect(1)
    group.sent.clear()
    group.nodes[1].propose_batch([b"a", b"b", b"c"])
    group.settle()
    assert [len(message.entries) for message in appends(group, 2)] == [3]
    group.cut = {2, 3}
    group.nodes[1].propose(b"x" * 60)
    with pytest.raises(ProposalDroppedError):
        group.nodes[1].propose_batch([b"x" * 30, b"x" * 30])
    assert group.nodes[1].raft.log.last_index == 5


def test_an_unreachable_follower_is_probed_and_recovers() -> None:
    group = Group()
    group.elect(1)
    group.nodes[1].report_unreachable(2)
    assert group.nodes[1].status().progress[2].state is PROBE
    group.tick()
    assert group.nodes[1].status().progress[2].state is REPLICATE


def test_a_refused_probe_is_stale_unless_it_answers_the_last_one() -> None:
    progress = Progress(10, Inflights(4, 1 << 30))
    assert not progress.maybe_decrease(5, 3)
    assert progress.next == 10
    assert progress.maybe_decrease(9, 3)
    assert progress.next == 4


def test_without_forwarding_a_follower_drops_proposals() -> None:
    group = Group(disable_proposal_forwarding=True)
    group.elect(1)
    with pytest.raises(ProposalDroppedError):
        group.nodes[2].propose(b"value")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"id": 0}, "id 0"),
        ({"heartbeat_tick": 0}, "heartbeat_tick is 0"),
        ({"election_tick": 1}, "election_tick is 1"),
        ({"max_inflight_msgs": 0}, "max_inflight_msgs is 0"),
        ({"max_size_per_msg": 10, "max_inflight_bytes": 5}, "max_inflight_bytes is 5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, int], text: str) -> None:
    config = Config(**{"id": 1, "storage": MemoryStorage(), "random": random.Random(1), **settings})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=text):
        config.validate()


def test_a_storage_that_lost_entries_is_refused() -> None:
    machine = seeded([(1, 1)], HardState(1, 1, 5), ConfState((1,)))
    with pytest.raises(ConfigError, match="lost data"):
        RawNode(Config(id=1, storage=machine, random=random.Random(1)))
