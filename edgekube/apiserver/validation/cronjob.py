"""CronJobs."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.job import job_spec
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import not_negative, one_of
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
    if len(text) > 1024:
        return [too_long(path, 1024)]
    if "TZ" in text:
        if zoned:
            return [invalid(path, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule")]
        return [invalid(path, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")]
    from datetime import datetime

    from cronsim import CronSim, CronSimError

    if text in ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"):
        return []
    if text.startswith("@every "):
        return [] if text[7:] and text[-1] in "smh" else [invalid(path, text, "failed to parse duration")]
    try:
        CronSim(text.replace("?", "*"), datetime(2024, 1, 1))
    except CronSimError as error:
        return [invalid(path, text, str(error))]
    except (ValueError, IndexError):
        return [invalid(path, text, "is not a cron expression of five fields")]
    if len(text.split()) != 5:
        return [invalid(path, text, f"expected exactly 5 fields, found {len(text.split())}: [{text}]")]
    return []


def _zone(name: str, path: Path) -> list[FieldError]:
    if not name:
        return [invalid(path, name, "timeZone must be nil or non-empty string")]
    if name.lower() == "local":
        return [
            invalid(path, name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
        ]
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return [invalid(path, name, f"unknown time zone {name}")]
    return []
