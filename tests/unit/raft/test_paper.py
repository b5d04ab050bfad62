"""The Raft paper ("In Search of an Understandable Consensus Algorithm", extended version), section by section.

Each test names the sentence or figure it holds the core to.
"""

from __future__ import annotations

import random

import pytest

from edgekube.raft.config import Config
from edgekube.raft.errors import RaftProtocolError
from edgekube.raft.messages import ConfState, Entry, HardState, Message, MessageType, Snapshot
from edgekube.raft.rawnode import RawNode
from edgekube.raft.roles import CANDIDATE, FOLLOWER, LEADER, StateType
from tests.unit.raft.group import Group, seeded

THREE = ConfState((1, 2, 3))


def member(
    log: list[tuple[int, int]] | None = None,
    *,
    state: HardState | None = None,
    voters: ConfState = THREE,
    **settings: object,
) -> RawNode:
    """Member 1, which starts with a log of these (index, term)."""
    log = log or []
    last_term = log[-1][1] if log else 0
    machine = seeded(log, state or HardState(term=last_term), voters)
    return RawNode(Config(id=1, storage=machine, random=random.Random(1), **settings))  # type: ignore[arg-type]


def persist(node: RawNode) -> list[Message]:
    """Do what the member wants, until it is satisfied; return what it sent."""
    sent = []
    while node.has_ready():
        ready = node.ready()
        machine = node.raft.log.storage
        if ready.snapshot is not None:
            machine.apply_snapshot(ready.snapshot)  # type: ignore[attr-defined]
        machine.append(ready.entries)  # type: ignore[attr-defined]
        sent += ready.messages
        node.advance(ready)
    return sent


def become(node: RawNode, role: StateType) -> None:
    """Put a member into a role by the messages that lead there."""
    if role is FOLLOWER:
        node.step(Message(MessageType.MsgHeartbeat, 1, 2, node.raft.term + 1))
        return
    node.campaign()
    persist(node)
    if role is LEADER:
        node.step(Message(MessageType.MsgVoteResp, 1, 2, node.raft.term))
        persist(node)
    assert node.raft.state is role


# Section 5.1: terms.


@pytest.mark.parametrize("role", [FOLLOWER, CANDIDATE, LEADER])
@pytest.mark.parametrize("kind", [MessageType.MsgApp, MessageType.MsgHeartbeat, MessageType.MsgVote])
def test_5_1_whoever_sees_a_higher_term_becomes_its_follower(role: StateType, kind: MessageType) -> None:
    node = member()
    become(node, role)
    term = node.raft.term + 3
    node.step(Message(kind, 1, 3, term))
    assert (node.raft.state, node.raft.term) == (FOLLOWER, term)


@pytest.mark.parametrize("role", [FOLLOWER, CANDIDATE, LEADER])
def test_5_1_a_message_of_an_older_term_changes_nothing(role: StateType) -> None:
    node = member(state=HardState(term=5))
    become(node, role)
    before = (node.raft.state, node.raft.term, node.raft.lead, node.raft.log.last_index)
    node.step(Message(MessageType.MsgApp, 1, 3, 1, 0, 0, 0, (Entry(1, 1),)))
    assert (node.raft.state, node.raft.term, node.raft.lead, node.raft.log.last_index) == before


# Section 5.2: leader election.


def test_5_2_a_member_starts_as_follower() -> None:
    assert member().raft.state is FOLLOWER


def test_5_2_a_leader_sends_heartbeats_in_every_interval() -> None:
    node = member(heartbeat_tick=2)
    become(node, LEADER)
    kinds = []
    for _ in range(4):
        node.tick()
        kinds.append([message.to for message in persist(node) if message.type == MessageType.MsgHeartbeat])
    assert kinds == [[], [2, 3], [], [2, 3]]


@pytest.mark.parametrize("role", [FOLLOWER, CANDIDATE])
def test_5_2_a_member_that_hears_nothing_begins_an_election(role: StateType) -> None:
    node = member()
    become(node, role)
    term = node.raft.term
    for _ in range(20):
        if node.raft.term != term:
            break
        node.tick()
    requests = [message for message in persist(node) if message.type == MessageType.MsgVote]
    assert node.raft.state is CANDIDATE
    assert node.raft.term == term + 1
    assert node.raft.vote == 1
    assert [(message.to, message.term) for message in requests] == [(2, term + 1), (3, term + 1)]


