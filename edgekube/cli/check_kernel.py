"""`check`, the kernel and the container runtime: what a node cannot do without."""

import re
from collections.abc import Iterator

from edgekube.cli.machine import FAIL, OK, WARN, Finding, Machine, Settings

KERNEL_MIN = (5, 4)
RUNC_MIN = (1, 1)
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
CONTROLLERS = ("cpu", "memory", "pids")
CMDLINE = ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt")
MEMORY_WORDS = "cgroup_enable=memory"
MEMORY_KB_MIN = 400 * 1024  # a board sold with 512 MB

# name of the finding, kernel modules, configuration option, needed or only useful, what for
FEATURES = (
    ("overlayfs", ("overlay",), "CONFIG_OVERLAY_FS", True, "container root file systems"),
    ("nftables", ("nf_tables",), "CONFIG_NF_TABLES", True, "Services"),
    ("nft nat", ("nft_chain_nat", "nft_nat"), "CONFIG_NFT_NAT", True, "Services"),
    ("conntrack", ("nf_conntrack",), "CONFIG_NF_CONNTRACK", True, "Services"),
    ("veth", ("veth",), "CONFIG_VETH", True, "the pod network"),
    ("bridge", ("bridge",), "CONFIG_BRIDGE", True, "the pod network"),
    ("br_netfilter", ("br_netfilter",), "CONFIG_BRIDGE_NETFILTER", True, "Services between pods of one node"),
    ("vxlan", ("vxlan",), "CONFIG_VXLAN", False, "a pod network over several nodes"),
)


def kernel(machine: Machine, _: Settings) -> Iterator[Finding]:
    yield _release(machine)
    yield _architecture(machine)
    missing = [name for name in NAMESPACES if not machine.exists(f"/proc/self/ns/{name}")]
    if missing:
        yield Finding(FAIL, "namespaces", f"no {', '.join(missing)} namespaces", "use a kernel with CONFIG_NAMESPACES")
    else:
        yield Finding(OK, "namespaces", ", ".join(NAMESPACES))
    for name, modules, option, needed, purpose in FEATURES:
        yield _feature(machine, name, modules, option, needed, purpose)
    if "Seccomp:" in machine.read("/proc/self/status"):
        yield Finding(OK, "seccomp", "there")
    else:
        yield Finding(WARN, "seccomp", "not in this kernel", "containers run without a system call filter")


def _release(machine: Machine) -> Finding:
    numbers = tuple(int(part) for part in re.findall(r"\d+", machine.release)[:2])
    wanted = ".".join(map(str, KERNEL_MIN))
    if numbers < KERNEL_MIN:
        return Finding(FAIL, "kernel", machine.release, f"at least {wanted} is needed: upgrade the system")
    return Finding(OK, "kernel", machine.release)


def _architecture(machine: Machine) -> Finding:
    if machine.machine in ("x86_64", "aarch64"):
        return Finding(OK, "architecture", machine.machine)
    advice = "EdgeKube runs on x86_64 and aarch64"
    if machine.machine.startswith("armv"):
        advice += ": install the 64-bit edition of the system (every Pi since the 3 can run it)"
    return Finding(FAIL, "architecture", machine.machine, advice)


def _feature(machine: Machine, name: str, modules: tuple[str, ...], option: str, needed: bool, purpose: str) -> Finding:
    """By effect first: what is loaded or published; the configuration only says what could be."""
    if name == "overlayfs" and re.search(r"\boverlay$", machine.read("/proc/filesystems"), re.MULTILINE):
        return Finding(OK, name, "there")
    there = machine.module(*modules)
    if not there:
        configured = machine.config(option)
        there = configured if configured is not None else there
    if there:
        return Finding(OK, name, "there")
    if there is None:
        return Finding(WARN, name, "this kernel does not say", f"needed for {purpose}; starting a node will tell")
    advice = f"needed for {purpose}: use a kernel with {option}, or install the kernel's extra modules"
    return Finding(FAIL if needed else WARN, name, "not in this kernel", advice)


