"""Finds out whether somebody changed a shared object: for tests, which run with it on.

A frozen Struct stops `pod.spec = x`, mypy stops `labels["a"] = x` where it sees the type; this catches the rest.
"""

from typing import Any, Final

import msgspec

TRACKED_MAX: Final = 100_000  # objects; a test that passes it has a leak of its own

_encoder = msgspec.json.Encoder(order="sorted")


class MutationError(AssertionError):
    """A shared object is not what it was."""


class MutationDetector:
    """Remembers objects and what they were. Holds them alive until `clear`."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, bytes]] = {}

    def add(self, obj: Any) -> None:
        """Remember `obj` as it is now; a second time is a check."""
        held = self._seen.get(id(obj))
        if held is not None:
            _compare(*held)
        elif len(self._seen) >= TRACKED_MAX:
            raise MutationError(f"more than {TRACKED_MAX} objects are tracked: clear the detector between tests")
        else:
            self._seen[id(obj)] = (obj, _encoder.encode(obj))

    def check(self) -> None:
        """Raise MutationError for the first object that changed since it was added."""
        for obj, before in self._seen.values():
            _compare(obj, before)

    def clear(self) -> None:
        """Forget everything."""
        self._seen.clear()


def _compare(obj: Any, before: bytes) -> None:
    now = _encoder.encode(obj)
    if now != before:
        raise MutationError(
            f"a shared {type(obj).__name__} was changed in place\n before: {before.decode()}\n now:    {now.decode()}"
        )
