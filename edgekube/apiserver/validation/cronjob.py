"""CronJobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from edgekube.apiserver.validation.job import job_spec
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import not_negative, one_of
from edgekube.types.cron import SCHEDULE_CHARACTERS_MAX, CronError, starts, zone_of
from edgekube.types.fieldpath import FieldError, Path, invalid, required, too_long

NAME_MAX = 52  # a Job's name is the CronJob's and eleven characters more
SPEC = Path("spec")


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if subresource == "status":
        return errors
    if old is None and len(new.metadata.name) > NAME_MAX:
        errors.append(
            invalid(Path("metadata", "name"), new.metadata.name, f"must be no more than {NAME_MAX} characters")
        )
    spec = new.spec
    if not spec.schedule:
        errors.append(required(SPEC / "schedule"))
    else:
        errors += _schedule(spec.schedule, SPEC / "schedule", zoned=spec.timeZone is not None)
    errors += not_negative(spec.startingDeadlineSeconds, SPEC / "startingDeadlineSeconds")
    errors += one_of(spec.concurrencyPolicy, ("Allow", "Forbid", "Replace"), SPEC / "concurrencyPolicy")
    for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        errors += not_negative(getattr(spec, name), SPEC / name)
    if spec.timeZone is not None:
        errors += _zone(spec.timeZone, SPEC / "timeZone")
    path = SPEC / "jobTemplate" / "spec"
    errors += job_spec(spec.jobTemplate.spec, path)
    if spec.jobTemplate.spec.manualSelector:
        from edgekube.types.fieldpath import not_supported

        errors.append(not_supported(path / "manualSelector", True, ["nil", "false"]))
    return errors


def _schedule(text: str, path: Path, *, zoned: bool) -> list[FieldError]:
    if len(text) > SCHEDULE_CHARACTERS_MAX:
        return [too_long(path, SCHEDULE_CHARACTERS_MAX)]
    if "TZ" in text:
        if zoned:
            return [invalid(path, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule")]
        return [invalid(path, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")]
    try:
        starts(text, datetime(2024, 1, 1))
    except CronError as error:
        return [invalid(path, text, str(error))]
    return []


def _zone(name: str, path: Path) -> list[FieldError]:
    if not name:
        return [invalid(path, name, "timeZone must be nil or non-empty string")]
    if name.lower() == "local":
        return [
            invalid(path, name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
        ]
    try:
        zone_of(name)
    except CronError as error:
        return [invalid(path, name, str(error))]
    return []
