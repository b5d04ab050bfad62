from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from edgekube.runtime.api import (
    ContainerSpec,
    Device,
    Mount,
    NamespaceMode,
    Resources,
    RuntimeFailure,
    Security,
)
from edgekube.runtime.defaults import CAPABILITIES, DEFAULT_CAPABILITIES
from edgekube.runtime.spec import (
    DeviceNode,
    Machine,
    Surroundings,
    build,
    capabilities,
    exec_process,
    parse_signal,
    update_document,
)
from edgekube.runtime.users import Identity

EVERYTHING = frozenset(CAPABILITIES)
MACHINE = Machine(
    cgroup_v2=True, capabilities=EVERYTHING, oom_score_adj_min=-1000, swap_accounting=True, apparmor=False
)
V1 = Machine(cgroup_v2=False, capabilities=EVERYTHING, oom_score_adj_min=0, swap_accounting=False, apparmor=False)
POD = Surroundings(
    rootfs="/root",
    cgroup="edgekube/pod1/c1",
    network=NamespaceMode.POD,
    ipc=NamespaceMode.POD,
    pid=NamespaceMode.CONTAINER,
    net_path="/pins/net",
    ipc_path="/pins/ipc",
    uts_path="/pins/uts",
    shm="/shm",
)


def config(machine: Machine = MACHINE, around: Surroundings = POD, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": "c1",
        "name": "web",
        "sandbox_id": "pod1",
        "attempt": 0,
        "image_id": "i",
        "args": ("run",),
        "env": ("A=b",),
        "log_path": "/log",
    }
    return build(
        ContainerSpec(**(values | changes)),
        around,
        Identity(1, 2, (3,)),
        machine,
        seccomp=lambda granted: {"granted": sorted(granted)},
        device=lambda device: [DeviceNode(device.container_path, "c", 10, 20, 0o20666)],
        host_devices=lambda: [DeviceNode("/dev/kvm", "c", 10, 232, 0o20600)],
    )


def mount_at(document: Mapping[str, Any], target: str) -> dict[str, Any]:
    (found,) = [mount for mount in document["mounts"] if mount["destination"] == target]
    assert isinstance(found, dict)
    return found


def test_namespaces_of_a_pod() -> None:
    document = config()
    assert document["linux"]["namespaces"] == [
        {"type": "mount"},
        {"type": "cgroup"},
        {"type": "network", "path": "/pins/net"},
        {"type": "uts", "path": "/pins/uts"},
        {"type": "ipc", "path": "/pins/ipc"},
        {"type": "pid"},
    ]
    assert "hostname" not in document  # it would rename the joined uts namespace
    assert document["linux"]["cgroupsPath"] == "/edgekube/pod1/c1"


def test_namespaces_of_the_node_and_a_shared_pid() -> None:
    node = Surroundings("/root", "c", NamespaceMode.NODE, NamespaceMode.NODE, NamespaceMode.NODE, shm="/dev/shm")
    assert config(around=node)["linux"]["namespaces"] == [{"type": "mount"}, {"type": "cgroup"}]
    shared = Surroundings(
        "/r", "c", NamespaceMode.NODE, NamespaceMode.NODE, NamespaceMode.POD, pid_path="/proc/9/ns/pid"
    )
    assert config(around=shared)["linux"]["namespaces"][-1] == {"type": "pid", "path": "/proc/9/ns/pid"}


def test_a_version_1_node_and_privileged_containers_share_the_cgroup_namespace() -> None:
    assert {"type": "cgroup"} not in config(machine=V1)["linux"]["namespaces"]
    assert {"type": "cgroup"} not in config(security=Security(privileged=True))["linux"]["namespaces"]


def test_mounts_come_parents_first_and_the_pods_win() -> None:
    document = config(
        mounts=(
            Mount(target="/data/deep/er", source="/a", readonly=True, propagation="rslave"),
            Mount(target="/data/", type="tmpfs", options=("size=1m",)),
            Mount(target="/dev/shm", source="/big", propagation="private"),
        )
    )
    order = [mount["destination"] for mount in document["mounts"]]
    assert order.index("/data/") < order.index("/data/deep/er")
    assert order.index("/proc") < order.index("/sys/fs/cgroup")
    assert mount_at(document, "/dev/shm")["source"] == "/big"
    assert mount_at(document, "/data/deep/er")["options"] == ["rbind", "rslave", "ro"]
    assert mount_at(document, "/data/")["options"] == ["nosuid", "nodev", "rw", "size=1m"]
    assert document["linux"]["rootfsPropagation"] == "rslave"
    assert mount_at(config(), "/dev/shm")["source"] == "/shm"
    assert "rootfsPropagation" not in config()["linux"]


@pytest.mark.parametrize(
    "changes",
    [
        {"mounts": (Mount(target="relative"),)},
        {"mounts": (Mount(target="/a/../b"),)},
        {"mounts": (Mount(target="/a\0b"),)},
        {"mounts": (Mount(target="/a", source="/b\0c"),)},
        {"cwd": "/a\0b"},
        {"mounts": (Mount(target="/a", source="/b", propagation="odd"),)},
        {"cwd": "relative"},
        {"args": ()},
        {"args": ("a\0b",)},
        {"env": ("A=" + "x" * (1 << 20),)},
        {"security": Security(add_capabilities=("FLY",))},
    ],
)
def test_what_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RuntimeFailure):
        config(**changes)


def test_the_process() -> None:
    process = config(tty=True, oom_score_adj=900)["process"]
    assert process["user"] == {"uid": 1, "gid": 2, "additionalGids": [3]}
    assert process["env"][0].startswith("PATH=/usr/local/sbin")
    assert process["env"][1:] == ["A=b", "TERM=xterm"]
    assert process["oomScoreAdj"] == 900
    assert config(env=("PATH=/x", "TERM=vt100"), tty=True)["process"]["env"] == ["PATH=/x", "TERM=vt100"]