@pytest.mark.parametrize(
    ("voters", "granted", "refused", "role"),
    [
        ((1,), [], [], LEADER),
        ((1, 2, 3), [2], [], LEADER),
        ((1, 2, 3), [2], [3], LEADER),
        ((1, 2, 3), [], [], CANDIDATE),
        ((1, 2, 3), [], [2], CANDIDATE),
        ((1, 2, 3), [], [2, 3], FOLLOWER),
        ((1, 2, 3, 4, 5), [2], [3], CANDIDATE),
        ((1, 2, 3, 4, 5), [2, 3], [4, 5], LEADER),
        ((1, 2, 3, 4, 5), [2], [3, 4, 5], FOLLOWER),
        ((1, 2, 3, 4), [2], [], CANDIDATE),
        ((1, 2, 3, 4), [2, 3], [], LEADER),
    ],
)
def test_5_2_a_majority_of_votes_wins(
    voters: tuple[int, ...], granted: list[int], refused: list[int], role: StateType
) -> None:
    node = member(voters=ConfState(voters))
    node.campaign()
    persist(node)
    for voter in granted:
        node.step(Message(MessageType.MsgVoteResp, 1, voter, 1))
    for voter in refused:
        node.step(Message(MessageType.MsgVoteResp, 1, voter, 1, reject=True))
    assert node.raft.state is role


def test_5_2_a_voter_is_counted_once() -> None:
    node = member(voters=ConfState((1, 2, 3, 4, 5)))
    node.campaign()
    persist(node)
    for _ in range(5):
        node.step(Message(MessageType.MsgVoteResp, 1, 2, 1))
    assert node.raft.state is CANDIDATE


@pytest.mark.parametrize(("vote", "candidate", "granted"), [(0, 2, True), (2, 2, True), (3, 2, False)])
def test_5_2_one_vote_a_term_first_come_first_served(vote: int, candidate: int, granted: bool) -> None:
    node = member(state=HardState(term=1, vote=vote))
    node.step(Message(MessageType.MsgVote, 1, candidate, 1))
    (answer,) = persist(node)
    assert (answer.type, answer.to, answer.term) == (MessageType.MsgVoteResp, candidate, 1)
    assert answer.reject is not granted


def test_5_2_a_vote_is_durable_before_it_is_given() -> None:
    node = member()
    node.step(Message(MessageType.MsgVote, 1, 2, 1))
    ready = node.ready()
    assert ready.hard_state == HardState(term=1, vote=2)
    assert ready.must_sync
    assert [message.type for message in ready.messages] == [MessageType.MsgVoteResp]


@pytest.mark.parametrize("kind", [MessageType.MsgApp, MessageType.MsgHeartbeat])
def test_5_2_a_candidate_yields_to_the_leader_of_its_term(kind: MessageType) -> None:
    node = member()
    become(node, CANDIDATE)
    node.step(Message(kind, 1, 2, node.raft.term))
    assert (node.raft.state, node.raft.lead) == (FOLLOWER, 2)


def test_5_2_election_timeouts_are_random_and_within_bounds() -> None:
    node = member(election_tick=10)
    seen = set()
    for _ in range(300):
        node.step(Message(MessageType.MsgHeartbeat, 1, 2, node.raft.term + 1))
        seen.add(node.raft.randomized_election_timeout)
    assert seen == set(range(10, 20))


def test_5_2_random_timeouts_make_split_votes_rare() -> None:
    collisions = 0
    for seed in range(50):
        group = Group((1, 2, 3, 4, 5), seed=seed, election_tick=10)
        timeouts = sorted(node.raft.randomized_election_timeout for node in group.nodes.values())
        collisions += timeouts[0] == timeouts[1]
    assert collisions < 25


# Section 5.3: log replication.


