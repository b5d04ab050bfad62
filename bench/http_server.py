"""CPU per request of the HTTP layer and of the API's front, and memory per idle TLS watcher.

    python bench/http_server.py [REQUESTS] [WATCHERS]

The server runs in a process of its own, so that its CPU time and memory are its own. Nothing is asserted.
"""

import contextlib
import multiprocessing
import resource
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

from edgekube.apiserver.authn import Authenticator
from edgekube.apiserver.request import ApiRequest, ApiResponse
from edgekube.apiserver.server import ApiFront
from edgekube.http.messages import Response
from edgekube.http.server import HttpServer, Request
from edgekube.pki.authority import client_context, ensure_pki, server_context
from edgekube.pki.model import PkiPaths

OBJECT = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":"' + b"x" * 4000 + b'"}'
HEAD = b"Host: x\r\nUser-Agent: kubectl/v1.37\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\r\n"


class OneObject:
    """A registry that answers at once."""

    async def handle(self, request: ApiRequest) -> ApiResponse:
        if request.verb == "watch":
            return ApiResponse(body=quiet())
        return ApiResponse(body=OBJECT)


async def quiet() -> AsyncIterator[bytes]:
    yield b'{"type":"BOOKMARK"}\n'
    await trio.sleep_forever()


async def plain(_request: Request) -> Response:
    return Response(headers=[("Content-Type", "application/json")], body=OBJECT)


def serve(kind: str, folder: str, ready: Any) -> None:
    async def main() -> None:
        if kind == "http":
            server = HttpServer(plain)
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0))))
            ready.send(listener.socket.getsockname()[1])
            await server.serve([listener])
            return
        pki = PkiPaths(Path(folder) / "pki")
        front = ApiFront(
            registry=OneObject(),
            authenticator=Authenticator(now=time.time),
            catalog=list,
            version="v1.36.0",
            checks={},
            statistics={},
        )
        async with trio.open_nursery() as nursery:

            async def start() -> None:
                await front.serve(
                    unix_path=f"{folder}/api.sock", tcp=[("127.0.0.1", 0)], tls=server_context(pki), task_status=status
                )

            class Status:
                def started(self, bound: list[tuple[str, int]]) -> None:
                    ready.send(bound[0][1])

            status: Any = Status()
            nursery.start_soon(start)

    trio.run(main)


@contextlib.contextmanager
def server(kind: str, folder: str) -> Any:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(kind, folder, send))
    process.start()
    try:
        yield process.pid, receive.recv()
    finally:
        process.terminate()
        process.join()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def pss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])


def gets(sock: socket.socket, count: int) -> None:
    request = b"GET /api/v1/namespaces/default/pods/p HTTP/1.1\r\n" + HEAD
    for _ in range(count):
        sock.sendall(request)
        size = 0
        while size < len(OBJECT):
            size += len(sock.recv(65536))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    watchers = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, watchers + 200)), hard))
    with tempfile.TemporaryDirectory() as folder:
        trio.run(lambda: ensure_pki(Path(folder), "bench", [], time.time()))
        pki = PkiPaths(Path(folder) / "pki")
        with server("http", folder) as (pid, port), socket.create_connection(("127.0.0.1", port)) as sock:
            measure("http layer, tcp", pid, sock, count)
        tls = client_context(pki.ca_certificate, pki.admin_certificate, pki.admin_key)
        with server("front", folder) as (pid, port):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(f"{folder}/api.sock")
                measure("front, unix socket", pid, sock, count)
            with tls.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as sock:
                measure("front, tls", pid, sock, count)
            before = pss_kib(pid)
            held = []
            for _ in range(watchers):
                plain_sock = socket.create_connection(("127.0.0.1", port))
                sock = tls.wrap_socket(plain_sock, server_hostname="localhost")
                sock.sendall(b"GET /api/v1/pods?watch=1 HTTP/1.1\r\n" + HEAD)
                sock.recv(4096)
                held.append(sock)
            print(f"{'idle tls watcher':24} {(pss_kib(pid) - before) / watchers:8.1f} KiB each ({watchers})")
            for sock in held:
                sock.close()
            time.sleep(1)
            print(f"{'after they left':24} {(pss_kib(pid) - before) / watchers:8.1f} KiB each")


def measure(name: str, pid: int, sock: socket.socket, count: int) -> None:
    gets(sock, 200)
    start = cpu_seconds(pid)
    gets(sock, count)
    print(f"{name:24} {(cpu_seconds(pid) - start) / count * 1e6:8.0f} us of CPU a GET of {len(OBJECT)} bytes")


if __name__ == "__main__":
    main()
