"""The client over memory streams against the server, and against servers that lie."""

import pytest
import trio
import trio.testing

from edgekube.http.client import Connection, encode_request
from edgekube.http.messages import ConnectionLost, Peer, Response
from edgekube.http.server import HttpServer, Request


async def echo(request: Request) -> Response:
    body = await request.read_body()

    async def twice() -> object:
        yield body
        yield body

    return Response(status=201, headers=[("X-Method", request.method)], body=twice())  # type: ignore[arg-type]


async def test_a_kept_connection() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HttpServer(echo).serve_stream, theirs, Peer(address="127.0.0.1"))
        connection = Connection(ours, "host")
        for body in (b"one", b"two" * 50_000):
            response = await connection.send("POST", "/x?y", body=body)
            assert (response.status, response.header("X-Method")) == (201, "POST")
            assert await response.read() == body * 2
        assert connection.reusable
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_servers_that_break_off_or_lie(answer: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(answer)
    await theirs.send_eof()

    async def exchange() -> None:
        await (await Connection(ours, "host").send("GET", "/")).read()

    with pytest.raises(ConnectionLost):
        await exchange()


async def test_a_body_over_the_limit() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + bytes(50))
    response = await Connection(ours, "host").send("GET", "/")
    with pytest.raises(ConnectionLost, match="longer than 49"):
        await response.read(49)


@pytest.mark.parametrize("target", ["", "/a b", "/a\r\nX: y", "/ä"])
def test_targets_that_would_break_the_line(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        encode_request("GET", target, "h", [], b"")


@pytest.mark.parametrize("header", [("X", "a\r\nY: b"), ("X: y\r\nZ", "a"), ("X y", "a")])
def test_headers_that_would_break_the_line(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        encode_request("GET", "/", "h", [header], b"")
