"""Answers from upstream, kept for a while. Pure: the caller brings the time."""

from collections import OrderedDict
from typing import Final, NamedTuple

from edgekube.dns.codec import NOERROR, NXDOMAIN, Name, Query, Response, with_id_and_age

BYTES_MAX: Final = 256 * 1024
ENTRY_BYTES_MAX: Final = 4096
OVERHEAD_BYTES: Final = 400  # Python's own, per entry
TTL_MAX_S: Final = 300
NEGATIVE_TTL_MAX_S: Final = 30

Key = tuple[Name, int, bool, bool]


class _Entry(NamedTuple):
    response: Response
    stored: float
    expires: float


class Cache:
    """Least recently used entries go first when `bytes_max` is reached."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._bytes_max = bytes_max
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, query: Query, now: float) -> bytes | None:
        key = (query.name, query.type, query.dnssec_ok, query.payload > 0)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.expires:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return with_id_and_age(entry.response.raw, query, entry.response.ttl_offsets, int(now - entry.stored))

    def put(self, query: Query, response: Response, now: float) -> None:
        """Keep whole answers and denials for as long as their records say, within our own limits."""
        if response.truncated or response.rcode not in (NOERROR, NXDOMAIN) or len(response.raw) > ENTRY_BYTES_MAX:
            return
        positive = response.rcode == NOERROR and response.answers
        ttl = min(response.ttl, TTL_MAX_S if positive else NEGATIVE_TTL_MAX_S)
        if ttl <= 0:
            return
        key = (query.name, query.type, query.dnssec_ok, query.payload > 0)
        self._drop(key)
        self._entries[key] = _Entry(response, now, now + ttl)
        self._size += len(response.raw) + OVERHEAD_BYTES
        while self._size > self._bytes_max:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        self._entries.clear()
        self._size = 0

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= len(entry.response.raw) + OVERHEAD_BYTES
