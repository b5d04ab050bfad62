"""The clocks: what the loop's own measure of its lag counts."""

import time

import trio

from edgekube.clock import LoopLag


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def test_a_turn_that_takes_long_is_counted() -> None:
    lag = LoopLag()
    with lag.measured():
        await trio.lowlevel.checkpoint()
        lag.reset()
        spin(0.06)
        await trio.lowlevel.checkpoint()
    told = lag.statistics()
    assert told["turns_total"] >= 1
    assert told["over_5ms_total"] >= 1
    assert told["over_50ms_total"] >= 1
    assert 0.06 <= told["worst_seconds"] <= told["busy_seconds_total"]
    assert 0 < told["worst_cpu_seconds"] < told["busy_seconds_total"] + 0.01  # two clocks, read one after the other


async def test_nothing_is_counted_outside() -> None:
    lag = LoopLag()
    with lag.measured():
        await trio.lowlevel.checkpoint()
    lag.reset()
    await trio.lowlevel.checkpoint()
    assert lag.statistics()["turns_total"] == 0
