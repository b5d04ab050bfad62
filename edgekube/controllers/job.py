"""Job: pods that run to completion, counted exactly once each (job-controller). The arithmetic is `jobcount`'s."""

from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from edgekube.client.api import Change, Key
from edgekube.client.patches import merge_patch
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.jobcount import (
    FINALIZER,
    Verdict,
    active,
    alive,
    backoff_left,
    count,
    ended,
    finished,
    free_indexes,
    index_failures,
    judge,
    only_replaces_failed,
    surplus,
    wanted_active,
)
from edgekube.controllers.jobpolicy import INDEX_ANNOTATION, INDEX_FAILURES, index_of, is_indexed
from edgekube.controllers.owners import (
    claim,
    controller_of,
    index_by_controller,
    is_terminating,
    member_keys,
    namespace_terminating,
    owned_by,
    pod_from_template,
)
from edgekube.types.batch_v1 import Job, JobCondition, JobStatus, UncountedTerminatedPods
from edgekube.types.core_v1 import EnvVar, EnvVarSource, ObjectFieldSelector, Pod
from edgekube.types.status import ApiError
from edgekube.types.time import format_time, parse_time

API_VERSION, KIND = "batch/v1", "Job"
INDEX_LABEL = INDEX_ANNOTATION
INDEX_ENV = "JOB_COMPLETION_INDEX"
PODS_AT_ONCE_MAX = 500
JOB_INDEX = "job"  # pods that hold the finalizer, by the Job they belong to
ORPHAN = "pod/"  # keys of orphans that hold it: no Job has such a name


