"""Job: pods that run to completion, counted exactly once each (job-controller, KEP-2307's finalizer tracking).

An ended pod is counted in two steps, so that no crash counts it twice or not at all: its uid is written to
status.uncountedTerminatedPods, then its finalizer is removed, and when that shows, the uid becomes a count.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from edgekube.client.api import Key
from edgekube.client.patches import merge_patch
from edgekube.controllers import indexes
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.jobpolicy import (
    INDEX_ANNOTATION,
    INDEX_FAILURES,
    index_failures,
    index_of,
    is_indexed,
    parallelism,
    policy_action,
    success_policy,
)
from edgekube.controllers.owners import (
    claim,
    controller_of,
    index_by_controller,
    is_ready,
    owner_keys,
    pod_from_template,
)
from edgekube.types.batch_v1 import Job, JobCondition, JobStatus, UncountedTerminatedPods
from edgekube.types.core_v1 import EnvVar, EnvVarSource, ObjectFieldSelector, Pod
from edgekube.types.status import ApiError
from edgekube.types.time import format_time, parse_time

API_VERSION, KIND = "batch/v1", "Job"
FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX_LABEL = INDEX_ANNOTATION
INDEX_ENV = "JOB_COMPLETION_INDEX"
PODS_AT_ONCE_MAX = 500
# Back-off before the pod that follows a failed one, doubling (DefaultJobPodFailureBackOff).
FAILURE_BACKOFF_SECONDS = 10.0
FAILURE_BACKOFF_MAX_SECONDS = 600.0


class JobController:
    name = "job-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.informer(Job)
        self._pods = context.informer(Pod)
        index_by_controller(self._pods)

    def watches(self) -> Sequence[Watch]:
        return (Watch(Job), Watch(Pod, owner_keys(KIND)))

    async def reconcile(self, key: Key) -> float | None:
        job = self._jobs.get(*key)
        await self._release(self._left_behind(key, job.metadata.uid if job is not None else ""))
        if job is None:
            return None
        if job.spec.managedBy and job.spec.managedBy != "kubernetes.io/job-controller":
            return None
        pods = await claim(self._context.client, Pod, self._pods, job, API_VERSION, KIND, job.spec.selector)
        if job.metadata.deletionTimestamp or finished(job.status):
            await self._release(pods)
            return None
        now = self._context.now().timestamp()
        status, counted = count(job, pods)
        verdict = judge(job, status, pods, now)
        if verdict is not None:
            return await self._finish(job, status, pods, counted, verdict)
        again: float | None = None
        status = self._started(job, status, now)
        if job.spec.suspend:
            status = set_condition(status, "Suspended", "True", "JobSuspended", "Job suspended", format_time(now))
            status = msgspec.structs.replace(status, startTime="")
            await self._delete([p for p in pods if active(p)])
        else:
            if any(c.type == "Suspended" and c.status == "True" for c in status.conditions):
                status = set_condition(status, "Suspended", "False", "JobResumed", "Job resumed", format_time(now))
            again = await self._converge(job, status, pods, now)
        await self._write(job, status)
        await self._release(counted)
        return _earliest(again, self._deadline_left(job, status, now))

    def _left_behind(self, key: Key, uid: str) -> list[Pod]:
        """Pods a deleted Job still holds by its finalizer: nobody will count them."""
        return [
            pod
            for pod in self._pods.list(key[0])
            if FINALIZER in pod.metadata.finalizers
            and (ref := controller_of(pod)) is not None
            and (ref.kind, ref.name) == (KIND, key[1])
            and ref.uid != uid
        ]

    def _started(self, job: Job, status: JobStatus, now: float) -> JobStatus:
        if status.startTime or job.spec.suspend:
            return status
        return msgspec.structs.replace(status, startTime=format_time(now))

    def _deadline_left(self, job: Job, status: JobStatus, now: float) -> float | None:
        limit = job.spec.activeDeadlineSeconds
        if limit is None or not status.startTime or job.spec.suspend:
            return None
        return max(0.1, parse_time(status.startTime) + limit - now)

    async def _converge(self, job: Job, status: JobStatus, pods: Sequence[Pod], now: float) -> float | None:
        """Create what is missing, delete what is too much; returns when a held-back creation may go on."""
        living = [p for p in pods if active(p)]
        occupied = len(living)
        if job.spec.podReplacementPolicy == "Failed" or job.spec.podFailurePolicy is not None:
            # A terminating pod still holds its place until it has ended.
            occupied += sum(1 for p in pods if p.metadata.deletionTimestamp and not _ended(p))
        wanted = self._wanted(job, status, len(living))
        if len(living) > wanted:
            surplus = sorted(living, key=lambda p: (is_ready(p), p.metadata.creationTimestamp))[: len(living) - wanted]
            await self._delete(surplus)
            return None
        missing = min(wanted - occupied, PODS_AT_ONCE_MAX)
        if missing <= 0:
            return None
        hold = backoff_left(pods, now)
        if hold > 0:
            return hold
        places: list[int | None] = [None] * missing
        if is_indexed(job):
            places = [*free_indexes(job, status, pods)[:missing]]
        errors: list[ApiError] = []
        failures = index_failures(pods)

        async def create(index: int | None) -> None:
            pod = new_pod(job, index, failures.get(index or 0, 0) if index is not None else 0)
            try:
                created = await self._context.client.create(pod)
            except ApiError as error:
                errors.append(error)
                self._context.events.event(job, "Warning", "FailedCreate", f"Error creating: {error}")
            else:
                self._context.events.event(job, "Normal", "SuccessfulCreate", f"Created pod: {created.metadata.name}")

        async with trio.open_nursery() as nursery:
            for place in places:
                nursery.start_soon(create, place)
        if errors:
            raise errors[0]
        return None

    def _wanted(self, job: Job, status: JobStatus, living: int) -> int:
        """How many pods should run at once: parallelism, but no more than completions are left."""
        total = job.spec.completions
        if total is None:  # a work queue: any success means the others are to finish, and no new one begins
            return living if status.succeeded else parallelism(job)
        uncounted = status.uncountedTerminatedPods or UncountedTerminatedPods()
        left = total - status.succeeded - (0 if is_indexed(job) else len(uncounted.succeeded))
        if is_indexed(job) and status.failedIndexes:
            left -= len(indexes.parse(status.failedIndexes, total))
        return max(0, min(parallelism(job), left))

    async def _finish(
        self, job: Job, status: JobStatus, pods: Sequence[Pod], counted: Sequence[Pod], verdict: "Verdict"
    ) -> float | None:
        """Stop what runs, count everything, then say Complete or Failed (KEP-3939: after the last pod has ended)."""
        now = format_time(self._context.now())
        interim = {"Failed": "FailureTarget", "Complete": "SuccessCriteriaMet"}[verdict.type]
        status = set_condition(status, interim, "True", verdict.reason, verdict.message, now)
        living = [p for p in pods if active(p)]
        await self._delete(living)
        left = [p for p in pods if not _ended(p)]
        uncounted = status.uncountedTerminatedPods or UncountedTerminatedPods()
        if left or uncounted.failed or uncounted.succeeded or counted:
            await self._write(job, status)
            await self._release(counted)
            return 1.0 if left else 0.05
        status = set_condition(status, verdict.type, "True", verdict.reason, verdict.message, now)
        changes: dict[str, Any] = {"active": 0, "ready": 0, "terminating": 0, "uncountedTerminatedPods": None}
        if verdict.type == "Complete":
            changes["completionTime"] = now
            self._context.events.event(job, "Normal", "Completed", "Job completed")
        else:
            self._context.events.event(job, "Warning", verdict.reason, verdict.message)
        await self._write(job, msgspec.structs.replace(status, **changes))
        return None

    async def _write(self, job: Job, status: JobStatus) -> None:
        current = self._jobs.get(job.metadata.namespace, job.metadata.name)
        if current is None or current.metadata.uid != job.metadata.uid or status == current.status:
            return
        meta = job.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": merge_patch(current.status, status)}
        await self._context.client.patch(Job, meta.name, meta.namespace, patch=patch, subresource="status")

    async def _release(self, pods: Sequence[Pod]) -> None:
        """Take our finalizer off pods whose end is on record."""
        for pod in pods:
            if FINALIZER not in pod.metadata.finalizers:
                continue
            meta = pod.metadata
            left = [f for f in meta.finalizers if f != FINALIZER]
            patch = {"metadata": {"uid": meta.uid, "finalizers": left or None}}
            try:
                await self._context.client.patch(Pod, meta.name, meta.namespace, patch=patch)
            except ApiError as error:
                if error.code != 404:
                    raise

    async def _delete(self, pods: Sequence[Pod]) -> None:
        for pod in pods:
            meta = pod.metadata
            try:
                await self._context.client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
            except ApiError as error:
                if error.code != 404:
                    raise


class Verdict(msgspec.Struct, frozen=True):
    """A Job's end: `type` is Complete or Failed."""

    type: str
    reason: str
    message: str


