"""CPU a request costs a whole node over TLS: CREATE, GET, and LIST of 1,000 pods.

`sudo .venv/bin/python bench/requests.py`. The node runs in a network namespace of its own with all its roles; the pods
are gated, so that nothing is started. Its CPU is the kernel's count for the process, in ticks of 10 ms, over hundreds
of requests; the best of three rounds counts, for a busy machine only ever adds.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.api import PODS, pod
from edgekube.testing.livenode import LiveNode
from tests.clients.watchers import admin_context

ROUNDS = 3
GETS, LISTS = 2000, 30
PATH = "/api/v1/namespaces/default/pods"


class Client:
    """One TLS connection, kept open."""

    def __init__(self, kubeconfig: Path, port: int) -> None:
        plain = socket.create_connection(("127.0.0.1", port))
        self._socket = admin_context(kubeconfig).wrap_socket(plain, server_hostname="127.0.0.1")
        self._file = self._socket.makefile("rb")

    def ask(self, verb: str, path: str, body: bytes = b"") -> int:
        """The size of the answer's body. Raises AssertionError for another status than 200 and 201."""
        head = f"{verb} {path} HTTP/1.1\r\nHost: node\r\nAccept: application/json\r\nContent-Length: {len(body)}\r\n"
        self._socket.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        status = self._file.readline()
        length = 0
        while (line := self._file.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if length:
            answer = self._file.read(length)
        else:
            answer = b""
            while size := int(self._file.readline(), 16):
                answer += self._file.read(size)
                self._file.readline()
            self._file.readline()
        assert status.split()[1] in (b"200", b"201"), answer
        return len(answer)


def client(kubeconfig: Path, pid: int) -> None:
    """The other process: asks, and prints what each kind of request cost the node."""
    asker = Client(kubeconfig, 6443)
    costs: dict[str, list[float]] = {}

    def cpu() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(what: str, requests: list[tuple[str, str, bytes]]) -> None:
        before = cpu()
        for request in requests:
            asker.ask(*request)
        costs.setdefault(what, []).append((cpu() - before) / len(requests) * 1e6)
        time.sleep(1)

    for turn in range(ROUNDS):
        bodies = []
        for number in range(PODS):
            body = json.loads(pod(f"p{turn}-{number}"))
            body["spec"]["schedulingGates"] = [{"name": "bench.example/gate"}]
            bodies.append(json.dumps(body).encode())
        measure("CREATE pod", [("POST", PATH, body) for body in bodies])
        measure("GET pod", [("GET", f"{PATH}/p{turn}-{i % PODS}", b"") for i in range(GETS)])
        measure("LIST 1000 pods", [("GET", PATH, b"")] * LISTS)
        asker.ask("DELETE", f"{PATH}?gracePeriodSeconds=0", b"")
        time.sleep(3)
    for what, found in costs.items():
        print(f"{what:16} {min(found):9.0f} us of CPU, of {', '.join(f'{cost:.0f}' for cost in found)}")


def main() -> None:
    if len(sys.argv) > 2:
        client(Path(sys.argv[1]), int(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        node = LiveNode(Path(folder))
        try:
            node.open()
            command = [sys.executable, __file__, str(node.kubeconfig), str(node.pid)]
            subprocess.run(["nsenter", f"--net=/run/netns/{node.name}", *command], check=True)
        finally:
            node.close()


if __name__ == "__main__":
    main()
