"""Asking the node's resolvers: one fresh socket and id a question, the next resolver after a short silence."""

import errno
import logging
import secrets
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import trio

from edgekube.dns.codec import TCP_BYTES_MAX, DnsError, Name, Query, Response, encode_query, parse_response

logger = logging.getLogger(__name__)

PORT: Final = 53
TRY_S: Final = 1.5  # per resolver
TOTAL_S: Final = 4.0  # stub resolvers give up after five seconds
REST_S: Final = 3.0  # how long a silent resolver is passed over

Address = IPv4Address | IPv6Address


class Forwarder:
    """Knows which resolvers answer. An error is final only when every one of them failed."""

    def __init__(self, *, port: int = PORT) -> None:
        self._port = port
        self._resting_until: dict[Address, float] = {}

    async def ask(self, query: Query, upstreams: Sequence[Address], *, tcp: bool) -> Response | None:
        """The first usable answer; None when there is none in time. With `tcp` an answer is never cut short."""
        now = trio.current_time()
        ready = [address for address in upstreams if self._resting_until.get(address, 0.0) <= now]
        with trio.move_on_after(TOTAL_S):
            for address in ready:
                response = None
                with trio.move_on_after(TRY_S):
                    response = await self._ask_one(query, address, tcp=tcp)
                if response is not None:
                    self._resting_until.pop(address, None)
                    return response
                self._resting_until[address] = trio.current_time() + REST_S
                logger.debug("resolver=%s gave no answer", address)
        return None

    async def _ask_one(self, query: Query, address: Address, *, tcp: bool) -> Response | None:
        number = secrets.randbelow(1 << 16)
        request = encode_query(number, query.name, query.type, edns=query.payload > 0, dnssec_ok=query.dnssec_ok)
        try:
            if tcp:
                return await self._tcp(request, number, query, address)
            return await self._udp(request, number, query, address)  # cut short, the client asks again over TCP
        except OSError as error:
            if error.errno not in _EXPECTED:
                logger.warning("resolver=%s: %s", address, error)
            return None

    async def _udp(self, request: bytes, number: int, query: Query, address: Address) -> Response | None:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect((str(address), self._port))
            await sock.send(request)
            while True:
                response = _matching(await sock.recv(TCP_BYTES_MAX), number, query.name, query.type)
                if response is not None:
                    return response

    async def _tcp(self, request: bytes, number: int, query: Query, address: Address) -> Response | None:
        stream = await trio.open_tcp_stream(str(address), self._port)
        async with stream:
            await stream.send_all(len(request).to_bytes(2, "big") + request)
            length = int.from_bytes(await _read_exactly(stream, 2), "big")
            data = await _read_exactly(stream, length)
        return _matching(data, number, query.name, query.type)


_EXPECTED: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ECONNRESET, errno.EADDRNOTAVAIL, errno.EPERM}
)


def _matching(data: bytes, number: int, name: Name, kind: int) -> Response | None:
    """The answer to our question, or None for anything else that arrives."""
    try:
        response = parse_response(data)
    except DnsError:
        return None
    return response if (response.id, response.name, response.type) == (number, name, kind) else None


async def _read_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await stream.receive_some(count - len(data))
        if not chunk:
            raise OSError(errno.ECONNRESET, "the resolver closed the connection early")
        data += chunk
    return data
