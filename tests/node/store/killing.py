"""Run as a script: forks writers, kills each with SIGKILL at a random moment, and checks what is left.

A store must open, hold every acknowledged transaction, at most one more a writer, and none in part. The modules are
imported once, before the first fork, so that a round costs milliseconds.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import trio
import workload

from edgekube.store.opening import open_store

WRITERS = 4


def forked_writer(data: Path, run_dir: Path) -> tuple[int, int]:
    """Start a writer; returns its pid and the pipe with its acknowledgements."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        try:
            trio.run(workload.run, data, run_dir, WRITERS, 0, send)
        finally:
            os._exit(1)
    os.close(send)
    return pid, receive


def drained(pipe: int) -> bytes:
    parts = []
    while part := os.read(pipe, 65536):
        parts.append(part)
    os.close(pipe)
    return b"".join(parts)


async def check(data: Path, run_dir: Path, acknowledged: dict[int, int], revision: int) -> dict[int, int]:
    async with open_store(data, run_dir, limits=workload.LIMITS) as store:
        assert store.revision >= revision, (store.revision, revision)
        found = {}
        for writer in range(WRITERS):
            found[writer] = workload.number_of(store, writer)
            assert acknowledged[writer] <= found[writer] <= acknowledged[writer] + 1, (writer, acknowledged, found)
        assert store.revision == 1 + sum(found.values()), "revisions were lost or invented"
        async with store.watch(b"/", b"0", after=store.compacted) as watch:
            revisions = {event.revision for event in watch.next_nowait()}
        assert revisions <= set(range(store.compacted + 1, store.revision + 1))
        return found


def main(folder: Path, rounds: int, seed: int) -> None:
    rng = random.Random(seed)
    data, run_dir = folder / "data", folder / "run"
    numbers = dict.fromkeys(range(WRITERS), 0)
    written = early = 0
    for _ in range(rounds):
        pid, pipe = forked_writer(data, run_dir)
        time.sleep(rng.choice([rng.uniform(0, 0.012), rng.uniform(0.01, 0.1)]))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        lines = drained(pipe).decode().splitlines()
        revision = 1
        for line in lines:
            writer, number, revision = map(int, line.split())
            assert number == numbers[writer] + 1
            numbers[writer] = number
        written += len(lines)
        early += not lines
        numbers = trio.run(check, data, run_dir, numbers, revision)
    print(f"rounds={rounds} acknowledged={written} killed_before_first={early}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
