"""What a spec asks for stands in the kernel's files and holds, on cgroup v1 and v2 (tests/vm runs this on v2)."""

from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.runtime.api import ContainerState, Resources, Security
from edgekube.runtime.cgroups import cpu_weight

MIB = 1 << 20
FILL = "dd if=/dev/zero of=/dev/shm/fill bs=1M count=48"  # a pod's /dev/shm is charged to who writes it


def value(box: Any, path: str, controller: str, v1: str, v2: str) -> str:
    """A limit as the kernel has it; `path` below the test's root."""
    folder = box.engine.cgroups.folder(controller, f"{box.cgroup_root}/{path}")
    return Path(folder, v2 if box.engine.cgroups.v2 else v1).read_text().strip()


def needs(box: Any, *controllers: str) -> None:
    if missing := set(controllers) - box.engine.cgroups.controllers():
        pytest.skip(f"this kernel lacks the controllers {sorted(missing)}")


async def test_limits_stand_in_the_kernels_files(open_box) -> None:
    async with open_box() as box:
        needs(box, "cpu", "memory", "pids")
        v2 = box.engine.cgroups.v2
        pod = Resources(cpu_shares=1024, cpu_quota_us=150_000, memory_limit_bytes=64 * MIB, pids_limit=99)
        await box.engine.create_sandbox(box.sandbox_spec(resources=pod))
        limits = Resources(cpu_shares=512, cpu_quota_us=20_000, memory_limit_bytes=32 * MIB, pids_limit=33)
        await box.start("sleep 100", resources=limits)
        for path, given in (("burstable/pod1", pod), ("burstable/pod1/c1", limits)):
            shares = str(cpu_weight(given.cpu_shares)) if v2 else str(given.cpu_shares)
            quota = f"{given.cpu_quota_us} 100000" if v2 else str(given.cpu_quota_us)
            assert value(box, path, "cpu", "cpu.shares", "cpu.weight") == shares
            assert value(box, path, "cpu", "cpu.cfs_quota_us", "cpu.max") == quota
            memory = value(box, path, "memory", "memory.limit_in_bytes", "memory.max")
            assert memory == str(given.memory_limit_bytes)
            assert value(box, path, "pids", "pids.max", "pids.max") == str(given.pids_limit)
        if v2:
            assert value(box, "burstable/pod1/c1", "memory", "", "memory.oom.group") == "1"
            assert value(box, "burstable/pod1", "memory", "", "memory.oom.group") == "0"


async def test_a_container_reads_its_own_limit(open_box) -> None:
    """Language runtimes size their heaps by it."""
    async with open_box() as box:
        needs(box, "memory")
        await box.engine.create_sandbox(box.sandbox_spec())
        name = "memory.max" if box.engine.cgroups.v2 else "memory/memory.limit_in_bytes"
        script = (
            f"cat /sys/fs/cgroup/{name}; echo 9 > /sys/fs/cgroup/{name} || echo refused; tail -n 1 /proc/self/cgroup"
        )
        await box.finish(script, resources=Resources(memory_limit_bytes=32 * MIB))
        limit, refused, group = box.output().splitlines()
        assert (limit, refused) == (str(32 * MIB), "refused")
        if box.engine.cgroups.v2:
            assert group == "0::/"


async def test_a_group_of_pods_weighs_what_they_ask_for(open_box) -> None:
    async with open_box() as box:
        needs(box, "cpu")

        def weight() -> int:
            return int(value(box, "burstable", "cpu", "cpu.shares", "cpu.weight"))

        def wanted(shares: int) -> int:
            return cpu_weight(shares) if box.engine.cgroups.v2 else shares

        await box.engine.create_sandbox(box.sandbox_spec("pod1", resources=Resources(cpu_shares=512)))
        assert weight() == wanted(512)
        await box.engine.create_sandbox(box.sandbox_spec("pod2", resources=Resources(cpu_shares=4096)))
        assert weight() == wanted(4608)
        await box.engine.update_sandbox("pod1", Resources(cpu_shares=1024))
        assert weight() == wanted(5120)
        await box.engine.remove_sandbox("pod2")
        assert weight() == wanted(1024)


