"""WebSocket messages over memory streams, and what a hostile peer gets."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from edgekube.http.messages import HttpError
from edgekube.http.websocket import (
    MESSAGE_BYTES_MAX,
    WebSocket,
    WebSocketClosed,
    WebSocketStream,
    accept_headers,
    accept_token,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = [("sec-websocket-key", KEY), ("sec-websocket-version", "13")]


def pair() -> tuple[WebSocket, WebSocket]:
    left, right = trio.testing.memory_stream_pair()
    return WebSocket(left, client=True), WebSocket(right)


def test_the_example_of_the_rfc() -> None:
    assert accept_token(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_subprotocols() -> None:
    offer = ("sec-websocket-protocol", "v4.channel.k8s.io, v5.channel.k8s.io")
    chosen, headers = accept_headers([*GOOD, offer], ("v5.channel.k8s.io", "v4.channel.k8s.io"))
    assert chosen == "v5.channel.k8s.io"
    assert ("Sec-WebSocket-Protocol", chosen) in headers
    assert accept_headers(GOOD, ("x",))[0] == ""
    with pytest.raises(HttpError, match="spoken here"):
        accept_headers([*GOOD, offer], ("x",))


@pytest.mark.parametrize("headers", [[], GOOD[:1], GOOD[1:], [("sec-websocket-key", "short"), GOOD[1]]])
def test_bad_handshakes(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(HttpError):
        accept_headers(headers, ())


async def test_messages_both_ways() -> None:
    client, server = pair()
    for message in (b"", b"\0\xff", b"x" * 200_000, "text"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, message)
            assert await server.receive() == message
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send, message)
            assert await client.receive() == message


async def test_close_is_answered() -> None:
    client, server = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.close, 1000, "done")
        with pytest.raises(WebSocketClosed) as caught:
            await server.receive()
    assert caught.value.code == 1000
    with pytest.raises(WebSocketClosed):
        await server.send(b"late")


async def test_pings_are_answered() -> None:
    left, right = trio.testing.memory_stream_pair()
    server = WebSocket(right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_receive_until_closed, server)
        await left.send_all(b"\x89\x82\0\0\0\0hi")
        assert await left.receive_some() == b"\x8a\x02hi"
        await left.aclose()


async def test_a_message_over_the_limit() -> None:
    left, right = trio.testing.memory_stream_pair()
    server = WebSocket(right)
    size = MESSAGE_BYTES_MAX + 1
    await left.send_all(b"\x82\xff" + size.to_bytes(8, "big") + b"\0\0\0\0" + bytes(size))
    with pytest.raises(WebSocketClosed) as caught:
        await server.receive()
    assert caught.value.code == 1009


async def test_a_peer_that_vanishes() -> None:
    left, right = trio.testing.memory_stream_pair()
    await left.aclose()
    with pytest.raises(WebSocketClosed) as caught:
        await WebSocket(right).receive()
    assert caught.value.code == 1006


async def test_a_stream_in_a_socket() -> None:
    client, server = map(WebSocketStream, pair())
    await client.send_all(b"abcdef")
    assert await server.receive_some(4) == b"abcd"
    assert await server.receive_some() == b"ef"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose)
        assert await server.receive_some() == b""


@given(st.binary(max_size=120))
async def test_only_the_close_escapes(noise: bytes) -> None:
    left, right = trio.testing.memory_stream_pair()
    await left.send_all(noise)
    await left.send_eof()
    await _receive_until_closed(WebSocket(right))


async def _receive_until_closed(socket: WebSocket) -> None:
    try:
        while True:
            await socket.receive()
    except WebSocketClosed:
        pass
