"""A whole state on its way to another member: chunks of rows, each bound to the one before it by a digest.

A chunk is a digest and msgpack rows; the digest covers the one before (the snapshot's own head for the first) and the
rows, so a chunk that is damaged, missing, repeated or of another snapshot is found at once. The last chunk has no rows.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from edgekube.raft.errors import RaftError
from edgekube.raft.messages import Snapshot
from edgekube.store.api import KeyValue
from edgekube.types.unreadable import UNREADABLE

PAGE_COUNT: Final = 64
CHUNK_SIZE_BYTES: Final = 256 * 1024  # a chunk ends with the row that reaches it
_DIGEST_BYTES: Final = 16

_Row = tuple[bytes, bytes, int, int, int]
_encode: Final = msgspec.msgpack.Encoder().encode
_rows_decoder: Final = msgspec.msgpack.Decoder(list[_Row])


class TransferDamaged(RaftError):
    """A chunk does not follow the one before it, or cannot be read."""


class SnapshotHead(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a Raft snapshot of a store says of the state that follows in chunks."""

    cluster_id: str
    revision: int
    digest: bytes
    addresses: dict[int, bytes]


_head_decoder: Final = msgspec.msgpack.Decoder(SnapshotHead)


def encode_head(head: SnapshotHead) -> bytes:
    """The data of a Raft snapshot."""
    return _encode(head)


def decode_head(snapshot: Snapshot) -> SnapshotHead:
    """What a Raft snapshot says. Raises `TransferDamaged`."""
    try:
        return _head_decoder.decode(snapshot.data)
    except UNREADABLE as error:
        raise TransferDamaged(f"the snapshot at {snapshot.index} has no readable head: {error}") from error


class ChunkWriter:
    """Makes the chunks of one snapshot, in order."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._digest = _first_digest(snapshot)

    def chunk(self, rows: Sequence[KeyValue]) -> bytes:
        """The next chunk; without rows the last one."""
        body = _encode([(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version) for kv in rows])
        self._digest = _next_digest(self._digest, body)
        return self._digest + body


class ChunkReader:
    """Checks and reads the chunks of one snapshot, in order. `complete` is True behind the last one."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._digest = _first_digest(snapshot)
        self.complete = False

    def rows(self, chunk: bytes) -> list[tuple[bytes, KeyValue | None]]:
        """The rows of the next chunk. Raises `TransferDamaged`."""
        body = chunk[_DIGEST_BYTES:]
        self._digest = _next_digest(self._digest, body)
        if self.complete or chunk[:_DIGEST_BYTES] != self._digest:
            raise TransferDamaged("a chunk of the snapshot is damaged or out of its place")
        try:
            rows = _rows_decoder.decode(body)
        except UNREADABLE as error:
            raise TransferDamaged(f"a chunk of the snapshot cannot be read: {error}") from error
        self.complete = not rows
        return [(key, KeyValue(key, value, created, modified, n)) for key, value, created, modified, n in rows]


def split(rows: Sequence[KeyValue]) -> list[Sequence[KeyValue]]:
    """Rows in parts of about `CHUNK_SIZE_BYTES`."""
    parts: list[Sequence[KeyValue]] = []
    begin = size = 0
    for position, kv in enumerate(rows, 1):
        size += len(kv.key) + len(kv.value)
        if size >= CHUNK_SIZE_BYTES or position == len(rows):
            parts.append(rows[begin:position])
            begin, size = position, 0
    return parts


def _first_digest(snapshot: Snapshot) -> bytes:
    return blake2b(_encode((snapshot.index, snapshot.term, snapshot.data)), digest_size=_DIGEST_BYTES).digest()


def _next_digest(digest: bytes, body: bytes) -> bytes:
    return blake2b(digest + body, digest_size=_DIGEST_BYTES).digest()