def active(pod: Pod) -> bool:
    return not _ended(pod) and not pod.metadata.deletionTimestamp


def _ended(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def finished(status: JobStatus) -> bool:
    return any(c.type in ("Complete", "Failed") and c.status == "True" for c in status.conditions)


def _earliest(*times: float | None) -> float | None:
    return min((t for t in times if t is not None), default=None)


def count(job: Job, pods: Sequence[Pod]) -> tuple[JobStatus, list[Pod]]:
    """The status with every ended pod on record, and the pods whose finalizer may go once it is written."""
    status = job.status
    uncounted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    holding = {p.metadata.uid for p in pods if FINALIZER in p.metadata.finalizers}
    succeeded, failed = status.succeeded, status.failed
    waiting_succeeded = [uid for uid in uncounted.succeeded if uid in holding]
    waiting_failed = [uid for uid in uncounted.failed if uid in holding]
    if not is_indexed(job):
        succeeded += len(uncounted.succeeded) - len(waiting_succeeded)
    failed += len(uncounted.failed) - len(waiting_failed)
    done = indexes.parse(status.completedIndexes, job.spec.completions or 0)
    known = {*waiting_succeeded, *waiting_failed}
    release: list[Pod] = [p for p in pods if p.metadata.uid in known]
    for pod in pods:
        if pod.metadata.uid not in holding or pod.metadata.uid in known:
            continue
        gone = pod.metadata.deletionTimestamp and not pod.spec.nodeName
        if pod.status.phase == "Succeeded":
            index = index_of(pod)
            if is_indexed(job) and index is not None:
                done.add(index)
            waiting_succeeded.append(pod.metadata.uid)
        elif pod.status.phase == "Failed" or gone:
            if policy_action(job.spec, pod)[0] != "Ignore":
                waiting_failed.append(pod.metadata.uid)
        else:
            continue
        release.append(pod)
    changes: dict[str, Any] = {
        "active": sum(active(p) for p in pods),
        "ready": sum(active(p) and is_ready(p) for p in pods),
        "terminating": sum(bool(p.metadata.deletionTimestamp) and not _ended(p) for p in pods),
        "failed": failed,
        "uncountedTerminatedPods": UncountedTerminatedPods(
            succeeded=tuple(waiting_succeeded), failed=tuple(waiting_failed)
        ),
    }
    if is_indexed(job):
        changes["completedIndexes"] = indexes.render(done)
        changes["succeeded"] = len(done)
        if job.spec.backoffLimitPerIndex is not None:
            changes["failedIndexes"] = indexes.render(failed_indexes(job, pods, done))
    else:
        changes["succeeded"] = succeeded
    return msgspec.structs.replace(status, **changes), release


def failed_indexes(job: Job, pods: Sequence[Pod], done: set[int]) -> set[int]:
    """Indexes whose own back-off limit is used up, or that a FailIndex rule gave up on."""
    limit = job.spec.backoffLimitPerIndex or 0
    before = indexes.parse(job.status.failedIndexes or "", job.spec.completions or 0)
    over = {index for index, failures in index_failures(pods).items() if failures > limit}
    given_up = {
        index
        for pod in pods
        if pod.status.phase == "Failed"
        and (index := index_of(pod)) is not None
        and policy_action(job.spec, pod)[0] == "FailIndex"
    }
    return (before | over | given_up) - done


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
    uncounted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    succeeded = status.succeeded + (0 if is_indexed(job) else len(uncounted.succeeded))
    failed = status.failed + len(uncounted.failed)
    restarts = sum(s.restartCount for p in pods if active(p) for s in p.status.containerStatuses)
    on_failure = spec.template.spec.restartPolicy == "OnFailure"
    limit = 6 if spec.backoffLimit is None else spec.backoffLimit
    if failed + (restarts if on_failure else 0) > limit:
        return Verdict("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    timed = spec.activeDeadlineSeconds is not None and status.startTime and not spec.suspend
    if timed and now >= parse_time(status.startTime) + (spec.activeDeadlineSeconds or 0):
        return Verdict("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if is_indexed(job):
        done = indexes.parse(status.completedIndexes, spec.completions or 0)
        message = success_policy(job, done)
        if message:
            return Verdict("Complete", "SuccessPolicy", message)
        broken = indexes.parse(status.failedIndexes or "", spec.completions or 0)
        if spec.maxFailedIndexes is not None and len(broken) > spec.maxFailedIndexes:
            words = "Job has exceeded the specified maximal number of failed indexes"
            return Verdict("Failed", "MaxFailedIndexesExceeded", words)
        if broken and len(broken) + len(done) >= (spec.completions or 0):
            return Verdict("Failed", "FailedIndexes", "Job has failed indexes")
    idle = all(_ended(p) for p in pods)
    # A work queue (no completions) is done when one pod has succeeded and all have ended.
    complete = (succeeded > 0 and idle) if spec.completions is None else succeeded >= spec.completions
    if complete:
        return Verdict("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def backoff_left(pods: Sequence[Pod], now: float) -> float:
    """Seconds to wait before the next pod: 10 s after the last failure, doubling with each since the last success."""
    failures: list[float] = []
    last_success = 0.0
    for pod in pods:
        ends = [s.state.terminated.finishedAt for s in pod.status.containerStatuses if s.state.terminated is not None]
        ended = max((parse_time(e) for e in ends if e), default=parse_time(pod.metadata.creationTimestamp))
        if pod.status.phase == "Failed":
            failures.append(ended)
        elif pod.status.phase == "Succeeded":
            last_success = max(last_success, ended)
    recent = [at for at in failures if at > last_success]
    if not recent:
        return 0.0
    delay = min(FAILURE_BACKOFF_MAX_SECONDS, FAILURE_BACKOFF_SECONDS * 2.0 ** min(len(recent) - 1, 16))
    return max(0.0, max(recent) + delay - now)


def free_indexes(job: Job, status: JobStatus, pods: Sequence[Pod]) -> list[int]:
    """Indexes that need a pod: neither done, given up, nor running."""
    total = job.spec.completions or 0
    taken = indexes.parse(status.completedIndexes, total) | indexes.parse(status.failedIndexes or "", total)
    taken |= {i for p in pods if not _ended(p) and (i := index_of(p)) is not None}
    return [index for index in range(total) if index not in taken]


def new_pod(job: Job, index: int | None, failures: int) -> Pod:
    """A pod of the Job, tracked by the finalizer; an indexed one knows its number."""
    pod = pod_from_template(job, API_VERSION, KIND, job.spec.template)
    meta = msgspec.structs.replace(pod.metadata, finalizers=(*pod.metadata.finalizers, FINALIZER))
    if index is None:
        return msgspec.structs.replace(pod, metadata=meta)
    annotations = {**meta.annotations, INDEX_ANNOTATION: str(index)}
    if job.spec.backoffLimitPerIndex is not None:
        annotations[INDEX_FAILURES] = str(failures)
    meta = msgspec.structs.replace(
        meta,
        generateName=f"{job.metadata.name[:50]}-{index}-",
        annotations=annotations,
        labels={**meta.labels, INDEX_LABEL: str(index)},
    )
    source = EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath=f"metadata.annotations['{INDEX_ANNOTATION}']"))
    variable = EnvVar(name=INDEX_ENV, valueFrom=source)

    def with_index(container: Any) -> Any:
        if any(v.name == INDEX_ENV for v in container.env):
            return container
        return msgspec.structs.replace(container, env=(*container.env, variable))

    spec = msgspec.structs.replace(
        pod.spec,
        containers=tuple(with_index(c) for c in pod.spec.containers),
        initContainers=tuple(with_index(c) for c in pod.spec.initContainers),
        hostname=f"{job.metadata.name}-{index}"[:63],
    )
    return msgspec.structs.replace(pod, metadata=meta, spec=spec)


def set_condition(status: JobStatus, type_: str, value: str, reason: str, message: str, now: str) -> JobStatus:
    old = next((c for c in status.conditions if c.type == type_), None)
    if old is not None and old.status == value:
        return status
    condition = JobCondition(
        type=type_, status=value, reason=reason, message=message, lastProbeTime=now, lastTransitionTime=now
    )
    return msgspec.structs.replace(status, conditions=(*(c for c in status.conditions if c.type != type_), condition))
