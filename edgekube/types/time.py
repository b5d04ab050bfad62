"""Times as the API writes them: RFC 3339, UTC, whole seconds (`Time`) or microseconds (`MicroTime`); "" is no time.

Instants are seconds since 1970-01-01T00:00:00Z as float or int; which clock they come from is the caller's business.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH).total_seconds()
_LAST: Final = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH).total_seconds()
_PATTERN: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


class TimeError(ValueError):
    """Text that is no RFC 3339 time."""


def parse_datetime(text: str) -> datetime:
    """An aware datetime in UTC; digits beyond microseconds are cut. Raises TimeError."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise TimeError(f"{text!r} is not an RFC 3339 time such as 2006-01-02T15:04:05Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    micros = int((match[7] or "")[:6].ljust(6, "0"))
    try:
        found = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
        if match[8]:
            hours, minutes = int(match[9]), int(match[10])
            if hours > 23 or minutes > 59:
                raise ValueError("zone offset out of range")
            offset = timedelta(hours=hours, minutes=minutes)
            found += -offset if match[8] == "+" else offset
    except (ValueError, OverflowError) as error:
        raise TimeError(f"{text!r} is not a time: {error}") from None
    return found


def parse_time(text: str) -> float:
    """Seconds since the epoch. Raises TimeError."""
    return (parse_datetime(text) - _EPOCH).total_seconds()


def format_time(instant: float | datetime) -> str:
    """`Time`: whole seconds, cut not rounded."""
    return _utc(instant).isoformat(timespec="seconds") + "Z"


def format_micro_time(instant: float | datetime) -> str:
    """`MicroTime`: always six digits."""
    return _utc(instant).isoformat(timespec="microseconds") + "Z"


def _utc(instant: float | datetime) -> datetime:
    """Without a zone, so that isoformat writes none. (strftime would not pad years before 1000.)"""
    if isinstance(instant, datetime):
        return instant.astimezone(UTC).replace(tzinfo=None)
    bounded = max(_FIRST, min(instant, _LAST))  # an instant may be a date plus any number of seconds a user asks for
    return (_EPOCH + timedelta(seconds=bounded)).replace(tzinfo=None)
