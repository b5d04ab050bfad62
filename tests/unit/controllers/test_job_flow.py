"""Jobs over the real registry: completions, failures, indexes, policies, suspension, time limits, crashes."""

from typing import Any

import pytest
import trio

from edgekube.client.events import EventRecorder
from edgekube.controllers.framework import Context
from edgekube.controllers.job import JobController
from edgekube.controllers.jobcount import FINALIZER
from edgekube.testing.cluster import FakeCluster
from edgekube.testing.crashing import Crash, CrashingClient
from edgekube.testing.fakekubelet import Script
from edgekube.testing.workloads import job, meta
from edgekube.types.batch_v1 import (
    Job,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
    SuccessPolicy,
    SuccessPolicyRule,
)
from edgekube.types.core_v1 import Pod, ServiceAccount

QUICK = Script(start=1, run=2, exit_code=0)
FAILS = Script(start=1, run=2, exit_code=1)


def status(cluster: FakeCluster) -> Any:
    return cluster.get(Job, "sum").status


def outcome(cluster: FakeCluster) -> tuple[str, str]:
    found = [c for c in status(cluster).conditions if c.type in ("Complete", "Failed") and c.status == "True"]
    return (found[0].type, found[0].reason) if found else ("", "")


def index(pod: Pod) -> int:
    return int(pod.metadata.annotations["batch.kubernetes.io/job-completion-index"])


def nobody_is_held(cluster: FakeCluster) -> bool:
    return not any(FINALIZER in p.metadata.finalizers for p in cluster.all(Pod))


