"""Findings about machines that are made of files."""

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from edgekube.cli import check_host, check_kernel
from edgekube.cli.check import examine, report
from edgekube.cli.machine import FAIL, OK, WARN, Finding, Machine, Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
SETTINGS = Settings()
ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"


def machine_of(
    root: Path,
    files: dict[str, str],
    *,
    release: str = "6.6.20-v8",
    arch: str = "aarch64",
    now: float = NOW,
    runc: str = "",
) -> Machine:
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def command(words: Sequence[str]) -> str | None:
        return runc or None if words[0] == "runc" else None

    return Machine(root, release=release, machine=arch, now=now, user_id=0, command=command)


def levels(found: Sequence[Finding]) -> dict[str, str]:
    return {each.name: each.level for each in found}


def one(found: Sequence[Finding], name: str) -> Finding:
    (match,) = [each for each in found if each.name == name]
    return match


V2 = {"/proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"}


def test_a_pi_without_the_memory_controller_gets_its_line(tmp_path: Path) -> None:
    files = {
        **V2,
        "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
        "/boot/firmware/cmdline.txt": "console=tty1 root=PARTUUID=1 cgroup_disable=memory rootwait\n",
    }
    (found,) = check_kernel.cgroups(machine_of(tmp_path, files), SETTINGS)
    assert found.level == FAIL
    assert found.found == "v2 without memory"
    assert found.advice.endswith("\nconsole=tty1 root=PARTUUID=1 rootwait cgroup_enable=memory")


def test_a_line_that_is_right_already_only_needs_a_reboot(tmp_path: Path) -> None:
    files = {**V2, "/sys/fs/cgroup/cgroup.controllers": "cpu pids", "/boot/cmdline.txt": "a cgroup_enable=memory b"}
    (found,) = check_kernel.cgroups(machine_of(tmp_path, files), SETTINGS)
    assert found.advice == "/boot/cmdline.txt is right already: reboot"


@pytest.mark.parametrize(("memory", "level"), [("1", OK), ("0", FAIL)])
def test_cgroups_of_version_one(tmp_path: Path, memory: str, level: str) -> None:
    files = {
        "/proc/self/mounts": "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n",
        "/proc/cgroups": f"#name\thierarchy\tcount\tenabled\ncpu\t1\t1\t1\npids\t2\t1\t1\nmemory\t0\t1\t{memory}\n",
    }
    (found,) = check_kernel.cgroups(machine_of(tmp_path, files), SETTINGS)
    assert found.level == level
    assert found.found.startswith("v1")


def test_modules_count_when_loaded_built_in_or_loadable(tmp_path: Path) -> None:
    files = {
        "/proc/modules": "nf_tables 1 0 - Live 0x0\n",
        "/lib/modules/6.6.20-v8/modules.builtin": "kernel/net/bridge/bridge.ko\n",
        "/lib/modules/6.6.20-v8/modules.dep": "kernel/drivers/net/veth.ko.xz: \nkernel/net/bridge/br_netfilter.ko: x\n",
    }
    machine = machine_of(tmp_path, files)
    assert machine.module("nf_tables")
    assert machine.module("bridge")
    assert machine.module("veth")
    assert machine.module("br_netfilter")
    assert machine.module("vxlan") is False
    found = levels(list(check_kernel.kernel(machine, SETTINGS)))
    assert (found["veth"], found["vxlan"], found["overlayfs"]) == (OK, WARN, FAIL)


def test_a_kernel_that_says_nothing_is_no_failure(tmp_path: Path) -> None:
    found = levels(list(check_kernel.kernel(machine_of(tmp_path, {}), SETTINGS)))
    assert found["nftables"] == WARN


@pytest.mark.parametrize(
    ("release", "arch", "kernel", "architecture"),
    [("4.19.0", "aarch64", FAIL, OK), ("6.1.0-rpi", "armv7l", OK, FAIL), ("5.10.1", "x86_64", OK, OK)],
)
def test_kernels_and_architectures(tmp_path: Path, release: str, arch: str, kernel: str, architecture: str) -> None:
    found = levels(list(check_kernel.kernel(machine_of(tmp_path, {}, release=release, arch=arch), SETTINGS)))
    assert (found["kernel"], found["architecture"]) == (kernel, architecture)


@pytest.mark.parametrize(
    ("text", "level", "shown"),
    [
        ("runc version 1.1.5+ds1\ncommit: x", OK, "1.1.5+ds1"),
        ("runc version 1.0.3", FAIL, "1.0.3"),
        ("", FAIL, "not installed"),
    ],
)
def test_runc(tmp_path: Path, text: str, level: str, shown: str) -> None:
    (found,) = check_kernel.runtime(machine_of(tmp_path, {}, runc=text), SETTINGS)
    assert (found.level, found.found) == (level, shown)


