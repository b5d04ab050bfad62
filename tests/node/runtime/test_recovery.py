"""The orchestrator goes, by choice or by SIGKILL; its containers do not."""

import os
import signal
from pathlib import Path

import trio

from edgekube.runtime.api import ContainerState, NamespaceMode


def shim_pid(box, container_id: str = "c1") -> int:
    import msgspec

    return msgspec.json.decode((box.folder / "run" / "containers" / container_id / "state.json").read_bytes())[
        "shim_pid"
    ]


def runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter between opening and reading
        return False


async def gone(pid: int) -> None:
    with trio.fail_after(10):
        while runs(pid):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_everything_runs_on_and_is_adopted(open_box) -> None:
    async with open_box(purge=False) as box:
        await box.engine.create_sandbox(box.sandbox_spec(labels={"a": "b"}))
        before = await box.start("while read line; do echo $line; [ $line = end ] && exit 6; done", stdin=True)
        await box.start("exit 9", "short")
        await box.engine.wait_exit("short")
        await box.start("sleep 0.5; exit 8", "later")
    await trio.sleep(1)
    async with open_box() as box:
        (sandbox,) = box.engine.sandboxes()
        assert sandbox.ready
        assert sandbox.spec.labels == {"a": "b"}
        after = box.engine.status("c1")
        assert (after.state, after.pid, after.started_at) == (ContainerState.RUNNING, before.pid, before.started_at)
        assert box.engine.status("short").exit_code == 9
        assert box.engine.status("later").exit_code == 8
        async with box.engine.attach("c1", stdin=True) as session:
            await session.stdin.send_all(b"again\n")
            assert await session.stdout.receive_some() == b"again\n"
            await session.stdin.send_all(b"end\n")
        with trio.fail_after(10):
            assert (await box.engine.wait_exit("c1")).exit_code == 6
        assert (await box.finish("hostname", "c2")).exit_code == 0
        assert box.output("c2") == "web-0\n"


async def test_a_container_whose_shim_is_killed_ends_as_unknown(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        started = await box.start("sleep 100")
        os.kill(shim_pid(box), signal.SIGKILL)
        with trio.fail_after(15):
            ended = await box.engine.wait_exit("c1")
        assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")
        await gone(started.pid)
        await box.engine.remove_container("c1")
        assert (await box.finish("exit 2", "c1")).exit_code == 2


async def test_a_shim_killed_while_we_were_away(open_box) -> None:
    async with open_box(purge=False) as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        started = await box.start("sleep 100")
        os.kill(shim_pid(box), signal.SIGKILL)
        await gone(shim_pid(box))
    async with open_box() as box:
        assert box.engine.status("c1").reason == "ContainerStatusUnknown"
        await gone(started.pid)


async def test_leftovers_without_an_owner_are_taken_away(open_box) -> None:
    async with open_box(purge=False) as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.engine.create_sandbox(box.sandbox_spec("pod2"))
        kept = await box.start("sleep 100")
        lost = await box.start("sleep 100", "c2", sandbox_id="pod2")
        os.unlink(box.folder / "run" / "sandboxes" / "pod2.json")
    async with open_box() as box:
        assert [status.spec.id for status in box.engine.containers()] == ["c1"]
        assert Path(f"/proc/{kept.pid}").exists()
        await gone(lost.pid)
        run = box.folder / "run"
        assert os.listdir(run / "mnt" / "ns") == os.listdir(run / "mnt" / "shm") == ["pod1"]
        assert os.listdir(run / "runc") == os.listdir(run / "containers") == ["c1"]
        assert os.listdir(box.folder / "data" / "snapshots") == ["c1"]
        assert box.engine.cgroups.children(f"{box.cgroup_root}/burstable") == {"pod1"}


async def test_a_shared_process_namespace_needs_its_pause(open_box) -> None:
    async with open_box(purge=False) as box:
        await box.engine.create_sandbox(box.sandbox_spec(pid=NamespaceMode.POD))
        await box.start("sleep 1234")
        assert (await box.finish("ps", "c2")).exit_code == 0
        assert "/pause" in box.output("c2")
        assert "sleep 1234" in box.output("c2")
        assert len(box.engine.containers()) == 2
        pause = shim_pid(box, "pod1.pause")
    async with open_box() as box:
        assert box.engine.sandboxes()[0].ready
        os.kill(pause, signal.SIGKILL)
        with trio.fail_after(15):
            await box.engine.wait_exit("c1")
        with trio.fail_after(5):
            while box.engine.sandboxes()[0].ready:  # noqa: ASYNC110
                await trio.sleep(0.01)