class JobController:
    name = "job-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.informer(Job)
        self._pods = context.informer(Pod)
        index_by_controller(self._pods)
        self._pods.add_index(JOB_INDEX, _held_by)

    def watches(self) -> Sequence[Watch]:
        return (Watch(Job), Watch(Pod, self._keys_of_pod))

    def _keys_of_pod(self, change: Change[Pod]) -> set[Key]:
        keys = set(member_keys(KIND, self._jobs)(change))
        pod = change.new
        if pod is not None and FINALIZER in pod.metadata.finalizers and controller_of(pod) is None:
            keys.add((pod.metadata.namespace, ORPHAN + pod.metadata.name))
        return keys

    async def reconcile(self, key: Key) -> float | None:
        if key[1].startswith(ORPHAN):
            await self._release_orphan(key)
            return None
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
        stamp = format_time(now)
        if job.spec.suspend:
            if not _is_suspended(status):
                status = set_condition(status, "Suspended", "True", "JobSuspended", "Job suspended", stamp)
                self._context.events.event(job, "Normal", "Suspended", "Job suspended")
            status = msgspec.structs.replace(status, startTime="")
            await self._discard(job, [p for p in pods if active(p)])
        else:
            if _is_suspended(status):
                status = set_condition(status, "Suspended", "False", "JobResumed", "Job resumed", stamp)
                self._context.events.event(job, "Normal", "Resumed", "Job resumed")
            if not status.startTime:
                status = msgspec.structs.replace(status, startTime=stamp)
            try:
                again = await self._converge(job, status, pods, now)
            except ApiError:
                # What has ended is put on record even when no new pod can be made.
                await self._record(job, status, counted)
                raise
        await self._record(job, status, counted)
        return min((t for t in (again, deadline_left(job, status, now)) if t is not None), default=None)

    async def _record(self, job: Job, status: JobStatus, counted: Sequence[Pod]) -> None:
        """Write the status, then let go of the pods it speaks of."""
        await self._write(job, alive(status, owned_by(self._pods, job.metadata.uid)))
        await self._release(counted)

    async def _release_orphan(self, key: Key) -> None:
        """A pod that was let go of, labels changed or Job orphaned it, is nobody's to count."""
        pod = self._pods.get(key[0], key[1].removeprefix(ORPHAN))
        if pod is not None and controller_of(pod) is None:
            await self._release([pod])

    def _left_behind(self, key: Key, uid: str) -> list[Pod]:
        """Pods a deleted Job still holds by its finalizer: nobody will count them."""
        held = self._pods.by_index(JOB_INDEX, f"{key[0]}/{key[1]}")
        return [pod for pod in held if (ref := controller_of(pod)) is not None and ref.uid != uid]

    async def _converge(self, job: Job, status: JobStatus, pods: Sequence[Pod], now: float) -> float | None:
        """Create what is missing, delete what is too much; returns when a held-back creation may go on."""
        living = [p for p in pods if active(p)]
        wanted = wanted_active(job, status, len(living))
        extra = surplus(job, living, len(living) - wanted)
        if extra:
            await self._discard(job, extra[:PODS_AT_ONCE_MAX])
            return None
        occupied = len(living)
        if only_replaces_failed(job):
            occupied += sum(map(is_terminating, pods))
        missing = min(wanted - occupied, PODS_AT_ONCE_MAX)
        if missing <= 0:
            return None
        places, hold = self._places(job, status, pods, missing, now)
        errors: list[ApiError] = []
        failures = index_failures(job, pods)

        async def create(index: int | None) -> None:
            pod = new_pod(job, index, failures.get(index or 0, 0) if index is not None else 0)
            try:
                created = await self._context.client.create(pod)
            except ApiError as error:
                errors.append(error)
                if namespace_terminating(error):
                    return
                self._context.events.event(job, "Warning", "FailedCreate", f"Error creating: {error}")
            else:
                self._context.events.event(job, "Normal", "SuccessfulCreate", f"Created pod: {created.metadata.name}")

        async with trio.open_nursery() as nursery:
            for place in places:
                nursery.start_soon(create, place)
        if errors and not all(map(namespace_terminating, errors)):
            raise errors[0]
        return hold

    def _places(
        self, job: Job, status: JobStatus, pods: Sequence[Pod], missing: int, now: float
    ) -> tuple[Sequence[int | None], float | None]:
        """For which indexes (None: for no particular one) pods may be made now, and in how many seconds for more."""
        if job.spec.backoffLimitPerIndex is None:
            hold = backoff_left(job, pods, now)
            if hold > 0:
                return (), hold
            return (free_indexes(job, status, pods)[:missing] if is_indexed(job) else [None] * missing), None
        # An index that fails holds up itself alone.
        waits = {
            i: backoff_left(job, (p for p in pods if index_of(p) == i), now) for i in free_indexes(job, status, pods)
        }
        due = [i for i, wait in waits.items() if wait <= 0]
        return due[:missing], min((w for w in waits.values() if w > 0), default=None)

    async def _finish(
        self, job: Job, status: JobStatus, pods: Sequence[Pod], counted: Sequence[Pod], verdict: Verdict
    ) -> float | None:
        """Stop what runs, count everything, then say Complete or Failed (KEP-3939: after the last pod has ended)."""
        now = format_time(self._context.now())
        interim = {"Failed": "FailureTarget", "Complete": "SuccessCriteriaMet"}[verdict.type]
        status = set_condition(status, interim, "True", verdict.reason, verdict.message, now)
        await self._delete(job, [p for p in pods if active(p)])
        left = [p for p in pods if not ended(p)]
        uncounted = status.uncountedTerminatedPods or UncountedTerminatedPods()
        if left or uncounted.failed or uncounted.succeeded or counted:
            # Each pod that ends, and each finalizer that goes, brings us back.
            await self._record(job, status, counted)
            return None if left or counted else 0.05
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

    async def _discard(self, job: Job, pods: Sequence[Pod]) -> None:
        """Stop pods that are too many, or suspended: they are let go of first, for that is no failure of theirs."""
        await self._release(pods)
        await self._delete(job, pods)

    async def _delete(self, job: Job, pods: Sequence[Pod]) -> None:
        for pod in pods:
            meta = pod.metadata
            try:
                await self._context.client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
            except ApiError as error:
                if error.code != 404:
                    raise
            else:
                self._context.events.event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")


def _held_by(pod: Pod) -> tuple[str, ...]:
    ref = controller_of(pod)
    if ref is None or ref.kind != KIND or FINALIZER not in pod.metadata.finalizers:
        return ()
    return (f"{pod.metadata.namespace}/{ref.name}",)


def _is_suspended(status: JobStatus) -> bool:
    return any(c.type == "Suspended" and c.status == "True" for c in status.conditions)


def deadline_left(job: Job, status: JobStatus, now: float) -> float | None:
    """Seconds until activeDeadlineSeconds ends the Job."""
    limit = job.spec.activeDeadlineSeconds
    if limit is None or not status.startTime or job.spec.suspend:
        return None
    return max(0.1, parse_time(status.startTime) + limit - now)


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
