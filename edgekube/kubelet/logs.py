"""Reads CRI-format container logs: `2026-01-02T03:04:05.000000006Z stdout F text` (pkg/kubelet/kuberuntime/logs).

A log is one current file and its rotated predecessors, `0.log.20060102-150405.000000000`.
"""

import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
import trio

from edgekube.native.files import Change, watch_path

LINE_BYTES_MAX = 1024 * 1024
READ_BYTES = 64 * 1024
CHUNK_BYTES = 32 * 1024
RECORDS_PER_SLICE = 500  # read before others get a turn
EVENTS_BYTES = 4096


class Line(msgspec.Struct, frozen=True, gc=False):
    """One record. `partial`: the container's line goes on in the next record of the same stream."""

    time: str
    stream: str
    partial: bool
    text: bytes


def parse_line(raw: bytes) -> Line | None:
    """A record without its newline; None for what is not one (a torn write)."""
    parts = raw.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    return Line(parts[0].decode(errors="replace"), parts[1].decode(), parts[2].split(b":", 1)[0] == b"P", parts[3])


def log_files(path: Path) -> list[Path]:
    """The current log and its rotated predecessors, oldest first."""
    older = sorted(p for p in path.parent.glob(path.name + ".*") if not p.name.endswith((".gz", ".tmp")))
    return [*older, path]


