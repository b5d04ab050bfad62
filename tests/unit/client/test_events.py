"""What becomes of events: folded, combined, cut short."""

from edgekube.client.events import (
    BURST_MAX,
    COMBINE_WINDOW_SECONDS,
    COMBINED,
    DIFFERENT_MAX,
    REFILL_SECONDS,
    Correlator,
    EventRecorder,
)
from edgekube.testing.cluster import FakeCluster
from edgekube.testing.workloads import pod
from edgekube.types.core_v1 import Event

ABOUT = ("uid", "default", "web", "")


def test_repeats_share_a_key() -> None:
    correlator = Correlator()
    first = correlator.judge(ABOUT, "Normal", "Pulled", "same", 0)
    assert first == correlator.judge(ABOUT, "Normal", "Pulled", "same", 1)
    assert first is not None
    assert first[1] == "same"
    other = correlator.judge(("uid2", *ABOUT[1:]), "Normal", "Pulled", "same", 1)
    assert other is not None
    assert other[0] != first[0]


def test_many_different_messages_become_one() -> None:
    correlator = Correlator()
    judged = [correlator.judge(ABOUT, "Warning", "FailedCreate", f"no {n}", n) for n in range(DIFFERENT_MAX + 3)]
    keys = [j[0] for j in judged if j is not None]
    words = [j[1] for j in judged if j is not None]
    assert len(set(keys)) == DIFFERENT_MAX
    assert words[DIFFERENT_MAX - 2] == "no 8"
    assert words[DIFFERENT_MAX - 1 :] == [f"{COMBINED}no {n}" for n in range(9, 13)]
    # Another reason is another matter, and after a quiet while so is this one.
    assert correlator.judge(ABOUT, "Warning", "Other", "no 99", 20) == (
        (((ABOUT, "Warning", "Other"), "no 99")),
        "no 99",
    )
    later = correlator.judge(ABOUT, "Warning", "FailedCreate", "no 99", 20 + COMBINE_WINDOW_SECONDS)
    assert later is not None
    assert later[1] == "no 99"


def test_a_noisy_object_is_heard_seldom() -> None:
    correlator = Correlator()
    kept = [correlator.judge(ABOUT, "Normal", "Tick", "tick", 0) for _ in range(BURST_MAX + 5)]
    assert [k is not None for k in kept] == [True] * BURST_MAX + [False] * 5
    assert correlator.judge(ABOUT, "Normal", "Tick", "tick", REFILL_SECONDS - 1) is None
    assert correlator.judge(ABOUT, "Normal", "Tick", "tick", REFILL_SECONDS) is not None
    assert correlator.judge(("other", *ABOUT[1:]), "Normal", "Tick", "tick", 0) is not None


async def test_recorded_events_count_their_repeats(autojump_clock: object) -> None:
    async with FakeCluster(run_controllers=False, run_scheduler=False) as cluster:
        recorder = EventRecorder(cluster.client, "tester", now=cluster.now)
        cluster.nursery.start_soon(recorder.run)
        about = pod("web")
        for _ in range(3):
            recorder.event(about, "Normal", "Started", "Started it")
            await cluster.settle(1)
        recorder.event(about, "Warning", "Failed", "x" * 5000)
        await cluster.until(lambda: len(cluster.recorded("web")) == 2)
        started, failed = cluster.recorded("web")
        assert (started.count, started.source.component, started.involvedObject.kind) == (3, "tester", "Pod")
        assert started.lastTimestamp > started.firstTimestamp
        assert len(failed.message) == 1024
        # An event that somebody deleted is made anew.
        await cluster.client.delete(Event, started.metadata.name, "default")
        recorder.event(about, "Normal", "Started", "Started it")
        await cluster.until(lambda: [e.count for e in cluster.recorded("web") if e.reason == "Started"] == [1])


async def test_events_that_cannot_be_stored_are_dropped_and_counted(autojump_clock: object) -> None:
    async with FakeCluster(run_controllers=False, run_scheduler=False) as cluster:
        recorder = EventRecorder(cluster.client, "tester", now=cluster.now)
        recorder.event(pod("web", namespace="nowhere"), "Normal", "Started", "Started it")
        cluster.nursery.start_soon(recorder.run)
        await cluster.settle(1)
        assert recorder.dropped == 1
