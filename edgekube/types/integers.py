"""Decimal numbers out of text that anybody may have written: an annotation, an image, a peer's header.

Python's own `int` and `isdigit` take other scripts' digits, underscores and blanks, and refuse more than 4,300 digits
with an error of their own.
"""

import re
from typing import Final

INT64_MAX: Final = 2**63 - 1
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,64}", re.ASCII)


def integer(text: str, largest: int = INT64_MAX) -> int | None:
    """What Go's strconv.ParseInt(text, 10, 64) gives, None where it fails or the absolute value is above `largest`."""
    value = int(text) if _INTEGER.fullmatch(text) else None
    return value if value is not None and -largest <= value <= largest else None


def natural(text: str, largest: int = INT64_MAX) -> int | None:
    """`text` when it is digits alone and no more than `largest`, else None."""
    return integer(text, largest) if text[:1].isdigit() else None
