"""Completion indexes of an Indexed Job as its status writes them: `1,3-5,7`. Pure."""

from collections.abc import Iterable

from edgekube.types.integers import natural


def parse(text: str, limit: int) -> set[int]:
    """The indexes below `limit`; what is malformed is skipped, as a status field is not to be trusted."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        low, high = natural(first), natural(last if dash else first)
        if low is not None and high is not None:
            found.update(range(low, min(high, limit - 1) + 1))
    return found


def render(indexes: Iterable[int]) -> str:
    """Sorted, runs of two or more joined by a dash.

    >>> render([1, 3, 4, 5, 7])
    '1,3-5,7'
    """
    parts: list[str] = []
    ordered = sorted(set(indexes))
    start = 0
    for position, index in enumerate(ordered):
        if position + 1 < len(ordered) and ordered[position + 1] == index + 1:
            continue
        parts.append(str(index) if ordered[start] == index else f"{ordered[start]}-{index}")
        start = position + 1
    return ",".join(parts)