async def test_runs_to_completion_with_as_many_pods_at_once_as_allowed(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: QUICK
        await cluster.client.create(job("sum", completions=7, parallelism=3))
        most = 0

        def look() -> bool:
            nonlocal most
            most = max(most, sum(p.status.phase not in ("Succeeded", "Failed") for p in cluster.all(Pod)))
            return outcome(cluster) == ("Complete", "CompletionsReached")

        await cluster.until(look)
        s = status(cluster)
        assert (most, s.succeeded, s.failed, s.active, s.ready, s.terminating) == (3, 7, 0, 0, 0, 0)
        assert s.completionTime > s.startTime
        assert s.uncountedTerminatedPods is None
        assert [c.type for c in s.conditions] == ["SuccessCriteriaMet", "Complete"]
        assert len(cluster.all(Pod)) == 7
        assert nobody_is_held(cluster)
        await cluster.until(lambda: cluster.reasons("sum")[-1] == "Completed")
        assert cluster.reasons("sum").count("SuccessfulCreate") == 7


async def test_status_shows_active_and_ready_while_it_runs(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=1, run=60)
        await cluster.client.create(job("sum", completions=2, parallelism=2))
        await cluster.until(lambda: (status(cluster).active, status(cluster).ready) == (2, 2))
        assert status(cluster).terminating == 0
        assert status(cluster).startTime


async def test_fails_after_the_back_off_limit_ever_more_slowly(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: FAILS
        await cluster.client.create(job("sum", backoffLimit=3))
        began = cluster.now()
        await cluster.until(lambda: outcome(cluster) == ("Failed", "BackoffLimitExceeded"))
        assert (status(cluster).failed, status(cluster).succeeded) == (4, 0)
        # 10 + 20 + 40 seconds between four pods of three seconds each.
        assert 78 <= (cluster.now() - began).total_seconds() <= 95
        assert [c.type for c in status(cluster).conditions] == ["FailureTarget", "Failed"]
        await cluster.until(lambda: "BackoffLimitExceeded" in cluster.reasons("sum"))
        assert nobody_is_held(cluster)


async def test_restarts_in_place_count_towards_the_limit(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: FAILS
        await cluster.client.create(job("sum", restart="OnFailure", backoffLimit=3))
        await cluster.until(lambda: outcome(cluster) == ("Failed", "BackoffLimitExceeded"))
        assert len(cluster.all(Pod)) <= 1
        assert status(cluster).failed == 1


async def test_work_queue_starts_nobody_after_the_first_success(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        lives = iter([2.0, 30.0, 60.0])
        cluster.kubelet.script = lambda _pod: Script(start=1, run=next(lives), exit_code=0)
        await cluster.client.create(job("sum", parallelism=3))
        await cluster.until(lambda: outcome(cluster) == ("Complete", "CompletionsReached"))
        assert len(cluster.all(Pod)) == 3
        assert status(cluster).succeeded == 3


async def test_indexed(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        tried: set[int] = set()

        def script(pod: Pod) -> Script:
            number = index(pod)
            fails = number == 2 and number not in tried
            tried.add(number)
            return FAILS if fails else QUICK

        cluster.kubelet.script = script
        await cluster.client.create(job("sum", completions=5, parallelism=2, completionMode="Indexed"))
        await cluster.until(lambda: outcome(cluster) == ("Complete", "CompletionsReached"))
        s = status(cluster)
        assert (s.completedIndexes, s.succeeded, s.failed) == ("0-4", 5, 1)
        pod = next(p for p in cluster.all(Pod) if index(p) == 3)
        assert pod.metadata.name.startswith("sum-3-")
        assert pod.spec.hostname == "sum-3"
        assert pod.spec.containers[0].env[0].name == "JOB_COMPLETION_INDEX"
        assert pod.metadata.labels["batch.kubernetes.io/job-completion-index"] == "3"


async def test_an_index_that_fails_holds_up_itself_alone(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda pod: FAILS if index(pod) == 0 else QUICK
        await cluster.client.create(
            job("sum", completions=4, parallelism=1, completionMode="Indexed", backoffLimitPerIndex=1)
        )
        await cluster.until(lambda: status(cluster).completedIndexes == "1-3", seconds=30)
        await cluster.until(lambda: outcome(cluster) == ("Failed", "FailedIndexes"))
        s = status(cluster)
        assert (s.failedIndexes, s.completedIndexes, s.failed, s.succeeded) == ("0", "1-3", 2, 3)


async def test_too_many_failed_indexes_end_the_job(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: FAILS
        await cluster.client.create(
            job("sum", completions=9, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=0,
                maxFailedIndexes=2)
        )  # fmt: skip
        await cluster.until(lambda: outcome(cluster) == ("Failed", "MaxFailedIndexesExceeded"))
        assert nobody_is_held(cluster)


async def test_success_policy_ends_the_rest(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda pod: QUICK if index(pod) == 0 else Script(run=None)
        policy = SuccessPolicy(rules=(SuccessPolicyRule(succeededIndexes="0", succeededCount=1),))
        await cluster.client.create(
            job("sum", completions=3, parallelism=3, completionMode="Indexed", successPolicy=policy)
        )
        await cluster.until(lambda: outcome(cluster) == ("Complete", "SuccessPolicy"))
        assert status(cluster).completedIndexes == "0"
        assert not [p for p in cluster.pods() if p.status.phase == "Running"]


@pytest.mark.parametrize(
    ("action", "expected", "failed"),
    [("FailJob", ("Failed", "PodFailurePolicy"), 1), ("Ignore", ("Complete", "CompletionsReached"), 0),
     ("Count", ("Failed", "BackoffLimitExceeded"), 1)],
)  # fmt: skip
async def test_pod_failure_policy(autojump_clock: object, action: str, expected: tuple[str, str], failed: int) -> None:
    async with FakeCluster() as cluster:
        scripts = iter([Script(run=1, exit_code=42)])
        cluster.kubelet.script = lambda _pod: next(scripts, QUICK)
        on_exit = PodFailurePolicyOnExitCodesRequirement(operator="In", values=(42,))
        policy = PodFailurePolicy(rules=(PodFailurePolicyRule(action=action, onExitCodes=on_exit),))
        await cluster.client.create(job("sum", backoffLimit=0, podFailurePolicy=policy))
        await cluster.until(lambda: outcome(cluster) == expected)
        assert status(cluster).failed == failed
        if action == "FailJob":
            (pod,) = cluster.all(Pod)
            words = next(c.message for c in status(cluster).conditions if c.type == "Failed")
            name = pod.metadata.name
            assert (
                words
                == f"Container main for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
            )


async def test_suspended_and_resumed_pods_are_no_failures(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=1, run=100)
        await cluster.client.create(job("sum", suspend=True, backoffLimit=0, completions=2, parallelism=2))
        await cluster.until(lambda: "Suspended" in cluster.reasons("sum"))
        await cluster.settle(30)
        assert not cluster.all(Pod)
        assert not status(cluster).startTime
        for suspend in (False, True, False):
            await cluster.client.patch(Job, "sum", "default", patch={"spec": {"suspend": suspend}})
            count = 0 if suspend else 2
            await cluster.until(lambda count=count: len(cluster.all(Pod)) == status(cluster).active == count)
            conditions = [(c.status, c.reason) for c in status(cluster).conditions if c.type == "Suspended"]
            assert conditions == [("True", "JobSuspended") if suspend else ("False", "JobResumed")]
            await cluster.settle(20)
        await cluster.until(lambda: outcome(cluster) == ("Complete", "CompletionsReached"))
        assert (status(cluster).failed, status(cluster).succeeded) == (0, 2)


async def test_fewer_at_once_stops_the_surplus_without_counting_it(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=1, run=500)
        await cluster.client.create(job("sum", completions=6, parallelism=4, backoffLimit=0))
        await cluster.until(lambda: status(cluster).ready == 4)
        await cluster.client.patch(Job, "sum", "default", patch={"spec": {"parallelism": 1}})
        await cluster.until(lambda: len(cluster.all(Pod)) == 1)
        await cluster.settle()
        assert (status(cluster).active, status(cluster).failed, outcome(cluster)) == (1, 0, ("", ""))


async def test_deadline(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(job("sum", activeDeadlineSeconds=30))
        began = cluster.now()
        await cluster.until(lambda: outcome(cluster) == ("Failed", "DeadlineExceeded"))
        assert 30 <= (cluster.now() - began).total_seconds() <= 35
        assert not cluster.pods()
        await cluster.until(lambda: "DeadlineExceeded" in cluster.reasons("sum"))
        assert cluster.reasons("sum") == ["SuccessfulCreate", "SuccessfulDelete", "DeadlineExceeded"]


@pytest.mark.parametrize(("policy", "at_once"), [("TerminatingOrFailed", 2), ("Failed", 1)])
async def test_pod_replacement_policy(autojump_clock: object, policy: str, at_once: int) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: Script(start=1, run=None, stop=60)
        await cluster.client.create(job("sum", podReplacementPolicy=policy))
        await cluster.until(lambda: [p.status.phase for p in cluster.pods()] == ["Running"])
        await cluster.client.delete(Pod, cluster.pods()[0].metadata.name, "default")
        await cluster.until(lambda: status(cluster).terminating == 1)
        await cluster.settle(20)
        assert len(cluster.all(Pod)) == at_once
        await cluster.until(lambda: status(cluster).active == 1 and status(cluster).terminating == 0)
        assert status(cluster).failed == 1


async def test_goes_some_time_after_it_has_finished(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda _pod: QUICK
        await cluster.client.create(job("sum", ttlSecondsAfterFinished=100))
        await cluster.until(lambda: outcome(cluster)[0] == "Complete")
        finished = cluster.now()
        await cluster.until(lambda: cluster.find(Job, "sum") is None)
        assert 99 <= (cluster.now() - finished).total_seconds() <= 105
        assert not cluster.all(Pod)


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
async def test_deleted_job_holds_no_pod(autojump_clock: object, policy: str) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(job("sum", completions=2, parallelism=2))
        await cluster.until(lambda: status(cluster).ready == 2)
        await cluster.client.delete(Job, "sum", "default", propagation_policy=policy)
        await cluster.until(lambda: cluster.find(Job, "sum") is None)
        if policy == "Orphan":
            await cluster.until(lambda: nobody_is_held(cluster))
            assert len(cluster.pods()) == 2
        else:
            await cluster.until(lambda: not cluster.all(Pod))


class _Workshop:
    """One Job controller at a time, which dies and is started anew."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    async def reconcile(self, crash_after: int) -> bool:
        """One pass of a fresh controller; True when it died."""
        cluster = self._cluster
        client: Any = CrashingClient(cluster.client_for("job-controller"), crash_after)
        controller = JobController(
            Context(client, EventRecorder(client, "job-controller", now=cluster.now), cluster.now)
        )
        try:
            await controller.reconcile(("default", "sum"))
        except Crash:
            return True
        except BaseExceptionGroup as group:
            if group.split(Crash)[1] is not None:
                raise
            return True
        return False


@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
@pytest.mark.parametrize("crash_after", range(1, 8))
async def test_counts_exactly_once_however_often_the_controller_dies(
    autojump_clock: object, crash_after: int, mode: str
) -> None:
    async with FakeCluster(run_controllers=False) as cluster:
        await cluster.client.create(ServiceAccount(metadata=meta("default")))
        lives = iter([QUICK, FAILS, QUICK, FAILS])
        cluster.kubelet.script = lambda _pod: next(lives, QUICK)
        await cluster.client.create(job("sum", completions=5, parallelism=3, completionMode=mode))
        workshop = _Workshop(cluster)
        deaths = 0
        with trio.fail_after(600):
            while outcome(cluster) == ("", ""):
                deaths += await workshop.reconcile(crash_after)
                await cluster.settle(1)
        s = status(cluster)
        ended = [p.status.phase for p in cluster.all(Pod)]
        assert deaths
        assert outcome(cluster) == ("Complete", "CompletionsReached")
        assert (s.succeeded, s.failed) == (ended.count("Succeeded"), ended.count("Failed")) == (5, 2)
        assert nobody_is_held(cluster)
