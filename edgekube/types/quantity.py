"""Resource quantities: `500m`, `1Gi`, `2e3`.

The grammar is that of the API reference ("Quantity"): a signed decimal number and a suffix, which is binary (Ki...Ei),
decimal (n u m "" k M G T P E) or an exponent (e3, E-2). Nothing is finer than a billionth and nothing larger than
2**63-1: finer values are rounded away from zero, larger ones are capped, as the API does it. So every quantity is a
whole number of billionths, which is how it is computed with here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fractions import Fraction

NANO: Final = 10**9
VALUE_MAX: Final = 2**63 - 1
TEXT_MAX: Final = 256  # longer ones are refused unread: nothing real comes near
CACHE_MAX: Final = 1024

_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_PATTERN: Final = re.compile(
    r"([+-]?)([0-9]*)(?:\.([0-9]*))?(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+|)", re.ASCII
)
FORMAT_WRONG: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"  # clients know it
)


class QuantityError(ValueError):
    """Text that is no quantity."""

    def __init__(self, text: str) -> None:
        super().__init__(FORMAT_WRONG)
        self.text = text


@lru_cache(CACHE_MAX)
def nano(text: str) -> int:
    """The exact value in billionths. Raises QuantityError."""
    return _split(text)[0]


def milli(text: str) -> int:
    """The value in thousandths, rounded up, as the scheduler counts CPU. Raises QuantityError."""
    return -(-nano(text) // 10**6)


def value(text: str) -> int:
    """The value in whole units, rounded up: bytes of memory, a count. Raises QuantityError."""
    return -(-nano(text) // NANO)


def parse(text: str) -> Fraction:
    """The exact value. Raises QuantityError."""
    from fractions import Fraction  # costs memory that most of the process never needs

    return Fraction(nano(text), NANO)


@lru_cache(CACHE_MAX)
def canonical(text: str) -> str:
    """The API's own spelling: no fraction, largest suffix, same family of suffix (`0.5` -> `500m`, `1024Mi` -> `1Gi`).

    Raises QuantityError.
    """
    amount, family = _split(text)
    return _format(amount, family)


def compare(a: str, b: str) -> int:
    """-1, 0 or 1 as `a` is less than, equal to or greater than `b`. Raises QuantityError."""
    left, right = nano(a), nano(b)
    return (left > right) - (left < right)


def add(a: str, b: str) -> str:
    """The canonical sum, in the family of `a` unless `a` is zero. Raises QuantityError."""
    (left, family), (right, other) = _split(a), _split(b)
    return _format(_cap(left + right), family if left else other)


def subtract(a: str, b: str) -> str:
    """The canonical difference, in the family of `a` unless `a` is zero. Raises QuantityError."""
    (left, family), (right, other) = _split(a), _split(b)
    return _format(_cap(left - right), family if left else other)


def format_milli(amount: int) -> str:
    """Thousandths in canonical spelling: 1500 -> `1500m`, 2000 -> `2`."""
    return _format(amount * 10**6, "decimal")


def format_value(amount: int, *, binary: bool = False) -> str:
    """Whole units in canonical spelling; `binary` prefers Ki, Mi, Gi."""
    return _format(amount * NANO, "binary" if binary else "decimal")


def _cap(amount: int) -> int:
    return max(-VALUE_MAX * NANO, min(amount, VALUE_MAX * NANO))


def _split(text: str) -> tuple[int, str]:
    """Billionths, and the family of the suffix: binary, decimal or exponent."""
    match = _PATTERN.fullmatch(text) if len(text) <= TEXT_MAX else None
    if match is None or not (match[2] or match[3]):
        raise QuantityError(text)
    sign, whole, fraction, suffix = match.groups(default="")
    digits, scale = int(whole + fraction or "0"), len(fraction)
    family, exponent, factor = "decimal", 0, 1
    if suffix in _BINARY:
        family, factor = "binary", 1024 ** _BINARY[suffix]
    elif suffix in _DECIMAL:
        exponent = _DECIMAL[suffix]
    else:
        family, exponent = "exponent", int(suffix[1:])
        if abs(exponent) > TEXT_MAX:
            exponent = TEXT_MAX if exponent > 0 else -2 * TEXT_MAX
    shift = exponent - scale + 9
    amount = digits * factor * 10**shift if shift >= 0 else -(-digits * factor // 10**-shift)
    return _cap(-amount if sign == "-" else amount), family


def _format(amount: int, family: str) -> str:
    if not amount:
        return "0"
    if family == "binary" and abs(amount) >= 1024 * NANO and amount % NANO == 0:
        number, power = amount // NANO, 0
        while number % 1024 == 0 and power < 6:
            number, power = number // 1024, power + 1
        return f"{number}{'KMGTPE'[power - 1] + 'i' if power else ''}"
    exponent = -9
    while amount % 1000 == 0 and exponent < 18:
        amount, exponent = amount // 1000, exponent + 3
    if family == "exponent":
        return f"{amount}e{exponent}" if exponent else str(amount)
    return f"{amount}{_SUFFIX[exponent]}"
