"""HTTP probes against a server on loopback that answers as told: pkg/probe/http's rules for redirects and failures."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

from edgekube.kubelet.checks import Outcome
from edgekube.kubelet.httpcheck import REDIRECTS_MAX, http_check
from edgekube.types.core_v1 import HTTPGetAction, HTTPHeader


class Server:
    """`/N` answers with status N; the query is the Location. `seen` holds the heads of requests."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[str] = []

    async def answer(self, stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = await stream.receive_some()
                if not piece or piece[0] == 0x16:  # a TLS greeting, in a server without TLS
                    return
                head += piece
            self.seen.append(head.decode())
            path, _, location = head.split()[1].decode().removeprefix("/").partition("?")
            if path == "noise":
                await stream.send_all(b"220 mail.test ESMTP\r\n")
                return
            if path == "endless":
                await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    await stream.send_all(b"x" * 65536)
            status = "302" if path == "loop" else path
            location = "/loop?x" if path == "loop" else location
            more = f"Location: {location}\r\n" if location else ""
            body = "" if status in ("204", "304") else "body"
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            await stream.send_all(f"HTTP/1.1 {status} X\r\n{more}{length}\r\n{body}".encode())

    async def handle(self, stream: trio.SocketStream) -> None:
        try:
            await self.answer(stream)
        except trio.BrokenResourceError:
            pass  # the probe has heard enough


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, made.handle, 0, host="127.0.0.1"))
        made.port = listeners[0].socket.getsockname()[1]
        yield made
        nursery.cancel_scope.cancel()


STOPPED = Outcome(True, "Probe terminated redirects, Response body: body", warning=True)


@pytest.mark.parametrize(
    ("path", "expected", "asked"),
    [
        ("/200", Outcome(True, "body"), 1),
        ("204", Outcome(True, ""), 1),
        ("/404", Outcome(False, "HTTP probe failed with statuscode: 404"), 1),
        ("/503", Outcome(False, "HTTP probe failed with statuscode: 503"), 1),
        ("/302?/200", Outcome(True, "body"), 2),
        ("/308?/500", Outcome(False, "HTTP probe failed with statuscode: 500"), 2),
        ("/301?http://127.0.0.1:{port}/302?/200", Outcome(True, "body"), 3),
        ("/302?http://elsewhere.test/200", STOPPED, 1),
        ("/302", STOPPED, 1),
        ("/304?/200", Outcome(True, "Probe terminated redirects, Response body: ", warning=True), 1),
        ("/loop", Outcome(False, 'Get "{url}/loop": stopped after 10 redirects'), REDIRECTS_MAX),
        (
            "/302?ftp://127.0.0.1/x",
            Outcome(False, 'Get "{url}/302?ftp://127.0.0.1/x": unsupported protocol scheme "ftp"'),
            1,
        ),
        ("/endless", Outcome(True, "x" * 10240), 1),
    ],
)
async def test_answers(server: Server, path: str, expected: Outcome, asked: int) -> None:
    url = f"http://127.0.0.1:{server.port}"
    wanted = expected.message.replace("{url}", url)
    found = await http_check(HTTPGetAction(path=path.replace("{port}", str(server.port))), "127.0.0.1", server.port, 5)
    assert (found.ok, found.message, found.warning) == (expected.ok, wanted, expected.warning)
    assert len(server.seen) == asked


async def test_headers_reach_the_server_and_host_stays_with_relative_redirects(server: Server) -> None:
    headers = (HTTPHeader(name="Host", value="web.test"), HTTPHeader(name="User-Agent", value="me"))
    assert (await http_check(HTTPGetAction(path="/302?/200", httpHeaders=headers), "127.0.0.1", server.port, 5)).ok
    for head in server.seen:
        assert (head.count("Host: web.test\r\n"), head.lower().count("host:")) == (1, 1)
        assert "user-agent: me\r\n" in head


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (HTTPGetAction(path="/noise"), "answered what is not HTTP"),
        (HTTPGetAction(path="/200", scheme="HTTPS"), "no TLS with 127.0.0.1"),
        (HTTPGetAction(path="/200", httpHeaders=(HTTPHeader(name="X", value="a\r\nY: b"),)), "is no header"),
    ],
)
async def test_failures_have_words(server: Server, action: HTTPGetAction, words: str) -> None:
    found = await http_check(action, "127.0.0.1", server.port, 5)
    assert not found.ok
    assert words in found.message


async def test_nobody_listens() -> None:
    found = await http_check(HTTPGetAction(path="/"), "127.0.0.1", 1, 5)
    assert found == Outcome(False, 'Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused')
