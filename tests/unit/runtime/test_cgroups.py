"""Against a tree of ordinary files that looks like the kernel's."""

import os
from pathlib import Path

import pytest

from edgekube.runtime.api import ContainerStats, Resources
from edgekube.runtime.cgroups import Cgroups, Layout, cpu_weight, detect, limit_files

V1 = """\
30 20 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:2 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
34 30 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
V2 = "30 20 0:1 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


def test_detect_hybrid() -> None:
    layout = detect(V1)
    assert not layout.v2
    assert layout.hierarchies == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "name=systemd": "/sys/fs/cgroup/systemd",
        "": "/sys/fs/cgroup/unified",
    }
    assert len(layout.roots()) == 4


def test_detect_unified() -> None:
    assert detect(V2) == Layout(v2=True, hierarchies={"": "/sys/fs/cgroup"})
    with_systemd = V2 + "33 30 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    assert detect(with_systemd).v2


def test_nothing_mounted_is_said() -> None:
    with pytest.raises(FileNotFoundError, match="mount cgroup2"):
        detect("30 20 0:1 / / rw - ext4 /dev/sda rw\n")


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (999_999, 10_000)])
def test_weights(shares: int, weight: int) -> None:
    assert cpu_weight(shares) == weight


def test_limits_of_both_versions() -> None:
    wanted = Resources(
        cpu_shares=1024,
        cpu_quota_us=500,
        memory_limit_bytes=4096,
        pids_limit=-1,
        cpuset_cpus="0-1",
        unified={"memory.high": "9"},
    )
    assert limit_files(wanted, v2=True) == [
        ("cpu", "cpu.weight", "39"),
        ("cpu", "cpu.max", "1000 100000"),
        ("memory", "memory.max", "4096"),
        ("pids", "pids.max", "max"),
        ("cpuset", "cpuset.cpus", "0-1"),
        ("memory", "memory.high", "9"),
    ]
    assert limit_files(wanted, v2=False) == [
        ("cpu", "cpu.shares", "1024"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "1000"),
        ("memory", "memory.limit_in_bytes", "4096"),
        ("pids", "pids.max", "max"),
        ("cpuset", "cpuset.cpus", "0-1"),
    ]
    lifted = Resources(cpu_quota_us=-1, memory_limit_bytes=0)
    assert limit_files(lifted, v2=True) == [("cpu", "cpu.max", "max 100000"), ("memory", "memory.max", "max")]
    assert limit_files(Resources(), v2=True) == []


def tree_v2(folder: Path, controllers: str = "cpuset cpu io memory pids") -> Cgroups:
    (folder / "cgroup.controllers").write_text(controllers + "\n")
    (folder / "cgroup.subtree_control").write_text("")
    return Cgroups(Layout(v2=True, hierarchies={"": str(folder)}))


def test_controllers_are_passed_on_to_a_pod(tmp_path: Path) -> None:
    cgroups = tree_v2(tmp_path, "cpu memory rdma")
    cgroups.ensure("edgekube/pod1")
    assert (tmp_path / "edgekube" / "pod1").is_dir()
    # An ordinary file keeps only the last of the separate writes.
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_limits_are_written_where_the_controller_is(tmp_path: Path) -> None:
    cgroups = tree_v2(tmp_path)
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "memory.max").write_text("max")
    cgroups.apply("pod", Resources(memory_limit_bytes=5, pids_limit=3))
    assert (tmp_path / "pod" / "memory.max").read_text() == "5"
    assert not (tmp_path / "pod" / "pids.max").exists()


@pytest.mark.parametrize("path", ["", "/", "a/../b", "a//b", "/".join("a" * 20)])
def test_odd_paths_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="not a cgroup path"):
        tree_v2(tmp_path).ensure(path)


def test_a_new_version_1_cpuset_inherits(tmp_path: Path) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / name).write_text("0-3\n")
    Cgroups(Layout(v2=False, hierarchies={"cpuset": str(tmp_path)})).ensure("a/b")
    assert (tmp_path / "a" / "b" / "cpuset.cpus").read_text() == "0-3"


def test_figures_of_version_2(tmp_path: Path) -> None:
    cgroups = tree_v2(tmp_path)
    pod = tmp_path / "pod"
    pod.mkdir()
    (pod / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\n")
    (pod / "memory.current").write_text("1000\n")
    (pod / "memory.stat").write_text("anon 300\ninactive_file 100\nbad line here\n")
    (pod / "pids.current").write_text("4\n")
    (pod / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert cgroups.stats("pod") == ContainerStats(
        cpu_usage_ns=5000, memory_usage_bytes=1000, memory_working_set_bytes=900, memory_rss_bytes=300, pids=4
    )
    assert cgroups.oom_kills("pod") == 2
    assert cgroups.stats("absent") is None
    assert cgroups.shim_files("x/shims") == [f"{tmp_path}/x/shims/cgroup.procs"]


def test_figures_of_version_1(tmp_path: Path) -> None:
    layout = Layout(v2=False, hierarchies={name: f"{tmp_path}/{name}" for name in ("cpuacct", "memory", "pids")})
    for name, file, text in (
        ("cpuacct", "cpuacct.usage", "77"),
        ("memory", "memory.usage_in_bytes", "50"),
        ("memory", "memory.stat", "total_inactive_file 60\ntotal_rss 7"),
        ("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1"),
        ("pids", "pids.current", "2"),
    ):
        (tmp_path / name / "pod").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "pod" / file).write_text(text + "\n")
    cgroups = Cgroups(layout)
    assert cgroups.stats("pod") == ContainerStats(
        cpu_usage_ns=77, memory_usage_bytes=50, memory_working_set_bytes=0, memory_rss_bytes=7, pids=2
    )
    assert cgroups.oom_kills("pod") == 1


def test_pids_of_all_hierarchies_and_levels(tmp_path: Path) -> None:
    layout = Layout(v2=False, hierarchies={"cpu": f"{tmp_path}/cpu", "memory": f"{tmp_path}/memory"})
    for folder, pids in (("cpu/pod", "1\n2\n"), ("memory/pod/c", "3\n"), ("memory/pod", "")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "cgroup.procs").write_text(pids)
    cgroups = Cgroups(layout)
    assert cgroups.pids("pod") == {1, 2, 3}
    assert cgroups.children("pod") == {"c"}


def test_remove_takes_what_is_below_and_says_what_stays(tmp_path: Path) -> None:
    cgroups = tree_v2(tmp_path)
    os.makedirs(tmp_path / "pod" / "a" / "b")
    assert cgroups.remove("pod")
    assert cgroups.remove("pod")
    os.makedirs(tmp_path / "pod" / "a")
    (tmp_path / "pod" / "a" / "busy").touch()  # rmdir refuses, as it does for a group with processes
    assert not cgroups.remove("pod")
    assert (tmp_path / "pod" / "a").exists()


def test_version_2_kills_by_one_write(tmp_path: Path) -> None:
    cgroups = tree_v2(tmp_path)
    (tmp_path / "pod").mkdir()
    assert cgroups.kill("pod")
    assert (tmp_path / "pod" / "cgroup.kill").read_text() == "1"
    assert cgroups.kill("absent")


def test_which_controllers_this_machine_has(tmp_path: Path) -> None:
    assert tree_v2(tmp_path, "cpu io memory pids").controllers() == {"cpu", "memory", "pids"}
    v1 = Layout(v2=False, hierarchies={"cpu": "/c", "cpuacct": "/c", "pids": "/p", "": "/u"})
    assert Cgroups(v1).controllers() == {"cpu", "pids"}
