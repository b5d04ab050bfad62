"""When CronJobs are due, and what they then do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.controllers.cronjob import SCHEDULED_AT, ScheduleError, due, new_job
from edgekube.testing.cluster import FakeCluster
from edgekube.testing.fakekubelet import Script
from edgekube.testing.workloads import cron_job, meta
from edgekube.types.batch_v1 import CronJob, CronJobStatus, Job
from edgekube.types.time import format_time, parse_datetime


def at(text: str) -> datetime:
    return parse_datetime(text)


def made(schedule: str, created: str, last: str = "", **spec: Any) -> CronJob:
    cron = cron_job("tick", schedule, **spec)
    return msgspec.structs.replace(
        cron, metadata=meta("tick", creationTimestamp=created, uid="u"), status=CronJobStatus(lastScheduleTime=last)
    )


DUE = [
    # schedule, zone, created, last, now -> latest, next, missed
    ("*/5 * * * *", "", "2026-01-01T00:00:30Z", "", "2026-01-01T00:04:00Z", None, "2026-01-01T00:05:00Z", 0),
    ("*/5 * * * *", "", "2026-01-01T00:00:30Z", "", "2026-01-01T00:05:00Z",
     "2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z", 1),
    ("*/5 * * * *", "", "2026-01-01T00:00:30Z", "2026-01-01T00:05:00Z", "2026-01-01T00:05:01Z",
     None, "2026-01-01T00:10:00Z", 0),
    ("@hourly", "", "2026-01-01T00:00:00Z", "", "2026-01-01T03:30:00Z",
     "2026-01-01T03:00:00Z", "2026-01-01T04:00:00Z", 3),
    ("? * * * ?", "", "2026-01-01T00:00:00Z", "", "2026-01-01T00:01:30Z",
     "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z", 1),
    ("@every 1m30s", "", "2026-01-01T00:00:10Z", "", "2026-01-01T00:03:30Z",
     "2026-01-01T00:03:10Z", "2026-01-01T00:04:40Z", 2),
    ("0 9 * * 1", "Europe/Berlin", "2026-06-01T00:00:00Z", "", "2026-06-01T07:30:00Z",
     "2026-06-01T07:00:00Z", "2026-06-08T07:00:00Z", 1),
    # The hour that summer time leaves out, and the one that winter time repeats: once each.
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "", "2026-03-29T12:00:00Z",
     "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", 1),
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "", "2026-10-25T12:00:00Z",
     "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z", 1),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "zone", "created", "last", "now", "latest", "following", "missed"), DUE)
def test_due(
    schedule: str, zone: str, created: str, last: str, now: str, latest: str | None, following: str, missed: int
) -> None:
    cron = made(schedule, created, last, timeZone=zone or None)
    assert due(cron, at(now)) == (at(latest) if latest else None, at(following), missed)


def test_a_long_sleep_ends_with_the_newest_start() -> None:
    cron = made("* * * * *", "2020-01-01T00:00:00Z")
    latest, following, missed = due(cron, at("2026-01-01T00:00:30Z"))
    assert (latest, following) == (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:01:00Z"))
    assert missed > 100
    rare = made("0 0 1 */3 *", "2000-01-01T00:00:00Z")
    assert due(rare, at("2026-02-01T00:00:00Z"))[0] == at("2026-01-01T00:00:00Z")


def test_a_deadline_forgets_starts_before_it() -> None:
    cron = made("0 * * * *", "2026-01-01T00:00:00Z", startingDeadlineSeconds=600)
    assert due(cron, at("2026-01-01T05:05:00Z"))[0] == at("2026-01-01T05:00:00Z")
    assert due(cron, at("2026-01-01T05:15:00Z"))[0] is None


@pytest.mark.parametrize("schedule", ["61 * * * *", "nonsense", "0 0 30 2 *", "* * * *", "0 0 L * *"])
def test_what_cannot_be_scheduled_says_so(schedule: str) -> None:
    with pytest.raises(ScheduleError):
        due(made(schedule, "2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"))


def test_unknown_zone_says_so() -> None:
    with pytest.raises(ScheduleError, match="unknown time zone Mars/Olympus"):
        due(made("* * * * *", "2026-01-01T00:00:00Z", timeZone="Mars/Olympus"), at("2026-01-02T00:00:00Z"))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["*/7 * * * *", "0 */3 * * *", "15 4 * * 2", "@daily", "30 2 * * *"]),
    st.sampled_from([None, "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
    st.integers(0, 400 * 24 * 60),
    st.integers(0, 20 * 24 * 60),
)
def test_latest_is_due_and_the_next_is_not(schedule: str, zone: str | None, start: int, slept: int) -> None:
    created = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=start)
    now = created + timedelta(minutes=slept)
    cron = made(schedule, format_time(created), timeZone=zone)
    latest, following, missed = due(cron, now)
    assert following > now
    assert (latest is None) == (missed == 0)
    if latest is not None:
        assert created <= latest <= now
        again = msgspec.structs.replace(cron, status=CronJobStatus(lastScheduleTime=format_time(latest)))
        assert due(again, now) == (None, following, 0)


def test_name_and_annotation_of_a_start() -> None:
    cron = made("* * * * *", "2026-01-01T00:00:00Z", timeZone="Europe/Berlin")
    when = at("2026-06-01T10:00:00Z")
    started = new_job(cron, when)
    assert started.metadata.name == f"tick-{int(when.timestamp()) // 60}"
    assert started.metadata.annotations[SCHEDULED_AT] == "2026-06-01T12:00:00+02:00"
    assert started.metadata.ownerReferences[0].kind == "CronJob"


def status(cluster: FakeCluster) -> CronJobStatus:
    return cluster.get(CronJob, "tick").status


async def test_starts_on_time_and_keeps_a_history(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        runs = iter([0, 1, 0, 1, 0, 1, 0, 0, 0, 0])
        cluster.kubelet.script = lambda _pod: Script(start=1, run=5, exit_code=next(runs))
        spec: dict[str, Any] = {"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1}
        work = cron_job("x", "* * * * *").spec.jobTemplate.spec
        work = msgspec.structs.replace(work, backoffLimit=0)
        await cluster.client.create(cron_job("tick", "* * * * *", work=work, **spec))
        await cluster.settle(60 * 7 + 30)
        finished = [
            next(c.type for c in j.status.conditions if c.type in ("Complete", "Failed")) for j in cluster.all(Job)
        ]
        assert sorted(finished) == ["Complete", "Complete", "Failed"]
        reasons = cluster.reasons("tick")
        assert (reasons.count("SuccessfulCreate"), reasons.count("SawCompletedJob")) == (7, 7)
        assert status(cluster).active == ()
        assert status(cluster).lastScheduleTime == "2026-01-01T00:07:00Z"
        assert status(cluster).lastSuccessfulTime == "2026-01-01T00:07:06Z"


@pytest.mark.parametrize(("policy", "running", "reason"), [
    ("Forbid", 1, "JobAlreadyActive"), ("Replace", 1, "SuccessfulDelete"), ("Allow", 3, "SuccessfulCreate"),
])  # fmt: skip
async def test_concurrency(autojump_clock: object, policy: str, running: int, reason: str) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=1, run=1000)
        await cluster.client.create(cron_job("tick", "* * * * *", concurrencyPolicy=policy))
        await cluster.until(lambda: len(cluster.all(Job)) == 1)
        first = cluster.all(Job)[0].metadata.uid
        await cluster.settle(130)
        assert len(cluster.all(Job)) == len(status(cluster).active) == running
        assert reason in cluster.reasons("tick")
        assert (first in {j.metadata.uid for j in cluster.all(Job)}) == (policy != "Replace")


async def test_forbidden_start_is_made_up_for_when_the_job_ends(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=1, run=80)
        await cluster.client.create(cron_job("tick", "* * * * *", concurrencyPolicy="Forbid"))
        await cluster.settle(60 + 85 + 10)
        assert [j.metadata.annotations[SCHEDULED_AT] for j in cluster.all(Job)] == [
            "2026-01-01T00:01:00+00:00", "2026-01-01T00:02:00+00:00",
        ]  # fmt: skip


async def test_suspended_starts_nothing(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(cron_job("tick", "* * * * *", suspend=True))
        await cluster.settle(600)
        assert not cluster.all(Job)


async def test_waits_for_a_clock_that_can_be_believed(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.clock_plausible = False
        await cluster.client.create(cron_job("tick", "* * * * *"))
        await cluster.settle(200)
        assert not cluster.all(Job)
        cluster.clock_plausible = True
        await cluster.until(lambda: len(cluster.all(Job)) == 1, seconds=30)


async def test_deleted_cron_job_takes_its_jobs_along(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(cron_job("tick", "* * * * *"))
        await cluster.until(lambda: len(cluster.pods()) == 1)
        await cluster.client.delete(CronJob, "tick", "default")
        await cluster.until(lambda: not cluster.all(Job) and not cluster.pods())


PARTS = st.sampled_from(
    ("*", "*/5", "0", "59", "60", "1-5", "5-1", "MON", "L", "?", "5L", "1#9", "W", "@daily", ",", "9" * 5000)
)
ZONES = st.none() | st.sampled_from(
    ("", "Europe", "Europe/Berlin", "../etc", "/etc/passwd", "a\0b", "Local", "x" * 300)
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(PARTS, max_size=7).map(" ".join) | st.text(max_size=20),
    ZONES | st.text(max_size=10),
    st.none() | st.integers(0, 2**63 - 1),
)
def test_only_schedule_errors_escape(schedule: str, zone: str | None, deadline: int | None) -> None:
    cron = made(schedule, "2026-01-05T09:00:00Z", timeZone=zone, startingDeadlineSeconds=deadline)
    try:
        due(cron, at("2026-01-05T10:00:30Z"))
    except ScheduleError:
        pass