def test_5_3_a_proposal_is_appended_and_sent_to_everybody() -> None:
    node = member()
    become(node, LEADER)
    for follower in (2, 3):
        node.step(Message(MessageType.MsgAppResp, 1, follower, 1, 0, 1))
    persist(node)
    node.propose(b"value")
    ready = node.ready()
    assert list(ready.entries) == [Entry(1, 2, 0, b"value")]
    appends = [message for message in ready.messages if message.type == MessageType.MsgApp]
    assert [(m.to, m.term, m.log_term, m.index, m.commit, list(m.entries)) for m in appends] == [
        (follower, 1, 1, 1, 1, [Entry(1, 2, 0, b"value")]) for follower in (2, 3)
    ]


@pytest.mark.parametrize(
    ("voters", "acknowledged_by", "committed"),
    [
        ((1,), [], True),
        ((1, 2, 3), [], False),
        ((1, 2, 3), [2], True),
        ((1, 2, 3, 4, 5), [2], False),
        ((1, 2, 3, 4, 5), [2, 5], True),
    ],
)
def test_5_3_an_entry_on_a_majority_is_committed(
    voters: tuple[int, ...], acknowledged_by: list[int], committed: bool
) -> None:
    group = Group(voters)
    group.elect(1)
    group.keep = lambda message: message.to == 1 or message.to in acknowledged_by
    group.nodes[1].propose(b"value")
    group.settle()
    assert (group.values(1) == [b"value"]) is committed


def test_5_3_committing_an_entry_commits_those_of_earlier_leaders_before_it() -> None:
    group = Group()
    for machine in group.machines.values():
        machine.append([Entry(1, 1, 0, b"one"), Entry(2, 2, 0, b"two")])
        machine.set_hard_state(HardState(term=2))
    for number in (1, 2, 3):
        group.start(number)
    group.elect(1)
    group.nodes[1].propose(b"three")
    group.settle()
    assert group.values(1) == [b"one", b"two", b"three"]


def test_5_3_followers_learn_what_is_committed_and_apply_it_in_order() -> None:
    group = Group()
    group.elect(1)
    for value in (b"a", b"b", b"c"):
        group.nodes[1].propose(value)
    group.settle()
    assert [group.values(number) for number in (1, 2, 3)] == [[b"a", b"b", b"c"]] * 3


@pytest.mark.parametrize(
    ("index", "term", "reject"),
    [(0, 0, False), (1, 1, False), (2, 2, False), (1, 2, True), (2, 3, True), (3, 3, True)],
)
def test_5_3_an_append_needs_the_entry_before_it(index: int, term: int, reject: bool) -> None:
    node = member([(1, 1), (2, 2)])
    node.step(Message(MessageType.MsgApp, 1, 2, 3, term, index))
    (answer,) = persist(node)
    assert answer.type == MessageType.MsgAppResp
    assert answer.reject is reject


@pytest.mark.parametrize(
    ("index", "term", "sent", "log", "written"),
    [
        (2, 2, [(3, 3)], [(1, 1), (2, 2), (3, 3)], [(3, 3)]),
        (1, 1, [(2, 3), (3, 4)], [(1, 1), (2, 3), (3, 4)], [(2, 3), (3, 4)]),
        (0, 0, [(1, 1)], [(1, 1), (2, 2)], []),
        (0, 0, [(1, 3)], [(1, 3)], [(1, 3)]),
        (0, 0, [(1, 1), (2, 2), (3, 3)], [(1, 1), (2, 2), (3, 3)], [(3, 3)]),
    ],
)
def test_5_3_conflicts_are_overwritten_and_nothing_else(
    index: int,
    term: int,
    sent: list[tuple[int, int]],
    log: list[tuple[int, int]],
    written: list[tuple[int, int]],
) -> None:
    node = member([(1, 1), (2, 2)])
    node.step(Message(MessageType.MsgApp, 1, 2, 4, term, index, 0, tuple(Entry(t, i) for i, t in sent)))
    ready = node.ready()
    assert [(entry.index, entry.term) for entry in ready.entries] == written
    whole = node.raft.log.slice(1, node.raft.log.last_index + 1)
    assert [(entry.index, entry.term) for entry in whole] == log


