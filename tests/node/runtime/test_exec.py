from contextlib import AsyncExitStack

import pytest
import trio

from edgekube.runtime.api import RuntimeFailure


async def read_until(stream, wanted: bytes) -> bytes:
    seen = b""
    with trio.fail_after(15):
        while wanted not in seen:
            piece = await stream.receive_some()
            assert piece, f"ended before {wanted!r}: {seen!r}"
            seen += piece
    return seen


async def read_all(stream) -> bytes:
    with trio.fail_after(15):
        return b"".join([piece async for piece in stream])


async def test_exec_sync_gives_output_and_code(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        result = await box.engine.exec_sync(
            "c1", ["sh", "-c", "echo $GREETING; echo bad >&2; exit 7"], timeout_seconds=20
        )
        assert (result.exit_code, result.stdout, result.stderr, result.timed_out) == (7, b"hello\n", b"bad\n", False)


async def test_exec_sync_kills_at_its_deadline(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        result = await box.engine.exec_sync("c1", ["sh", "-c", "echo first; exec sleep 77"], timeout_seconds=1)
        assert (result.timed_out, result.stdout) == (True, b"first\n")
        with trio.fail_after(10):
            while b"sleep 77" in (await box.engine.exec_sync("c1", ["ps"], timeout_seconds=20)).stdout:  # noqa: ASYNC110
                await trio.sleep(0.05)


async def test_output_beyond_the_limit_is_dropped_and_the_command_ends(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        result = await box.engine.exec_sync("c1", ["head", "-c", "3000000", "/dev/zero"], timeout_seconds=30)
        assert result.exit_code == 0
        assert len(result.stdout) == 256 * 1024


async def test_exec_of_a_missing_command_fails_with_runcs_words(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        with pytest.raises(RuntimeFailure, match=r'exec: "nothere": executable file not found in \$PATH') as caught:
            await box.engine.exec_sync("c1", ["nothere"], timeout_seconds=20)
        assert caught.value.reason == "ExecFailed"


async def test_stdin_reaches_the_command_and_its_end_too(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        payload = bytes(range(256)) * 2000
        async with box.engine.exec("c1", ["wc", "-c"], tty=False, stdin=True) as session:
            await session.stdin.send_all(payload)
            await session.stdin.aclose()
            assert (await read_all(session.stdout)).strip() == str(len(payload)).encode()
            assert await session.wait() == 0
        async with box.engine.exec("c1", ["cat"], tty=False, stdin=True) as session, trio.open_nursery() as nursery:

            async def feed() -> None:
                await session.stdin.send_all(payload)
                await session.stdin.aclose()

            nursery.start_soon(feed)
            assert await read_all(session.stdout) == payload


async def test_a_terminal_has_a_size_that_changes(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        async with box.engine.exec("c1", ["sh"], tty=True, stdin=True) as session:
            assert session.stderr is None
            await session.resize(101, 33)
            await session.stdin.send_all(b"stty size\n")
            await read_until(session.stdout, b"33 101")
            await session.stdin.send_all(b"exit 4\n")
            await read_all(session.stdout)
            with trio.fail_after(10):
                assert await session.wait() == 4


async def test_leaving_a_session_ends_its_process(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        async with box.engine.exec("c1", ["sleep", "66"], tty=False, stdin=False):
            assert b"sleep 66" in (await box.engine.exec_sync("c1", ["ps"], timeout_seconds=20)).stdout
        with trio.fail_after(10):
            while b"sleep 66" in (await box.engine.exec_sync("c1", ["ps"], timeout_seconds=20)).stdout:  # noqa: ASYNC110
                await trio.sleep(0.05)


async def test_attach_follows_output_and_gives_input(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("while read line; do echo got:$line; done; echo over", stdin=True, stdin_once=True)
        async with box.engine.attach("c1", stdin=True) as session:
            await session.stdin.send_all(b"one\n")
            await read_until(session.stdout, b"got:one\n")
            await session.stdin.send_all(b"two\n")
            await session.stdin.aclose()
            assert await read_all(session.stdout) == b"got:two\nover\n"
            with trio.fail_after(10):
                assert await session.wait() == 0
        assert box.output() == "got:one\ngot:two\nover\n"


async def test_attach_to_a_terminal(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sh", tty=True, stdin=True)
        async with box.engine.attach("c1", stdin=True) as session:
            await session.resize(90, 20)
            await session.stdin.send_all(b"stty size\n")
            await read_until(session.stdout, b"20 90")
        async with box.engine.attach("c1", stdin=True) as session:
            await session.stdin.send_all(b"exit 3\n")
            await read_all(session.stdout)
        with trio.fail_after(10):
            assert (await box.engine.wait_exit("c1")).exit_code == 3
        assert "20 90" in box.output()


async def test_an_attacher_that_does_not_read_is_dropped_and_the_log_goes_on(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        script = "read go; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo done"
        await box.start(script, stdin=True, log_size_bytes_max=0)
        async with box.engine.attach("c1", stdin=True) as session:
            await session.stdin.send_all(b"go\n")
            with trio.fail_after(30):
                assert (await box.engine.wait_exit("c1")).exit_code == 0
        text = box.output()
        assert len(text) == 3_000_000 + len("\ndone\n")
        assert text.endswith("x\ndone\n")


async def test_input_stays_open_for_the_next_attacher(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("while read line; do echo got:$line; done", stdin=True)
        for word in (b"one", b"two"):
            async with box.engine.attach("c1", stdin=True) as session:
                await session.stdin.send_all(word + b"\n")
                await session.stdin.aclose()
                await read_until(session.stdout, b"got:" + word)


async def test_a_session_without_output_still_learns_the_code(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        async with box.engine.exec("c1", ["sh"], tty=False, stdin=True, stdout=False, stderr=False) as session:
            await session.stdin.send_all(b"echo nobody reads this; exit 6\n")
            with trio.fail_after(10):
                assert await session.wait() == 6


async def test_what_the_caller_raises_reaches_it_as_it_is(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100")
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with box.engine.exec("c1", ["yes"], tty=False, stdin=False) as session:
                await session.stdout.receive_some()
                raise ZeroDivisionError


async def test_more_attachers_than_there_is_room_for_are_refused(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("while true; do echo tick; sleep 0.1; done")
        async with AsyncExitStack() as stack:
            sessions = []
            with pytest.raises(RuntimeFailure, match="too many connections"):  # noqa: PT012
                for _ in range(20):
                    session = await stack.enter_async_context(box.engine.attach("c1", stdin=False))
                    sessions.append(session)
            assert len(sessions) == 9  # and the engine's own
            with trio.fail_after(20):
                for session in sessions:
                    assert await session.stdout.receive_some() == b"tick\n"
        with trio.fail_after(20):
            while True:
                try:
                    async with box.engine.attach("c1", stdin=False) as session:
                        assert await session.stdout.receive_some() == b"tick\n"
                    break
                except RuntimeFailure:
                    await trio.sleep(0.02)
