"""SPDY/3.1: frames round trip, noise raises one exception, and two sessions talk."""

import zlib
from struct import pack

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from edgekube.http.spdy import (
    HEADER_BYTES_MAX,
    Codec,
    DataReceived,
    PingReceived,
    ReplyReceived,
    SpdyError,
    StreamOpened,
    StreamReset,
)
from edgekube.http.spdy_dictionary import DICTIONARY
from edgekube.http.spdy_session import SpdySession, SpdyStream

HEADERS = [("streamtype", "data"), ("port", "80"), ("requestid", "0")]


def test_the_dictionary_is_the_one_of_the_specification() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_frames_of_a_go_client() -> None:
    """A SYN_STREAM as golang.org/x/net's descendants write it, captured from a client: streamType: error."""
    block = b"x\xf9\xe3\xc6\xa7\xc2b```\x04\xa7\xb3\x92\xa2\xd4\xc4\\hQ\xc2\x9a\n\nh\x00\x00\x00\x00\xff\xff"
    frame = pack(">HHI", 0x8003, 1, 10 + len(block)) + pack(">IIH", 1, 0, 0) + block
    assert Codec().feed(frame) == [StreamOpened(1, [("streamtype", "error")], False)]


def test_frames_round_trip() -> None:
    sender, receiver = Codec(), Codec()
    wire = (
        sender.syn_stream(1, HEADERS)
        + sender.syn_stream(3, HEADERS, fin=True)
        + sender.syn_reply(2, [("a", "b")])
        + Codec.data(1, b"abc")
        + Codec.data(1, b"", fin=True)
        + Codec.ping(9)
        + Codec.reset(3, 5)
    )
    assert receiver.feed(wire) == [
        StreamOpened(1, HEADERS, False),
        StreamOpened(3, HEADERS, True),
        ReplyReceived(2, [("a", "b")], False),
        DataReceived(1, b"abc", False),
        DataReceived(1, b"", True),
        PingReceived(9),
        StreamReset(3, 5),
    ]


@given(st.integers(1, 30))
def test_cuts_change_nothing(step: int) -> None:
    wire = Codec().syn_stream(1, HEADERS) + Codec.data(1, b"x" * 50) + Codec.data(1, b"", fin=True)
    receiver = Codec()
    events = [event for start in range(0, len(wire), step) for event in receiver.feed(wire[start : start + step])]
    assert events == [StreamOpened(1, HEADERS, False), DataReceived(1, b"x" * 50, False), DataReceived(1, b"", True)]


@given(st.binary(max_size=200))
def test_only_spdy_errors_escape(noise: bytes) -> None:
    try:
        Codec().feed(noise)
    except SpdyError:
        pass


_CONTROL = st.builds(
    lambda kind, flags, payload: pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload,
    st.integers(0, 12),
    st.integers(0, 3),
    st.binary(max_size=40) | st.binary(max_size=20).map(lambda text: pack(">IIH", 1, 0, 0) + zlib.compress(text)),
)


@given(st.lists(_CONTROL, max_size=4).map(b"".join))
def test_only_spdy_errors_escape_well_formed_frames(wire: bytes) -> None:
    try:
        Codec().feed(wire)
    except SpdyError:
        pass


@given(st.binary(max_size=60))
def test_only_spdy_errors_escape_header_blocks(block: bytes) -> None:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    data = compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH)
    try:
        Codec().feed(pack(">HHI", 0x8003, 1, 10 + len(data)) + pack(">IIH", 1, 0, 0) + data)
    except SpdyError:
        pass


def test_a_header_bomb_is_refused() -> None:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    data = compressor.compress(bytes(HEADER_BYTES_MAX * 4)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(SpdyError, match="larger"):
        Codec().feed(pack(">HHI", 0x8003, 1, 10 + len(data)) + pack(">IIH", 1, 0, 0) + data)


def test_a_giant_frame_is_refused() -> None:
    with pytest.raises(SpdyError, match="larger"):
        Codec().feed(pack(">II", 1, 0xFFFFFF))


async def test_two_sessions_talk() -> None:
    left, right = trio.testing.memory_stream_pair()
    opened: list[SpdyStream] = []
    server = SpdySession(right, on_stream=opened.append)
    client = SpdySession(left, client=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        nursery.start_soon(client.run)
        one, two = await client.open(HEADERS), await client.open([("streamtype", "error")], fin=True)
        await one.send_all(b"x" * 100_000)
        await one.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        there, error = opened
        assert there.header("port") == "80"
        received = b""
        while data := await there.receive_some(7000):
            received += data
        assert received == b"x" * 100_000
        assert await error.receive_some() == b""
        await there.send_all(b"answer")
        await there.send_eof()
        assert await one.receive_some() == b"answer"
        assert await one.receive_some() == b""
        await error.send_all(b"oops")
        assert await two.receive_some() == b"oops"
        await error.reset()
        with pytest.raises(trio.BrokenResourceError):
            await two.receive_some()
        nursery.cancel_scope.cancel()


async def test_a_session_that_ends_breaks_its_streams() -> None:
    left, right = trio.testing.memory_stream_pair()
    opened: list[SpdyStream] = []
    client = SpdySession(left, client=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SpdySession(right, on_stream=opened.append).run)
        await client.open(HEADERS)
        await trio.testing.wait_all_tasks_blocked()
        await left.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await opened[0].receive_some()


async def test_streams_of_the_wrong_parity_end_the_session() -> None:
    left, right = trio.testing.memory_stream_pair()
    await left.send_all(Codec().syn_stream(2, HEADERS))
    with pytest.raises(SpdyError, match="cannot be opened"):
        await SpdySession(right, on_stream=lambda _: None).run()
