"""The parser's limits and its one exception, whatever the bytes and however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.http.messages import ConnectionLost, HttpError
from edgekube.http.parser import (
    HEAD_BYTES_MAX,
    Data,
    EndOfMessage,
    Event,
    RequestHead,
    RequestParser,
    ResponseHead,
    ResponseParser,
)

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


def events(parser: RequestParser | ResponseParser) -> list[Event]:
    out = []
    while (event := parser.next_event()) is not None:
        out.append(event)
    return out


def parse(data: bytes) -> list[Event]:
    parser = RequestParser()
    parser.feed(data)
    return events(parser)


def test_a_request() -> None:
    head, end = parse(GET)
    assert isinstance(head, RequestHead)
    assert (head.method, head.path, head.query, head.keep_alive, head.has_body) == ("GET", "/a", "b=c", True, False)
    assert isinstance(end, EndOfMessage)


def test_pipelined_requests_come_in_order() -> None:
    heads = [event.path for event in parse(GET + GET.replace(b"/a", b"/z")) if isinstance(event, RequestHead)]
    assert heads == ["/a", "/z"]


def test_absolute_targets_are_paths() -> None:
    head = parse(b"GET http://h:1/p?q HTTP/1.1\r\nHost: x\r\n\r\n")[0]
    assert isinstance(head, RequestHead)
    assert (head.path, head.query) == ("/p", "q")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * HEAD_BYTES_MAX + b"\r\n\r\n", 431),
        (b"GET /" + b"b" * (HEAD_BYTES_MAX + 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ],
)
def test_refused(data: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        parse(data)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;extension=",
    ],
)
def test_what_never_ends_is_cut(start: bytes) -> None:
    parser = RequestParser()
    parser.feed(start)
    with pytest.raises(HttpError):  # noqa: PT012
        for _ in range(20):
            parser.feed(b"x" * 4096)


def test_an_upgrade_leaves_the_rest_untouched() -> None:
    parser = RequestParser()
    parser.feed(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81\x00")
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    assert head.upgrade == "websocket"
    parser.feed(b"more")
    assert parser.leftover == b"\x81\x00more"


@given(st.binary(max_size=300), st.integers(1, 40))
def test_only_http_errors_escape(noise: bytes, step: int) -> None:
    parser = RequestParser()
    data = GET + noise
    try:
        for start in range(0, len(data), step):
            parser.feed(data[start : start + step])
    except HttpError:
        pass


_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\n", b"Host: x\r\n", b"Content-Length: 3\r\n", b"\r\n", b"abc",
        b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"Upgrade: h2c\r\n",
        b"Connection: Upgrade\r\n",
        b"Connection: close\r\n", b"Expect: 100-continue\r\n", b" folded\r\n", b"\n", b"\0", b"HTTP/1.1 200 OK\r\n",
    ]
)  # fmt: skip


@given(st.lists(_LINES, max_size=14).map(b"".join), st.integers(1, 60))
def test_cuts_change_nothing(data: bytes, step: int) -> None:
    def run(size: int) -> tuple[list[object], int]:
        parser = RequestParser()
        try:
            for start in range(0, len(data), size):
                parser.feed(data[start : start + size])
            status = 0
        except HttpError as error:
            status = error.status
        merged: list[object] = []
        for event in events(parser):
            if isinstance(event, Data) and merged and isinstance(merged[-1], bytes):
                merged[-1] += event.data
            else:
                merged.append(event.data if isinstance(event, Data) else event)
        return merged, status

    assert run(step) == run(max(1, len(data)))


def response(data: bytes, *, head_only: bool = False, eof: bool = False) -> list[Event]:
    parser = ResponseParser(head_only=head_only)
    parser.feed(data)
    if eof:
        parser.feed_eof()
    return events(parser)


def test_responses() -> None:
    head, body, end = response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert isinstance(head, ResponseHead)
    assert (head.status, body, type(end)) == (200, Data(b"ok"), EndOfMessage)
    assert len(response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", head_only=True)) == 2
    assert [type(e) for e in response(b"HTTP/1.1 204 No Content\r\n\r\n")] == [ResponseHead, EndOfMessage]
    assert [type(e) for e in response(b"HTTP/1.1 200 OK\r\n\r\nrest", eof=True)] == [ResponseHead, Data, EndOfMessage]
    heads = response(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert [type(e) for e in heads] == [ResponseHead, EndOfMessage]


def test_a_response_cut_short() -> None:
    with pytest.raises(ConnectionLost):
        response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", eof=True)


@given(st.binary(max_size=200))
def test_only_http_errors_escape_the_client(noise: bytes) -> None:
    try:
        response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + noise, eof=True)
    except (HttpError, ConnectionLost):
        pass