def _records_backwards(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(offset after it, record without its newline) of every finished record, last first."""
    position = file.seek(0, os.SEEK_END)
    data = b""
    while position > 0 and len(data) < LINE_BYTES_MAX:
        step = min(READ_BYTES, position)
        position -= step
        file.seek(position)
        data = file.read(step) + data
        end = data.rfind(b"\n")
        while end >= 0:
            start = data.rfind(b"\n", 0, end)
            if start < 0 and position > 0:
                break
            yield position + end + 1, data[start + 1 : end]
            end = start
        data = data[: end + 1]


def tail_offset(path: Path, lines: int) -> tuple[int, int]:
    """(byte offset where the last `lines` container lines of a file begin, how many of them it lacks)."""
    found = 0
    with path.open("rb") as file:
        if lines <= 0:
            return file.seek(0, os.SEEK_END), 0
        for end, raw in _records_backwards(file):
            record = parse_line(raw)
            if record is None or not record.partial:
                if found == lines:
                    return end, 0
                found += 1
    return 0, lines - found


def tail_start(paths: list[Path], lines: int) -> tuple[int, int]:
    """(index into `paths`, offset) where the last `lines` container lines of a rotated log begin."""
    for index in range(len(paths) - 1, -1, -1):
        try:
            offset, lines = tail_offset(paths[index], lines)
        except OSError:
            continue
        if lines == 0:
            return index, offset
    return 0, 0


def tail_text(path: Path, lines: int, size_bytes: int) -> str:
    """The text of a log's last lines, for termination messages."""
    try:
        offset, _ = tail_offset(path, lines)
        with path.open("rb") as file:
            file.seek(offset)
            records = [parse_line(raw.rstrip(b"\n")) for raw in file]
    except OSError:
        return ""
    text = b"".join(r.text + (b"" if r.partial else b"\n") for r in records if r is not None)
    return text[-size_bytes:].decode(errors="replace")


def stamp(seconds: float) -> str:
    """A point in time as records have it; both sort as text."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


class Formatter:
    """Records in, the text a user sees out. `since` is a `stamp`; `limit` bounds the text in bytes (None: no bound)."""

    def __init__(
        self, *, since: str = "", streams: tuple[str, ...] = ("stdout", "stderr"), timestamps: bool, limit: int | None
    ) -> None:
        self._since = since
        self._streams = streams
        self._timestamps = timestamps
        self._left = limit
        self._inside: set[str] = set()  # streams in the middle of a container's line
        self._text = bytearray()

    @property
    def full(self) -> bool:
        """The limit is reached."""
        return self._left == 0

    @property
    def size(self) -> int:
        return len(self._text)

    def feed(self, raw: bytes) -> None:
        record = parse_line(raw)
        if record is None or record.stream not in self._streams or record.time < self._since:
            return
        if self._timestamps and record.stream not in self._inside:
            self._text += record.time.encode() + b" "
        self._text += record.text
        if record.partial:
            self._inside.add(record.stream)
        else:
            self._inside.discard(record.stream)
            self._text += b"\n"

    def take(self) -> bytes:
        """What has gathered, cut at the limit."""
        text = bytes(self._text)
        self._text.clear()
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text


async def read_log(
    path: Path,
    formatter: Formatter,
    *,
    tail: int | None = None,
    ended: Callable[[], bool] | None = None,
    wait_end: Callable[[], Awaitable[object]] | None = None,
) -> AsyncGenerator[bytes, None]:
    """Chunks of formatted text.

    With `ended` the log is followed through rotations until it says True; `wait_end` is a coroutine function that
    returns when asking it again makes sense. New lines are told by the kernel: nothing polls.
    """
    paths = log_files(path)
    index, offset = (0, 0) if tail is None else tail_start(paths, tail)
    watch = -1
    if ended is not None and path.parent.is_dir():
        watch = watch_path(str(path.parent), Change.MODIFY | Change.CREATE | Change.MOVED_TO)
    try:
        for older in paths[index:-1]:
            with contextlib.suppress(FileNotFoundError), contextlib.closing(_Follower(older, offset)) as reader:
                while chunk := await reader.read(formatter):
                    yield chunk
            offset = 0
        if not path.exists():
            return
        with contextlib.closing(_Follower(path, offset)) as follower:
            while not formatter.full:
                over = ended is None or ended()
                while chunk := await follower.read(formatter):
                    yield chunk
                if formatter.full or follower.renewed():
                    continue
                if over:
                    return
                await _changed(watch, wait_end)
    finally:
        if watch >= 0:
            os.close(watch)


class _Follower:
    """A position in a log file that may still grow, and be replaced by a fresh one."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._file = path.open("rb", buffering=READ_BYTES)
        self._file.seek(offset)
        self._pending = b""

    async def read(self, formatter: Formatter) -> bytes:
        """Text of the next finished records, b"" when there are none now."""
        count = 0
        while not formatter.full and formatter.size < CHUNK_BYTES:
            piece = self._file.readline(LINE_BYTES_MAX)
            self._pending += piece
            if not piece.endswith(b"\n") and len(self._pending) < LINE_BYTES_MAX:
                break  # the end, or the writer is in the middle of a record
            formatter.feed(self._pending.rstrip(b"\n"))
            self._pending = b""
            count += 1
            if count % RECORDS_PER_SLICE == 0:
                await trio.lowlevel.checkpoint()
        return formatter.take()

    def renewed(self) -> bool:
        """There is more to read: in this file, written before it was rotated, or in a fresh one, which is opened."""
        here = os.fstat(self._file.fileno())
        try:
            if self._path.stat().st_ino == here.st_ino:
                return False
            if self._file.tell() < here.st_size:
                return True
            fresh = self._path.open("rb", buffering=READ_BYTES)
        except OSError:
            return False
        self._file.close()
        self._file, self._pending = fresh, b""
        return True

    def close(self) -> None:
        self._file.close()


async def _changed(watch: int, wait_end: Callable[[], Awaitable[object]] | None) -> None:
    """Until the log's folder changes or the container ends."""
    async with trio.open_nursery() as nursery:

        async def written() -> None:
            await trio.lowlevel.wait_readable(watch)
            nursery.cancel_scope.cancel()

        async def finished() -> None:
            if wait_end is None:
                return
            await wait_end()
            nursery.cancel_scope.cancel()

        nursery.start_soon(written)
        nursery.start_soon(finished)
    try:
        os.read(watch, EVENTS_BYTES)
    except BlockingIOError:
        pass
