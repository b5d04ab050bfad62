"""CPU of one short command: `edgekube get pods` against the interpreter alone, argparse alone, and kubectl.

    python bench/cli.py [SOCKET [KUBECONFIG]]

Without a socket, a server of one canned Table stands in, in a thread of this process; kubectl is only measured with a
kubeconfig. Children's user and system time, the median of rounds that take turns.
"""

import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 15
TABLE = b'{"kind":"Table","columnDefinitions":[{"name":"Name"}],"rows":[{"cells":["web"],"object":{}}],"metadata":{}}'


def cpu_ms(command: Sequence[str]) -> float:
    """Milliseconds of CPU of one run, its success checked."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd=ROOT, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def serve(listener: socket.socket) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(TABLE)
    while True:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(65536):
                connection.sendall(head + TABLE)


def main(argv: Sequence[str]) -> int:
    folder = tempfile.mkdtemp()
    path = argv[0] if argv else f"{folder}/socket"
    if not argv:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    entry = "import sys; from edgekube.__main__ import main; sys.exit(main())"
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import argparse, json, socket'": [sys.executable, "-c", "import argparse, json, socket"],
        "edgekube get pods": [sys.executable, "-c", entry, "get", "pods", "--socket", path],
    }
    kubectl = Path(sys.executable).parent / "kubectl"
    if len(argv) > 1 and kubectl.exists():
        commands["kubectl get pods"] = [str(kubectl), "--kubeconfig", argv[1], "get", "pods"]
    try:
        for command in commands.values():
            cpu_ms(command)
        found: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                found[name].append(cpu_ms(command))
    finally:
        shutil.rmtree(folder)
    floor = statistics.median(found["python -c pass"])
    for name, values in found.items():
        median = statistics.median(values)
        print(f"{name:<45}{median:7.1f} ms CPU  {median / floor:5.1f} x the interpreter")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
