"""Reads CRI-format container logs: `2026-01-02T03:04:05.000000006Z stdout F text` (pkg/kubelet/kuberuntime/logs)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

LINE_BYTES_MAX = 1024 * 1024
READ_BYTES = 64 * 1024


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
    """The current log and its rotated predecessors (`0.log.<timestamp>`), oldest first."""
    older = sorted(p for p in path.parent.glob(path.name + ".*") if not p.name.endswith((".gz", ".tmp")))
    return [*older, path]


def read_lines(paths: Sequence[Path]) -> Iterator[bytes]:
    """Raw records of several files, in order, newline included; a missing file is empty."""
    for path in paths:
        try:
            with path.open("rb", buffering=READ_BYTES) as file:
                yield from iter(lambda f=file: f.readline(LINE_BYTES_MAX), b"")  # type: ignore[misc]
        except OSError:
            continue


def tail_offset(path: Path, lines: int) -> int:
    """Byte offset at which the last `lines` container lines of a file begin (a partial record is no line end)."""
    size = path.stat().st_size
    if lines <= 0:
        return size
    with path.open("rb") as file:
        position, found, data = size, 0, b""
        while position > 0:
            step = min(READ_BYTES, position)
            position -= step
            file.seek(position)
            data = file.read(step) + data
            starts = [i + 1 for i in range(len(data) - 1) if data[i] == 0x0A] if step else []
            found = 0
            for start in reversed(starts):
                before = data[:start].rstrip(b"\n").rpartition(b"\n")[2]
                record = parse_line(before)
                if record is None or not record.partial:
                    found += 1
                    if found == lines:
                        return position + start
            if len(data) > lines * LINE_BYTES_MAX:
                return position
    return 0


def tail_text(path: Path, lines: int, size_bytes: int) -> str:
    """The text of a log's last lines, for termination messages."""
    try:
        offset = tail_offset(path, lines)
        with path.open("rb") as file:
            file.seek(offset)
            records = [parse_line(raw.rstrip(b"\n")) for raw in file]
    except OSError:
        return ""
    text = b"".join(r.text + (b"" if r.partial else b"\n") for r in records if r is not None)
    return text[-size_bytes:].decode(errors="replace")