# Figure 7: a leader of term 8 and six followers, each with another kind of log.
LEADER_LOG = [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 5), (7, 5), (8, 6), (9, 6), (10, 6)]
FOLLOWER_LOGS = {
    "a": LEADER_LOG[:9],
    "b": LEADER_LOG[:4],
    "c": [*LEADER_LOG, (11, 6)],
    "d": [*LEADER_LOG, (11, 7), (12, 7)],
    "e": [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 4), (7, 4)],
    "f": [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 3), (8, 3), (9, 3), (10, 3), (11, 3)],
}


@pytest.mark.parametrize("name", FOLLOWER_LOGS)
def test_5_3_figure_7_a_leader_brings_every_log_into_line_with_its_own(name: str) -> None:
    group = Group()
    for number, log in ((1, LEADER_LOG), (2, FOLLOWER_LOGS[name]), (3, [])):
        group.machines[number] = seeded(log, HardState(term=7), THREE)
        group.start(number)
    group.nodes[1].campaign()
    group.settle()
    # The empty log votes for the leader even where the one under test is longer.
    assert group.nodes[1].raft.state is LEADER
    group.nodes[1].propose(b"value")
    group.settle()
    assert group.log(2) == group.log(1) == [*LEADER_LOG, (11, 8), (12, 8)]
    rejections = [m for m in group.sent if m.type == MessageType.MsgAppResp and m.from_ == 2 and m.reject]
    # One round trip a term, not one an entry.
    assert len(rejections) <= 2


# Section 5.4: safety.


@pytest.mark.parametrize(
    ("log", "index", "term", "granted"),
    [
        ([(1, 1)], 1, 1, True),
        ([(1, 1)], 2, 1, True),
        ([(1, 1), (2, 1)], 1, 1, False),
        ([(1, 1)], 1, 2, True),
        ([(1, 1), (2, 1)], 1, 2, True),
        ([(1, 2)], 1, 1, False),
        ([(1, 2)], 2, 1, False),
    ],
)
def test_5_4_1_a_vote_goes_to_a_log_at_least_as_up_to_date(
    log: list[tuple[int, int]], index: int, term: int, granted: bool
) -> None:
    node = member(log)
    node.step(Message(MessageType.MsgVote, 1, 2, 3, term, index))
    (answer,) = persist(node)
    assert answer.reject is not granted


def test_5_4_1_a_vote_request_tells_the_end_of_the_log() -> None:
    node = member([(1, 1), (2, 2)])
    node.campaign()
    requests = [message for message in persist(node) if message.type == MessageType.MsgVote]
    assert [(message.index, message.log_term) for message in requests] == [(2, 2), (2, 2)]


@pytest.mark.parametrize(("index", "committed"), [(1, 0), (2, 0), (3, 3)])
def test_5_4_2_only_entries_of_the_own_term_commit_by_counting(index: int, committed: int) -> None:
    node = member([(1, 1), (2, 2)])
    become(node, LEADER)
    assert node.raft.term == 3
    node.step(Message(MessageType.MsgAppResp, 1, 2, 3, 0, index))
    assert node.raft.log.committed == committed


def test_5_4_2_figure_8_an_entry_on_a_majority_can_still_be_lost() -> None:
    # Appends carry one entry each, so that the old entry travels without the new one.
    group = Group((1, 2, 3, 4, 5), max_size_per_msg=0)
    logs = {1: [(1, 1), (2, 2)], 2: [(1, 1), (2, 2)], 3: [(1, 1)], 4: [(1, 1)], 5: [(1, 1), (2, 3)]}
    for number, log in logs.items():
        group.machines[number] = seeded(log, HardState(term=3), group.conf_state)
        group.start(number)
    # (c): 1 leads term 4 and brings entry 2 of term 2 to a majority, but its own entry to nobody.
    group.cut = {4, 5}
    group.keep = lambda message: not any(entry.term == 4 for entry in message.entries) or len(group.log(message.to)) < 2
    group.nodes[1].campaign()
    group.settle()
    assert group.nodes[1].raft.term == 4
    assert [group.log(number)[:2] for number in (1, 2, 3)] == [[(1, 1), (2, 2)]] * 3
    assert group.nodes[1].raft.log.committed < 2
    # (d): so 5 may still overwrite it. Its first campaign is for term 4, in which the others have voted.
    group.keep = lambda message: True
    group.cut = {1}
    group.nodes[5].campaign()
    group.settle()
    group.elect(5)
    assert group.log(3)[:2] == [(1, 1), (2, 3)]
    assert group.values(3)[:2] == [b"1/1", b"3/2"]


