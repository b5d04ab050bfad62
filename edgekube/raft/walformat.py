"""The bytes of the log on disk (pure functions; the files are `wal.py`'s).

The log is a row of segments of equal size. A byte's *position* is `segment number * segment size + offset`, and never
repeats with a different meaning while the log lives. Sector 0 of a segment is its header. After it come frames: one
frame is what one or a few appends wrote, begins on a sector boundary and is padded with zeros to one, so no sector ever
holds both synced bytes and bytes still being written.

    frame   magic, body size, nonce, position, synced, previous CRC, header CRC | record... | zeros
    record  payload size, kind, payload, CRC

Every CRC continues from the one before it: header CRC from the last CRC of the frame before, record CRC from the CRC
before the record. So a record can be checked alone (its seed are the four bytes before it) and a frame validates only
behind the very frame it was written behind.

What a power cut can leave. Between two completed fdatasyncs any subset of the 512-byte sectors written may have reached
the disk. Segments are recycled without zeroing, so beyond the end there are old frames, too. Three rules decide:

1. A frame counts only if header and all records check, its position is its place, it continues the chain, and its
   nonce (random, new each time the log is opened) is that of the frame before it; a new nonce is accepted only from a
   frame that says `synced == position`, which the first frame after an open does. Old bytes of a recycled segment fail
   on the position, leftovers of a torn write before the last open on the nonce.
2. The log ends before the first frame that does not count. What lies behind was never acknowledged: a torn tail. It is
   cut by being overwritten.
3. Unless something says it had been synced: every frame carries the position up to which the log was known to be synced
   when it was written, and the state database remembers one, too. If any intact frame header behind the end, or the
   database, names a position beyond the end, then synced data is damaged, and the log is refused.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

SECTOR_BYTES: Final = 512
SEGMENT_SIZE_BYTES: Final = 4 * 1024 * 1024
IDENTITY_BYTES: Final = 16

ENTRY: Final = 1
HARD_STATE: Final = 2
CONF_STATE: Final = 3
SNAPSHOT: Final = 4  # (index, term): the state up to here came from elsewhere; older entries are void
BASE: Final = 5  # (index, term) of the last entry before this segment; written first in each segment

_SEGMENT_MAGIC: Final = b"EdgeKLog"
_FRAME_MAGIC: Final = b"EkFr"
_FORMAT: Final = 1

_segment_header: Final = Struct("<8sIIQ16sI")
_frame_header: Final = Struct("<4sIQQQII")
_record_header: Final = Struct("<IB3x")
_crc: Final = Struct("<I")

FRAME_HEADER_BYTES: Final = _frame_header.size
RECORD_OVERHEAD_BYTES: Final = _record_header.size + _crc.size


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of a scanned frame; `position` is where its header begins."""

    kind: int
    payload: bytes
    position: int


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One valid frame: where it began and ended (sector-aligned), what was synced when it was written, its nonce and
    the last CRC of its chain."""

    position: int
    end: int
    synced: int
    nonce: int
    chain: int
    records: tuple[Record, ...]


def aligned(size: int) -> int:
    """`size` rounded up to whole sectors."""
    return -(-size // SECTOR_BYTES) * SECTOR_BYTES


def encode_segment_header(number: int, segment_size: int, identity: bytes) -> bytes:
    """Sector 0 of a segment."""
    head = _segment_header.pack(_SEGMENT_MAGIC, _FORMAT, segment_size, number, identity, 0)[: -_crc.size]
    return (head + _crc.pack(crc32(head))).ljust(SECTOR_BYTES, b"\0")


def decode_segment_header(sector: bytes, number: int, segment_size: int, identity: bytes) -> str:
    """What is wrong with a segment's header; empty when nothing is."""
    if len(sector) < SECTOR_BYTES:
        return "is shorter than its header"
    magic, version, size, found, owner, crc = _segment_header.unpack_from(sector)
    if magic != _SEGMENT_MAGIC or crc != crc32(sector[: _segment_header.size - _crc.size]):
        return "has a damaged header"
    if version != _FORMAT:
        return f"has format {version}; this version of EdgeKube reads format {_FORMAT}"
    if owner != identity:
        return "belongs to another store"
    if found != number or size != segment_size:
        return f"says it is segment {found} of {size} bytes"
    return ""


