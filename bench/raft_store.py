"""The replicated store in processes of its own: device bytes a committed write beside etcd, and fail-over.

Both groups run in one network namespace, three members (and one) on loopback, each member's data on an ext4 of its own
on a loop device, and take the same values from as many writers. The database's flush is part of what is counted. For
the fail-over the leader is killed (SIGKILL) under load, again and again; what is measured is the time until the first
answer to a write that was begun after that.
"""

import base64
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from bench import Options, row
from bench.machine import Disk, cpu_seconds, loop_disk
from edgekube.store.api import Put, StoreError
from edgekube.testing.livenode import ROOT
from edgekube.testing.netlab import NetLab
from tests.unit.raft.cluster import cluster

VALUE_SIZE_BYTES = 256
WRITERS = (1, 16, 64)
PORTS = (2471, 2472, 2473)
PEER_PORTS = (2481, 2482, 2483)
LOAD_WRITERS = 4
ELECTION_GOAL_S = 1.5


class Member:
    """A process of raft_member.py and what it last told."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.told: dict[str, int] = {}
        self.acks: list[tuple[float, float]] = []
        self.changed = trio.lowlevel.ParkingLot()

    async def read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for kind, *arguments in map(json.loads, lines):
                self.told[kind] = self.told.get(kind, 0) + 1
                if kind == "ack":
                    self.acks.append((arguments[0], arguments[1]))
            self.changed.unpark_all()

    async def say(self, *line: object) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(json.dumps(line).encode() + b"\n")

    async def tells(self, kind: str, count: int) -> None:
        while self.told.get(kind, 0) < count:
            await self.changed.park()


class Group:
    """Members on loopback, one folder each."""

    def __init__(self, folders: Sequence[Path], nursery: trio.Nursery) -> None:
        self.folders = folders
        self.nursery = nursery
        self.members: dict[int, Member] = {}

    async def start(self, number: int) -> Member:
        command = [sys.executable, "-m", "bench.raft_member", str(number), json.dumps(PORTS[: len(self.folders)])]
        process = await trio.lowlevel.open_process(
            [*command, str(self.folders[number - 1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        member = self.members[number] = Member(process)
        self.nursery.start_soon(member.read)
        return member

    async def leader(self) -> int:
        """Who began to lead last."""
        while True:
            for number, member in self.members.items():
                if member.told.get("lead", 0):
                    return number
            await trio.sleep(0.02)

    @property
    def pids(self) -> list[int]:
        return [member.process.pid for member in self.members.values()]


@asynccontextmanager
async def group(folders: Sequence[Path]) -> AsyncIterator[Group]:
    async with trio.open_nursery() as nursery:
        made = Group(folders, nursery)
        try:
            for number in range(1, len(folders) + 1):
                await made.start(number)
            yield made
        finally:
            for member in made.members.values():
                await end(member.process)
        nursery.cancel_scope.cancel()


async def end(process: trio.Process) -> None:
    """Kill it, and wait until its ports are free again."""
    process.kill()
    with trio.CancelScope(shield=True):
        await process.wait()


async def ours(disks: Sequence[Disk], count: int) -> dict[int, tuple[float, float]]:
    """(device bytes a member, microseconds of CPU of all members) a write, by writers."""
    async with group([disk.folder / "edgekube" for disk in disks]) as made:
        leader = made.members[await made.leader()]
        rounds = 0

        async def write(writers: int, count: int, size: int) -> None:
            nonlocal rounds
            rounds += 1
            await leader.say("write", f"/bench/{rounds}", writers, count, size)
            await leader.tells("flushed", rounds)

        return await measured(disks, made.pids, count, write)


async def etcd(disks: Sequence[Disk], count: int) -> dict[int, tuple[float, float]]:
    """The same of etcd."""
    clients = [f"http://127.0.0.1:{port}" for port in PORTS[: len(disks)]]
    peers = [f"http://127.0.0.1:{port}" for port in PEER_PORTS[: len(disks)]]
    cluster = ",".join(f"m{number}={url}" for number, url in enumerate(peers))
    async with AsyncExitStack() as stack:
        pids = []
        for number, disk in enumerate(disks):
            command = [
                *("etcd", "--name", f"m{number}", "--data-dir", str(disk.folder / "etcd"), "--logger", "zap"),
                *("--listen-client-urls", clients[number], "--advertise-client-urls", clients[number]),
                *("--listen-peer-urls", peers[number], "--initial-advertise-peer-urls", peers[number]),
                *("--initial-cluster", cluster, "--log-level", "error"),
            ]
            process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.push_async_callback(end, process)
            pids.append(process.pid)
        port = await etcd_leader(len(disks))
        rounds = 0

        async def write(writers: int, count: int, size: int) -> None:
            nonlocal rounds
            rounds += 1
            value = base64.b64encode(os.urandom(size)).decode()

            async def one(writer: int) -> None:
                async with Gateway(port) as gateway:
                    for number in range(count // writers):
                        key = base64.b64encode(b"/bench/%d/%d/%d" % (rounds, writer, number)).decode()
                        await gateway.ask("/v3/kv/put", {"key": key, "value": value})

            async with trio.open_nursery() as nursery:
                for writer in range(writers):
                    nursery.start_soon(one, writer)
            await trio.sleep(1)  # its database commits every 100 ms

        return await measured(disks, pids, count, write)


class Gateway:
    """One connection to etcd's JSON gateway."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Gateway":
        self._stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()

    async def ask(self, path: str, body: object) -> Any:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        await self._stream.send_all(head + data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await self._more()
        lines, _, content = answer.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in lines.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(content) < length:
            content += await self._more()
        if not lines.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"etcd says {content[:300]!r}")
        return json.loads(content)

    async def _more(self) -> bytes:
        data = await self._stream.receive_some()
        if not data:
            raise RuntimeError("etcd closed the connection")
        return bytes(data)


