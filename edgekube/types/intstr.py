"""Numbers that may be percentages: `maxSurge: 1` or `maxSurge: 25%`."""

import re
from typing import Final

_PERCENT: Final = re.compile(r"([0-9]{1,9})%", re.ASCII)


class IntOrPercentError(ValueError):
    """A string that is no percentage."""


def percent(value: int | str) -> int | None:
    """The number before the percent sign; None for a plain number. Raises IntOrPercentError for other strings."""
    if isinstance(value, int):
        return None
    match = _PERCENT.fullmatch(value)
    if match is None:
        raise IntOrPercentError(
            f"invalid value for IntOrString: invalid type: string is not a percentage: {value!r}; write a number or N%"
        )
    return int(match[1])


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """`value` itself, or that percentage of `total`. Raises IntOrPercentError."""
    share = percent(value)
    if share is None:
        assert isinstance(value, int)
        return value
    return -(-share * total // 100) if round_up else share * total // 100
