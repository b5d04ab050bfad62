"""CPU of the API server a request over TLS, store on disk included, and its memory a watcher that waits.

The server (front, registry, store) runs in a process of its own, so that its CPU and memory are its own. No controller,
scheduler or kubelet reacts to what is made, and the database is not flushed within a run: a CREATE counts its own steps
and its fdatasync. One client asks, so the server sleeps before each request. Beside a GET stands the HTTP layer alone,
answering as many bytes over plain TCP.
"""

import contextlib
import json
import multiprocessing
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import trio

from bench import Options, row
from bench.machine import cpu_seconds, memory_mib
from bench.registry import ADMIN, pod
from edgekube.apiserver.authn import Authenticator
from edgekube.apiserver.catalog import served_versions
from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.resources import RESOURCES
from edgekube.apiserver.server import ApiFront
from edgekube.http.messages import Response
from edgekube.http.server import HttpServer, Request
from edgekube.pki.authority import client_context, ensure_pki, server_context
from edgekube.pki.model import PkiPaths
from edgekube.store.opening import open_store
from edgekube.store.volatile import open_volatile
from edgekube.types.core_v1 import ServiceAccount
from edgekube.types.meta_v1 import ObjectMeta

PODS = "/api/v1/namespaces/default/pods"
HEAD = {"User-Agent": "kubectl/v1.37", "Accept": "application/json", "Content-Type": "application/json"}
LISTED = 1000
ROUNDS = 4
# kube-apiserver 1.36 and etcd on this kind of machine, measured once.
PEERS = {"GET": 0.45, "LIST": 9.4, "CREATE": 0.91}
PEER = "kube-apiserver + etcd, measured earlier"


async def http_layer(size: int, started: Callable[[int], None]) -> None:
    async def answer(_: Request) -> Response:
        return Response(headers=[("Content-Type", "application/json")], body=b"x" * size)

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0))))
    started(listener.socket.getsockname()[1])
    await HttpServer(answer).serve([listener])


async def api_server(folder: Path, started: Callable[[int], None]) -> None:
    pki = PkiPaths(folder / "pki")
    async with open_store(folder / "data", folder / "run") as store:
        await store.wait_leader()
        async with open_volatile(term=store.term, cluster_id=store.cluster_id) as events:
            registry = Registry(store=store, events=events, config=RegistryConfig(now=time.time))
            async with registry.run(), trio.open_nursery() as nursery:
                await registry.bootstrap()
                account = ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
                await registry.client(ADMIN).create(account)
                front = ApiFront(
                    registry=registry,
                    authenticator=Authenticator(now=time.time),
                    catalog=lambda: served_versions(RESOURCES),
                    version="v1.36.0",
                    checks={},
                    statistics={},
                )
                serve = partial(
                    front.serve, unix_path=str(folder / "socket"), tcp=[("127.0.0.1", 0)], tls=server_context(pki)
                )
                bound = await nursery.start(serve)
                started(bound[0][1])


def child(what: Any, argument: Any, ready: Any) -> None:
    trio.run(what, argument, ready.send)


@contextlib.contextmanager
def server(what: Any, argument: Any) -> Iterator[tuple[int, int]]:
    """Gives (pid, port)."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(what, argument, send))
    process.start()
    send.close()
    try:
        assert process.pid is not None
        yield process.pid, receive.recv()
    finally:
        process.terminate()
        process.join()


def ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    connection.request(method, path, body, HEAD)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path} says {answer.status}: {data[:500]!r}")
    return data


def measured(pid: int, count: int, request: Callable[[int], object]) -> float:
    """Milliseconds of the server's CPU a request: the best of some rounds, for a busy machine only ever adds."""
    found = []
    for first in range(0, count, count // ROUNDS):
        before = cpu_seconds(pid)
        for number in range(first, first + count // ROUNDS):
            request(number)
        found.append((cpu_seconds(pid) - before) / (count // ROUNDS) * 1e3)
    return min(found)


def requests(folder: Path, options: Options) -> None:
    gets, lists = (1000, 20) if options.quick else (10_000, 200)
    pki = PkiPaths(folder / "pki")
    tls = client_context(pki.ca_certificate, pki.admin_certificate, pki.admin_key)
    bodies = [pod(f"p{number}") for number in range(LISTED)]
    with server(api_server, folder) as (pid, port):
        connection = HTTPSConnection("localhost", port, context=tls)
        creates = measured(pid, LISTED, lambda number: ask(connection, "POST", PODS, bodies[number]))
        size = len(ask(connection, "GET", f"{PODS}/p1"))
        one = measured(pid, gets, lambda number: ask(connection, "GET", f"{PODS}/p{number % LISTED}"))
        revision = json.loads(ask(connection, "GET", PODS))["metadata"]["resourceVersion"]
        many = measured(pid, lists, lambda _: ask(connection, "GET", PODS))
        connection.close()
        watchers(pid, port, tls, revision, 100 if options.quick else 1000)
    with server(http_layer, size) as (pid, port):
        bare = HTTPConnection("127.0.0.1", port)
        ask(bare, "GET", "/")
        floor = measured(pid, gets, lambda _: ask(bare, "GET", "/"))
    row("the HTTP layer alone, plain TCP", floor, "ms CPU", note=f"{size} B")
    row("GET over TLS", one, "ms CPU", goal=0.15, beside=(PEER, PEERS["GET"]))
    row("GET over TLS", one, "ms CPU", beside=("the HTTP layer alone", floor))
    row("LIST 1000 over TLS", many, "ms CPU", goal=5, beside=(PEER, PEERS["LIST"]))
    row("CREATE over TLS", creates, "ms CPU", goal=0.45, beside=(PEER, PEERS["CREATE"]))


def watchers(pid: int, port: int, tls: Any, revision: str, count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 200)), hard))
    before = memory_mib(pid)
    held = []
    for _ in range(count):
        stream = tls.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
        path = f"/api/v1/pods?watch=1&resourceVersion={revision}"
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stream.recv(4096)  # the head of the answer; nothing happens after that revision
        held.append(stream)
    grown = memory_mib(pid) - before
    row("1000 idle watchers over TLS", grown / count * 1000, "MiB", goal=50, note=f"measured with {count}")
    for stream in held:
        stream.close()


def run(options: Options) -> None:
    with tempfile.TemporaryDirectory(prefix="edgekube-bench-") as scratch:
        folder = Path(scratch)
        trio.run(lambda: ensure_pki(folder, "bench", [], time.time()))
        (folder / "run").mkdir()
        requests(folder, options)