async def etcd_leader(members: int) -> int:
    """The client port of the leader, once there is one."""
    with trio.fail_after(30):
        while True:
            for port in PORTS[:members]:
                try:
                    async with Gateway(port) as gateway:
                        told = await gateway.ask("/v3/maintenance/status", {})
                        if told.get("leader", "0") == told["header"]["member_id"]:
                            return port
                except (OSError, RuntimeError, trio.BrokenResourceError):
                    pass
            await trio.sleep(0.1)


async def measured(
    disks: Sequence[Disk], pids: Sequence[int], count: int, write: Callable[[int, int, int], Awaitable[None]]
) -> dict[int, tuple[float, float]]:
    await write(64, count * 4, 1024)  # the files have their sizes then, and the log begins to use its segments again
    found = {}
    for writers in WRITERS:
        total = (count if writers > 1 else count // 4) // writers * writers
        written, used = sum(disk.written() for disk in disks), sum(map(cpu_seconds, pids))
        await write(writers, total, VALUE_SIZE_BYTES)
        used = sum(map(cpu_seconds, pids)) - used
        written = sum(disk.written() for disk in disks) - written
        found[writers] = (written / total / len(disks), used / total * 1e6)
    return found


async def device_bytes(members: int, count: int) -> None:
    with ExitStack() as stack:
        disks = [stack.enter_context(loop_disk(size_mib=512)) for _ in range(members)]
        own = await ours(disks, count)
        theirs = await etcd(disks, count)
    for writers in WRITERS:
        what = f"{members} member{'s' * (members > 1)}, {writers} writer{'s' * (writers > 1)}"
        (size, cpu), (peer_size, peer_cpu) = own[writers], theirs[writers]
        row(what, size, "B a member", goal=peer_size / 2, beside=("etcd", peer_size))
        row(what, cpu, "us CPU in all", beside=("etcd", peer_cpu))


async def fail_over(rounds: int) -> None:
    taken = []
    with tempfile.TemporaryDirectory(prefix="edgekube-bench-") as scratch:
        async with group([Path(scratch) / str(number) for number in (1, 2, 3)]) as made:
            for member in made.members.values():
                await member.say("load", LOAD_WRITERS)
            for _ in range(rounds):
                number = await made.leader()
                for each in made.members.values():
                    await each.tells("ack", each.told.get("ack", 0) + 50)  # all of them take part
                victim = made.members.pop(number)
                for each in made.members.values():
                    each.told.pop("lead", None)
                killed = time.monotonic()
                victim.process.send_signal(signal.SIGKILL)
                await victim.process.wait()
                with trio.fail_after(30):
                    taken.append(await first_ack(list(made.members.values()), killed) - killed)
                await (await made.start(number)).say("load", LOAD_WRITERS)
    spread = f"{rounds} kills, {min(taken):.2f} to {max(taken):.2f}"
    row("leader killed to next write, median", statistics.median(taken), "s", goal=ELECTION_GOAL_S, note=spread)
    row("leader killed to next write, worst", max(taken), "s", goal=ELECTION_GOAL_S)


async def virtual_fail_over(rounds: int) -> list[float]:
    """Seconds of virtual time between a leader's crash and the next write: the algorithm's part of it."""
    taken = []
    async with cluster(seed=1) as made:
        for _ in range(rounds):
            leader = await made.leader()
            await trio.sleep(made.random.uniform(2, 3))
            await made.members[leader.member].crash()
            crashed = trio.current_time()
            while True:
                try:
                    await made.stores[0].txn([], [Put(b"/a", b"")])
                    break
                except StoreError:
                    continue  # nobody leads, or nobody knows
            taken.append(trio.current_time() - crashed)
            await made.members[leader.member].start()
    return taken


async def first_ack(members: Sequence[Member], since: float) -> float:
    """When the first write that was begun after `since` was answered."""
    while True:
        if found := [acked for member in members for begun, acked in member.acks if begun > since]:
            return min(found)
        await trio.sleep(0.05)


def run(options: Options) -> None:
    lab = NetLab()
    try:
        lab.add("bench")
        with lab.inside("bench"):
            for members in (3, 1):
                trio.run(device_bytes, members, 320 if options.quick else 4096)
            trio.run(fail_over, 4 if options.quick else 20)
    finally:
        lab.close()
    clock = trio.testing.MockClock(autojump_threshold=0)
    taken = sorted(trio.run(virtual_fail_over, 50 if options.quick else 500, clock=clock))
    note = f"p99 {taken[len(taken) * 99 // 100]:.2f}, worst {taken[-1]:.2f}, {len(taken)} crashes"
    row("the same in virtual time, median", statistics.median(taken), "s", goal=ELECTION_GOAL_S, note=note)
