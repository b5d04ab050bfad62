"""The replicated log's file: entries, HardState and ConfState, durable by batch.

`append` takes records into memory at once and returns a ticket; `sync(ticket)` returns when they are on disk. While one
batch is being written and synced in a thread, the next one gathers: that is the group commit. Format and the rule for
torn tails are in `walformat`.

Segments have a fixed size and are filled before they are used, so that a commit is one overwrite and one fdatasync
(4.4 kB of device writes against 17.7 kB for a growing file). Dropped segments are used again.

A failed write or fdatasync is final (the kernel may have dropped the dirty pages, so a retry would lie): from then on
everything raises `LogFailed` and the process should end. A full disk is met earlier, in `reserve`, which raises
`LogFull` while nothing has been promised.
"""

import errno
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import trio

from edgekube.raft import walformat as fmt
from edgekube.raft.errors import StorageError
from edgekube.raft.messages import ConfState, Entry, HardState, limit_size
from edgekube.raft.syncer import Syncer
from edgekube.raft.walfiles import LogFolder, Segment, pwrite, read_file, write_and_sync
from edgekube.raft.walindex import UNWRITTEN, LogIndex

TAIL_SIZE_BYTES_MAX: Final = 256 * 1024  # entries kept whole for sending to followers that are up to date
GROUP_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024  # at most about so much is written before one fdatasync


class LogCorrupt(StorageError):
    """Synced data of the log is damaged or missing. Nothing was changed."""


class LogFailed(StorageError):
    """Writing or syncing the log failed; what reached the disk is unknown until the next open."""


class LogFull(StorageError):
    """No space for another segment; nothing was written, trying again later is safe."""


class _Queued(msgspec.Struct, frozen=True, gc=False):
    """A record to write; `mark` is (index, term) of an entry or snapshot, `ticket` that of the append it belongs to."""

    kind: int
    payload: bytes
    mark: tuple[int, int] = (0, 0)
    ticket: int = 0


class WalStatistics(msgspec.Struct, frozen=True):
    """Counters since the log was opened, and its present extent."""

    first_index: int
    last_index: int
    segments: int
    syncs: int
    frames: int
    bytes_written: int


_encode: Final = msgspec.msgpack.Encoder().encode
_entry_decoder: Final = msgspec.msgpack.Decoder(Entry)
_hard_state_decoder: Final = msgspec.msgpack.Decoder(HardState)
_conf_state_decoder: Final = msgspec.msgpack.Decoder(ConfState)
_mark_decoder: Final = msgspec.msgpack.Decoder(tuple[int, int])