def encode_frame(
    records: Sequence[tuple[int, bytes]], *, nonce: int, position: int, synced: int, chain: int
) -> tuple[bytes, int, list[int]]:
    """A frame's bytes, padded to whole sectors; the last CRC of its chain; the position of each record."""
    body_size = sum([len(payload) for _, payload in records]) + RECORD_OVERHEAD_BYTES * len(records)
    head = _frame_header.pack(_FRAME_MAGIC, body_size, nonce, position, synced, chain, 0)[: -_crc.size]
    chain = crc32(head, chain)
    parts = [head, _crc.pack(chain)]
    positions = []
    place = position + FRAME_HEADER_BYTES
    for kind, payload in records:
        positions.append(place)
        head = _record_header.pack(len(payload), kind)
        chain = crc32(payload, crc32(head, chain))
        parts += (head, payload, _crc.pack(chain))
        place += RECORD_OVERHEAD_BYTES + len(payload)
    size = place - position
    parts.append(bytes(aligned(size) - size))
    return b"".join(parts), chain, positions


def frame_room(room: int) -> int:
    """How many bytes of records (overhead included) a frame in `room` bytes can hold; may be negative."""
    return room // SECTOR_BYTES * SECTOR_BYTES - FRAME_HEADER_BYTES


def decode_frame(data: bytes, offset: int, *, base: int, chain: int, nonce: int) -> Frame | None:
    """The frame at `offset` of a segment whose first byte has position `base`, or None if there is no valid one.

    `chain` and `nonce` are those of the frame before (nonce 0: there is none before, any is accepted).
    """
    if offset + FRAME_HEADER_BYTES > len(data):
        return None
    magic, body_size, found_nonce, position, synced, previous, crc = _frame_header.unpack_from(data, offset)
    if magic != _FRAME_MAGIC or position != base + offset or previous != chain:
        return None
    if nonce and found_nonce != nonce and synced != position:
        return None
    view = memoryview(data)
    place = offset + FRAME_HEADER_BYTES
    stop = place + body_size
    chain = crc32(view[offset : place - _crc.size], chain)
    if crc != chain or stop > len(data):
        return None
    records = []
    while place < stop:
        if place + RECORD_OVERHEAD_BYTES > stop:
            return None
        size, kind = _record_header.unpack_from(data, place)
        begin = place + _record_header.size
        if begin + size + _crc.size > stop:
            return None
        chain = crc32(view[begin : begin + size], crc32(view[place:begin], chain))
        if _crc.unpack_from(data, begin + size)[0] != chain:
            return None
        records.append(Record(kind, bytes(view[begin : begin + size]), base + place))
        place = begin + size + _crc.size
    return Frame(base + offset, base + aligned(stop), synced, found_nonce, chain, tuple(records))


def decode_record(data: bytes) -> bytes | None:
    """The payload of a record read alone: `data` begins with the four CRC bytes before it. None: it is damaged."""
    if len(data) < _crc.size + RECORD_OVERHEAD_BYTES:
        return None
    seed = _crc.unpack_from(data)[0]
    size, _ = _record_header.unpack_from(data, _crc.size)
    stop = _crc.size + _record_header.size + size
    if stop + _crc.size > len(data):
        return None
    chain = crc32(memoryview(data)[_crc.size : stop], seed)
    if _crc.unpack_from(data, stop)[0] != chain:
        return None
    return data[_crc.size + _record_header.size : stop]


def record_size(data: bytes) -> int:
    """Whole size of the record whose header follows the first four bytes of `data`, those four included."""
    size: int = _record_header.unpack_from(data, _crc.size)[0]
    return _crc.size + RECORD_OVERHEAD_BYTES + size


def attestations(data: bytes, offset: int, *, base: int) -> Iterator[int]:
    """What intact frame headers at or behind `offset` say was synced when they were written (rule 3)."""
    place = aligned(offset)
    while (place := data.find(_FRAME_MAGIC, place)) >= 0:
        if place % SECTOR_BYTES == 0 and place + FRAME_HEADER_BYTES <= len(data):
            _, _, _, position, synced, previous, crc = _frame_header.unpack_from(data, place)
            if position == base + place and crc == crc32(data[place : place + FRAME_HEADER_BYTES - 4], previous):
                yield synced
        place += 1


def previous_chain(data: bytes, offset: int) -> int:
    """The CRC that the frame header at `offset` says it continues (0 when there is no room for a header)."""
    if offset + FRAME_HEADER_BYTES > len(data):
        return 0
    chain: int = _frame_header.unpack_from(data, offset)[5]
    return chain
