"""batch/v1: Job.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, Time, always
from edgekube.types.batch_v1.common import JobSpec
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class JobCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastProbeTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class UncountedTerminatedPods(Object, frozen=True, kw_only=True):
    failed: tuple[str, ...] = ()
    succeeded: tuple[str, ...] = ()


class JobStatus(Object, frozen=True, kw_only=True):
    active: Int32 = 0
    completedIndexes: str = ""
    completionTime: Time = ""
    conditions: tuple[JobCondition, ...] = ()
    failed: Int32 = 0
    failedIndexes: str | None = None
    ready: Int32 | None = None
    startTime: Time = ""
    succeeded: Int32 = 0
    terminating: Int32 | None = None
    uncountedTerminatedPods: UncountedTerminatedPods | None = None


class Job(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: JobSpec = always(JobSpec())
    status: JobStatus = always(JobStatus())


class JobList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Job, ...] = always(())
