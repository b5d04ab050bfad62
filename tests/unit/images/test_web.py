"""The pull client against servers that send anything: one exception, whatever the bytes and however they are cut."""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.runtime.images.web import WebFailure, _ask

PIECES = st.sampled_from(
    (
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"X: " + b"y" * 70_000 + b"\r\n",
    )
)
WIRE = st.lists(PIECES | st.binary(max_size=30), max_size=8).map(b"".join)


@settings(deadline=None)
@given(WIRE, st.integers(1, 50))
def test_only_web_failures_escape(wire: bytes, limit: int) -> None:
    async def main() -> None:
        client, server = trio.testing.memory_stream_pair()
        await server.send_all(wire)
        await server.send_eof()
        try:
            response = await _ask(client, b"GET / HTTP/1.1\r\n\r\n", "http://x/")
            assert len(await response.read(limit)) <= limit
        except WebFailure:
            pass

    trio.run(main)
