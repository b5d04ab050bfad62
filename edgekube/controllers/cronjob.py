"""CronJob: starts Jobs on a schedule (cronjob-controller v2)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from edgekube.client.api import Key
from edgekube.client.patches import merge_patch
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.jobcount import finished
from edgekube.controllers.owners import controller_of, index_by_controller, owned_by, owner_keys, owner_reference
from edgekube.types.batch_v1 import CronJob, CronJobStatus, Job
from edgekube.types.core_v1 import ObjectReference
from edgekube.types.cron import CronError, starts, zone_of
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError
from edgekube.types.time import format_time, parse_datetime

API_VERSION, KIND = "batch/v1", "CronJob"
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MISSED_MAX = 100  # more missed starts than this are worth a warning
DEADLINE_SECONDS_MAX = 100 * 366 * 86400  # longer is for ever; dates end in the year 9999
LOOK_BACK_MAX = 5000  # schedule steps walked to find the latest missed start


class CronJobController:
    """`clock_plausible`: a board without a clock battery must not start the Jobs of 1970; it waits."""

    name = "cronjob-controller"

    def __init__(self, context: Context, clock_plausible: Callable[[], bool]) -> None:
        self._context = context
        self._clock_plausible = clock_plausible
        self._crons = context.informer(CronJob)
        self._jobs = context.informer(Job)
        index_by_controller(self._jobs)

    def watches(self) -> Sequence[Watch]:
        return (Watch(CronJob), Watch(Job, owner_keys(KIND)))

    async def reconcile(self, key: Key) -> float | None:
        cron = self._crons.get(*key)
        if cron is None or cron.metadata.deletionTimestamp:
            return None
        if not self._clock_plausible():
            return 10.0
        jobs = owned_by(self._jobs, cron.metadata.uid)
        status = await self._sync_active(cron, jobs)
        await self._trim(cron, jobs)
        if cron.spec.suspend:
            await self._write(cron, status)
            return None
        now = self._context.now()
        try:
            latest, following, missed = due(cron, now)
        except ScheduleError as error:
            self._context.events.event(cron, "Warning", "UnparseableSchedule", str(error))
            await self._write(cron, status)
            return None
        if latest is not None:
            status = await self._start(cron, status, latest, now, missed)
        await self._write(cron, status)
        return max(0.0, (following - self._context.now()).total_seconds()) + 0.05

    async def _sync_active(self, cron: CronJob, jobs: Sequence[Job]) -> CronJobStatus:
        """status.active lists what runs; an ended Job is said to have ended."""
        by_uid = {j.metadata.uid: j for j in jobs}
        status = cron.status
        keep = []
        success = status.lastSuccessfulTime
        for ref in status.active:
            job = by_uid.get(ref.uid)
            if job is None:
                self._context.events.event(cron, "Normal", "MissingJob", f"Active job went missing: {ref.name}")
            elif finished(job.status):
                result = "Complete" if _complete(job) else "Failed"
                words = f"Saw completed job: {ref.name}, condition: {result}"
                self._context.events.event(cron, "Normal", "SawCompletedJob", words)
            else:
                keep.append(ref)
        for job in jobs:
            if _complete(job) and job.status.completionTime > success:
                success = job.status.completionTime
        return msgspec.structs.replace(status, active=tuple(keep), lastSuccessfulTime=success)

    async def _start(
        self, cron: CronJob, status: CronJobStatus, at: datetime, now: datetime, missed: int
    ) -> CronJobStatus:
        meta, spec = cron.metadata, cron.spec
        if missed > MISSED_MAX:
            hint = "Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            words = f"too many missed start times: {missed}. {hint}"
            self._context.events.event(cron, "Warning", "TooManyMissedTimes", words)
        deadline = spec.startingDeadlineSeconds
        if deadline is not None and at < now - timedelta(seconds=min(deadline, DEADLINE_SECONDS_MAX)):
            words = f"Missed scheduled time to start a job: {at.strftime('%a, %d %b %Y %H:%M:%S %z')}"
            self._context.events.event(cron, "Warning", "MissSchedule", words)
            return msgspec.structs.replace(status, lastScheduleTime=format_time(at))
        if status.active and spec.concurrencyPolicy == "Forbid":
            words = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._context.events.event(cron, "Normal", "JobAlreadyActive", words)
            return status
        if spec.concurrencyPolicy == "Replace":
            for ref in status.active:
                await self._delete(ref.name, meta.namespace, ref.uid)
                self._context.events.event(cron, "Normal", "SuccessfulDelete", f"Deleted job {ref.name}")
            status = msgspec.structs.replace(status, active=())
        job = new_job(cron, at)
        try:
            job = await self._context.client.create(job)
            words = f"Created job {job.metadata.name}"
            self._context.events.event(cron, "Normal", "SuccessfulCreate", words)
        except ApiError as error:
            existing = self._jobs.get(meta.namespace, job.metadata.name)
            owner = controller_of(existing) if existing is not None else None
            if error.reason != "AlreadyExists" or existing is None or owner is None or owner.uid != meta.uid:
                self._context.events.event(cron, "Warning", "FailedCreate", f"Error creating job: {error}")
                raise
            job = existing  # started before a crash that lost only the status
        ref = ObjectReference(
            apiVersion="batch/v1",
            kind="Job",
            name=job.metadata.name,
            namespace=meta.namespace,
            uid=job.metadata.uid,
            resourceVersion=job.metadata.resourceVersion,
        )
        active = (*status.active, ref) if all(r.uid != ref.uid for r in status.active) else status.active
        if finished(job.status):
            active = status.active
        return msgspec.structs.replace(status, active=active, lastScheduleTime=format_time(at))

    async def _trim(self, cron: CronJob, jobs: Sequence[Job]) -> None:
        """Keep as many finished Jobs as the history limits say."""
        ended = sorted((j for j in jobs if finished(j.status)), key=lambda j: j.metadata.creationTimestamp)
        for limit, wanted in (
            (cron.spec.successfulJobsHistoryLimit, True),
            (cron.spec.failedJobsHistoryLimit, False),
        ):
            chosen = [j for j in ended if _complete(j) == wanted]
            if limit is not None:
                for job in chosen[: max(0, len(chosen) - limit)]:
                    await self._delete(job.metadata.name, job.metadata.namespace, job.metadata.uid)

    async def _delete(self, name: str, namespace: str, uid: str) -> None:
        try:
            await self._context.client.delete(Job, name, namespace, uid=uid, propagation_policy="Background")
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _write(self, cron: CronJob, status: CronJobStatus) -> None:
        if status == cron.status:
            return
        meta = cron.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": merge_patch(cron.status, status)}
        await self._context.client.patch(CronJob, meta.name, meta.namespace, patch=patch, subresource="status")


class ScheduleError(Exception):
    """The schedule or its time zone cannot be understood."""


def _complete(job: Job) -> bool:
    return any(c.type == "Complete" and c.status == "True" for c in job.status.conditions)


def due(cron: CronJob, now: datetime) -> tuple[datetime | None, datetime, int]:
    """(latest start that is due, or None; the one after now; how many were missed). Times are aware UTC.

    Raises ScheduleError.
    """
    try:
        zone = zone_of(cron.spec.timeZone) if cron.spec.timeZone else UTC
        since = parse_datetime(cron.status.lastScheduleTime or cron.metadata.creationTimestamp)
        deadline = cron.spec.startingDeadlineSeconds
        if deadline is not None:
            since = max(since, now - timedelta(seconds=min(deadline, DEADLINE_SECONDS_MAX)))
        latest: datetime | None = None
        for missed, at in enumerate(starts(cron.spec.schedule, since.astimezone(zone))):
            if at > now:
                return (latest.astimezone(UTC) if latest is not None else None), at.astimezone(UTC), missed
            latest = at
            if missed >= LOOK_BACK_MAX:
                # Long asleep: only the newest start counts, so begin again shortly before now.
                following = next(starts(cron.spec.schedule, now.astimezone(zone)))
                for recent in starts(cron.spec.schedule, (now - timedelta(days=1)).astimezone(zone)):
                    if recent > now:
                        break
                    latest = recent
                return latest.astimezone(UTC), following.astimezone(UTC), missed
    except (CronError, OverflowError) as error:
        raise ScheduleError(f"unparseable schedule: {cron.spec.schedule}: {error}") from None
    raise ScheduleError(f"the schedule {cron.spec.schedule} never comes due")


def new_job(cron: CronJob, at: datetime) -> Job:
    """The Job of one start: its name carries the minute, so that the same start cannot be made twice."""
    template = cron.spec.jobTemplate
    minutes = int(at.timestamp()) // 60
    zone = zone_of(cron.spec.timeZone) if cron.spec.timeZone else UTC
    return Job(
        apiVersion="batch/v1",
        kind="Job",
        metadata=ObjectMeta(
            name=f"{cron.metadata.name}-{minutes}",
            namespace=cron.metadata.namespace,
            labels=template.metadata.labels,
            annotations={**template.metadata.annotations, SCHEDULED_AT: at.astimezone(zone).isoformat()},
            ownerReferences=(owner_reference(cron, API_VERSION, KIND),),
        ),
        spec=template.spec,
    )
