"""Small networks of real network namespaces for tests that need root: a node, machines on its LAN, pods.

Sockets are made inside a namespace and used from the test's own trio loop, so a whole network is one process.
"""

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import trio

from edgekube.network.netns import enter, run_in_netns

T = TypeVar("T")

LAN = "192.168.77"
_counter = iter(range(1 << 30))


WORKERS_MAX = 64  # more idle threads than trio keeps after any test here


def _bring_workers(fd: int) -> None:
    """Move trio's idle worker threads into a namespace: one started inside a lab stays there and serves later tests."""
    together = threading.Barrier(WORKERS_MAX + 1)

    def move() -> None:
        enter(fd)
        together.wait(10)

    for _ in range(WORKERS_MAX):
        trio.lowlevel.start_thread_soon(move, lambda outcome: outcome.unwrap())
    together.wait(10)


class NetLab:
    """Namespaces with unique names; `close` removes them all, with everything in them."""

    def __init__(self) -> None:
        self._prefix = f"eklab{os.getpid()}x{next(_counter)}"
        self._names: list[str] = []

    def close(self) -> None:
        for name in reversed(self._names):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        self._names.clear()

    def add(self, name: str) -> str:
        """A namespace with lo up; returns its path."""
        full = f"{self._prefix}{name}"
        command("ip", "netns", "add", full)
        self._names.append(full)
        command("ip", "-n", full, "link", "set", "lo", "up")
        return self.path(name)

    def remove(self, name: str) -> None:
        full = f"{self._prefix}{name}"
        command("ip", "netns", "delete", full)
        self._names.remove(full)

    def path(self, name: str) -> str:
        return f"/run/netns/{self._prefix}{name}"

    def run(self, name: str, *argv: str) -> str:
        """Run a program in a namespace; returns its output. Raises CalledProcessError."""
        return command("ip", "netns", "exec", f"{self._prefix}{name}", *argv)

    def add_lan(self, node: str, *machines: str) -> None:
        """A switch of its own with the node as LAN.1 and the machines as .2, .3... each with an eth0.

        Machines know no route but the LAN's.
        """
        self.add("switch")
        self.run("switch", "ip", "link", "add", "lan", "type", "bridge")
        self.run("switch", "ip", "link", "set", "lan", "up")
        for number, name in enumerate((node, *machines), start=1):
            full = f"{self._prefix}{name}"
            self.run(
                *("switch", "ip", "link", "add", f"port{number}", "type", "veth"),
                *("peer", "name", "eth0", "netns", full),
            )
            self.run("switch", "ip", "link", "set", f"port{number}", "master", "lan", "up")
            self.run(name, "ip", "address", "add", f"{LAN}.{number}/24", "dev", "eth0")
            self.run(name, "ip", "link", "set", "eth0", "up")

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Move the calling thread into a namespace for the time of the block."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(there)
            try:
                yield
            finally:
                enter(back)
                _bring_workers(back)
        finally:
            os.close(there)
            os.close(back)

    def do(self, name: str, work: Callable[[], T]) -> T:
        """Call a quick function inside a namespace."""
        return run_in_netns(self.path(name), work)

    def socket(self, name: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> trio.socket.SocketType:
        return trio.socket.from_stdlib_socket(self.do(name, lambda: socket.socket(socket.AF_INET, kind)))

    async def ask(
        self, name: str, address: str, port: int, *, udp: bool = False, source_port: int = 0, timeout_s: float = 4.0
    ) -> str:
        """Connect from a namespace and return what the server says ("" for a silent end).

        Raises OSError as connect does, trio.TooSlowError for no answer in time.
        """
        with trio.fail_after(timeout_s), self.socket(name, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as sock:
            if source_port:
                await sock.bind(("", source_port))
            await sock.connect((address, port))
            if udp:
                await sock.send(b"?")
            return (await sock.recv(4096)).decode()

    @asynccontextmanager
    async def server(self, name: str, port: int, says: str = "", *, udp: bool = False) -> AsyncIterator[None]:
        """Answer every connection or datagram on that port with `<says or name> <client's address>`."""
        answer = says or name
        sock = self.socket(name, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await sock.bind(("0.0.0.0", port))
        if not udp:
            sock.listen(256)

        async def serve_tcp() -> None:
            while True:
                client, (host, *_) = await sock.accept()
                with client, contextlib.suppress(OSError):
                    await client.send(f"{answer} {host}".encode())

        async def serve_udp() -> None:
            while True:
                _, peer = await sock.recvfrom(4096)
                with contextlib.suppress(OSError):
                    await sock.sendto(f"{answer} {peer[0]}".encode(), peer)

        with sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_udp if udp else serve_tcp)
                yield
                nursery.cancel_scope.cancel()


def command(*argv: str) -> str:
    """Run a program; returns its output. Raises CalledProcessError with its complaint."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
