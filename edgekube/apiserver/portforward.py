"""port-forward: SPDY in a WebSocket (kubectl since 1.31), bare SPDY, and the older WebSocket channels.

portforward.k8s.io over SPDY: for every connection the client opens an error and a data stream with the same
`requestid`. Over plain WebSocket (v4.channel.k8s.io, client libraries): the query lists the ports, port i has channels
2i (data) and 2i+1 (error), and the first message of each is the port number, little-endian.
"""

import logging
from collections.abc import Sequence
from typing import Final

import trio

from edgekube.apiserver.commandsocket import ChannelSender
from edgekube.apiserver.commandspdy import upgrade_headers
from edgekube.apiserver.remotecommand import ChunkReceiver
from edgekube.client.api import NodeApi
from edgekube.http.messages import UpgradeResponse, header_tokens
from edgekube.http.server import Request
from edgekube.http.spdy import SPDY_UPGRADE, SpdyError
from edgekube.http.spdy_session import SpdySession, SpdyStream
from edgekube.http.websocket import NORMAL, WebSocket, WebSocketClosed, WebSocketStream, accept_headers, is_upgrade
from edgekube.types.integers import natural
from edgekube.types.status import ApiError, bad_request

PROTOCOL: Final = "portforward.k8s.io"
TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
CHANNELS: Final = "v4.channel.k8s.io"
_PORTS_MAX: Final = 64
_CONNECTIONS_MAX: Final = 256
_PAIR_SECONDS_MAX: Final = 30.0  # between the two streams of a connection
_COPY_BYTES: Final = 32 * 1024
_CHANNEL_CHUNKS_MAX: Final = 8
_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

_log = logging.getLogger(__name__)


def forward_ports(
    request: Request, node: NodeApi, namespace: str, pod: str, query: Sequence[tuple[str, str]]
) -> UpgradeResponse:
    """Upgrade and forward. Raises ApiError 400 and HttpError for bad handshakes."""
    forward = _Forward(node, namespace, pod)
    if request.head.upgrade == SPDY_UPGRADE:
        return UpgradeResponse(headers=upgrade_headers(request, PROTOCOL), run=forward.serve_spdy)
    if not is_upgrade(request.head):
        raise bad_request("Upgrade request required")
    if TUNNEL in header_tokens(request.headers, "sec-websocket-protocol"):
        _, headers = accept_headers(request.headers, (TUNNEL,))
        return UpgradeResponse(headers=headers, run=forward.serve_tunnel)
    ports = [_port(part) for key, value in query if key == "ports" for part in value.split(",")]
    if not 0 < len(ports) <= _PORTS_MAX:
        raise bad_request(f"query parameter 'ports' must name 1 to {_PORTS_MAX} ports")
    _, headers = accept_headers(request.headers, (CHANNELS,))

    async def run(stream: trio.abc.Stream) -> None:
        await forward.serve_channels(WebSocket(stream), ports)

    return UpgradeResponse(headers=headers, run=run)


def _port(text: str) -> int:
    number = natural(text, 65535)
    if not number:
        raise bad_request(f"unable to parse port {text!r}")
    return number


