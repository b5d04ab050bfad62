"""A Debian machine with systemd under qemu: cgroup v2 as a Raspberry Pi has it, nf_tables, everything a node needs.

The base image (kernel, systemd, runc, nftables) is made once by mmdebstrap and kept in build/vm; a second disk with the
checkout and its environment is made for each run. The processor is emulated: slow, and the same on every machine.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.vm.machine import ROOT, Report, run_machine, steps_script

PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "mount", "util-linux", "procps", "e2fsprogs"),
    *("python3", "runc", "nftables", "iproute2", "conntrack", "busybox-static", "ca-certificates"),
    *("curl", "bind9-dnsutils"),
    *("docker-registry", "skopeo", "golang-github-containers-common"),
)
KERNEL_PACKAGE = "linux-image-cloud-amd64"
PROGRAMS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs")
GUEST = ROOT / "tests" / "vm" / "guest"
CACHE = ROOT / "build" / "vm"
MEMORY_MIB = 2048
BASE_MIB, CHECKOUT_MIB = 2500, 1200
# What no test in a machine imports: half of the environment's bytes.
LEFT_OUT = tuple("mypy mypyc nuitka kubernetes_validate pip setuptools *__mypyc*.so ruff __pycache__".split())


def missing() -> str:
    """Why no such machine can be made here; empty when one can."""
    if platform.machine() != "x86_64":
        return "this machine is made for x86_64 hosts"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"install {' '.join(absent)} (`build.py test --all` does)" if absent else ""


def _suite() -> str:
    """The release of this machine: the environment's interpreter is a link to /usr/bin/python3 of the same one."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return release["VERSION_CODENAME"].strip('"')


def base() -> Path:
    """The folder with vmlinuz, initrd.img and root.ext4; made when it is not there. Needs root and a Debian mirror."""
    script, unit = (GUEST / name for name in ("start.sh", "steps.service"))
    identity = "\n".join([_suite(), KERNEL_PACKAGE, *PACKAGES, script.read_text(), unit.read_text()])
    folder = CACHE / f"debian-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        for stale in CACHE.glob("debian-*"):
            shutil.rmtree(stale)
        making = CACHE / "making"
        shutil.rmtree(making, ignore_errors=True)
        tree = making / "tree"
        making.mkdir()
        included = ",".join([KERNEL_PACKAGE, *PACKAGES])
        _run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={included}", _suite(), str(tree)])
        shutil.copy(script, tree / "usr/local/sbin/edgekube-steps")
        (tree / "usr/local/sbin/edgekube-steps").chmod(0o755)
        shutil.copy(unit, tree / "etc/systemd/system/edgekube-steps.service")
        wanted = tree / "etc/systemd/system/multi-user.target.wants"
        wanted.mkdir(exist_ok=True)
        (wanted / "edgekube-steps.service").symlink_to("../edgekube-steps.service")
        for noisy in ("serial-getty@ttyS0.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"):
            (tree / "etc/systemd/system" / noisy).symlink_to("/dev/null")
        (tree / "etc/hostname").write_text("edgekube-test\n")
        for name in ("vmlinuz", "initrd.img"):
            shutil.copy(tree / name, making / name)
        _image(tree, making / "root.ext4", BASE_MIB)
        shutil.rmtree(tree)
        making.rename(folder)
        return folder


def _run(command: Sequence[str]) -> None:
    """Raises AssertionError with the end of what the command printed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"


def _image(tree: Path, image: Path, size_mib: int) -> None:
    _run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(tree), str(image), f"{size_mib}M"])


def checkout_disk(steps: Mapping[str, str], folder: Path) -> Path:
    """The checkout with what was built into it, its environment, and the steps."""
    tree, image = folder / "checkout", folder / "checkout.ext4"
    skipped = [f"--exclude={name}" for name in (".git", "./build/vm", "./dist", ".*_cache", ".hypothesis", *LEFT_OUT)]
    tree.mkdir()
    archive = folder / "checkout.tar"
    _run(["tar", "-C", str(ROOT), *skipped, "-cf", str(archive), "."])
    _run(["tar", "-C", str(tree), "-xf", str(archive)])
    archive.unlink()
    (tree / "steps.sh").write_text(steps_script(steps))
    _image(tree, image, CHECKOUT_MIB)
    shutil.rmtree(tree)
    return image


def run_steps(steps: Mapping[str, str], folder: Path, seconds_max: float) -> Report:
    """Run the steps in a fresh machine; nothing they do is kept."""
    where = base()
    disk = checkout_disk(steps, folder)
    words = f"console=ttyS0 root=/dev/vda rw quiet panic=-1 net.ifnames=0 systemd.setenv=EDGEKUBE_ROOT={ROOT}"
    drives = [
        f"file={where}/root.ext4,if=virtio,format=raw,snapshot=on",
        f"file={disk},if=virtio,format=raw,snapshot=on",
    ]
    command = [
        *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
        *("-m", str(MEMORY_MIB), "-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(where / "vmlinuz"), "-initrd", str(where / "initrd.img"), "-append", words),
        *(word for drive in drives for word in ("-drive", drive)),
        *("-device", "virtio-rng-pci"),
    ]
    try:
        return run_machine(command, seconds_max, env={"TMPDIR": str(folder)})
    finally:
        os.unlink(disk)
