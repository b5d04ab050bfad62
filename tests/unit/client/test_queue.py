"""The work queue's promises, on a clock that jumps."""

import random

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.client.queue import BACKOFF_BASE_SECONDS, BACKOFF_JITTER, BACKOFF_MAX_SECONDS, WorkQueue


async def test_a_key_added_twice_is_handed_out_once(autojump_clock: object) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    with trio.move_on_after(1) as scope:
        await queue.get()
    assert scope.cancelled_caught


async def test_a_key_added_while_it_is_worked_on_comes_once_more_afterwards(autojump_clock: object) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    with trio.move_on_after(1) as scope:
        await queue.get()
    assert scope.cancelled_caught
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_of_several_delays_the_earliest_counts(autojump_clock: object) -> None:
    queue: WorkQueue[str] = WorkQueue()
    start = trio.current_time()
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    assert await queue.get() == "a"
    assert trio.current_time() - start == 10
    queue.done("a")
    with trio.move_on_after(100) as scope:
        await queue.get()
    assert scope.cancelled_caught


async def test_wakes_a_sleeping_worker_for_an_earlier_delay(autojump_clock: object) -> None:
    queue: WorkQueue[str] = WorkQueue()
    start = trio.current_time()
    got: list[tuple[str, float]] = []

    async def worker() -> None:
        while True:
            key = await queue.get()
            got.append((key, trio.current_time() - start))
            queue.done(key)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker)
        queue.add_after("late", 50)
        await trio.sleep(1)
        queue.add_after("early", 5)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert got == [("early", 6), ("late", 50)]


async def test_back_off_doubles_up_to_a_limit_and_starts_anew_after_success(autojump_clock: object) -> None:
    queue: WorkQueue[str] = WorkQueue(random.Random(1))
    delays = []
    for _ in range(20):
        before = trio.current_time()
        queue.retry("a")
        await queue.get()
        delays.append(trio.current_time() - before)
        queue.done("a")
    for number, delay in enumerate(delays):
        base = min(BACKOFF_MAX_SECONDS, BACKOFF_BASE_SECONDS * 2**number)
        assert base <= delay <= base * (1 + BACKOFF_JITTER) + 1e-9
    assert queue.failures("a") == 20
    queue.forget("a")
    before = trio.current_time()
    queue.retry("a")
    await queue.get()
    assert trio.current_time() - before <= BACKOFF_BASE_SECONDS * (1 + BACKOFF_JITTER) + 1e-9


async def test_a_cancelled_worker_loses_no_key(autojump_clock: object) -> None:
    queue: WorkQueue[str] = WorkQueue()
    with trio.CancelScope() as scope:
        scope.cancel()
        queue.add("a")
        await queue.get()
    with trio.fail_after(1):
        assert await queue.get() == "a"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.floats(0, 3)), max_size=30), st.integers(1, 4))
def test_serial_per_key_and_every_add_is_followed_by_work(adds: list[tuple[str, float, float]], workers: int) -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        running: set[str] = set()
        begun: dict[str, float] = {}
        added: dict[str, float] = {}

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in running
                running.add(key)
                begun[key] = trio.current_time()
                await trio.sleep(0.5)
                running.remove(key)
                queue.done(key)

        async with trio.open_nursery() as nursery:
            for _ in range(workers):
                nursery.start_soon(work)
            for key, pause, delay in adds:
                await trio.sleep(pause)
                queue.add_after(key, delay)
                added[key] = trio.current_time()
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
        assert all(begun[key] >= at for key, at in added.items())

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
