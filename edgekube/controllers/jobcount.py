"""A Job's arithmetic: what has ended, what that means, and what should run. Pure (job-controller).

An ended pod is counted in two steps, so that no crash counts it twice or not at all: its uid is written to
status.uncountedTerminatedPods, then its finalizer is removed, and when that shows, the uid becomes a count (KEP-2307).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from edgekube.controllers import indexes
from edgekube.controllers.jobpolicy import (
    INDEX_FAILURES,
    index_of,
    is_indexed,
    parallelism,
    policy_action,
    success_policy,
)
from edgekube.controllers.owners import deletion_rank, is_ready, is_terminating
from edgekube.types.batch_v1 import Job, JobStatus, UncountedTerminatedPods
from edgekube.types.core_v1 import Pod
from edgekube.types.integers import natural
from edgekube.types.time import parse_time

FINALIZER = "batch.kubernetes.io/job-tracking"
# Back-off before the pod that follows a failed one, doubling (DefaultJobPodFailureBackOff).
FAILURE_BACKOFF_SECONDS = 10.0
FAILURE_BACKOFF_MAX_SECONDS = 600.0
BACKOFF_LIMIT_DEFAULT = 6
NO_LIMIT = 2**31 - 1


class Verdict(msgspec.Struct, frozen=True):
    """A Job's end: `type` is Complete or Failed."""

    type: str
    reason: str
    message: str


def active(pod: Pod) -> bool:
    return not ended(pod) and not pod.metadata.deletionTimestamp


