"""Finished Jobs go after ttlSecondsAfterFinished (ttl-after-finished-controller)."""

from collections.abc import Sequence

from edgekube.client.api import Key
from edgekube.controllers.framework import Context, Watch
from edgekube.types.batch_v1 import Job
from edgekube.types.time import parse_time


class TTLController:
    name = "ttl-after-finished-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.informer(Job)

    def watches(self) -> Sequence[Watch]:
        return (Watch(Job),)

    async def reconcile(self, key: Key) -> float | None:
        job = self._jobs.get(*key)
        if job is None or job.metadata.deletionTimestamp or job.spec.ttlSecondsAfterFinished is None:
            return None
        finished = finished_at(job)
        if finished is None:
            return None
        left: float = finished + job.spec.ttlSecondsAfterFinished - self._context.now().timestamp()
        if left > 0:
            return left
        meta = job.metadata
        await self._context.client.delete(
            Job,
            meta.name,
            meta.namespace,
            uid=meta.uid,
            resource_version=meta.resourceVersion,
            propagation_policy="Foreground",
        )
        return None


def finished_at(job: Job) -> float | None:
    """When a Job completed or failed (epoch seconds)."""
    for condition in job.status.conditions:
        if condition.type in ("Complete", "Failed") and condition.status == "True":
            return parse_time(condition.lastTransitionTime)
    return None
