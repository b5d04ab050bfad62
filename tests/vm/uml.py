"""A user-mode-linux kernel (Debian's `user-mode-linux`) over this machine's own files: cgroup v2 within seconds.

It needs no privilege of the host but to read the files, and changes none: hostfs is mounted read-only and memory lies
above it. The kernel has one CPU, no nf_tables for IPv4 or IPv6, no cpuset controller, no WireGuard.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.vm.machine import ROOT, Report, run_machine, steps_script

KERNEL = "linux.uml"
MEMORY_MIB = 1024


def missing() -> str:
    """Why no such machine can start here; empty when one can."""
    if shutil.which(KERNEL) is None:
        return "install user-mode-linux (x86 only; an ARM board is on cgroup v2 itself)"
    return ""


def run(steps: Mapping[str, str], folder: Path, seconds_max: float) -> Report:
    script = folder / "steps.sh"
    script.write_text(steps_script(steps))
    command = [
        *(KERNEL, f"mem={MEMORY_MIB}M", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"),
        f"init={ROOT}/tests/vm/guest/uml.sh",
        f"EDGEKUBE_STEPS={script}",
        *("con0=null,fd:1", "con=null", f"uml_dir={folder}/", "umid=uml"),
    ]
    return run_machine(command, seconds_max)