def cgroups(machine: Machine, _: Settings) -> Iterator[Finding]:
    mounts = machine.mounts()
    if ("/sys/fs/cgroup", "cgroup2") in mounts:
        version = "v2"
        there = set(machine.read("/sys/fs/cgroup/cgroup.controllers").split())
    elif any(kind == "cgroup" for _, kind in mounts):
        version = "v1"
        there = _v1_controllers(machine)
    else:
        yield Finding(FAIL, "cgroups", "not mounted", "boot with systemd, or mount cgroup2 on /sys/fs/cgroup")
        return
    missing = [name for name in CONTROLLERS if name not in there]
    if not missing:
        yield Finding(OK, "cgroups", f"{version} with {', '.join(CONTROLLERS)}")
        return
    yield Finding(FAIL, "cgroups", f"{version} without {', '.join(missing)}", _cgroup_advice(machine, missing))


def _v1_controllers(machine: Machine) -> set[str]:
    """Of /proc/cgroups, those enabled: `name hierarchy number enabled`."""
    rows = [line.split() for line in machine.read("/proc/cgroups").splitlines() if not line.startswith("#")]
    return {row[0] for row in rows if len(row) == 4 and row[3] == "1"}


def _cgroup_advice(machine: Machine, missing: list[str]) -> str:
    if "memory" not in missing:
        return "use a kernel with these controllers"
    file = next((path for path in CMDLINE if machine.exists(path)), "")
    if not file:
        return f"add {MEMORY_WORDS} to the kernel's command line (GRUB_CMDLINE_LINUX) and reboot"
    line = machine.read(file).strip()
    words = [word for word in line.split() if word != "cgroup_disable=memory"]
    wanted = MEMORY_WORDS.split()
    whole = " ".join([*words, *(word for word in wanted if word not in words)])
    if words == line.split() and all(word in words for word in wanted):
        return f"{file} is right already: reboot"
    return f"make the one line of {file} this, then reboot:\n{whole}"


def runtime(machine: Machine, _: Settings) -> Iterator[Finding]:
    for name, least in (("runc", RUNC_MIN), ("crun", (1, 0))):
        told = machine.command([name, "--version"])
        match = re.search(r"version v?(\d+)\.(\d+)[.\w+~-]*", told or "")
        if match is None:
            continue
        shown = match[0].removeprefix("version ")
        if (int(match[1]), int(match[2])) < least:
            wanted = ".".join(map(str, least))
            yield Finding(FAIL, name, shown, f"at least {wanted} is needed: apt install {name}")
        else:
            yield Finding(OK, name, shown)
        return
    yield Finding(FAIL, "runc", "not installed", "apt install runc")


def memory(machine: Machine, _: Settings) -> Iterator[Finding]:
    match = re.search(r"MemTotal:\s+(\d+) kB", machine.read("/proc/meminfo"))
    if match is not None:
        size = int(match[1])
        level = OK if size >= MEMORY_KB_MIN else WARN
        advice = "" if level == OK else "little is left for pods on less than 512 MB"
        yield Finding(level, "memory", f"{size // 1024} MiB", advice)
    rows = [line.split() for line in machine.read("/proc/swaps").splitlines()[1:] if line.strip()]
    on_disk = [row[0] for row in rows if not row[0].startswith("/dev/zram")]
    if on_disk:
        advice = "it wears out SD cards and slows pods down: `sudo swapoff -a` and remove it from /etc/fstab"
        if any("var/swap" in name for name in on_disk):
            advice = "it wears out SD cards: `sudo systemctl disable --now dphys-swapfile`"
        yield Finding(WARN, "swap", ", ".join(on_disk), advice)
    else:
        yield Finding(OK, "swap", "in memory only (zram)" if rows else "off")


GROUPS = (kernel, cgroups, runtime, memory)
