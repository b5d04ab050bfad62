"""The server over memory streams and a clock that jumps: exchanges, deadlines, streams, shutdown."""

import gc
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from edgekube.http import wire
from edgekube.http.messages import HttpError, Peer, PushResponse, Response, Sender, UpgradeResponse
from edgekube.http.server import Answer, HttpServer, Limits, Request

Handler = Callable[[Request], Awaitable[Answer]]


class Wire:
    """The client's end."""

    def __init__(self, server: HttpServer, stream: trio.abc.HalfCloseableStream) -> None:
        self.server = server
        self.stream = stream

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, end: bytes) -> bytes:
        text = b""
        while not text.endswith(end):
            data = await self.stream.receive_some(65536)
            if not data:
                raise AssertionError(f"closed after {text!r}")
            text += data
        return text

    async def rest(self) -> bytes:
        text = b""
        while data := await self.stream.receive_some(65536):
            text += data
        return text


@asynccontextmanager
async def serving(handler: Handler, *, limits: Limits | None = None, peer: Peer | None = None) -> AsyncIterator[Wire]:
    defects: list[BaseException] = []
    server = HttpServer(handler, limits=limits, on_defect=defects.append)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs, peer or Peer(address="127.0.0.1"))
        yield Wire(server, ours)
        nursery.cancel_scope.cancel()
    if defects:
        raise defects[0]


async def echo(request: Request) -> Response:
    body = await request.read_body(10)
    return Response(body=request.method.encode() + b" " + request.path.encode() + b" " + body)


async def test_requests_on_one_connection() -> None:
    async with serving(echo) as wire:
        for path in (b"/a", b"/b"):
            await wire.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            text = await wire.until(path + b" ")
            assert text.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")


async def test_pipelining_answers_in_order() -> None:
    async with serving(echo) as wire:
        await wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in range(5)))
        text = await wire.until(b"/4 ")
        assert [text.find(b"/%d " % i) for i in range(5)] == sorted(text.find(b"/%d " % i) for i in range(5))


async def test_head_has_no_body() -> None:
    async with serving(echo) as wire:
        await wire.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        text = await wire.until(b"GET /b ")
        assert b"HEAD /a" not in text
        assert b"Content-Length: 8\r\n" in text


async def test_continue_is_sent_when_the_body_is_wanted() -> None:
    async with serving(echo) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(b"hi")
        assert (await wire.until(b"hi")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "body", [b"Content-Length: 11\r\n\r\n" + b"x" * 11, b"Transfer-Encoding: chunked\r\n\r\nb\r\nxxxxxxxxxxx\r\n"]
)
async def test_a_body_over_the_limit(body: bytes) -> None:
    async with serving(echo) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + body)
        text = await wire.rest()
        assert text.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close" in text


async def test_a_body_comes_however_it_is_cut_over_a_socket() -> None:
    """Part with the head, part while the handler works, part later; then a pipelined request behind a body."""
    asked, go = trio.Event(), trio.Event()

    async def slow(request: Request) -> Response:
        asked.set()
        await go.wait()
        return Response(body=await request.read_body(10) + b"!")

    server = HttpServer(slow)
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(sock)) for sock in socket.socketpair())
    async with ours, trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, wire.Wire(theirs), Peer(address="127.0.0.1"))
        client = Wire(server, ours)
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        await asked.wait()
        await client.send(b"def")
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        await client.send(b"ghiPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
        assert (await client.until(b"!")).endswith(b"\r\n\r\nabcdefghi!")
        await client.send(b"xyzPOST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n")
        assert (await client.until(b"!")).endswith(b"\r\n\r\nxyz!")
        await client.send(b"x" * 11)
        assert (await client.rest()).startswith(b"HTTP/1.1 413 ")
        nursery.cancel_scope.cancel()


async def test_an_unread_body_that_is_here_is_skipped() -> None:
    async def ignore(_request: Request) -> Response:
        return Response(body=b"ok")

    async with serving(ignore) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await wire.until(b"okHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).count(b"200") == 2


async def test_malformed_requests_are_told_and_cut() -> None:
    async with serving(echo) as wire:
        await wire.send(b"NONSENSE\r\n\r\n")
        assert (await wire.rest()).startswith(b"HTTP/1.1 501 ")


async def test_a_declined_upgrade_with_a_body_cannot_smuggle() -> None:
    async with serving(echo) as wire:
        await wire.send(
            b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 30\r\n\r\n"
            b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert b"smuggled" not in await wire.rest()


async def test_a_declined_upgrade_without_a_body_goes_on() -> None:
    async with serving(echo) as wire:
        await wire.send(
            b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert (await wire.until(b"GET /b ")).count(b"200 OK") == 2


async def test_slow_heads_end(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, limits=Limits(head_seconds=5)) as wire:
        await wire.send(b"GET /a HTTP/1.1\r\n")
        start = trio.current_time()
        assert await wire.rest() == b""
        assert trio.current_time() - start == 5


async def test_slow_bodies_end(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, limits=Limits(body_seconds=7)) as wire:
        await wire.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        assert (await wire.rest()).startswith(b"HTTP/1.1 408 ")


async def test_idle_connections_end(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, limits=Limits(idle_seconds=9)) as wire:
        await wire.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"/a ")
        start = trio.current_time()
        assert await wire.rest() == b""
        assert trio.current_time() - start == 9


async def test_a_defect_is_a_500() -> None:
    async def broken(_request: Request) -> Response:
        raise ZeroDivisionError

    answers = []

    async def ask() -> None:
        async with serving(broken) as wire:
            await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answers.append(await wire.rest())

    with pytest.raises(ZeroDivisionError):
        await ask()
    assert answers[0].startswith(b"HTTP/1.1 500 ")


async def test_an_http_error_keeps_the_connection() -> None:
    async def teapot(_request: Request) -> Response:
        raise HttpError(418, "short and stout")

    async with serving(teapot) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Connection: close" not in await wire.until(b"stout\n")
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"stout\n")


async def test_a_stream_is_chunked_and_closed() -> None:
    closed = trio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b""
            yield b"two"
        finally:
            closed.set()

    async def stream(_request: Request) -> Response:
        return Response(body=chunks())

    async with serving(stream) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await wire.until(b"0\r\n\r\n")).endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        assert closed.is_set()
        await wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await wire.rest()).endswith(b"\r\n\r\nonetwo")


