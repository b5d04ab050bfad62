"""Hashes that become parts of names: pod-template-hash and ControllerRevision suffixes.

FNV-1a with 32 bits over the object's JSON with sorted keys, then the alphabet that spells no words. They are our own
numbers: they need to be stable here, not equal to another implementation's.
"""

from typing import Any, Final

import msgspec

from edgekube.types.names import safe_encode

_OFFSET: Final = 0x811C9DC5
_PRIME: Final = 0x01000193
_encoder = msgspec.json.Encoder(order="sorted")


def fnv1a_32(data: bytes, start: int = _OFFSET) -> int:
    """FNV-1a (draft-eastlake-fnv)."""
    value = start
    for byte in data:
        value = ((value ^ byte) * _PRIME) & 0xFFFFFFFF
    return value


def hash_of(obj: Any, collision_count: int | None = None) -> str:
    """A short name-safe hash of an API value; a collision count gives another one for the same value."""
    number = fnv1a_32(_encoder.encode(obj))
    if collision_count is not None:
        number = fnv1a_32(collision_count.to_bytes(8, "little", signed=True), number)
    return safe_encode(str(number))