def test_oom_score_is_no_lower_than_we_may_set() -> None:
    bound = Machine(cgroup_v2=True, capabilities=EVERYTHING, oom_score_adj_min=0, swap_accounting=True, apparmor=False)
    assert config(machine=bound, oom_score_adj=-998)["process"]["oomScoreAdj"] == 0
    assert config(oom_score_adj=-998)["process"]["oomScoreAdj"] == -998


def test_privileged_is_unmasked_and_sees_devices() -> None:
    linux = config(security=Security(privileged=True))["linux"]
    assert "maskedPaths" not in linux
    assert "seccomp" not in linux
    assert [device["path"] for device in linux["devices"]] == ["/dev/kvm"]
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "ro" in mount_at(config(), "/sys")["options"]
    assert "rw" in mount_at(config(security=Security(privileged=True)), "/sys")["options"]


def test_an_ordinary_container_is_masked_and_filtered_for_its_capabilities() -> None:
    linux = config(security=Security(drop_capabilities=("ALL",), add_capabilities=("sys_time",)))["linux"]
    assert "/proc/kcore" in linux["maskedPaths"]
    assert linux["seccomp"] == {"granted": ["CAP_SYS_TIME"]}
    assert "seccomp" not in config(security=Security(seccomp="unconfined"))["linux"]
    assert "maskedPaths" not in config(security=Security(proc_mount_unmasked=True))["linux"]


def test_a_device_is_made_and_allowed() -> None:
    linux = config(devices=(Device("/dev/ttyUSB0", "/dev/serial", "rw"),))["linux"]
    assert linux["devices"][0] | {"uid": 0} == {
        "path": "/dev/serial", "type": "c", "major": 10, "minor": 20, "fileMode": 0o666, "uid": 0, "gid": 0
    }  # fmt: skip
    assert linux["resources"]["devices"][1] == {"allow": True, "type": "c", "major": 10, "minor": 20, "access": "rw"}


def test_resources_in_the_runtimes_words() -> None:
    wanted = Resources(
        cpu_shares=1, cpu_quota_us=10, memory_limit_bytes=1000, pids_limit=7, cpuset_cpus="0", unified={"io.max": "x"}
    )
    resources = config(resources=wanted)["linux"]["resources"]
    assert resources["cpu"] == {"shares": 2, "quota": 1000, "period": 100_000, "cpus": "0"}
    assert resources["memory"] == {"limit": 1000, "swap": 1000}
    assert resources["pids"] == {"limit": 7}
    assert resources["unified"] == {"memory.oom.group": "1", "io.max": "x"}
    assert config()["linux"]["resources"].keys() == {"devices", "unified"}
    alone = config(resources=Resources(unified={"memory.oom.group": "0"}))["linux"]["resources"]
    assert alone["unified"] == {"memory.oom.group": "0"}
    assert "unified" not in config(machine=V1, resources=wanted)["linux"]["resources"]


def test_a_limit_without_its_controller_is_left_out() -> None:
    bare = msgspec.structs.replace(MACHINE, controllers=frozenset({"cpu"}))
    wanted = Resources(cpu_shares=4, memory_limit_bytes=1000, pids_limit=7, cpuset_cpus="0")
    assert config(machine=bare, resources=wanted)["linux"]["resources"].keys() == {"devices", "cpu"}
    assert config(machine=bare, resources=wanted)["linux"]["resources"]["cpu"] == {"shares": 4}
    assert update_document(Resources(cpu_quota_us=-1, memory_limit_bytes=-1), bare) == {"cpu": {"quota": -1}}


def test_an_update_can_lift_limits() -> None:
    assert update_document(Resources(cpu_quota_us=-1, memory_limit_bytes=-1), MACHINE) == {
        "cpu": {"quota": -1},
        "memory": {"limit": -1, "swap": -1},
    }


@pytest.mark.parametrize(
    ("added", "dropped", "expected"),
    [
        ((), (), DEFAULT_CAPABILITIES),
        (("NET_ADMIN",), ("KILL",), (DEFAULT_CAPABILITIES | {"CAP_NET_ADMIN"}) - {"CAP_KILL"}),
        (("cap_net_admin",), ("ALL",), frozenset({"CAP_NET_ADMIN"})),
        (("ALL",), ("SYS_ADMIN",), EVERYTHING - {"CAP_SYS_ADMIN"}),
    ],
)
def test_capabilities(added: tuple[str, ...], dropped: tuple[str, ...], expected: frozenset[str]) -> None:
    assert capabilities(Security(add_capabilities=added, drop_capabilities=dropped), EVERYTHING) == expected


def test_no_capability_is_given_that_we_lack() -> None:
    few = frozenset({"CAP_CHOWN", "CAP_NET_ADMIN"})
    assert capabilities(Security(privileged=True), few) == few
    assert capabilities(Security(add_capabilities=("ALL",)), few) == few


@pytest.mark.parametrize(
    ("text", "number"), [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("SIGRTMIN", 34)]
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "SIGNO", "RTMIN+99", "RTMIN+", "-1"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(RuntimeFailure):
        parse_signal(text)


def test_an_exec_is_the_containers_process_with_another_command() -> None:
    process = config()["process"]
    other = exec_process(process, ["ls", "-l"], tty=True)
    assert other["args"] == ["ls", "-l"]
    assert other["terminal"] is True
    assert other["env"][-1] == "TERM=xterm"
    assert other["capabilities"] == process["capabilities"]
    assert process["args"] == ["run"]
