"""batch/v1: CronJob.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, Object, Time, always
from edgekube.types.batch_v1.common import JobSpec
from edgekube.types.core_v1.reference import ObjectReference
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class CronJobStatus(Object, frozen=True, kw_only=True):
    active: tuple[ObjectReference, ...] = ()
    lastScheduleTime: Time = ""
    lastSuccessfulTime: Time = ""


class JobTemplateSpec(Object, frozen=True, kw_only=True):
    metadata: ObjectMeta = always(ObjectMeta())
    spec: JobSpec = always(JobSpec())


class CronJobSpec(Object, frozen=True, kw_only=True):
    concurrencyPolicy: str = ""
    failedJobsHistoryLimit: Int32 | None = None
    jobTemplate: JobTemplateSpec = always(JobTemplateSpec())
    schedule: str = always("")
    startingDeadlineSeconds: Int64 | None = None
    successfulJobsHistoryLimit: Int32 | None = None
    suspend: bool | None = None
    timeZone: str | None = None


class CronJob(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: CronJobSpec = always(CronJobSpec())
    status: CronJobStatus = always(CronJobStatus())


class CronJobList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[CronJob, ...] = always(())
