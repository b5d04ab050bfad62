"""`sudo .venv/bin/python -m bench [--quick] [NAME...]`: run the benches named, or all, each in its own process.

Ends with 1 when one of them failed; the others run all the same.
"""

import argparse
import importlib
import os
import subprocess
import sys
import time

from bench import Options

BENCHES = {
    "idle": "an idle node with ten pods: memory, CPU, wake-ups, device bytes, exec to ready",
    "api": "CPU of GET, LIST 1000 and CREATE over TLS; memory of idle watchers",
    "registry": "the same requests inside the process, without HTTP",
    "loop": "how long the event loop is busy at a time, under LISTs and a scale-up",
    "pod_start": "a pod's start against `runc run`",
    "proxy": "a Service's change against `nft -f`",
    "scheduler": "a scheduling decision",
    "cli": "a short command against the interpreter alone and kubectl",
    "store": "the store: CPU and device bytes a transaction",
    "raft_core": "the consensus core: CPU a proposal",
    "raft_store": "the replicated store: device bytes beside etcd, fail-over",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure. " + "; ".join(f"{name}: {what}" for name, what in BENCHES.items()) + ".",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, not a figure")
    parser.add_argument("--seconds", type=int, default=0, help="how long `idle` measures")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHES):
        parser.error(f"no bench is called {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("namespaces, loop devices and nodes need root: run it with sudo")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # who compiles everything at each start does not measure a start
    names = arguments.names or list(BENCHES)
    if len(names) == 1:
        print(f"{names[0]}: {BENCHES[names[0]]}", flush=True)
        importlib.import_module(f"bench.{names[0]}").run(Options(arguments.quick, arguments.seconds))
        return 0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}", flush=True)
    failed = []
    for name in names:
        words = ["--quick"] * arguments.quick + [f"--seconds={arguments.seconds}"]
        if subprocess.run([sys.executable, "-m", "bench", name, *words], check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