def ended(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def finished(status: JobStatus) -> bool:
    return any(c.type in ("Complete", "Failed") and c.status == "True" for c in status.conditions)


def only_replaces_failed(job: Job) -> bool:
    """Whether a terminating pod holds its place until it has really ended (KEP-3939)."""
    return job.spec.podReplacementPolicy == "Failed" or job.spec.podFailurePolicy is not None


def has_failed(job: Job, pod: Pod) -> bool:
    """A deleted pod counts as failed at once, unless it is to be replaced only when it has ended (isPodFailed)."""
    if pod.status.phase == "Failed":
        return True
    if not pod.metadata.deletionTimestamp or pod.status.phase == "Succeeded":
        return False
    return not only_replaces_failed(job) or not pod.spec.nodeName  # on no node nobody will ever end it


def alive(status: JobStatus, pods: Sequence[Pod]) -> JobStatus:
    """The status with the counts of pods that have not ended."""
    return msgspec.structs.replace(
        status,
        active=sum(active(p) for p in pods),
        ready=sum(active(p) and is_ready(p) for p in pods),
        terminating=sum(is_terminating(p) for p in pods),
    )


def count(job: Job, pods: Sequence[Pod]) -> tuple[JobStatus, list[Pod]]:
    """The status with every ended pod on record, and the pods whose finalizer may go once it is written."""
    status = job.status
    uncounted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    holding = {p.metadata.uid for p in pods if FINALIZER in p.metadata.finalizers}
    waiting_succeeded = [uid for uid in uncounted.succeeded if uid in holding]
    waiting_failed = [uid for uid in uncounted.failed if uid in holding]
    succeeded = status.succeeded + len(uncounted.succeeded) - len(waiting_succeeded)
    failed = status.failed + len(uncounted.failed) - len(waiting_failed)
    done = indexes.parse(status.completedIndexes, job.spec.completions or 0)
    known = {*waiting_succeeded, *waiting_failed}
    release: list[Pod] = [p for p in pods if p.metadata.uid in known]
    for pod in pods:
        uid = pod.metadata.uid
        if uid not in holding or uid in known:
            continue
        if pod.status.phase == "Succeeded":
            index = index_of(pod)
            if not is_indexed(job):
                waiting_succeeded.append(uid)
            elif index is not None:
                done.add(index)  # counted by its index: twice is once
        elif has_failed(job, pod):
            if policy_action(job.spec, pod)[0] != "Ignore":
                waiting_failed.append(uid)
        else:
            continue
        release.append(pod)
    changes: dict[str, Any] = {
        "succeeded": succeeded,
        "failed": failed,
        "uncountedTerminatedPods": UncountedTerminatedPods(
            succeeded=tuple(waiting_succeeded), failed=tuple(waiting_failed)
        ),
    }
    if is_indexed(job):
        changes["completedIndexes"] = indexes.render(i for i in done if i < (job.spec.completions or 0))
        changes["succeeded"] = len(done)
        if job.spec.backoffLimitPerIndex is not None:
            changes["failedIndexes"] = indexes.render(failed_indexes(job, pods, done))
    return alive(msgspec.structs.replace(status, **changes), pods), release


def totals(status: JobStatus) -> tuple[int, int]:
    """(succeeded, failed), those not yet counted included."""
    uncounted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    return status.succeeded + len(uncounted.succeeded), status.failed + len(uncounted.failed)


def wanted_active(job: Job, status: JobStatus, living: int) -> int:
    """How many pods should run at once: parallelism, but no more than completions are left."""
    total = job.spec.completions
    succeeded, _ = totals(status)
    if total is None:  # a work queue: any success means the others are to finish, and no new one begins
        return living if succeeded else parallelism(job)
    left = total - succeeded
    if is_indexed(job) and status.failedIndexes:
        left -= len(indexes.parse(status.failedIndexes, total))
    return max(0, min(parallelism(job), left))


def surplus(job: Job, living: Sequence[Pod], count: int) -> list[Pod]:
    """Which pods go when there are too many: those of indexes that are none (any more), then the least useful."""
    taken: set[int] = set()
    useless: list[Pod] = []
    useful: list[Pod] = []
    for pod in sorted(living, key=lambda p: deletion_rank(p, 0), reverse=True):
        index = index_of(pod)
        if is_indexed(job) and (index is None or index >= (job.spec.completions or 0) or index in taken):
            useless.append(pod)
        else:
            useful.insert(0, pod)
            taken.add(-1 if index is None else index)
    return (useless + useful)[: max(count, len(useless))]


def failed_indexes(job: Job, pods: Sequence[Pod], done: set[int]) -> set[int]:
    """Indexes whose own back-off limit is used up, or that a FailIndex rule gave up on."""
    limit = job.spec.backoffLimitPerIndex or 0
    before = indexes.parse(job.status.failedIndexes or "", job.spec.completions or 0)
    over = {index for index, failures in index_failures(job, pods).items() if failures > limit}
    given_up = {
        index
        for pod in pods
        if pod.status.phase == "Failed"
        and (index := index_of(pod)) is not None
        and policy_action(job.spec, pod)[0] == "FailIndex"
    }
    return (before | over | given_up) - done


def index_failures(job: Job, pods: Sequence[Pod]) -> dict[int, int]:
    """How often each index has failed, by the counts its pods carry (backoffLimitPerIndex)."""
    result: dict[int, int] = {}
    for pod in pods:
        index = index_of(pod)
        if index is None:
            continue
        carried = natural(pod.metadata.annotations.get(INDEX_FAILURES, "")) or 0
        # One that was let go of before it was deleted was not needed any more: that is no failure.
        discarded = bool(pod.metadata.deletionTimestamp) and FINALIZER not in pod.metadata.finalizers
        counts = not discarded and has_failed(job, pod) and policy_action(job.spec, pod)[0] != "Ignore"
        result[index] = max(result.get(index, 0), carried + counts)
    return result


def judge(job: Job, status: JobStatus, pods: Sequence[Pod], now: float) -> Verdict | None:
    """Whether the Job has come to its end, and why."""
    spec = job.spec
    for condition in job.status.conditions:
        if condition.status == "True" and condition.type == "FailureTarget":
            return Verdict("Failed", condition.reason, condition.message)
        if condition.status == "True" and condition.type == "SuccessCriteriaMet":
            return Verdict("Complete", condition.reason, condition.message)
    for pod in pods:
        if pod.status.phase == "Failed":
            action, message = policy_action(spec, pod)
            if action == "FailJob":
                return Verdict("Failed", "PodFailurePolicy", message)
    succeeded, failed = totals(status)
    limit = spec.backoffLimit
    if limit is None:
        limit = BACKOFF_LIMIT_DEFAULT if spec.backoffLimitPerIndex is None else NO_LIMIT
    restarts = _restarts(job, pods)
    if failed > limit or (restarts and restarts >= limit):
        return Verdict("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    timed = spec.activeDeadlineSeconds is not None and status.startTime and not spec.suspend
    if timed and now >= parse_time(status.startTime) + (spec.activeDeadlineSeconds or 0):
        return Verdict("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if is_indexed(job):
        done = indexes.parse(status.completedIndexes, spec.completions or 0)
        broken = indexes.parse(status.failedIndexes or "", spec.completions or 0)
        if spec.maxFailedIndexes is not None and len(broken) > spec.maxFailedIndexes:
            words = "Job has exceeded the specified maximal number of failed indexes"
            return Verdict("Failed", "MaxFailedIndexesExceeded", words)
        if broken and len(broken) + len(done) >= (spec.completions or 0):
            return Verdict("Failed", "FailedIndexes", "Job has failed indexes")
        message = success_policy(job, done)
        if message:
            return Verdict("Complete", "SuccessPolicy", message)
    # A work queue (no completions) is done when one pod has succeeded and none is active.
    enough = succeeded > 0 if spec.completions is None else succeeded >= spec.completions
    if enough and not any(map(active, pods)):
        return Verdict("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _restarts(job: Job, pods: Sequence[Pod]) -> int:
    """Restarts count as failures where pods restart in place (pastBackoffLimitOnFailure)."""
    if job.spec.template.spec.restartPolicy != "OnFailure":
        return 0
    running = (p for p in pods if p.status.phase in ("Running", "Pending", ""))
    return sum(s.restartCount for p in running for s in (*p.status.initContainerStatuses, *p.status.containerStatuses))


def backoff_left(job: Job, pods: Iterable[Pod], now: float) -> float:
    """Seconds to wait before the next pod: 10 s after the last failure, doubling with each since the last success."""
    failures: list[float] = []
    last_success = 0.0
    for pod in pods:
        if has_failed(job, pod):
            failures.append(_ended_at(pod))
        elif pod.status.phase == "Succeeded":
            last_success = max(last_success, _ended_at(pod))
    recent = [at for at in failures if at > last_success]
    if not recent:
        return 0.0
    delay = min(FAILURE_BACKOFF_MAX_SECONDS, FAILURE_BACKOFF_SECONDS * 2.0 ** min(len(recent) - 1, 16))
    return max(0.0, max(recent) + delay - now)


def _ended_at(pod: Pod) -> float:
    ends = [s.state.terminated.finishedAt for s in pod.status.containerStatuses if s.state.terminated is not None]
    known = [parse_time(end) for end in ends if end]
    if known:
        return max(known)
    if pod.metadata.deletionTimestamp:
        return parse_time(pod.metadata.deletionTimestamp) - (pod.metadata.deletionGracePeriodSeconds or 0)
    return parse_time(pod.metadata.creationTimestamp)


def free_indexes(job: Job, status: JobStatus, pods: Sequence[Pod]) -> list[int]:
    """Indexes that need a pod: neither done, given up, nor running."""
    total = job.spec.completions or 0
    taken = indexes.parse(status.completedIndexes, total) | indexes.parse(status.failedIndexes or "", total)
    holds = only_replaces_failed(job)
    taken |= {i for p in pods if (active(p) or (holds and is_terminating(p))) and (i := index_of(p)) is not None}
    return [index for index in range(total) if index not in taken]
