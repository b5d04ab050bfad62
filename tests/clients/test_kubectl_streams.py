"""The real kubectl against the front's streams: logs, exec, attach and port-forward, with a node that is in memory."""

import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edgekube.client.api import ExitStatus, LogOptions, Streams
from edgekube.http.client import websocket
from edgekube.pki.authority import client_context
from edgekube.pki.model import PkiPaths
from edgekube.types.status import bad_request, not_found
from tests.clients.support import KUBECTL, Front, running_front
from tests.unit.apiserver_front.support import PlainRegistry, pods_catalog


class EchoNode:
    """A node whose commands are a few words, whose port 7 echoes in capitals and whose other ports are shut."""

    def __init__(self) -> None:
        self.log_options: list[LogOptions] = []
        self.followed = trio.Event()
        self.unfollowed = trio.Event()
        self.sizes: list[tuple[int, int]] = []

    @asynccontextmanager
    async def logs(self, namespace: str, pod: str, options: LogOptions) -> AsyncIterator[AsyncIterator[bytes]]:
        self.log_options.append(options)
        if options.previous:
            raise bad_request(f'previous terminated container "{options.container}" in pod "{pod}" not found')

        async def chunks() -> AsyncIterator[bytes]:
            yield b"line one\n"
            yield b"line two\n"
            if options.follow:
                self.followed.set()
                try:
                    await trio.sleep_forever()
                finally:
                    self.unfollowed.set()

        async with trio.open_nursery():  # as a real one does: scopes must nest whatever the server does
            yield chunks()

    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, tty: bool, streams: Streams
    ) -> ExitStatus:
        match list(command):
            case ["cat"]:
                assert streams.stdin is not None
                assert streams.stdout is not None
                while data := await streams.stdin.receive_some():
                    await streams.stdout.send_all(data.upper())
                return ExitStatus(0)
            case ["both"]:
                assert streams.stdout is not None
                assert streams.stderr is not None
                await streams.stdout.send_all(b"to stdout\n")
                await streams.stderr.send_all(b"to stderr\n")
                return ExitStatus(0)
            case ["exit", code]:
                return ExitStatus(int(code))
            case ["flood", size]:
                assert streams.stdout is not None
                for _ in range(int(size) // 10000):
                    await streams.stdout.send_all(b"x" * 10000)
                return ExitStatus(0)
        raise bad_request(f"no such command {command}")

    async def attach(self, namespace: str, pod: str, container: str, *, tty: bool, streams: Streams) -> None:
        assert streams.stdout is not None
        await streams.stdout.send_all(b"attached\n")

    @asynccontextmanager
    async def port_forward(self, namespace: str, pod: str, port: int) -> AsyncIterator[trio.abc.HalfCloseableStream]:
        if port != 7:
            raise bad_request(f"connect to 127.0.0.1:{port} in pod {pod}: connection refused")
        ours, theirs = trio.testing.memory_stream_pair()

        async def echo() -> None:
            while data := await theirs.receive_some(65536):
                await theirs.send_all(data.upper())
            await theirs.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            yield ours
            nursery.cancel_scope.cancel()

    async def stats(self) -> dict[str, Any]:
        return {}


@asynccontextmanager
async def streaming(folder: Path) -> AsyncIterator[tuple[Front, EchoNode]]:
    registry, node = PlainRegistry(), EchoNode()
    container = {"name": "main", "image": "x"}
    for name, containers in (("p", [container]), ("two", [container, {"name": "side", "image": "x"}])):
        registry.put("pods", "default", name, spec={"nodeName": "node-1", "containers": containers})
        registry.objects["pods", "default", name] |= {
            "kind": "Pod",
            "apiVersion": "v1",
            "status": {"phase": "Running"},
        }
    registry.put("pods", "default", "pending", spec={"containers": [container]}, kind="Pod", apiVersion="v1")

    def node_api(name: str) -> EchoNode:
        if name != "node-1":
            raise not_found("nodes", name)
        return node

    async with running_front(folder, registry=registry, catalog=pods_catalog, node_api=node_api) as front:
        yield front, node


async def test_logs(tmp_path: Path) -> None:
    async with streaming(tmp_path) as (front, node):
        done = await front.kubectl("logs", "p", "--tail=5", "--timestamps", "--limit-bytes=100")
        assert done.stdout == b"line one\nline two\n"
        assert node.log_options[-1] == LogOptions(container="main", tail_lines=5, timestamps=True, limit_bytes=100)
        failed = await front.kubectl("logs", "p", "--previous", check=False)
        assert b"previous terminated container" in failed.stderr
        failed = await front.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/two/log", check=False)
        assert b"choose one of: [main side]" in failed.stderr


async def test_a_follower_that_leaves_ends_the_source(tmp_path: Path) -> None:
    async with streaming(tmp_path) as (front, node):
        process = await trio.lowlevel.open_process(
            [str(KUBECTL), "logs", "-f", "p"], stdout=subprocess.PIPE, env=front.environment
        )
        with trio.fail_after(30):
            await node.followed.wait()
            assert process.stdout is not None
            text = b""
            while b"two" not in text:
                text += await process.stdout.receive_some()
            process.terminate()
            await process.wait()
            await node.unfollowed.wait()
        await process.stdout.aclose()


@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_exec(tmp_path: Path, websockets: str) -> None:
    env = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    async with streaming(tmp_path) as (front, _):
        done = await front.kubectl("exec", "p", "--", "both", env=env)
        assert (done.stdout, done.stderr) == (b"to stdout\n", b"to stderr\n")
        done = await front.kubectl("exec", "-i", "p", "--", "cat", stdin=b"hello " * 50_000, env=env)
        assert done.stdout == b"HELLO " * 50_000
        done = await front.kubectl("exec", "p", "--", "flood", "3000000", env=env)
        assert len(done.stdout) == 3_000_000
        done = await front.kubectl("exec", "p", "--", "exit", "42", check=False, env=env)
        assert done.returncode == 42
        done = await front.kubectl("exec", "p", "--", "nonsense", check=False, env=env)
        assert done.returncode != 0
        assert b"no such command" in done.stderr


async def test_exec_takes_text_messages(tmp_path: Path) -> None:
    """The official Python client sends `str` as text messages: the channel is their first character."""
    async with streaming(tmp_path) as (front, _):
        tls = client_context(front.pki / "ca.crt", PkiPaths(front.pki).admin_certificate, PkiPaths(front.pki).admin_key)
        path = "/api/v1/namespaces/default/pods/p/exec?command=cat&stdin=true&stdout=true"
        with trio.fail_after(30):
            async with websocket(front.url + path, protocols=["v5.channel.k8s.io"], tls=tls) as (socket_, _):
                await socket_.send("\0grüße")
                await socket_.send(bytes([255, 0]))
                messages = [await socket_.receive() for _ in range(3)]
        assert messages[:2] == [b"\1", b"\1" + "grüße".encode().upper()]
        assert b"Success" in messages[2]


async def test_attach(tmp_path: Path) -> None:
    async with streaming(tmp_path) as (front, _):
        assert (await front.kubectl("attach", "p")).stdout == b"attached\n"


@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_port_forward(tmp_path: Path, websockets: str) -> None:
    async with streaming(tmp_path) as (front, _):
        process = await trio.lowlevel.open_process(
            [str(KUBECTL), "port-forward", "pod/p", ":7", ":8"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**front.environment, "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with trio.fail_after(40):
            text = b""
            while text.count(b"\n") < (4 if socket.has_ipv6 and b"[::1]" in text else 2):
                data = await process.stdout.receive_some()
                assert data, await process.stderr.receive_some()
                text += data
            echo, shut = (int(line.split(b":")[1].split()[0]) for line in text.splitlines() if b"127.0.0.1" in line)
            for _ in range(3):
                async with await trio.open_tcp_stream("127.0.0.1", echo) as client:
                    await client.send_all(b"abc" * 100_000)
                    await client.send_eof()
                    received = b""
                    while data := await client.receive_some():
                        received += data
                assert received == b"ABC" * 100_000
            async with await trio.open_tcp_stream("127.0.0.1", shut) as client:
                assert await client.receive_some() == b""
            text = b""
            while b"refused" not in text:
                text += await process.stderr.receive_some()
        process.terminate()
        await process.wait()
        await process.stdout.aclose()
        await process.stderr.aclose()


async def test_a_pod_without_a_node(tmp_path: Path) -> None:
    async with streaming(tmp_path) as (front, _):
        failed = await front.kubectl("exec", "pending", "--", "cat", check=False)
        assert b"does not have a host assigned" in failed.stderr
