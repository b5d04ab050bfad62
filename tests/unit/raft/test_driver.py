"""Members driven by the real driver under virtual time: elections, replication, fail-over, forwarding, barriers."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edgekube.raft.application import Settings
from edgekube.raft.config import ReadOnlyOption
from edgekube.raft.messages import MSG_APP, ConfState, Entry, HardState, Message
from edgekube.store.api import Delete, Fenced, Guard, NotLeader, Put, TxnResult
from edgekube.store.command import encode
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing.memorydisk import MemoryLog
from tests.unit.raft.cluster import Member, cluster


def others(group: object, leader: ReplicatedStore) -> list[ReplicatedStore]:
    return [store for store in group.stores if store is not leader]  # type: ignore[attr-defined]


async def fill(store: ReplicatedStore, count: int, prefix: bytes = b"/k", size: int = 50) -> None:
    for n in range(count):
        await store.txn([], [Put(b"%b/%05d" % (prefix, n), bytes(size))])


async def test_three_members_elect_one_leader_and_agree(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        assert trio.current_time() < 3
        assert [bool(store.term) for store in group.stores].count(True) == 1
        await fill(leader, 50)
        await leader.txn([Guard(b"/k/00003", 5)], [Delete(b"/k/00003")])
        await group.settle()
        assert leader.revision == 52
        assert {store.count(b"/", b"0") for store in group.stores} == {49}


async def test_a_lost_leader_is_replaced_within_the_time_promised(autojump_clock: trio.testing.MockClock) -> None:
    for seed in range(5):
        async with cluster(seed=seed) as group:
            leader = await group.leader()
            await leader.txn([], [Put(b"/a", b"1")])
            survivors = others(group, leader)
            await group.members[leader.member].crash()
            lost = trio.current_time()
            assert (await survivors[0].txn([], [Put(b"/a", b"2")])).succeeded
            assert trio.current_time() - lost < 2.0
            await group.members[leader.member].start()
            await group.settle()
            kv = group[leader.member].get(b"/a")
            assert kv is not None
            assert kv.value == b"2"


async def test_a_follower_forwards_and_reads_its_own_write(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        follower = others(group, leader)[0]
        result = await follower.txn([Guard(b"/a", 0)], [Put(b"/a", b"rv=;", 3)])
        assert result == TxnResult(True, 2)
        kv = follower.get(b"/a")
        assert kv is not None
        assert kv.value == b"rv=2;"
        refused = await follower.txn([Guard(b"/a", 0)], [Put(b"/a", b"")])
        assert not refused.succeeded
        assert refused.failed == ((b"/a", kv),)
        assert (await follower.txn([Guard(b"/a", 2)], [])).succeeded
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(fill, follower, 3, b"/many/%d" % n)
        assert follower.count(b"/many/", b"/many0") == 300
        await group.settle()


async def test_writers_everywhere_never_lose_or_repeat(autojump_clock: trio.testing.MockClock) -> None:
    """Counters under a guard: each acknowledged step happened once, through two fail-overs and a partition."""
    async with cluster() as group:
        done = dict.fromkeys(range(6), 0)

        async def count(worker: int) -> None:
            key = b"/count/%d" % worker
            while done[worker] < 40:
                store = group.stores[worker % len(group.stores)]
                with trio.move_on_after(30) as scope:
                    try:
                        await store.txn([], [Put(key, b"")])
                    except Exception as error:
                        if isinstance(error, AssertionError):
                            raise
                        await trio.sleep(0.05)
                        kv = None
                        with trio.move_on_after(30):
                            await group.stores[-1].read_barrier()
                            kv = group.stores[-1].get(key)
                        done[worker] = max(done[worker], kv.version if kv else 0)
                        continue
                assert not scope.cancelled_caught
                done[worker] += 1
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            for worker in done:
                nursery.start_soon(count, worker)
            leader = await group.leader()
            await trio.sleep(0.3)
            await group.members[leader.member].crash()
            await trio.sleep(3)
            await group.members[leader.member].start()
            leader = await group.leader()
            group.network.cut([leader.member], [store.member for store in others(group, leader)])
            await trio.sleep(4)
            group.network.heal()
        await group.settle()
        for worker, steps in done.items():
            kv = group.stores[0].get(b"/count/%d" % worker)
            assert kv is not None
            assert kv.version == steps


async def test_a_cut_off_leader_steps_down_and_answers_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        old = await group.leader()
        await old.txn([], [Put(b"/a", b"1")])
        rest = others(group, old)
        group.network.cut([old.member], [store.member for store in rest])
        term = old.term
        new = await group.leader([store.member for store in rest])
        await new.txn([], [Put(b"/a", b"2")])
        with trio.move_on_after(0.2) as scope:
            await old.read_barrier()
        assert scope.cancelled_caught, "a barrier passed without a quorum"
        with trio.fail_after(5):
            await old.wait_not_leader(term)
        with pytest.raises(Fenced):
            await old.txn([], [Put(b"/a", b"3")], term=term)
        with pytest.raises(NotLeader):
            await old.txn([], [Put(b"/a", b"3")])
        with pytest.raises(NotLeader):
            await old.read_barrier()
        group.network.heal()
        await old.read_barrier()
        kv = old.get(b"/a")
        assert kv is not None
        assert kv.value == b"2"


async def test_what_a_cut_off_leader_took_happens_once_it_is_back(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        old = await group.leader()
        rest = [store.member for store in others(group, old)]
        group.network.cut([old.member], rest)
        results = []

        async def write(key: bytes) -> None:
            results.append(await old.txn([Guard(key, 0)], [Put(key, b"")]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, b"/x")
            nursery.start_soon(write, b"/y")
            await (await group.leader(rest)).txn([], [Put(b"/z", b"")])
            group.network.heal()
        assert [result.succeeded for result in results] == [True, True]
        await group.settle()
        assert group.stores[0].revision == 4


async def test_a_fenced_write_of_a_lost_leadership_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        old = await group.leader()
        rest = [store.member for store in others(group, old)]
        term = old.term
        group.network.cut([old.member], rest)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                with pytest.raises(Fenced):
                    await old.txn([], [Put(b"/x", b"")], term=term)

            nursery.start_soon(write)
            new = await group.leader(rest)
            await new.txn([], [Put(b"/z", b"")], term=new.term)
            group.network.heal()
        await group.settle()
        assert old.get(b"/x") is None


async def test_lost_answers_do_not_repeat_a_write(autojump_clock: trio.testing.MockClock) -> None:
    """Every second answer to a forwarded batch is lost, so each batch is sent again."""
    lost = []

    def route(sender: int, receiver: int, kind: str, thing: object) -> list[float]:
        if kind == "answer":
            lost.append(thing)
            if len(lost) % 2:
                return []
        return [0.001]

    async with cluster(route=route) as group:
        leader = await group.leader()
        follower = others(group, leader)[0]
        for n in range(10):
            result = await follower.txn([], [Put(b"/a", b"%d" % n)])
            assert result.revision == n + 2
        assert len(lost) >= 10
        await group.settle()


async def test_a_barrier_is_never_stale(autojump_clock: trio.testing.MockClock) -> None:
    for option in ReadOnlyOption:
        async with cluster(settings=Settings(read_only=option)) as group:
            leader = await group.leader()
            for n in range(20):
                await group.stores[n % 3].txn([], [Put(b"/a", b"%d" % n)])
                for store in group.stores:
                    await store.read_barrier()
                    kv = store.get(b"/a")
                    assert kv is not None
                    assert kv.value == b"%d" % n
            if option is ReadOnlyOption.LEASE_BASED:
                await trio.sleep(1)
                group.network.cut([leader.member])
                with trio.fail_after(0.1):
                    await leader.read_barrier()
                await trio.sleep(1)
                with trio.move_on_after(0.2) as scope:
                    await leader.read_barrier()
                assert scope.cancelled_caught, "the lease did not end"


async def test_barriers_share_a_round(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        before = group.network.delivered
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(leader.read_barrier)
        assert group.network.delivered - before < 20


async def test_leadership_is_handed_over(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        heir = others(group, leader)[0]
        await fill(leader, 10)
        with pytest.raises(NotLeader):
            heir.transfer_leader(heir.member)
        began, term = trio.current_time(), leader.term
        leader.transfer_leader(heir.member)
        await leader.wait_not_leader(term)
        assert await heir.wait_leader() > term
        assert trio.current_time() - began < 0.5
        await leader.txn([], [Put(b"/a", b"")])
        await group.settle()


async def test_a_member_alone_sleeps(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.autojump_threshold = 0
    async with cluster(1) as group:
        await fill(group[1], 3)
        await trio.sleep(1000)
        mock_clock.autojump_threshold = float("inf")
        await wait_all_tasks_blocked()
        ticks = group[1].node.statistics().ticks
        mock_clock.jump(100)
        await wait_all_tasks_blocked()
        assert group[1].node.statistics().ticks == ticks
        assert group[1].term == 1


async def test_states_are_compared_and_divergence_is_noticed(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster() as group:
        leader = await group.leader()
        follower, other = others(group, leader)
        await fill(leader, 5)
        await trio.sleep(40)
        assert follower.statistics().compared == 1
        assert not follower.diverged
        follower._state.digest = bytes(8)
        await fill(leader, 5)
        await trio.sleep(40)
        assert "revision 11" in follower.diverged
        assert any("alarm=diverged" in note for note in group.members[follower.member].notes)
        assert not other.diverged


async def test_a_late_tick_counts_once(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.autojump_threshold = 0
    async with cluster() as group:
        leader = await group.leader()
        await trio.sleep(1)
        mock_clock.autojump_threshold = float("inf")
        await wait_all_tasks_blocked()
        term = leader.term
        mock_clock.jump(60)  # the whole machine was halted
        await wait_all_tasks_blocked()
        mock_clock.autojump_threshold = 0
        await trio.sleep(5)
        assert leader.term == term


class HeldLog(MemoryLog):
    """A log that may have to wait for space."""

    def __init__(self) -> None:
        super().__init__()
        self.space = trio.Semaphore(1000)

    async def reserve(self, size: int) -> None:
        await self.space.acquire()


async def test_a_commit_index_never_reaches_the_disk_ahead_of_its_entries(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Entries of a lost leader wait for space; those that replace them, and are committed, come behind them."""
    async with cluster(0) as group:
        member = Member(group, 2, ConfState(voters=(1, 2, 3)))
        member.log = log = HeldLog()
        group.members[2] = member
        node = (await member.start()).node
        log.space = trio.Semaphore(0)
        data = encode([], [Put(b"/a", b"")])[1]
        lost = (Entry(2, 2, 0, data), Entry(2, 3, 0, data))
        node.receive(1, Message(MSG_APP, 2, 1, 2, 1, 1, 1, lost))
        await wait_all_tasks_blocked()
        chosen = (Entry(3, 2, 0, data), Entry(3, 3, 0, data))
        node.receive(3, Message(MSG_APP, 2, 3, 3, 1, 1, 3, chosen))
        await wait_all_tasks_blocked()
        assert node.commit == 3
        log.space.release()  # for one of the two writes
        await trio.sleep(0.1)
        left = log.crash()
        assert left.entries(2, 4, 1 << 20) == list(lost)
        assert left.initial_state()[0].commit <= 1
        log.space.release()
        await trio.sleep(0.1)
        left = log.crash()
        assert left.entries(2, 4, 1 << 20) == list(chosen)
        assert left.initial_state()[0] == HardState(3, 0, 3)


async def test_who_was_alone_remembers_what_was_committed_then(autojump_clock: trio.testing.MockClock) -> None:
    """Alone, the end of the log says what is committed; beside another voter only the commit index does."""
    async with cluster(1) as group:
        await fill(group[1], 20)
        await group.add(2)
        await group[1].add_learner(2)
        await group[1].promote(2)
        changed = group[1].node.commit
        log = group.members[1].log
        await log.sync(log.append())  # as any later write would
        for number in (1, 2):
            await group.members[number].crash()
        state, conf_state = group.members[1].log.initial_state()
        assert conf_state.voters == (1, 2)
        assert state.commit == changed
        await group.members[1].start()
        assert group[1].conf_state.voters == (1, 2), "it must not take itself for the only voter"
        assert group[1].term == 0
        await group.members[2].start()
        await group.settle()
        assert group[1].count(b"/k/", b"/k0") == 20
