"""A steady load of requests, each over a connection of its own; as a program it is the client.

`python load.py HOST PORT THREADS PATH...`: each thread asks for one path after the other until standard input ends.
Prints what the answers said, counted, and every request that failed.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

PAUSE_SECONDS = 0.005
PATIENCE_SECONDS = 5.0


class Tally(msgspec.Struct, frozen=True):
    """`answers`: body -> how often. `failures`: what went wrong and when."""

    answers: dict[str, int]
    failures: list[str]

    @property
    def total(self) -> int:
        return sum(self.answers.values()) + len(self.failures)


class Load:
    """The load from inside a network namespace, from entry to `stop`."""

    def __init__(self, netns: Path, host: str, *paths: str, port: int = 80, threads: int = 4) -> None:
        command = ["nsenter", f"--net={netns}", sys.executable, __file__, host, str(port), str(threads), *paths]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def stop(self) -> Tally:
        """End it and wait for the requests under way."""
        out, _ = self._process.communicate(b"", timeout=30)
        return msgspec.json.decode(out, type=Tally)


def ask(host: str, port: int, path: str) -> str:
    """The body of the answer. Raises OSError, ValueError."""
    answer = b""
    with socket.create_connection((host, port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0] or not body.endswith(b"\n"):
        raise ValueError(f"cut short: {answer[-80:]!r}")
    return body.decode().strip()


def main(argv: Sequence[str]) -> None:
    host, port, threads, paths = argv[0], int(argv[1]), int(argv[2]), argv[3:]
    over = threading.Event()
    answers: Counter[str] = Counter()
    failures: list[str] = []

    def client(number: int) -> None:
        while not over.wait(PAUSE_SECONDS):
            path, began = paths[number % len(paths)], time.time()
            number += 1
            try:
                answers[ask(host, port, path)] += 1
            except (OSError, ValueError) as error:
                failures.append(f"{began:.3f} {path} {error}")

    clients = [threading.Thread(target=client, args=(number,)) for number in range(threads)]
    for thread in clients:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in clients:
        thread.join()
    print(json.dumps({"answers": answers, "failures": failures}))


if __name__ == "__main__":
    main(sys.argv[1:])
