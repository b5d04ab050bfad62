"""Cron schedules as CronJobs write them (github.com/robfig/cron, ParseStandard): five fields, macros, `@every`."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Final

SCHEDULE_CHARACTERS_MAX: Final = 1024
MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_NAMES: Final = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat"
# The library behind knows more than Kubernetes does: L, W and #.
_FIELD: Final = re.compile(rf"(?:[0-9]{{1,4}}|{_NAMES}|[*?,/-])+", re.ASCII | re.IGNORECASE)
_DURATION: Final = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,9})?(?:ms|[hms]))+", re.ASCII)
_PART: Final = re.compile(r"([0-9.]+)(ms|[hms])")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_EVERY_SECONDS_MAX: Final = 100 * 366 * 86400


class CronError(ValueError):
    """What is wrong with a schedule or a time zone, in words for its owner."""


def starts(schedule: str, since: datetime) -> Iterator[datetime]:
    """The times after `since`, in its zone, without end unless the schedule never comes due. Raises CronError."""
    if len(schedule) > SCHEDULE_CHARACTERS_MAX:
        raise CronError(f"longer than {SCHEDULE_CHARACTERS_MAX} characters")
    if schedule.startswith("@every "):
        return _every(_seconds(schedule.removeprefix("@every ")), since)
    text = MACROS.get(schedule, schedule)
    if text.startswith("@"):
        raise CronError(f"unrecognized descriptor: {text}")
    fields = text.split()
    if len(fields) != 5:
        raise CronError(f"expected exactly 5 fields, found {len(fields)}: {fields}")
    for field in fields:
        if not _FIELD.fullmatch(field):
            raise CronError(f"failed to parse {field}")
    from cronsim import CronSim, CronSimError

    minute, hour, day, month, weekday = (field.replace("?", "*") for field in fields)
    try:
        return CronSim(f"{minute} {hour} {day} {month} {weekday}", since)
    except (CronSimError, ValueError, IndexError) as error:
        reason = str(error) or "not a cron expression of five fields"
    try:
        # CronSim also refuses a day that its months never have, after all fields were read. Kubernetes takes it.
        CronSim(f"{minute} {hour} {day} * {weekday}", since)
        CronSim(f"{minute} {hour} * {month} {weekday}", since)
    except (CronSimError, ValueError, IndexError):
        raise CronError(reason) from None
    return iter(())


def zone_of(name: str) -> tzinfo:
    """A time zone of the IANA data base. Raises CronError."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise CronError(f"unknown time zone {name}") from None


def _seconds(text: str) -> int:
    """A Go duration, whole seconds of it, one at least."""
    if not _DURATION.fullmatch(text):
        raise CronError(f"failed to parse duration @every {text}")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    return max(1, int(min(seconds, _EVERY_SECONDS_MAX)))


def _every(seconds: int, since: datetime) -> Iterator[datetime]:
    at = since.replace(microsecond=0)
    while True:
        at += timedelta(seconds=seconds)
        yield at