async def forever(closed: trio.Event) -> AsyncIterator[bytes]:
    try:
        yield b"first"
        await trio.sleep_forever()
    finally:
        closed.set()


async def test_a_client_that_leaves_ends_the_stream() -> None:
    closed = trio.Event()

    async def watch(_request: Request) -> Response:
        return Response(body=forever(closed))

    async with serving(watch) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"first\r\n")
        await wire.stream.aclose()
        with trio.fail_after(5):
            await closed.wait()


async def test_shutdown_ends_streams_cleanly_and_idle_connections_at_once() -> None:
    closed = trio.Event()

    async def watch(_request: Request) -> Response:
        return Response(body=forever(closed))

    async with serving(watch) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"first\r\n")
        await wire.server.shutdown(5)
        assert await wire.rest() == b"0\r\n\r\n"
        assert closed.is_set()
    async with serving(echo) as wire:
        await trio.testing.wait_all_tasks_blocked()
        await wire.server.shutdown(5)
        assert await wire.rest() == b""


async def test_a_push_response_may_hold_scopes() -> None:
    async def push(_request: Request) -> PushResponse:
        async def run(sender: Sender) -> None:
            async with trio.open_nursery():
                await sender.start(200, [("X", "y")])
                with trio.move_on_after(5):
                    await sender.send(b"abc")

        return PushResponse(run=run)

    async with serving(push) as wire:
        for _ in range(2):
            await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"X: y\r\n" in await wire.until(b"3\r\nabc\r\n0\r\n\r\n")


async def test_an_upgrade_hands_over_the_bytes() -> None:
    async def upgrade(_request: Request) -> UpgradeResponse:
        async def run(stream: trio.abc.Stream) -> None:
            assert await stream.receive_some(2) == b"ea"
            assert await stream.receive_some() == b"rly"
            await stream.send_all(b"raw")

        return UpgradeResponse(headers=[("Upgrade", "x")], run=run)

    async with serving(upgrade) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly")
        assert await wire.rest() == b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw"


@pytest.mark.parametrize(("address", "gzipped"), [("10.0.0.9", True), ("127.0.0.1", False)])
async def test_big_bodies_are_compressed_for_the_network_only(address: str, gzipped: bool) -> None:
    async def big(_request: Request) -> Response:
        return Response(body=b"x" * 200_000)

    async with serving(big, peer=Peer(address=address)) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
        head, _, body = (await wire.rest()).partition(b"\r\n\r\n")
        assert (b"Content-Encoding: gzip" in head) is gzipped
        assert (zlib.decompress(body, 31) if gzipped else body) == b"x" * 200_000


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nxxxxxxxxxxx",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
    ids=["answered", "streaming", "refused", "upgrade declined", "malformed"],
)
async def test_an_ended_connection_needs_no_collector(request_bytes: bytes) -> None:
    """A thousand watches that end at once would otherwise stay until the collector looks at the oldest objects."""
    ends: list[str] = []

    async def ticks() -> AsyncIterator[bytes]:
        yield b"tick\n"
        await trio.sleep_forever()

    async def answer(request: Request) -> Response:
        return Response(body=ticks()) if request.path == "/stream" else await echo(request)

    async def one() -> None:
        async with trio.open_nursery() as nursery:
            server = HttpServer(answer, on_close=lambda: ends.append("end"))
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs, Peer(address="127.0.0.1"))
            await ours.send_all(request_bytes)
            assert (await ours.receive_some(65536)).startswith(b"HTTP/1.1 ")
            await trio.testing.wait_all_tasks_blocked()
            await ours.aclose()

    def held() -> list[str]:
        names = {"_Connection", "RequestParser", "HttpRequestParser", "RequestHead"}
        return [type(found).__name__ for found in gc.get_objects() if type(found).__name__ in names]

    gc.collect()
    gc.disable()
    try:
        before = held()
        await one()
        assert held() == before
    finally:
        gc.enable()
    assert ends == ["end"]