async def test_a_child_beyond_the_memory_limit(open_box) -> None:
    """Version 2 ends the whole container, as the kubelet has it; version 1 knows only processes."""
    async with open_box() as box:
        needs(box, "memory")
        await box.engine.create_sandbox(box.sandbox_spec())
        status = await box.start(f"{FILL}; echo child $?; sleep 100", resources=Resources(memory_limit_bytes=16 * MIB))
        with trio.fail_after(60):
            if box.engine.cgroups.v2:
                ended = await box.engine.wait_exit("c1")
                assert (ended.exit_code, ended.reason) == (137, "OOMKilled")
                assert box.output() == ""
            else:
                while "child" not in box.output():  # noqa: ASYNC110
                    await trio.sleep(0.05)
                assert box.output() == "child 137\n"
                assert box.engine.status(status.spec.id).state is ContainerState.RUNNING


async def test_the_pods_limit_binds_a_container_without_one(open_box) -> None:
    async with open_box() as box:
        needs(box, "memory")
        await box.engine.create_sandbox(box.sandbox_spec(resources=Resources(memory_limit_bytes=24 * MIB)))
        ended = await box.finish(f"exec {FILL}")
        assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


async def test_processes_beyond_the_limit_are_refused_and_all_are_killed(open_box) -> None:
    async with open_box() as box:
        needs(box, "pids")
        await box.engine.create_sandbox(box.sandbox_spec())
        script = "trap '' TERM; i=0; while [ $i -lt 20 ]; do (trap '' TERM; sleep 100) & i=$((i+1)); done; wait"
        await box.start(script, resources=Resources(pids_limit=12))
        with trio.fail_after(30):
            while "fork" not in box.output(stream="stderr"):  # noqa: ASYNC110
                await trio.sleep(0.05)
        path = f"{box.cgroup_root}/burstable/pod1"
        assert box.engine.stats("c1") is None or box.engine.stats("c1").pids <= 12
        with trio.fail_after(60):
            await box.engine.stop_container("c1", 0.2)
            await box.engine.remove_sandbox("pod1")
        assert not box.engine.cgroups.exists(path)


async def test_processes_in_another_ones_namespace_are_killed_by_their_group(open_box) -> None:
    """Nobody's init dies with them: only the group knows them."""
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 100", "target")
        await box.start("for i in 1 2 3 4 5 6; do sleep 4322 & done; wait", "guest", pid_of="target")
        path = f"{box.cgroup_root}/burstable/pod1/guest"
        with trio.fail_after(30):
            while len(box.engine.cgroups.pids(path)) < 7:  # noqa: ASYNC110
                await trio.sleep(0.02)
            assert not box.engine.cgroups.kill(path)
            while not box.engine.cgroups.kill(path):  # noqa: ASYNC110
                await trio.sleep(0.02)
            assert (await box.engine.wait_exit("guest")).exit_code == 137
        assert box.engine.status("target").state is ContainerState.RUNNING


def throttled(box: Any) -> int:
    lines = value(box, "burstable/pod1/c1", "cpu", "cpu.stat", "cpu.stat").splitlines()
    return int(dict(line.split() for line in lines)["nr_throttled"])


async def test_a_quota_is_enforced(open_box) -> None:
    async with open_box() as box:
        needs(box, "cpu")
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("while true; do :; done", resources=Resources(cpu_quota_us=20_000))
        with trio.fail_after(30):
            while throttled(box) < 3:  # noqa: ASYNC110
                await trio.sleep(0.1)


async def test_a_device_that_was_not_given_cannot_be_opened(open_box) -> None:
    """Version 1 has a controller for it, version 2 a program that runc attaches to the group."""
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        script = "mknod /tmp/memory c 1 1 && echo made; head -c 1 /tmp/memory; head -c 1 /dev/zero | wc -c"
        await box.finish(script, security=Security(uid=0))
        assert box.output().split() == ["made", "1"]
        assert "not permitted" in box.output(stream="stderr")
