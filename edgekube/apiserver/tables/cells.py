"""How values are written in cells: ages, lists, selectors."""

from collections.abc import Mapping

from edgekube.types.time import TimeError, parse_time

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"
INVALID = "<invalid>"


def age(timestamp: str, now: float) -> str:
    """Time since, as kubectl writes it; `<unknown>` when unset."""
    if not timestamp:
        return UNKNOWN
    try:
        return duration(now - parse_time(timestamp))
    except TimeError:
        return UNKNOWN


def duration(seconds: float) -> str:
    """`5s`, `2m30s`, `90m`, `5h20m`, `2d`, `30d`, `2y15d` (apimachinery duration.HumanDuration)."""
    total = int(seconds)
    if seconds < 0:
        return INVALID if seconds < -2 else "0s"
    if total < 120:
        return f"{total}s"
    minutes = total // 60
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = total // 3600
    if hours < 8:
        left = minutes % 60
        return f"{hours}h{left}m" if left else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        left = hours % 24
        return f"{days}d{left}h" if left else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    if hours < 8 * 365 * 24:
        left = days % 365
        return f"{years}y{left}d" if left else f"{years}y"
    return f"{years}y"


def labels(values: Mapping[str, str]) -> str:
    """`a=b,c=d`, sorted."""
    return ",".join(f"{key}={values[key]}" for key in sorted(values)) or NONE
