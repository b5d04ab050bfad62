"""Members that lag, join, leave and come back, under virtual time."""

import pytest
import trio

from edgekube.raft.messages import ConfState
from edgekube.store.api import Compacted, NotLeader, Put
from edgekube.store.membership import MembershipRefused, planned
from edgekube.store.replicated import ReplicatedStore
from edgekube.store.writes import OutcomeUnknown
from tests.unit.raft.cluster import SMALL, Cluster, cluster


async def fill(store: ReplicatedStore, count: int, prefix: bytes = b"/k", size: int = 50) -> None:
    for n in range(count):
        await store.txn([], [Put(b"%b/%05d" % (prefix, n), bytes(size))])


def follower_of(group: Cluster, leader: ReplicatedStore) -> int:
    return next(store.member for store in group.stores if store is not leader)


async def test_a_member_that_was_away_gets_what_it_missed(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        away = follower_of(group, leader)
        await group.members[away].crash()
        await fill(leader, 200)
        await group.members[away].start()
        await group.settle()
        assert group[away].node.statistics().snapshots_installed == 0


async def test_a_member_too_far_behind_gets_a_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(limits=SMALL) as group:
        leader = await group.leader()
        await fill(leader, 20)
        away = follower_of(group, leader)
        await group.members[away].crash()
        await fill(leader, 600, b"/more", 200)
        assert leader.node.status().hard_state.commit > 600
        store = await group.members[away].start()
        await trio.sleep(3)
        await group.settle()
        assert store.node.statistics().snapshots_installed == 1
        assert store.count(b"/", b"0") == 620
        await fill(leader, 20, b"/after")
        await group.settle()
        # And it keeps what it took over.
        await group.members[away].crash()
        store = await group.members[away].start()
        await group.settle()
        assert store.node.statistics().snapshots_installed == 0


async def test_a_snapshot_comes_while_writes_go_on(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(limits=SMALL) as group:
        leader = await group.leader()
        away = follower_of(group, leader)
        await group.members[away].crash()
        await fill(leader, 500, b"/base", 2000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill, leader, 300, b"/during", 20)
            store = await group.members[away].start()
        await group.settle()
        assert store.node.statistics().snapshots_installed >= 1
        assert store.count(b"/", b"0") == 800


async def test_a_watch_is_cut_off_by_a_snapshot_and_a_write_unknown(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(limits=SMALL) as group:
        leader = await group.leader()
        away = follower_of(group, leader)
        lagging = group[away]
        await fill(leader, 5)
        await group.settle()
        outcomes = []

        async def watch() -> None:
            async with lagging.watch(b"/", b"0", after=lagging.revision) as events:
                with pytest.raises(Compacted):
                    await events.next()
            outcomes.append("compacted")

        async def write() -> None:
            with pytest.raises(OutcomeUnknown):
                await lagging.txn([], [Put(b"/mine", b"")])
            outcomes.append("unknown")

        def lose_appends(sender: int, receiver: int, kind: str, thing: object) -> list[float]:
            return [] if receiver == away and kind == "message" else [0.001]

        healthy = group.network.route
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(write)
            await trio.sleep(0.0005)
            group.network.route = lose_appends  # what is forwarded gets through, what comes back does not
            await fill(leader, 700, b"/more", 200)
            group.network.route = healthy
        assert sorted(outcomes) == ["compacted", "unknown"]
        await group.settle()


async def test_an_interrupted_snapshot_is_sent_again(autojump_clock: trio.testing.MockClock) -> None:
    chunks = []

    def route(sender: int, receiver: int, kind: str, thing: object) -> list[float]:
        if kind == "snapshot":
            chunks.append(thing)
            if len(chunks) == 2:
                return []
        return [0.001]

    async with cluster(limits=SMALL, route=route) as group:
        leader = await group.leader()
        away = follower_of(group, leader)
        await group.members[away].crash()
        await fill(leader, 600, b"/more", 2000)
        store = await group.members[away].start()
        await trio.sleep(5)
        await group.settle()
        assert store.node.statistics().snapshots_installed == 1
        assert any("snapshot=failed" in note for note in group.members[leader.member].notes)


async def test_all_members_lose_power_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        acknowledged = 0

        async def write() -> None:
            nonlocal acknowledged
            for n in range(1000):
                await leader.txn([], [Put(b"/n", b"%d" % n)])
                acknowledged = n

        with trio.move_on_after(1.0):
            await write()
        assert acknowledged > 50
        for member in group.members.values():
            await member.crash()
        for member in group.members.values():
            await member.start()
        await group.settle()
        kv = group.stores[0].get(b"/n")
        assert kv is not None
        assert int(kv.value) in (acknowledged, acknowledged + 1)


async def test_a_group_grows_from_one_to_three(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(1, promote=True) as group:
        first = group[1]
        await fill(first, 100)
        await group.add(2)
        await first.add_learner(2, b"two")
        await group.settle()
        await trio.sleep(5)
        members = first.members
        assert (members.voters, members.learners) == ((1,), (2,))
        assert group[2].get(b"/k/00042") is not None
        assert group[2].cluster_id == first.cluster_id
        # A learner forwards and reads like anybody.
        await group[2].txn([], [Put(b"/from/two", b"")])
        await group.add(3)
        await first.add_learner(3, b"three")
        with trio.fail_after(20):
            await first.wait_members(lambda members: len(members.voters) == 3 and not members.changing)
        await group.settle()
        assert group[3].members.addresses == {2: b"two", 3: b"three"}
        # Any of them may be lost now.
        await group.members[1].crash()
        await group[2].txn([], [Put(b"/a", b"")])
        await group.members[1].start()
        await group.settle()
        assert group[1].members.voters == (1, 2, 3)


async def test_a_leader_removes_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        await leader.txn([], [Put(b"/a", b"")])
        await leader.remove(leader.member)
        assert leader.term == 0
        rest = [store.member for store in group.stores if store is not leader]
        new = await group.leader(rest)
        await new.txn([], [Put(b"/b", b"")])
        assert new.members.voters == tuple(rest)


async def test_of_two_the_leader_does_not_remove_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        other, gone = [store for store in group.stores if store is not leader]
        await leader.remove(gone.member)
        await group.members[gone.member].crash()
        with pytest.raises(MembershipRefused, match="hand over first"):
            await leader.remove(leader.member)
        await group.settle()
        leader.transfer_leader(other.member)
        with trio.fail_after(5):
            await other.wait_leader()
        await other.remove(leader.member)
        await group.members[leader.member].crash()
        await other.txn([], [Put(b"/b", b"")])
        assert other.members.voters == (other.member,)


async def test_a_removal_that_is_confirmed_survives_a_power_cut(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        other, gone = [store for store in group.stores if store is not leader]
        for removed in (gone, other):
            await leader.remove(removed.member)
            await group.members[removed.member].crash()
        await group.members[leader.member].crash()
        again = await group.members[leader.member].start()
        with trio.fail_after(20):
            await again.wait_leader()
        assert again.members.voters == (leader.member,)


async def test_a_member_is_removed_and_another_takes_its_place(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(promote=True) as group:
        leader = await group.leader()
        await fill(leader, 10)
        gone = follower_of(group, leader)
        await group.members[gone].crash()
        del group.members[gone]
        await leader.remove(gone)
        await group.add(4)
        await leader.add_learner(4)
        with trio.fail_after(20):
            await leader.wait_members(lambda members: 4 in members.voters)
        await group.settle()
        assert len(leader.members.voters) == 3


async def test_two_changes_at_once_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        results = []

        async def add(member: int) -> None:
            try:
                await leader.add_learner(member)
                results.append("added")
            except MembershipRefused:
                results.append("refused")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add, 8)
            nursery.start_soon(add, 9)
        assert sorted(results) == ["added", "refused"]
        with pytest.raises(NotLeader):
            await group[follower_of(group, leader)].remove(8)


def test_learners_are_promoted_in_pairs() -> None:
    def plan(voters: int, learners: int, caught_up: int) -> int:
        state = ConfState(tuple(range(1, voters + 1)), tuple(range(11, 11 + learners)))
        return len(planned(state, set(range(11, 11 + caught_up))))

    assert [plan(1, n, n) for n in range(4)] == [0, 0, 2, 2]
    assert [plan(3, n, n) for n in range(4)] == [0, 0, 2, 2]
    assert [plan(2, n, n) for n in range(3)] == [0, 1, 1]
    assert [plan(7, n, n) for n in range(3)] == [0, 0, 0]
    assert plan(1, 2, 1) == 0
    assert planned(ConfState((1, 2), (3,), voters_outgoing=(1,)), {3}) == ()


async def test_a_snapshot_overtakes_membership_changes_that_wait(autojump_clock: trio.testing.MockClock) -> None:
    """The core knows the snapshot's membership as soon as it has one: older changes must not be made to that."""
    async with cluster(3, limits=SMALL) as group:
        leader = await group.leader()
        slow = group[follower_of(group, leader)]
        held = slow._unflushed_size = 1 << 40  # so much waits for the database that nothing more is applied
        await leader.add_learner(4)
        await leader.remove(4)
        await trio.sleep(1)
        applied = slow._state.index
        assert slow.node.commit >= applied + 2
        group.network.cut([slow.member], [store.member for store in group.stores if store is not slow])
        await leader.add_learner(4)
        await fill(leader, 600, size=200)
        group.network.heal()
        with trio.fail_after(60):
            for _ in range(30_000):
                if slow.node.installs_snapshot:
                    break
                await trio.sleep(0.001)
            assert slow.node.installs_snapshot
            assert slow._state.index == applied
            slow._unflushed_size -= held
            slow.node.wake()
            await slow.wait_applied(leader.revision)
        assert slow.members.learners == (4,)
        assert slow.node.status().membership.learners == {4}
