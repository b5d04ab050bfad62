"""The log files a shim writes."""

import os
from datetime import datetime

import pytest
import trio


async def test_long_lines_are_split_and_put_together_again(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.finish("head -c 40000 /dev/zero | tr '\\0' a; echo; echo next; echo; echo after")
        records = box.log()
        assert {tag for _, tag, text in records if len(text) >= 16 * 1024} == {"P"}
        assert max(len(text) for _, _, text in records) <= 16 * 1024
        assert box.output() == "a" * 40000 + "\nnext\n\nafter\n"
        for line in (box.folder / "logs" / "c1.log").read_text().splitlines():
            assert datetime.fromisoformat(line.split(" ", 1)[0][:26] + "+00:00").year >= 2024


async def test_pieces_of_a_line_written_apart_are_one_record(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.finish("printf one; sleep 0.2; printf two; sleep 0.2; echo three; printf four")
        assert box.log() == [("stdout", "F", "onetwothree"), ("stdout", "P", "four")]


async def test_rotation_keeps_the_newest_files_and_loses_no_line_between_them(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
        await box.finish(script, log_size_bytes_max=20_000, log_files_max=3)
        folder = box.folder / "logs"
        names = sorted(name for name in os.listdir(folder) if name != "c1.log")
        assert len(names) == 2
        lines = []
        for name in [*names, "c1.log"]:
            text = (folder / name).read_text()
            assert len(text) <= 20_000
            lines += [line.split(" ", 3)[3] for line in text.splitlines()]
        assert lines == [f"line {number}" for number in range(3000 - len(lines), 3000)]


async def test_reopen_follows_a_file_that_was_moved(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("read x; echo $x; read y; echo $y", stdin=True)
        log = box.folder / "logs" / "c1.log"
        async with box.engine.attach("c1", stdin=True) as session:
            await session.stdin.send_all(b"before\n")
            assert await session.stdout.receive_some() == b"before\n"
            log.rename(log.with_suffix(".old"))
            await box.engine.reopen_log("c1")
            await session.stdin.send_all(b"after\n")
            assert await session.wait() == 0
        assert box.output() == "after\n"
        assert "before" in log.with_suffix(".old").read_text()


async def test_a_full_disk_holds_nobody_up_and_is_told_of(open_box, tmp_path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    await trio.run_process(["mount", "-t", "tmpfs", "-o", "size=64k", "small", str(small)], check=True)
    try:
        async with open_box() as box:
            await box.engine.create_sandbox(box.sandbox_spec())
            (small / "filler").write_bytes(b"x" * 40_000)
            script = "read go; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; read x; echo last"
            log = small / "c1.log"
            await box.start(script, stdin=True, log_path=str(log), log_size_bytes_max=0)
            with trio.fail_after(20):
                async with box.engine.attach("c1", stdin=True) as session:
                    await session.stdin.send_all(b"go\n")
                    seen = b""
                    while b"line 2999" not in seen:
                        seen = seen[-100:] + await session.stdout.receive_some()
                    (small / "filler").unlink()
                    await session.stdin.send_all(b"\n")
                    assert await session.wait() == 0
            lines = log.read_text().splitlines()
            assert lines[-1].endswith("stdout F last")
            gaps = [line for line in lines if "log lines could not be written and are lost" in line]
            lost = sum(int(line.split("edgekube: ")[1].split()[0]) for line in gaps)
            written = [line for line in lines[:-1] if " stdout F line " in line]
            assert lost > 0
            assert len(written) + lost == 3000
            assert len(lines) == len(written) + len(gaps) + 1
    finally:
        await trio.run_process(["umount", "-l", str(small)], check=True)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_the_last_words_are_in_the_log_when_the_end_is_known(open_box, stream: str) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        redirect = ">&2" if stream == "stderr" else ""
        await box.finish(f"head -c 60000 /dev/zero | tr '\\0' z {redirect}; echo end {redirect}")
        assert box.output(stream=stream).endswith("zend\n")