def test_5_4_3_what_is_committed_is_in_the_log_of_every_later_leader() -> None:
    group = Group((1, 2, 3, 4, 5))
    group.elect(1)
    group.cut = {4, 5}
    group.nodes[1].propose(b"kept")
    group.settle()
    group.cut = {1}
    for number in (4, 5):
        group.nodes[number].campaign()
        group.settle()
        assert group.nodes[number].raft.state is not LEADER
    group.elect(2)
    assert group.values(5) == [b"kept"]


def test_5_4_3_a_committed_entry_is_never_overwritten() -> None:
    node = member([(1, 1), (2, 1)], state=HardState(term=1, commit=2))
    node.step(Message(MessageType.MsgApp, 1, 2, 2, 1, 1, 0, (Entry(2, 2), Entry(2, 3))))
    (answer,) = persist(node)
    assert (answer.index, answer.reject) == (2, False)
    assert node.raft.log.term(2) == 1
    with pytest.raises(RaftProtocolError, match="contradicts a committed"):
        node.raft.log.maybe_append(1, 1, (Entry(2, 2),), 2)


# Section 5.5: crashes.


def test_5_5_a_lost_answer_is_no_harm_as_requests_can_be_repeated() -> None:
    group = Group()
    group.elect(1)
    group.keep = lambda message: message.type != MessageType.MsgAppResp
    group.nodes[1].propose(b"value")
    group.settle()
    assert group.values(1) == []
    group.keep = lambda message: True
    group.tick(3)
    assert [group.values(number) for number in (1, 2, 3)] == [[b"value"]] * 3


def test_5_5_a_member_that_crashed_goes_on_from_what_it_stored() -> None:
    group = Group()
    group.elect(1)
    group.nodes[1].propose(b"one")
    group.settle()
    group.start(2)
    assert group.nodes[2].raft.term == 1
    assert group.nodes[2].raft.vote == 1
    group.nodes[1].propose(b"two")
    group.tick(2)
    assert group.values(2) == [b"one", b"two"]


# Section 6: membership changes (more in test_membership).


def test_6_a_server_that_hears_from_a_leader_ignores_candidates() -> None:
    group = Group(check_quorum=True)
    group.elect(1)
    group.nodes[3].campaign()
    group.settle()
    assert group.nodes[2].raft.term == 1
    assert group.nodes[1].raft.state is LEADER


# Section 7: log compaction (more in test_snapshots).


def test_7_a_snapshot_replaces_a_log_that_is_behind_and_spares_one_that_is_not() -> None:
    behind = member([(1, 1)])
    behind.step(Message(MessageType.MsgSnap, 1, 2, 2, snapshot=Snapshot(5, 2, THREE)))
    assert (behind.raft.log.last_index, behind.raft.log.committed) == (5, 5)
    ahead = member([(1, 1), (2, 1), (3, 2)])
    ahead.step(Message(MessageType.MsgSnap, 1, 2, 2, snapshot=Snapshot(2, 1, THREE)))
    assert (ahead.raft.log.last_index, ahead.raft.log.committed) == (3, 2)
    assert ahead.raft.log.unstable.snapshot is None


# Section 8: clients.


def test_8_a_new_leader_commits_an_empty_entry_of_its_term() -> None:
    group = Group()
    group.elect(2)
    assert group.log(2) == [(1, 1)]
    assert group.nodes[2].raft.log.committed == 1
    assert group.values(2) == []


def test_8_a_proposal_through_a_follower_reaches_the_leader() -> None:
    group = Group()
    group.elect(1)
    group.nodes[3].propose(b"value")
    group.settle()
    assert group.values(2) == [b"value"]
