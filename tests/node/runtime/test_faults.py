"""Whatever step of a start fails, nothing of it stays, and the next start works."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from edgekube.runtime import engine as engine_module
from edgekube.runtime import launcher as launcher_module
from edgekube.runtime import overlay, sandbox
from edgekube.runtime.api import ContainerState, Mount, RuntimeFailure, Security


def nothing_left(box, container_id: str = "c1") -> None:
    run = box.folder / "run"
    assert box.engine.status(container_id) is None
    for folder in (run / "containers", run / "runc", run / "mnt" / "root", box.folder / "data" / "snapshots"):
        assert container_id not in os.listdir(folder), folder
    assert container_id not in box.engine.cgroups.children(f"{box.cgroup_root}/burstable/pod1")
    assert f"{run}/mnt/root/{container_id} " not in Path("/proc/self/mountinfo").read_text()


def runc_that(folder: Path, behaviour: str) -> str:
    """A runc that misbehaves at `create` while the file `broken` exists, and is the real one otherwise."""
    script = folder / "runc-broken"
    (folder / "broken").touch()
    fault = f'if [ -e {folder}/broken ]; then case "$*" in *" create "*) {behaviour};; esac; fi'
    script.write_text(f'#!/bin/sh\n{fault}\nexec runc "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


BEHAVIOURS = {
    "refuses": ("exit 1", "step runc failed with 1"),
    "says nothing and is killed": ("kill -9 $$", "step runc failed with 137"),
    "creates and then fails": ('runc "$@"; exit 4', "step runc failed with 4"),
    "forgets the pid": ("exit 0", "step pid failed"),
    "creates, and the first process dies": ('runc "$@"; kill -9 $(cat pid); sleep 0.2; exit 0', "step"),
}


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_a_runc_that(open_box, tmp_path, name: str) -> None:
    behaviour, words = BEHAVIOURS[name]
    async with open_box(runc=runc_that(tmp_path, behaviour)) as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        with pytest.raises(RuntimeFailure, match=words) as caught:
            await box.start("sleep 100")
        assert caught.value.reason == "RunContainerError"
        nothing_left(box)
        (tmp_path / "broken").unlink()
        assert (await box.finish("exit 3")).exit_code == 3


HANGING_SECONDS = 900 + os.getpid()  # a number by which this run knows its own process


async def test_a_runc_that_hangs_is_given_up(open_box, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(engine_module, "START_SECONDS_MAX", 1.0)
    async with open_box(runc=runc_that(tmp_path, f"exec sleep {HANGING_SECONDS}")) as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        with pytest.raises(RuntimeFailure, match="did not start within"):
            await box.start("sleep 100")
        nothing_left(box)
        with trio.fail_after(10):
            while any(f"sleep\0{HANGING_SECONDS}" in text for text in command_lines()):  # noqa: ASYNC110
                await trio.sleep(0.02)
        (tmp_path / "broken").unlink()
        monkeypatch.setattr(engine_module, "START_SECONDS_MAX", 60.0)
        assert (await box.finish("exit 3")).exit_code == 3


def command_lines() -> list[str]:
    texts = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                texts.append(Path(f"/proc/{name}/cmdline").read_text())
            except OSError:
                continue
    return texts


@pytest.mark.parametrize("step", ["mount_overlay", "spawn_detached", "write_whole", "build", "resolve"])
async def test_a_step_that_raises(open_box, monkeypatch, step: str) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        module = overlay if step == "mount_overlay" else launcher_module

        def broken(*_args: object, **_named: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(module, step, broken)
            with pytest.raises(RuntimeFailure, match="No space left on device") as caught:
                await box.start("sleep 100")
        assert caught.value.reason == "CreateContainerError"
        nothing_left(box)
        assert (await box.finish("exit 3")).exit_code == 3


async def test_a_start_that_is_cancelled(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        for seconds in (0, 0.002, 0.005, 0.01, 0.02, 0.03):
            with trio.move_on_after(seconds):
                await box.start("sleep 100")
            if box.engine.status("c1") is None:
                nothing_left(box)
            else:
                await box.engine.stop_container("c1", 0)
                await box.engine.remove_container("c1")


async def test_a_sandbox_that_cannot_be_made_leaves_nothing(open_box, monkeypatch) -> None:
    async with open_box() as box:
        for changes in ({"sysctls": {"net.ipv4.no_such_thing": "1"}}, {"sysctls": {"vm.swappiness": "1"}}):
            with pytest.raises(RuntimeFailure) as caught:
                await box.engine.create_sandbox(box.sandbox_spec(**changes))
            assert caught.value.reason == "CreatePodSandboxError"

        def broken(*_args: object, **_named: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(sandbox, "mount", broken)
            with pytest.raises(RuntimeFailure):
                await box.engine.create_sandbox(box.sandbox_spec())
        assert box.engine.sandboxes() == ()
        assert os.listdir(box.folder / "run" / "mnt" / "ns") == []
        assert os.listdir(box.folder / "run" / "sandboxes") == []
        assert box.engine.cgroups.children(f"{box.cgroup_root}/burstable") == set()
        assert (await box.engine.create_sandbox(box.sandbox_spec())).ready


async def test_what_is_refused_before_anything_is_made(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        for changes in (
            {"args": ()},
            {"image_id": "sha256:none"},
            {"cwd": "relative"},
            {"security": Security(username="nobody-here")},
            {"security": Security(add_capabilities=("NO_SUCH",))},
            {"mounts": (Mount(target="../x"),)},
            {"stop_signal": "SIGNOTHING"},
            {"container_id": "../evil"},
            {"sandbox_id": "absent"},
        ):
            values = dict(changes)
            with pytest.raises(RuntimeFailure):
                await box.start("true", values.pop("container_id", "c1"), **values)
            nothing_left(box)


CHILD = """
import sys, trio
sys.path.insert(0, sys.argv[1])
from tests.node.runtime.conftest import BusyboxImages, Box
from edgekube.runtime.engine import Engine
from pathlib import Path

