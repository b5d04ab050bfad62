"""The running DNS server: UDP and TCP on the node's DNS addresses."""

import contextlib
import errno
import logging
import socket
from ipaddress import IPv4Address
from typing import Final

import trio

from edgekube.client.api import Client
from edgekube.dns.codec import DnsError, Query, error_reply, parse_query
from edgekube.dns.config import DnsConfig
from edgekube.dns.resolver import Resolver
from edgekube.dns.zone import Zone
from edgekube.types.core_v1 import Namespace, Service
from edgekube.types.discovery_v1 import EndpointSlice

logger = logging.getLogger(__name__)

TCP_CONNECTIONS_MAX: Final = 64
TCP_IDLE_S: Final = 10.0
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 60.0
UDP_QUERY_BYTES_MAX: Final = 4096
_IP_FREEBIND: Final = 15


class DnsFailure(Exception):
    """The server cannot listen; the message says where and what to do."""


async def run(
    *, client: Client, config: DnsConfig, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; started when all sockets listen and the cluster's names are known.

    Where another program has the port it is also started, says so in the log, and listens as soon as it can: a node
    without DNS is better than no node.
    """
    services, slices, namespaces = client.informer(Service), client.informer(EndpointSlice), client.informer(Namespace)
    zone = Zone(
        services=services,
        slices=slices,
        namespaces=namespaces,
        domain=config.domain,
        server=config.listen[0],
        networks=config.networks,
    )
    for informer in (services, slices, namespaces):
        await informer.wait_synced()
    server = DnsServer(Resolver(zone, config))
    pause_s = RETRY_FIRST_S
    with contextlib.ExitStack() as stack:
        while True:
            try:
                pairs = await _bind_all(config, stack)
                break
            except DnsFailure as error:
                logger.error("%s", error)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)
        async with trio.open_nursery() as nursery:
            for udp, tcp in pairs:
                nursery.start_soon(server.serve_udp, udp)
                nursery.start_soon(server.serve_tcp, tcp)
            nursery.start_soon(server.resolver.probe_loops)
            task_status.started()


class DnsServer:
    """Sockets on one side, the resolver on the other."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._connections = 0

    async def serve_udp(self, sock: trio.socket.SocketType) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    data, peer = await sock.recvfrom(UDP_QUERY_BYTES_MAX)
                except OSError as error:
                    if error.errno not in (errno.ECONNREFUSED, errno.ENOBUFS, errno.ENOMEM):
                        raise
                    continue  # an ICMP error for an earlier answer
                query, reply = self._understand(data, tcp=False)
                if reply is not None:
                    await _send_to(sock, reply, peer)
                elif query is not None:
                    nursery.start_soon(self._answer_later, sock, query, peer)

    async def serve_tcp(self, listener: trio.socket.SocketType) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    client, _ = await listener.accept()
                except OSError as error:
                    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOBUFS):
                        raise
                    logger.warning("DNS over TCP: %s", error)
                    await trio.sleep(0.1)
                    continue
                if self._connections >= TCP_CONNECTIONS_MAX:
                    client.close()
                    continue
                self._connections += 1
                nursery.start_soon(self._serve_connection, trio.SocketStream(client))

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        """Questions one after the other, each with two bytes of length before it (RFC 7766)."""
        buffer = b""
        try:
            async with stream:
                while True:
                    with trio.fail_after(TCP_IDLE_S):
                        while len(buffer) < 2 or len(buffer) < 2 + int.from_bytes(buffer[:2], "big"):
                            chunk = await stream.receive_some(4096)
                            if not chunk:
                                return
                            buffer += chunk
                    end = 2 + int.from_bytes(buffer[:2], "big")
                    data, buffer = buffer[2:end], buffer[end:]
                    query, reply = self._understand(data, tcp=True)
                    if query is None and reply is None:
                        return
                    if reply is None and query is not None:
                        reply = await self.resolver.remote(query, tcp=True)
                    assert reply is not None
                    with trio.fail_after(TCP_IDLE_S):
                        await stream.send_all(len(reply).to_bytes(2, "big") + reply)
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self._connections -= 1

    async def _answer_later(self, sock: trio.socket.SocketType, query: Query, peer: tuple[object, ...]) -> None:
        await _send_to(sock, await self.resolver.remote(query, tcp=False), peer)

    def _understand(self, data: bytes, *, tcp: bool) -> tuple[Query | None, bytes | None]:
        """(the query, its answer if one is at hand); both None for what deserves no answer."""
        try:
            query = parse_query(data)
        except DnsError as error:
            return None, error_reply(data, error.rcode)
        if query is None:
            return None, None
        return query, self.resolver.local(query, tcp=tcp)


async def _bind_all(
    config: DnsConfig, owner: contextlib.ExitStack
) -> list[tuple[trio.socket.SocketType, trio.socket.SocketType]]:
    """A UDP and a listening TCP socket for each address, or none at all. Raises DnsFailure."""
    with contextlib.ExitStack() as stack:
        pairs = []
        for address in config.listen:
            udp = stack.enter_context(await _bind(address, config.port, socket.SOCK_DGRAM))
            tcp = stack.enter_context(await _bind(address, config.port, socket.SOCK_STREAM))
            tcp.listen(TCP_CONNECTIONS_MAX)
            pairs.append((udp, tcp))
        owner.push(stack.pop_all())
    return pairs


async def _bind(address: IPv4Address, port: int, kind: socket.SocketKind) -> trio.socket.SocketType:
    sock = trio.socket.socket(socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The address may come a moment later, or come back after somebody took it from its link.
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        await sock.bind((str(address), port))
    except OSError as error:
        sock.close()
        hint = ""
        if error.errno == errno.EADDRINUSE:
            hint = "; another DNS server listens on all addresses: let it listen on its own (dnsmasq: bind-interfaces)"
        raise DnsFailure(f"listen for DNS on {address}:{port}: {error.strerror}{hint}") from error
    return sock


async def _send_to(sock: trio.socket.SocketType, data: bytes, peer: tuple[object, ...]) -> None:
    with contextlib.suppress(OSError):  # the client is gone or a firewall says no: it will ask again or not
        await sock.sendto(data, peer)
