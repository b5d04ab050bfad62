"""CPU of one short command against a real node: `edgekube get pods`, beside the interpreter alone and kubectl.

Children's user and system time, the median of rounds that take turns.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import Options, row
from edgekube import __version__
from edgekube.testing.livenode import ROOT, live_node


def cpu_ms(command: Sequence[str]) -> float:
    """Milliseconds of CPU of one run, its success checked."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def run(options: Options) -> None:
    with tempfile.TemporaryDirectory(prefix="edgekube-bench-") as scratch, live_node(Path(scratch)) as node:
        os.environ["XDG_CACHE_HOME"] = scratch  # a binary unpacks itself there
        python = sys.executable
        edgekube = [python, "-c", "import sys; from edgekube.__main__ import main; sys.exit(main())"]
        get = ["get", "pods", "--socket", str(node.socket)]
        commands = {
            "python -c pass": [python, "-c", "pass"],
            "python -c 'import argparse, json, socket'": [python, "-c", "import argparse, json, socket"],
            "edgekube --help": [*edgekube, "--help"],
            "edgekube get pods": [*edgekube, *get],
            "kubectl get pods": node.kubectl_command("get", "pods"),
        }
        binary = ROOT / "dist" / f"edgekube-{__version__}-{platform.machine()}"
        if binary.exists():
            commands["binary version --client"] = [str(binary), "version", "--client"]
            commands["binary --help"] = [str(binary), "--help"]
            commands["binary get pods"] = [str(binary), *get]
        for command in commands.values():
            cpu_ms(command)
        found: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(3 if options.quick else 15):
            for name, command in commands.items():
                found[name].append(cpu_ms(command))
    floor = statistics.median(found["python -c pass"])
    for name, values in found.items():
        goal = 60 if name.endswith("get pods") and "kubectl" not in name else None
        row(name, statistics.median(values), "ms CPU", goal=goal, beside=("the interpreter", floor))
