import pytest
import trio

from edgekube.runtime.api import ContainerState, RuntimeFailure


async def test_a_container_runs_writes_its_log_and_ends(open_box) -> None:
    async with open_box() as box:
        sandbox = await box.engine.create_sandbox(box.sandbox_spec())
        assert sandbox.ready
        started = await box.start("echo $GREETING; hostname; echo oops >&2; printf tail; exit 3")
        assert started.state in (ContainerState.RUNNING, ContainerState.EXITED)
        assert started.started_at
        with trio.fail_after(20):
            ended = await box.engine.wait_exit("c1")
        assert (ended.state, ended.exit_code, ended.reason) == (ContainerState.EXITED, 3, "Error")
        assert ended.finished_at > ended.started_at
        assert box.output() == "hello\nweb-0\ntail"
        assert box.output(stream="stderr") == "oops\n"
        await box.engine.remove_container("c1")
        assert box.engine.status("c1") is None
        await box.engine.remove_sandbox("pod1")
        assert box.engine.sandboxes() == ()


async def test_stop_is_polite_then_not(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("trap 'echo bye; exit 5' TERM; while true; do sleep 0.1; done", "polite")
        await box.start("trap '' TERM; while true; do sleep 0.1; done", "deaf")
        await trio.sleep(0.3)
        await box.engine.stop_container("polite", 20)
        await box.engine.stop_container("deaf", 0.3)
        assert box.engine.status("polite").exit_code == 5
        assert box.output("polite") == "bye\n"
        assert (box.engine.status("deaf").exit_code, box.engine.status("deaf").signal) == (137, 9)


async def test_a_command_that_does_not_exist_is_refused_with_runcs_words_and_leaves_nothing(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        with pytest.raises(
            RuntimeFailure, match=r'exec: "nothere": executable file not found in \$PATH: unknown'
        ) as caught:
            await box.start("", args=("nothere",))
        assert caught.value.reason == "RunContainerError"
        assert box.engine.containers() == ()
        assert not (box.folder / "run" / "containers" / "c1").exists()
        assert not (box.folder / "data" / "snapshots" / "c1").exists()
        ended = await box.finish("exit 0")
        assert ended.reason == "Completed"
