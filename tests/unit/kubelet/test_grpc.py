"""The gRPC health call as bytes: what is sent can be read back, what a server says is judged."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.kubelet.grpc_health import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    GrpcError,
    HealthCall,
    frame,
    request,
)
from edgekube.kubelet.hpack import HeaderError, huffman_decode, read_headers

OK_HEADERS = b"\x88"  # :status 200
SERVING = b"\x00\x00\x00\x00\x02\x08\x01"


def literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def answered(*frames: bytes, piece: int = 0) -> HealthCall:
    call = HealthCall()
    data = b"".join(frames)
    for start in range(0, len(data), piece or len(data)):
        call.feed(data[start : start + (piece or len(data))])
    return call


TRAILERS = frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b"grpc-status", b"0"))


@pytest.mark.parametrize("piece", [0, 1, 7])
def test_a_serving_server_is_healthy(piece: int) -> None:
    call = answered(
        frame(SETTINGS, 0, 0),
        frame(HEADERS, END_HEADERS, 1, OK_HEADERS),
        frame(DATA, 0, 1, SERVING),
        TRAILERS,
        piece=piece,
    )
    assert call.done
    assert call.verdict() == ""


def test_settings_and_pings_are_answered() -> None:
    call = HealthCall()
    assert call.feed(frame(SETTINGS, 0, 0) + frame(PING, 0, 0, b"12345678")) == frame(SETTINGS, 1, 0) + frame(
        PING, 1, 0, b"12345678"
    )
    assert call.feed(frame(SETTINGS, 1, 0)) == b""


def test_other_answers_are_told() -> None:
    head = frame(HEADERS, END_HEADERS, 1, OK_HEADERS)
    down = answered(head, frame(DATA, END_STREAM, 1, b"\x00\x00\x00\x00\x02\x08\x02"))
    assert down.verdict() == 'service unhealthy (responded with "NOT_SERVING")'
    nothing = answered(head, frame(DATA, END_STREAM, 1, b"\x00\x00\x00\x00\x00"))
    assert nothing.verdict() == 'service unhealthy (responded with "UNKNOWN")'
    block = OK_HEADERS + literal(b"grpc-status", b"12")
    assert "does not implement" in answered(frame(HEADERS, END_HEADERS | END_STREAM, 1, block)).verdict()
    block = OK_HEADERS + literal(b"grpc-status", b"5") + literal(b"grpc-message", b"who?")
    assert (
        answered(frame(HEADERS, END_HEADERS | END_STREAM, 1, block)).verdict().endswith("code = NotFound desc = who?")
    )
    assert "HTTP status 404" in answered(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x8d")).verdict()


def test_padding_and_continuations_are_read() -> None:
    block = literal(b"grpc-status", b"0")
    padded = bytes([3]) + SERVING + b"\0\0\0"
    call = answered(
        frame(HEADERS, END_HEADERS, 1, OK_HEADERS),
        frame(DATA, PADDED, 1, padded),
        frame(HEADERS, END_STREAM, 1, block[:4]),
        frame(9, END_HEADERS, 1, block[4:]),
    )
    assert call.done
    assert call.verdict() == ""


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame(GOAWAY, 0, 0, b"\0" * 8),
        frame(RST_STREAM, 0, 1, b"\0\0\0\1"),
        frame(DATA, PADDED, 1, b"\x05"),
        frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
        frame(HEADERS, END_HEADERS, 1, b"\xc0"),
    ],
)
def test_what_is_no_grpc_is_an_error(data: bytes) -> None:
    with pytest.raises(GrpcError):
        answered(data).verdict()


def test_the_request_is_what_it_should_be() -> None:
    data = request("10.0.0.1:80", "a" * 200, "probe")
    assert data.startswith(PREFACE)
    data = data.removeprefix(PREFACE)
    kinds, blocks = [], []
    while data:
        head, _, stream = struct.unpack_from(">IBI", data)
        kinds.append((head & 0xFF, stream))
        blocks.append(data[9 : 9 + (head >> 8)])
        data = data[9 + (head >> 8) :]
    assert kinds == [(SETTINGS, 0), (HEADERS, 1), (DATA, 1)]
    headers = read_headers(blocks[1])
    assert headers[":path"] == "/grpc.health.v1.Health/Check"
    assert headers["te"] == "trailers"
    assert blocks[2] == b"\x00" + (203).to_bytes(4, "big") + b"\x0a\xc8\x01" + b"a" * 200


def test_huffman_strings_are_read() -> None:
    # RFC 7541, C.4.1, C.6.1
    assert huffman_decode(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"
    assert (
        huffman_decode(bytes.fromhex("d07abe941054d444a8200595040b8166e082a62d1bff"))
        == b"Mon, 21 Oct 2013 20:13:21 GMT"
    )
    assert read_headers(b"\x00\x88" + bytes.fromhex("9acac8b21234da8f") + b"\x82" + bytes.fromhex("08bf")) == {
        "grpc-status": "12"
    }
    for bad in ("ff" * 5, "00", "f1e3c2e5f23a6ba0ab90f400"):
        with pytest.raises(HeaderError):
            huffman_decode(bytes.fromhex(bad))


HEADER = st.builds(literal, st.sampled_from((b"grpc-status", b"grpc-message", b"x")), st.binary(max_size=100))
NUMERALS = st.text(st.sampled_from("0123456789²٣"), max_size=40).map(str.encode)
PAYLOAD = st.one_of(
    st.binary(max_size=60),
    st.lists(HEADER, max_size=3).map(b"".join),
    st.builds(literal, st.just(b"grpc-status"), NUMERALS),
    st.binary(max_size=20).map(lambda data: b"\x00\x00\x00\x00" + bytes([len(data)]) + data),
)
FRAME = st.builds(
    frame,
    st.sampled_from((HEADERS, DATA, SETTINGS, PING, GOAWAY, RST_STREAM, 9, 200)),
    st.integers(0, 255),
    st.sampled_from((0, 1, 3)),
    PAYLOAD,
)


@given(st.lists(FRAME, max_size=6), st.binary(max_size=20), st.integers(1, 30))
def test_only_grpc_errors_escape(frames: list[bytes], noise: bytes, piece: int) -> None:
    try:
        answered(*frames, noise, piece=piece).verdict()
    except GrpcError:
        pass


@pytest.mark.parametrize("code", ["²", "9" * 120, "17", "-1", "x"])
def test_a_code_that_is_none_is_shown_as_it_came(code: str) -> None:
    block = literal(b"grpc-status", code.encode())
    assert f"code = {code} " in answered(frame(HEADERS, END_HEADERS | END_STREAM, 1, block)).verdict()


@given(st.binary(max_size=200))
def test_only_header_errors_escape(block: bytes) -> None:
    try:
        read_headers(block)
    except HeaderError:
        pass