def test_a_lan_inside_the_cluster_network_is_found(tmp_path: Path) -> None:
    routes = ROUTES + (
        "wlan0\t00000000\t012A2A0A\t0003\t0\t0\t0\t00000000\n"
        "wlan0\t002A2A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
        "ek0\t00002B0A\t00000000\t0001\t0\t0\t0\t0000FFFF\n"
    )
    assert check_host.parse_routes(routes)[1] == (IPv4Network("10.42.42.0/24"), "wlan0")
    found = list(check_host.routes(machine_of(tmp_path, {"/proc/net/route": routes}), SETTINGS))
    assert levels(found) == {"cluster-cidr": FAIL, "service-cidr": OK}
    assert "10.42.42.0/24 on wlan0" in one(found, "cluster-cidr").found
    assert "--cluster-cidr" in one(found, "cluster-cidr").advice


def test_no_default_route_is_only_a_warning(tmp_path: Path) -> None:
    found = list(check_host.routes(machine_of(tmp_path, {"/proc/net/route": ROUTES}), SETTINGS))
    assert one(found, "default route").level == WARN


def test_a_taken_port(tmp_path: Path) -> None:
    tcp = "  sl  local_address rem_address   st\n   0: 00000000:192B 00000000:0000 0A 0\n   1: 00000000:1F90 0:0 01 0\n"
    assert check_host.listening(tcp) == {6443}
    (found,) = check_host.ports(machine_of(tmp_path, {"/proc/net/tcp": tcp}), SETTINGS)
    assert (found.level, found.found) == (FAIL, "6443 is taken")


def test_other_managers_of_links(tmp_path: Path) -> None:
    machine = machine_of(tmp_path, {"/run/NetworkManager/x": "", "/run/dhcpcd/x": ""})
    assert levels(list(check_host.link_managers(machine, SETTINGS))) == {"NetworkManager": WARN, "dhcpcd": WARN}
    machine_of(
        tmp_path,
        {
            "/etc/NetworkManager/conf.d/edgekube.conf": "[keyfile]\nunmanaged-devices=interface-name:ek0\n",
            "/etc/dhcpcd.conf": "hostname\ndenyinterfaces ekv* ek0\n",
        },
    )
    assert levels(list(check_host.link_managers(machine, SETTINGS))) == {"NetworkManager": OK, "dhcpcd": OK}


def test_firewalls(tmp_path: Path) -> None:
    files = {
        "/etc/ufw/ufw.conf": "# ufw\nENABLED=yes\n",
        "/proc/net/dev": "Inter-|\n docker0: 1 2\n",
        "/proc/net/ip_tables_names": "filter\nnat\n",
        "/run/firewalld/x": "",
    }
    found = levels(list(check_host.firewalls(machine_of(tmp_path, files), SETTINGS)))
    assert found == {"iptables-legacy": WARN, "docker": OK, "ufw": WARN, "firewalld": WARN}


def test_a_clock_of_1970(tmp_path: Path) -> None:
    (found,) = check_host.clock(machine_of(tmp_path, {}, now=0.0), SETTINGS)
    assert (found.level, found.found) == (FAIL, "says 1970-01-01 00:00 UTC")
    (found,) = check_host.clock(machine_of(tmp_path, {}), SETTINGS)
    assert found.level == WARN
    (found,) = check_host.clock(machine_of(tmp_path, {"/run/systemd/timesync/synchronized": ""}), SETTINGS)
    assert found.level == OK


def test_a_resolver_that_only_this_host_can_ask(tmp_path: Path) -> None:
    files = {"/etc/resolv.conf": "nameserver 127.0.0.53\n", "/run/systemd/resolve/resolv.conf": ""}
    (found,) = check_host.resolver(machine_of(tmp_path, files), SETTINGS)
    assert found.level == WARN
    assert found.advice.endswith("--resolv-conf /run/systemd/resolve/resolv.conf")


def test_swap_on_the_card_and_in_memory(tmp_path: Path) -> None:
    header = "Filename Type Size Used Priority\n"
    found = list(
        check_kernel.memory(machine_of(tmp_path, {"/proc/swaps": header + "/var/swap file 1 0 -2\n"}), SETTINGS)
    )
    assert "dphys-swapfile" in one(found, "swap").advice
    machine = machine_of(tmp_path, {"/proc/swaps": header + "/dev/zram0 partition 1 0 5\n"})
    assert one(list(check_kernel.memory(machine, SETTINGS)), "swap").level == OK


def test_the_data_folder_must_be_on_a_real_disk(tmp_path: Path) -> None:
    files = {"/proc/self/mounts": "x / ext4 rw 0 0\ny /var/lib overlay rw 0 0\ntmpfs /run tmpfs rw 0 0\n"}
    found = list(check_host.disk(machine_of(tmp_path, files), SETTINGS))
    assert one(found, "data folder").level == FAIL
    assert "run folder" not in levels(found)


def test_the_report_ends_with_the_verdict(tmp_path: Path) -> None:
    found = examine(machine_of(tmp_path, V2, runc="runc version 1.1.5"), SETTINGS)
    lines = report(found, colours=False)
    assert lines[-1].endswith("before a node can run here")
    good = [Finding(OK, "kernel", "6.6"), Finding(WARN, "clock", "late", "wait")]
    assert report(good, colours=False) == [
        "ok    kernel         6.6",
        "warn  clock          late",
        " " * 21 + "wait",
        "",
        "a node can run here; 1 thing to know",
    ]
    assert report(good, colours=True)[0].startswith("\033[32mok")
