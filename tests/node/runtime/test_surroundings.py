"""What a container sees and may do."""

import os
import shutil
from pathlib import Path

import pytest
import trio

from edgekube.runtime.api import Device, Mount, NamespaceMode, Resources, RuntimeFailure, Security
from tests.node.runtime.test_recovery import runs


async def test_namespaces_are_the_pods_and_survive_a_restart_of_the_container(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec(sysctls={"net.ipv4.ip_unprivileged_port_start": "80"}))
        script = "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; hostname"
        script += "; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /dev/shm; touch /dev/shm/kept"
        await box.finish(script, "c1")
        await box.finish(script, "c2")
        first, second = box.output("c1").splitlines(), box.output("c2").splitlines()
        assert first == second[:4]
        assert first[0] != os.readlink("/proc/self/ns/net")
        assert first[1] != os.readlink("/proc/self/ns/ipc")
        assert first[2:] == ["web-0", "80"]
        assert second[4:] == ["kept"]  # /dev/shm is the pod's


async def test_a_pod_on_the_nodes_network(open_box) -> None:
    async with open_box() as box:
        spec = box.sandbox_spec(network=NamespaceMode.NODE, ipc=NamespaceMode.NODE, pid=NamespaceMode.NODE)
        sandbox = await box.engine.create_sandbox(spec)
        assert sandbox.netns_path == ""
        await box.finish("for n in net uts ipc pid; do readlink /proc/self/ns/$n; done", "c1")
        wanted = [os.readlink(f"/proc/self/ns/{name}") for name in ("net", "uts", "ipc", "pid")]
        assert box.output().split() == wanted


async def test_what_a_container_on_the_nodes_pids_leaves_behind_is_killed(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec(pid=NamespaceMode.NODE))
        await box.finish("sleep 4321 & echo $!")
        child = int(box.output())
        await box.engine.remove_container("c1")
        assert not runs(child)


async def test_mounts_bind_tmpfs_readonly_and_nested(open_box, tmp_path) -> None:
    source = tmp_path / "volume"
    source.mkdir()
    (source / "file").write_text("from the host")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost")
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        mounts = (
            Mount(target="/data/inner/deep", source=str(source), readonly=True),
            Mount(target="/data", type="tmpfs", options=("size=1m",)),
            Mount(target="/etc/hosts", source=str(hosts)),
            Mount(target="/writable", source=str(source)),
        )
        script = "cat /data/inner/deep/file /etc/hosts; touch /data/inner/deep/x || echo refused"
        script += "; touch /data/ok /writable/new && echo fine"
        await box.finish(script, mounts=mounts)
        assert box.output() == "from the host127.0.0.1 localhostrefused\nfine\n"
        assert (source / "new").exists()
        with pytest.raises(RuntimeFailure, match="no such file or directory"):
            await box.start("true", "c2", mounts=(Mount(target="/x", source=str(tmp_path / "absent")),))


async def test_users_groups_and_capabilities(open_box) -> None:
    async with open_box(user="web") as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.finish("id -u; id -g; id -G; grep CapEff /proc/self/status", "image-user")
        assert box.output("image-user").split() == ["1000", "1001", "1001", "2000", "CapEff:", "0" * 16]
        security = Security(
            uid=0, drop_capabilities=("ALL",), add_capabilities=("NET_BIND_SERVICE",), no_new_privileges=True
        )
        await box.finish("id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status", "root", security=security)
        assert box.output("root").split() == ["0", "CapEff:", "0000000000000400", "NoNewPrivs:", "1"]
        with pytest.raises(RuntimeFailure) as caught:
            await box.start("true", "refused", security=Security(uid=0, run_as_non_root=True))
        assert caught.value.reason == "CreateContainerConfigError"