async def main():
    folder, root, cgroup_root = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    run_dir, data_dir = str(folder / "run"), str(folder / "data")
    engine = Engine(BusyboxImages([root]), run_dir=run_dir, data_dir=data_dir, cgroup_root=cgroup_root)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await engine.recover()
        box = Box(engine, folder, cgroup_root)
        await engine.create_sandbox(box.sandbox_spec())
        async with trio.open_nursery() as inner:
            for number in range(12):
                inner.start_soon(box.start, "sleep 1000", f"c{number}")
                print(number, flush=True)
                await trio.sleep(0.01)
        print("all", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("after", ["0", "4", "9", "all"])
async def test_sigkill_of_the_orchestrator_in_the_middle_of_starts(
    open_box, tmp_path, busybox_root, after: str
) -> None:
    """Each container runs on and is adopted, or is gone without a trace: nothing in between."""
    async with open_box() as box:
        here = str(Path(__file__).resolve().parents[3])
        child = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", CHILD, here, str(tmp_path), busybox_root, box.cgroup_root],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == after:
                break
        child.kill()
        child.wait()
        child.stdout.close()
        states = {
            path.parent.name: msgspec.json.decode(path.read_bytes())
            for path in (tmp_path / "run" / "containers").glob("*/state.json")
        }
        await box.engine.recover()
        with trio.fail_after(20):
            while any(each.state is ContainerState.CREATED for each in box.engine.containers()):  # noqa: ASYNC110
                await trio.sleep(0.01)
        running = {each.spec.id: each.pid for each in box.engine.containers()}
        assert all(each.state is ContainerState.RUNNING for each in box.engine.containers())
        assert all(running[name] == state["pid"] for name, state in states.items())
        if after == "all":
            assert len(running) == 12
        assert set(os.listdir(tmp_path / "run" / "runc")) == set(running)
        for number in range(12):
            if f"c{number}" not in running:
                nothing_left(box, f"c{number}")
                assert (await box.finish("exit 5", f"c{number}")).exit_code == 5
