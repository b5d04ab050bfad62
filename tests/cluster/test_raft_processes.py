"""Three members in processes of their own, with real logs, on loopback: killed under load, again and again.

What their clients saw must be linearizable (so no acknowledged write is lost and none happens twice), and in the end
their states must be the same.
"""

import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from edgekube.store.api import Delete, Guard, KeyValue, Put
from edgekube.testing.linearizability import Operation, check

SCRIPT = Path(__file__).with_name("raft_member.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Group:
    """The processes, and the lines they told."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder = folder
        self.nursery = nursery
        self.ports = free_ports(3)
        self.boots = dict.fromkeys((1, 2, 3), 0)
        self.processes: dict[int, trio.Process] = {}
        self.lines: list[list[object]] = []
        self.answered = trio.lowlevel.ParkingLot()
        self.heard: dict[int, trio.Event] = {}
        self.read_to_end: dict[int, trio.Event] = {}

    async def start(self, member: int) -> None:
        self.boots[member] += 1
        arguments = [str(member), json.dumps(self.ports), str(self.folder / str(member)), str(self.boots[member])]
        process = await trio.lowlevel.open_process(
            [sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE, env=ENVIRONMENT
        )
        self.processes[member] = process
        self.heard[member], self.read_to_end[member] = trio.Event(), trio.Event()
        self.nursery.start_soon(self._read, process, self.heard[member], self.read_to_end[member])

    async def _read(self, process: trio.Process, heard: trio.Event, ended: trio.Event) -> None:
        assert process.stdout is not None
        rest = b""
        async for data in process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.lines.append(json.loads(line))
                heard.set()
                if self.lines[-1][0] == "back":
                    self.answered.unpark_all()
        ended.set()

    async def kill(self, member: int) -> None:
        process = self.processes.pop(member)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await self.read_to_end[member].wait()

    async def answers(self, count: int) -> None:
        """Wait for so many more answers."""
        for _ in range(count):
            await self.answered.park()


def key_value(key: bytes, shown: list[object] | None) -> KeyValue | None:
    if shown is None:
        return None
    value, created, modified, version = shown
    return KeyValue(key, base64.b64decode(str(value)), created, modified, version)  # type: ignore[arg-type]


def history(lines: list[list[object]]) -> list[Operation]:
    """The operations the lines tell of."""
    calls = {line[1]: line for line in lines if line[0] == "call"}
    backs = {line[1]: line for line in lines if line[0] == "back"}
    never = {line[1] for line in lines if line[0] == "not"}
    found = []
    for mark, call in calls.items():
        if mark in never:
            continue
        _, _, time, client, kind, name, guard, value = call
        key = str(name).encode()
        back = backs.get(mark)
        if back is None and kind == "read":
            continue
        found.append(
            Operation(
                client=int(str(client)),
                call=float(str(time)),
                back=float(str(back[2])) if back else None,
                reads=(key,) if kind == "read" else (),
                guards=(Guard(key, int(str(guard))),) if kind == "cas" else (),
                ops=() if kind == "read" else (Delete(key),) if kind == "delete" else (Put(key, str(value).encode()),),
                succeeded=bool(back[3]) if back else True,
                revision=int(str(back[4])) if back else 0,
                seen=tuple((k.encode(), key_value(k.encode(), kv)) for k, kv in back[5]) if back else (),  # type: ignore[attr-defined]
            )
        )
    return found


async def run(folder: Path, rounds: int, seed: int) -> list[list[object]]:
    rng = random.Random(seed)
    async with trio.open_nursery() as nursery:
        group = Group(folder, nursery)
        for member in (1, 2, 3):
            await group.start(member)
        with trio.fail_after(30):
            await group.answers(20)
        for _ in range(rounds):
            await trio.sleep(rng.uniform(0.1, 0.6))
            victims = rng.sample((1, 2, 3), rng.choice([1, 1, 1, 1, 2, 3]))
            for member in victims:
                await group.kill(member)
            await trio.sleep(rng.choice([0, rng.uniform(0, 1.5)]))
            for member in victims:
                await group.start(member)
            with trio.fail_after(30):
                await group.answers(10)
        with trio.fail_after(60):
            for heard in group.heard.values():  # the last that were started: only then they know what SIGTERM means
                await heard.wait()
        await trio.sleep(2)
        for process in group.processes.values():
            process.send_signal(signal.SIGTERM)
        with trio.fail_after(40):
            for member, process in group.processes.items():
                assert await process.wait() == 0
                await group.read_to_end[member].wait()
    return group.lines


def judge(lines: list[list[object]]) -> None:
    ends = [line for line in lines if line[0] == "end"]
    assert len(ends) == 3
    assert len({(line[1], line[2]) for line in ends}) == 1, ends
    operations = history(lines)
    assert sum(operation.back is not None for operation in operations) > 200
    complaint = check(operations)
    assert complaint is None, complaint


async def test_a_dozen_kills_under_load(tmp_path: Path) -> None:
    judge(await run(tmp_path, 12, 1))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_two_hundred_kills_under_load(tmp_path: Path, seed: int) -> None:
    judge(await run(tmp_path, 20, seed))