class _Forward:
    def __init__(self, node: NodeApi, namespace: str, pod: str) -> None:
        self._node = node
        self._namespace = namespace
        self._pod = pod
        self._connections = 0

    async def serve_tunnel(self, stream: trio.abc.Stream) -> None:
        socket = WebSocket(stream)
        await self.serve_spdy(WebSocketStream(socket))
        await socket.close()

    async def serve_spdy(self, stream: trio.abc.Stream) -> None:
        pairs: dict[str, dict[str, SpdyStream]] = {}
        async with trio.open_nursery() as nursery:

            def on_stream(new: SpdyStream) -> None:
                request_id = new.header("requestid")
                # Clients from before request ids number their streams in pairs, error first.
                kind = new.header("streamtype")
                if not request_id:
                    request_id = str(new.id if kind == "error" else new.id - 2)
                pair = pairs.setdefault(request_id, {})
                if kind not in ("error", "data") or kind in pair or len(pairs) > _CONNECTIONS_MAX:
                    nursery.start_soon(_reset, new)
                    return
                pair[kind] = new
                if len(pair) == 2:
                    del pairs[request_id]
                    nursery.start_soon(self._connection, pair["data"], pair["error"])
                else:
                    nursery.start_soon(expire, request_id, new)

            async def expire(request_id: str, half: SpdyStream) -> None:
                await trio.sleep(_PAIR_SECONDS_MAX)
                if half in pairs.get(request_id, {}).values():
                    del pairs[request_id]
                    await _reset(half)

            try:
                await SpdySession(stream, on_stream=on_stream).run()
            except SpdyError as error:
                _log.warning("spdy session lost pod=%s/%s reason=%s", self._namespace, self._pod, error)
            nursery.cancel_scope.cancel()

    async def _connection(self, data: SpdyStream, error: SpdyStream) -> None:
        """One forwarded connection, from its two streams to the pod and back."""
        problem = ""
        try:
            port = _port(data.header("port"))
            if self._connections >= _CONNECTIONS_MAX:
                raise bad_request(f"more than {_CONNECTIONS_MAX} connections are being forwarded")
            self._connections += 1
            try:
                async with self._node.port_forward(self._namespace, self._pod, port) as pod:
                    await _splice(data, pod)
            finally:
                self._connections -= 1
        except ApiError as refused:
            problem = refused.message
        except (*_BROKEN, OSError) as broken:
            problem = f"the connection to pod {self._pod} broke: {broken}"
        try:
            if problem:
                text = f"error forwarding port {data.header('port')} to pod {self._pod}: {problem}"
                await error.send_all(text.encode())
            await error.aclose()
            await data.aclose()
        except _BROKEN:
            pass

    async def serve_channels(self, socket: WebSocket, ports: Sequence[int]) -> None:
        inputs = [trio.open_memory_channel[bytes](_CHANNEL_CHUNKS_MAX) for _ in ports]
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                try:
                    while True:
                        message = await socket.receive()
                        if isinstance(message, str) or not message or message[0] >= 2 * len(ports):
                            break
                        if message[0] % 2 == 0:
                            try:
                                await inputs[message[0] // 2][0].send(message[1:])
                            except _BROKEN:
                                pass  # that port's connection is over; the others go on
                except WebSocketClosed:
                    pass
                nursery.cancel_scope.cancel()

            async def forward(index: int, port: int) -> None:
                channel = 2 * index
                problem = ""
                received = ChunkReceiver(inputs[index][1])
                try:
                    async with self._node.port_forward(self._namespace, self._pod, port) as pod:
                        await _splice(trio.StapledStream(ChannelSender(socket, channel), received), pod)
                except ApiError as refused:
                    problem = refused.message
                except (*_BROKEN, OSError) as broken:
                    problem = f"the connection to pod {self._pod} broke: {broken}"
                await received.aclose()
                if problem:
                    await _tell(socket, channel + 1, problem)

            for index, port in enumerate(ports):
                for channel in (2 * index, 2 * index + 1):
                    await _tell_bytes(socket, channel, port.to_bytes(2, "little"))
            nursery.start_soon(read)
            async with trio.open_nursery() as forwards:
                for index, port in enumerate(ports):
                    forwards.start_soon(forward, index, port)
            nursery.cancel_scope.cancel()
        await socket.close(NORMAL)


async def _splice(client: trio.abc.HalfCloseableStream, pod: trio.abc.HalfCloseableStream) -> None:
    """Copy both ways until the pod's side has ended; the client may end its side and still read."""
    async with trio.open_nursery() as nursery:

        async def to_pod() -> None:
            try:
                while data := await client.receive_some(_COPY_BYTES):
                    await pod.send_all(data)
                await pod.send_eof()
            except _BROKEN:
                nursery.cancel_scope.cancel()

        nursery.start_soon(to_pod)
        try:
            while data := await pod.receive_some(_COPY_BYTES):
                await client.send_all(data)
            await client.send_eof()
        except _BROKEN:
            pass
        nursery.cancel_scope.cancel()


async def _reset(stream: SpdyStream) -> None:
    try:
        await stream.reset()
    except _BROKEN:
        pass


async def _tell(socket: WebSocket, channel: int, text: str) -> None:
    await _tell_bytes(socket, channel, text.encode())


async def _tell_bytes(socket: WebSocket, channel: int, data: bytes) -> None:
    try:
        await socket.send(bytes([channel]) + data)
    except WebSocketClosed:
        pass