class Wal:
    """The log of one member; the log half of `raft.storage.Storage`. One owner; all methods from the trio thread."""

    def __init__(self, path: Path, *, identity: bytes, attested: int = 0, segment_size: int = fmt.SEGMENT_SIZE_BYTES):
        """Open or create the log in folder `path` and replay it. Blocks; takes about 1 ms a MiB.

        `identity` (16 bytes) ties segments to their store. `attested` is the `position` that another durable file
        remembers as synced: a log that ends before it is refused. Raises LogCorrupt, LogFull, OSError.
        """
        if len(identity) != fmt.IDENTITY_BYTES:
            raise ValueError(f"the identity must have {fmt.IDENTITY_BYTES} bytes, not {len(identity)}")
        self._path = path
        self._identity = identity
        self._segment_size = segment_size
        self._nonce = int.from_bytes(os.urandom(8), "little") | 1
        self._opening = True  # the next frame is the first since the open
        self._index = LogIndex(TAIL_SIZE_BYTES_MAX)
        self._hard_state = HardState()
        self._conf_state = ConfState()
        self._written_hard_state = HardState()
        self._written_conf_state = ConfState()
        self._written_last = (0, 0)  # (index, term) the log ends with as far as it is written
        self._chain = 0
        self._segments: list[Segment] = []
        self._queue: deque[_Queued] = deque()
        self._ticket = 0
        self._ticket_written = 0
        self._ticket_synced = 0
        self._busy = False
        self._lot = trio.lowlevel.ParkingLot()
        self._limiter = trio.CapacityLimiter(1)
        self._syncer = Syncer(write_and_sync)
        self._spare_limiter = trio.CapacityLimiter(1)
        self._spare_lock = trio.Lock()
        self._failure: LogFailed | None = None
        self._syncs = self._frames = self._bytes_written = 0
        self._files = LogFolder(path, segment_size, identity)
        try:
            self._open(attested)
        except BaseException:
            self.close()
            raise
        self._synced = self._end

    # -- what the core reads

    def initial_state(self) -> tuple[HardState, ConfState]:
        """HardState and ConfState as last appended."""
        return self._hard_state, self._conf_state

    def first_index(self) -> int:
        """Index of the first entry held; `last_index() + 1` when there is none."""
        return self._index.base + 1

    def last_index(self) -> int:
        """Index of the last entry appended (synced or not)."""
        return self._index.last

    def term(self, index: int) -> int:
        """Term of an entry, also of the one before the first. Raises CompactedError, UnavailableError."""
        return self._index.term(index)

    def entries(self, lo: int, hi: int, size_max: int) -> Sequence[Entry]:
        """Entries lo <= index < hi, cut to `size_max` bytes but at least one.

        Raises CompactedError, UnavailableError, LogCorrupt when the file does not give back what was written.
        """
        if lo >= hi:
            return ()
        self._index.term(hi - 1)
        if lo <= self._index.base:
            self._index.term(lo - 1)
        tail = self._index.tail(lo, hi)
        missing = hi - lo - len(tail)
        if not missing:
            return limit_size(tail, size_max)
        found: list[Entry] = []
        size = 0
        for index in range(lo, lo + missing):
            found.append(self._read(index))
            size += len(found[-1].data)
            if size > size_max:
                return limit_size(found, size_max)
        return limit_size([*found, *tail], size_max)

    # -- writing

    @property
    def synced_position(self) -> int:
        """End of what is known to be on disk; give it back as `attested` at the next open."""
        return self._synced

    @property
    def segment_count(self) -> int:
        """Segments in use."""
        return len(self._segments)

    def append(
        self,
        entries: Sequence[Entry] = (),
        hard_state: HardState | None = None,
        conf_state: ConfState | None = None,
    ) -> int:
        """Take records in, visible to reads at once; returns the ticket to `sync`.

        Entries replace those with the same and later indexes. Raises ValueError for a gap or a falling term, LogFailed.
        """
        self._check()
        self._ticket = ticket = self._ticket + 1
        for entry in entries:
            self._index.append(entry)
            self._queue.append(_Queued(fmt.ENTRY, _encode(entry), (entry.index, entry.term), ticket))
        if conf_state is not None and conf_state != self._conf_state:
            self._conf_state = conf_state
            self._queue.append(_Queued(fmt.CONF_STATE, _encode(conf_state), ticket=ticket))
        if hard_state is not None and hard_state != self._hard_state:
            self._hard_state = hard_state
            self._queue.append(_Queued(fmt.HARD_STATE, _encode(hard_state), ticket=ticket))
        return ticket

    def restore(self, index: int, term: int, conf_state: ConfState, hard_state: HardState | None = None) -> int:
        """The state up to `index` came as a snapshot: drop all entries, continue after it. Returns a ticket."""
        self._check()
        self._index.reset(index, term)
        self._queue.append(_Queued(fmt.SNAPSHOT, _encode((index, term)), (index, term), self._ticket + 1))
        return self.append((), hard_state, conf_state)

    async def reserve(self, size: int) -> None:
        """Make sure that `size` more bytes of payload (at most a segment's) can be written. Raises LogFull, LogFailed.

        Usually nothing to do; once a segment it prepares the next one.
        """
        self._check()
        if size + fmt.FRAME_HEADER_BYTES + 4096 > self._room():
            await self._prepare()

    @property
    def wants_spare(self) -> bool:
        """Half of the segment is used and the next one is not ready: a good time for `prepare`."""
        return not self._files.has_spare and self._room() < self._segment_size // 2

    async def prepare(self) -> None:
        """Make the next segment ready beforehand (4 MiB of zeros), so that no write has to wait for it.

        Raises LogFull, LogFailed.
        """
        self._check()
        if self.wants_spare:
            await self._prepare()

    def _room(self) -> int:
        return -self._end % self._segment_size

    async def _prepare(self) -> None:
        async with self._spare_lock:
            if self._files.has_spare:
                return
            try:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._files.make_spare, limiter=self._spare_limiter)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise LogFull(
                        f"no space for another log segment of {self._segment_size} bytes in {self._path}"
                    ) from error
                raise self._fail(error) from error

    async def sync(self, ticket: int) -> None:
        """Wait until what `append` gave this ticket for is durable. Raises LogFailed."""
        while self._ticket_synced < ticket:
            self._check()
            if self._busy:
                await self._lot.park()
                continue
            self._busy = True
            try:
                with trio.CancelScope(shield=True):
                    await self._write_group()
            finally:
                self._busy = False
                self._lot.unpark_all()
        self._check()

    async def compact(self, index: int) -> None:
        """Entries up to `index` are no longer needed: drop whole segments of them. Raises LogFailed."""
        keep = 0
        while (
            keep + 1 < len(self._segments)
            and self._segments[keep + 1].prior <= index
            and self._is_begun(self._segments[keep + 1])
        ):
            keep += 1
        if not keep:
            return
        with trio.CancelScope(shield=True):
            gone, self._segments = self._segments[:keep], self._segments[keep:]
            self._index.forget(self._segments[0].prior)
            try:
                async with self._spare_lock:
                    await trio.to_thread.run_sync(self._files.drop, gone, limiter=self._limiter)
            except OSError as error:
                raise self._fail(error) from error

    def _is_begun(self, segment: Segment) -> bool:
        """Whether a segment's first frame is on disk: it repeats what must not go with the segments before it."""
        return self._synced > segment.number * self._segment_size + fmt.SECTOR_BYTES

    def close(self) -> None:
        """Give up the files; what was not synced may be lost."""
        self._syncer.close()
        for segment in self._segments:
            os.close(segment.fd)
        self._segments.clear()
        self._files.close()

    def statistics(self) -> WalStatistics:
        """See `WalStatistics`."""
        return WalStatistics(
            first_index=self.first_index(),
            last_index=self.last_index(),
            segments=len(self._segments),
            syncs=self._syncs,
            frames=self._frames,
            bytes_written=self._bytes_written,
        )

    # -- writing, inside

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: BaseException) -> LogFailed:
        self._failure = LogFailed(
            f"the log in {self._path} could not be written ({error}); restart the node once the disk is well"
        )
        return self._failure

    async def _write_group(self) -> None:
        """Write what is queued, sync it, and move the tickets."""
        writes: list[tuple[int, int, bytes]] = []
        size = 0
        try:
            while self._queue and size < GROUP_SIZE_BYTES_MAX:
                batch = self._take_frame()
                if not batch:
                    await self._roll(writes)
                    continue
                writes.append(self._frame(batch))
                size += len(writes[-1][2])
            ticket = self._queue[0].ticket - 1 if self._queue else self._ticket
            end = self._end
            if writes:
                await self._syncer.run(writes)
                self._syncs += 1
        except OSError as error:
            raise self._fail(error) from error
        self._synced = end
        self._ticket_synced = max(self._ticket_synced, ticket)
        self._index.trim()

    def _take_frame(self) -> list[_Queued]:
        """Take records off the queue, as many as fit one frame at the end of the current segment."""
        room = fmt.frame_room(self._room())
        batch = []
        if self._end % self._segment_size == fmt.SECTOR_BYTES:
            for kind, payload in self._opening_records():
                room -= fmt.RECORD_OVERHEAD_BYTES + len(payload)
                batch.append(_Queued(kind, payload))
        head = len(batch)
        while self._queue:
            needed = fmt.RECORD_OVERHEAD_BYTES + len(self._queue[0].payload)
            if needed > room:
                break
            room -= needed
            batch.append(self._queue.popleft())
        if len(batch) > head:
            return batch
        if head:
            raise OSError(errno.EFBIG, "a record is larger than a log segment")
        return []

    def _opening_records(self) -> list[tuple[int, bytes]]:
        """What a segment begins with, so that the ones before it can be dropped."""
        return [
            (fmt.BASE, _encode(self._written_last)),
            (fmt.HARD_STATE, _encode(self._written_hard_state)),
            (fmt.CONF_STATE, _encode(self._written_conf_state)),
        ]

    def _frame(self, batch: list[_Queued]) -> tuple[int, int, bytes]:
        position = self._end
        data, self._chain, positions = fmt.encode_frame(
            [(record.kind, record.payload) for record in batch],
            nonce=self._nonce,
            position=position,
            synced=position if self._opening else self._synced,
            chain=self._chain,
        )
        self._opening = False
        for record, place in zip(batch, positions, strict=True):
            if record.kind == fmt.ENTRY:
                self._index.written(*record.mark, place)
                self._written_last = record.mark
            elif record.kind == fmt.SNAPSHOT:
                self._written_last = record.mark
            elif record.kind == fmt.HARD_STATE:
                self._written_hard_state = _hard_state_decoder.decode(record.payload)
            elif record.kind == fmt.CONF_STATE:
                self._written_conf_state = _conf_state_decoder.decode(record.payload)
        self._end += len(data)
        self._frames += 1
        self._bytes_written += len(data)
        return self._segments[-1].fd, position % self._segment_size, data

    async def _roll(self, writes: list[tuple[int, int, bytes]]) -> None:
        """Begin the next segment. What was framed so far is synced first: a segment never outlives its forerunner."""
        if writes:
            await self._syncer.run(list(writes))
            writes.clear()
            self._synced = self._end
            self._syncs += 1
        number = self._segments[-1].number + 1
        async with self._spare_lock:
            segment = await trio.to_thread.run_sync(self._files.activate, number, limiter=self._limiter)
        self._begin(segment)

    def _begin(self, segment: Segment) -> None:
        segment.prior = self._written_last[0]
        self._segments.append(segment)
        self._end = segment.number * self._segment_size + fmt.SECTOR_BYTES

    def _read(self, index: int) -> Entry:
        position = self._index.position(index)
        if position == UNWRITTEN:
            raise LogCorrupt(f"entry {index} is neither in memory nor written")
        number, offset = divmod(position, self._segment_size)
        segment = self._segments[number - self._segments[0].number]
        data = os.pread(segment.fd, 4096, offset - 4)
        size = fmt.record_size(data)
        if size > len(data):
            data += os.pread(segment.fd, size - len(data), offset - 4 + len(data))
        payload = fmt.decode_record(data)
        if payload is None:
            raise LogCorrupt(f"entry {index} in {segment.path} was damaged after it was written")
        return _entry_decoder.decode(payload)

    # -- opening

    def _open(self, attested: int) -> None:
        found = self._files.found()
        # A crash while dropping can leave old segments before a gap; they are not needed, or the replay would tell.
        begin = len(found) - 1
        while begin > 0 and found[begin - 1][0] == found[begin][0] - 1:
            begin -= 1
        stale, live = found[: max(begin, 0)], found[max(begin, 0) :]
        if not live:
            if attested:
                raise LogCorrupt(
                    f"the log in {self._path} is missing, but the database remembers one: "
                    "restore the folder, or restore the node from a backup"
                )
            try:
                self._end = self._segment_size
                self._begin(self._files.activate(1))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise LogFull(f"no space for a log of {self._segment_size} bytes in {self._path}") from error
                raise
            return
        used, known = self._replay(live, attested)
        for segment in self._segments:
            self._settle(segment, known)
        unused = [Segment(number, path, -1, 0) for number, path in [*stale, *live[used:]]]
        for segment in unused:
            segment.path.unlink()
        self._files.sync()

    def _settle(self, segment: Segment, known: int) -> None:
        """Make durable what was read: behind `known`, what was synced for sure, it may be in the page cache only.

        It is written again, because after a failed fdatasync the kernel takes pages for written that are not.
        """
        base = segment.number * self._segment_size
        begin, end = max(known - base, 0), min(self._end - base, self._segment_size)
        if begin < end:
            pwrite(segment.fd, os.pread(segment.fd, end - begin, begin), begin)
        os.fdatasync(segment.fd)

    def _replay(self, files: Sequence[tuple[int, Path]], attested: int) -> tuple[int, int]:
        """Read all segments up to the end of the log; returns how many are in use, and what was synced for sure."""
        nonce = 0
        used = 0
        ended = False
        known = attested
        for number, path in files:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            base = number * self._segment_size
            offset = fmt.SECTOR_BYTES
            segment = Segment(number, path, fd, 0)
            try:
                data = read_file(fd, self._segment_size)
                complaint = fmt.decode_segment_header(
                    data[: fmt.SECTOR_BYTES], number, self._segment_size, self._identity
                )
                if complaint or len(data) != self._segment_size:
                    raise LogCorrupt(
                        f"log segment {path} {complaint or 'has been cut short'}; nothing was changed. "
                        "Let this member be repaired from its peers, or restore the node from a backup"
                    )
                first = True
                while not ended:
                    frame = fmt.decode_frame(
                        data, offset, base=base, chain=self._chain_or(data, offset, nonce), nonce=nonce
                    )
                    if frame is None:
                        break
                    if first:
                        self._segments.append(segment)
                        used += 1
                        self._end = frame.position
                        segment.prior = self._prior(frame, path)
                        first = False
                    for record in frame.records:
                        self._take(record, path)
                    nonce, self._chain, self._end = frame.nonce, frame.chain, frame.end
                    known = max(known, frame.synced)
                    offset = frame.end - base
                if first:
                    if not used and not ended:  # the very first segment may be empty
                        self._segments.append(segment)
                        used += 1
                        self._end = base + fmt.SECTOR_BYTES
                    ended = True
                for synced in fmt.attestations(data, offset, base=base):
                    known = max(known, synced)
            finally:
                if segment not in self._segments:
                    os.close(fd)
        if known > self._end:
            raise LogCorrupt(
                f"the log in {self._path} is damaged at position {self._end} (segment "
                f"{self._end // self._segment_size}, byte {self._end % self._segment_size}), although it had been "
                f"synced up to {known}; nothing was changed. Let this member be repaired from its peers, "
                "or restore the node from a backup"
            )
        self._index.trim()
        return used, known

    def _chain_or(self, data: bytes, offset: int, nonce: int) -> int:
        """The chain to check against; the first segment held continues one that is gone, so it is taken at its word."""
        return self._chain if nonce else fmt.previous_chain(data, offset)

    def _prior(self, frame: fmt.Frame, path: Path) -> int:
        """Index of the last entry before a segment, which its first record tells."""
        if frame.records and frame.records[0].kind == fmt.BASE:
            index, term = _mark_decoder.decode(frame.records[0].payload)
            if not self._index.last:
                self._index.reset(index, term)
                self._written_last = (index, term)
            elif self._written_last != (index, term):
                raise LogCorrupt(
                    f"log segment {path} continues entry {index}, the one before it ends at {self._index.last}"
                )
            return index
        raise LogCorrupt(f"log segment {path} does not say which entry it continues")

    def _take(self, record: fmt.Record, path: Path) -> None:
        payload = record.payload
        try:
            if record.kind == fmt.ENTRY:
                entry = _entry_decoder.decode(payload)
                if entry.index <= self._index.base:
                    # It replaced an entry of a segment that is gone. All that is gone was committed, so the entries up
                    # to the base follow here, and the last of them knows the base's true term.
                    self._index.reset(self._index.base, entry.term)
                else:
                    self._index.append(entry, record.position)
                    self._index.trim()
                self._written_last = (entry.index, entry.term)
            elif record.kind == fmt.HARD_STATE:
                self._hard_state = self._written_hard_state = _hard_state_decoder.decode(payload)
            elif record.kind == fmt.CONF_STATE:
                self._conf_state = self._written_conf_state = _conf_state_decoder.decode(payload)
            elif record.kind == fmt.SNAPSHOT:
                self._written_last = _mark_decoder.decode(payload)
                self._index.reset(*self._written_last)
            elif record.kind != fmt.BASE:
                raise LogCorrupt(f"{path} has a record of kind {record.kind}: it was written by a newer version")
        except (msgspec.DecodeError, ValueError) as error:
            raise LogCorrupt(f"{path} has a record that makes no sense at {record.position}: {error}") from error
