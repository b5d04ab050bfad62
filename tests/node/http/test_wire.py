"""The server's socket stream on real sockets, against trio's own TLS as the client."""

import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from edgekube.http.wire import SEND_BYTES, Wire
from edgekube.pki.authority import client_context, ensure_pki, server_context
from edgekube.pki.model import PkiPaths

BIG = bytes(range(256)) * 40_000  # more than any socket buffer here


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiPaths:
    folder = tmp_path_factory.mktemp("pki")
    trio.run(lambda: ensure_pki(folder, "wire", [], time.time()))
    return PkiPaths(folder / "pki")


def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    ends = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (near, far))
    return next(ends), next(ends)


def tls_client(pki: PkiPaths, transport: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
    context = client_context(pki.ca_certificate, pki.admin_certificate, pki.admin_key)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # a strict client
    return trio.SSLStream(transport, context, server_hostname="localhost")


@asynccontextmanager
async def connected(pki: PkiPaths) -> AsyncIterator[tuple[trio.SSLStream[trio.SocketStream], Wire]]:
    near, far = pair()
    client, server = tls_client(pki, near), Wire(far, server_context(pki))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await server.do_handshake()
        try:
            yield client, server
        finally:
            await server.aclose()
            await near.aclose()


async def receive_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = await stream.receive_some()
        assert chunk, f"the stream ended after {len(data)} of {size} bytes"
        data += chunk
    return bytes(data)


async def test_requests_and_answers_pass(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        assert server.tls is not None
        assert server.tls.getpeercert()
        for size in (1, 300, SEND_BYTES, SEND_BYTES + 1, 50_000):
            await client.send_all(BIG[:size])
            assert await receive_exactly(server, size) == BIG[:size]
            assert server.send_now(BIG[:size]) == size
            assert await receive_exactly(client, size) == BIG[:size]


async def test_what_tls_has_decrypted_already_is_not_waited_for(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        await client.send_all(b"abcdef")
        assert [await server.receive_some(2) for _ in range(3)] == [b"ab", b"cd", b"ef"]


async def test_a_slow_reader_gets_everything_in_order(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        sent = server.send_now(BIG)
        assert 0 < sent < len(BIG)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, BIG[sent:])
            assert await receive_exactly(client, len(BIG)) == BIG


async def test_both_directions_at_once(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        got = []

        async def receive(stream: trio.abc.ReceiveStream) -> None:
            got.append(await receive_exactly(stream, len(BIG)))

        async with trio.open_nursery() as nursery:
            for stream in (client, server):
                nursery.start_soon(receive, stream)
                nursery.start_soon(stream.send_all, BIG)
        assert got == [BIG, BIG]


async def test_a_goodbye_is_a_clean_end_for_the_peer(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        server.send_now(b"all of it")
        server.say_goodbye()
        await server.aclose()
        assert await receive_exactly(client, 9) == b"all of it"
        assert await client.receive_some() == b""  # it would raise after a ragged end


async def test_without_a_goodbye_the_peer_knows_that_it_was_cut(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        server.send_now(b"some of it")
        await server.aclose()
        assert await receive_exactly(client, 10) == b"some of it"
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_an_end_without_close_notify_is_an_end(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        await client.transport_stream.aclose()
        assert await server.receive_some() == b""


async def test_a_peer_that_says_goodbye_is_an_end(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose)
        assert await server.receive_some() == b""
        server.say_goodbye()
        await server.aclose()


async def test_half_a_close_leaves_time_to_read_the_answer(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        await server.send_all(b"refused")
        await server.send_eof()
        assert await receive_exactly(client, 7) == b"refused"
        assert await client.receive_some() == b""
        await client.transport_stream.aclose()
        while await server.receive_some():
            pass  # undecrypted remains


async def test_what_is_no_tls_breaks_the_handshake(pki: PkiPaths) -> None:
    near, far = pair()
    server = Wire(far, server_context(pki))
    await near.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await server.do_handshake()
    await server.aclose()
    await near.aclose()


async def test_damaged_records_break_the_stream(pki: PkiPaths) -> None:
    async with connected(pki) as (client, server):
        await client.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()


async def test_closing_wakes_who_waits_and_refuses_who_comes(pki: PkiPaths) -> None:
    async with connected(pki) as (_, server), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.receive_some()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await server.aclose()
        with pytest.raises(trio.ClosedResourceError):
            server.send_now(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await server.receive_some()


async def test_a_reset_is_a_broken_stream() -> None:
    near, far = pair()
    server = Wire(far)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await near.aclose()
    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await server.receive_some()
    await server.aclose()


async def test_a_certificate_of_another_authority_is_refused(pki: PkiPaths, tmp_path: Path) -> None:
    await ensure_pki(tmp_path, "other", [], time.time())
    other = PkiPaths(tmp_path / "pki")
    near, far = pair()
    context = client_context(pki.ca_certificate, other.admin_certificate, other.admin_key)
    client = trio.SSLStream(near, context, server_hostname="localhost")
    server = Wire(far, server_context(pki))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            with pytest.raises(trio.BrokenResourceError):
                await server.do_handshake()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some()  # the alert, which TLS 1.3 clients see after their handshake
        assert isinstance(caught.value.__cause__, ssl.SSLError)
    await server.aclose()
    await near.aclose()
