"""Container logs: records, rotation, tails, and following without a poll."""

from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from edgekube.kubelet.logs import Formatter, log_files, parse_line, read_log, stamp, tail_offset, tail_start, tail_text

T = "2026-01-02T03:04:05.00000000{}Z"


def write(path: Path, *texts: str, at: int = 0, stream: str = "stdout") -> None:
    """Each text is one container line; with a `|` in it, it comes in two records."""
    lines = []
    for index, text in enumerate(texts):
        parts = text.split("|")
        lines += [f"{T.format(at + index)} {stream} P {part}\n" for part in parts[:-1]]
        lines.append(f"{T.format(at + index)} {stream} F {parts[-1]}\n")
    with path.open("a") as file:
        file.write("".join(lines))


async def text_of(path: Path, tail: int | None = None, **options: object) -> str:
    settings = {"timestamps": False, "limit": None} | options
    formatter = Formatter(**settings)  # type: ignore[arg-type]
    return b"".join([chunk async for chunk in read_log(path, formatter, tail=tail)]).decode()


def test_records() -> None:
    line = parse_line(b"2026-01-02T03:04:05.000000006Z stderr P:tag some text")
    assert line is not None
    assert (line.stream, line.partial, line.text) == ("stderr", True, b"some text")
    assert parse_line(b"half a rec") is None
    assert parse_line(b"a b F c") is None


async def test_rotated_logs_are_one_log(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    write(tmp_path / "0.log.20260101-000000.000000000", "a", "b|")
    write(tmp_path / "0.log.20260102-000000.000000000", "c")
    write(log, "d|e", "f")
    (tmp_path / "1.log").write_text("no")
    assert [p.name for p in log_files(log)][-1] == "0.log"
    assert await text_of(log) == "a\nb\nc\nde\nf\n"
    tails = {0: "", 1: "f\n", 2: "de\nf\n", 3: "c\nde\nf\n", 4: "b\nc\nde\nf\n", 9: "a\nb\nc\nde\nf\n"}
    for lines, expected in tails.items():
        assert await text_of(log, tail=lines) == expected
    assert tail_start(log_files(log), 3) == (1, 0)


async def test_options(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    write(log, "one|more", "two")
    write(log, "oops", at=5, stream="stderr")
    assert await text_of(log, timestamps=True) == f"{T.format(0)} onemore\n{T.format(1)} two\n{T.format(5)} oops\n"
    assert await text_of(log, streams=("stderr",)) == "oops\n"
    assert await text_of(log, since=T.format(1)) == "two\noops\n"
    assert await text_of(log, limit=5) == "onemo"
    assert await text_of(tmp_path / "none.log") == ""


def test_stamps_sort_as_text() -> None:
    assert stamp(1767323045.5) == "2026-01-02T03:04:05.500000000Z"


def test_a_long_log_is_read_backwards(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    write(log, *("x" * (i % 700) for i in range(3000)))
    whole = log.read_text().splitlines(keepends=True)
    for lines in (1, 10, 250, 2999, 3000, 4000):
        offset, missing = tail_offset(log, lines)
        assert log.read_text()[offset:] == "".join(whole[-lines:])
        assert missing == max(0, lines - 3000)
    assert tail_text(log, 2, 10_000) == "x" * (2998 % 700) + "\n" + "x" * (2999 % 700) + "\n"
    assert len(tail_text(log, 80, 100)) == 100


async def test_following_sees_lines_rotation_and_the_end(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    write(log, "first")
    over = trio.Event()
    chunks: list[bytes] = []
    formatter = Formatter(timestamps=False, limit=None)

    async def until(text: bytes) -> None:
        with trio.fail_after(5):
            while b"".join(chunks) != text:  # noqa: ASYNC110
                await trio.sleep(0.001)

    async def follow() -> None:
        source = read_log(log, formatter, ended=over.is_set, wait_end=over.wait)
        async for chunk in source:
            chunks.append(chunk)  # noqa: PERF401

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await until(b"first\n")
        write(log, "second")
        await until(b"first\nsecond\n")
        write(log, "third")
        log.rename(tmp_path / "0.log.20260101-000000.000000000")
        write(log, "fourth")
        await until(b"first\nsecond\nthird\nfourth\n")
        with log.open("a") as file:
            file.write(f"{T.format(7)} stdout F half")
        await trio.sleep(0.01)
        with log.open("a") as file:
            file.write(" and half\n")
        await until(b"first\nsecond\nthird\nfourth\nhalf and half\n")
        over.set()
    assert chunks[-1] == b"half and half\n"


async def test_following_can_be_given_up(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    write(log, "first")
    source = read_log(log, Formatter(timestamps=False, limit=None), ended=lambda: False, wait_end=trio.sleep_forever)
    assert await source.__anext__() == b"first\n"
    await source.aclose()
    with pytest.raises(StopAsyncIteration):
        await source.__anext__()


async def test_a_limit_ends_following(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    write(log, "first", "second")
    formatter = Formatter(timestamps=False, limit=3)
    source = read_log(log, formatter, ended=lambda: False, wait_end=trio.sleep_forever)
    assert [chunk async for chunk in source] == [b"fir"]


@given(st.binary(max_size=80))
def test_any_line_is_read_or_left_out(raw: bytes) -> None:
    found = parse_line(raw)
    assert found is None or found.stream in ("stdout", "stderr")