async def test_the_filter_and_the_masks_hold(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        script = "grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp 2>&1; cat /proc/keys | wc -c"
        script += "; echo x > /proc/sys/kernel/hostname"
        await box.finish(script)
        assert "Seccomp:\t2" in box.output()
        assert "ermission denied" in box.output()
        assert box.output().splitlines()[-1] == "0"
        assert "ead-only" in box.output(stream="stderr")
        await box.finish("mount -t tmpfs x /tmp && echo mounted; ls /dev/null", "p", security=Security(privileged=True))
        assert box.output("p") == "mounted\n/dev/null\n"
        await box.finish("echo x > /file", "ro", security=Security(readonly_rootfs=True))
        assert "ead-only" in box.output("ro", "stderr")


async def test_a_device_by_name(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.finish("echo x > /dev/mine && echo wrote", devices=(Device("/dev/null", "/dev/mine"),))
        assert box.output() == "wrote\n"


async def test_memory_beyond_the_limit_is_oomkilled(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        resources = Resources(memory_limit_bytes=16 << 20, cpu_shares=100, cpu_quota_us=50_000, pids_limit=20)
        ended = await box.finish("x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo $x | wc -c", resources=resources)
        assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


async def test_figures_and_limits_that_change(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(
            box.sandbox_spec(resources=Resources(memory_limit_bytes=64 << 20, pids_limit=50))
        )
        await box.start(
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 100",
            resources=Resources(memory_limit_bytes=32 << 20),
        )
        await trio.sleep(0.3)
        stats, pod = box.engine.stats("c1"), box.engine.sandbox_stats("pod1")
        assert stats.cpu_usage_ns > 1_000_000
        assert 0 < stats.memory_working_set_bytes <= stats.memory_usage_bytes <= pod.memory_usage_bytes
        assert stats.pids >= 1
        await box.engine.update_resources("c1", Resources(memory_limit_bytes=48 << 20, cpu_shares=512))
        folder = box.engine.cgroups.folder("memory", f"{box.cgroup_root}/burstable/pod1/c1")
        name = "memory.max" if box.engine.cgroups.v2 else "memory.limit_in_bytes"
        assert int(Path(folder, name).read_text()) == 48 << 20
        assert box.engine.status("c1").spec.resources.cpu_shares == 512


async def test_the_pods_own_limits_change(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec(resources=Resources(memory_limit_bytes=64 << 20)))
        folder = box.engine.cgroups.folder("memory", f"{box.cgroup_root}/burstable/pod1")
        name = "memory.max" if box.engine.cgroups.v2 else "memory.limit_in_bytes"
        await box.engine.update_sandbox("pod1", Resources(memory_limit_bytes=96 << 20))
        assert int(Path(folder, name).read_text()) == 96 << 20
        await box.engine.update_sandbox("pod1", Resources(memory_limit_bytes=-1))
        assert Path(folder, name).read_text().strip() in ("max", str(2**63 - 4096))


async def test_a_container_can_look_into_another_ones_processes(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("sleep 4242", "target")
        await box.finish("ps", "debugger", pid_of="target")
        assert "sleep 4242" in box.output("debugger")
        with pytest.raises(RuntimeFailure):
            await box.start("ps", "other", pid_of="absent")
        assert box.engine.status("target").state == "running"


async def test_connect_reaches_loopback_of_the_pod(open_box) -> None:
    before = os.readlink("/proc/self/ns/net")
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        await box.start("while true; do echo hello | nc -l -p 8080; done")
        with trio.fail_after(10):
            while True:
                try:
                    stream = await box.engine.connect("pod1", 8080)
                    break
                except ConnectionRefusedError:
                    await trio.sleep(0.05)
            assert await stream.receive_some() == b"hello\n"
            await stream.aclose()
        with pytest.raises(ConnectionRefusedError):
            await box.engine.connect("pod1", 9)
        assert os.readlink("/proc/self/ns/net") == before


async def test_many_layers_with_long_names(open_box, busybox_root, tmp_path) -> None:
    """Their names exceed the page that mount(2) reads."""
    base = tmp_path / "layers" / "busybox"
    shutil.copytree(busybox_root, base, symlinks=True)
    layers = [str(base)]
    for number in range(100):
        layer = tmp_path / "layers" / f"layer-of-some-length-{number:05}"
        layer.mkdir(parents=True)
        (layer / f"file{number}").write_text("x")
        layers.append(str(layer))
    assert sum(map(len, layers)) > 4096
    async with open_box() as box:
        box.engine.images.layers = layers
        await box.engine.create_sandbox(box.sandbox_spec())
        assert (await box.finish("ls /file0 /file99 && touch /new")).exit_code == 0
        assert (box.folder / "data" / "snapshots" / "c1" / "upper" / "new").exists()


async def test_thirty_containers_at_once(open_box) -> None:
    async with open_box() as box:
        await box.engine.create_sandbox(box.sandbox_spec())
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(box.finish, f"exit {number}", f"c{number}")
        assert [box.engine.status(f"c{number}").exit_code for number in range(30)] == list(range(30))
        await box.engine.remove_sandbox("pod1")
        assert f"{box.folder}/run/mnt/" not in Path("/proc/self/mountinfo").read_text()
