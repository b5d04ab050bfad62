"""healthCheckNodePort: a load balancer asks each node whether it has endpoints of a Service with policy Local.

Answers any HTTP request as kube-proxy does: 200 with at least one local endpoint, 503 without, a JSON body.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
import trio

from edgekube.client.api import Key

logger = logging.getLogger(__name__)

REQUEST_BYTES_MAX: Final = 8192
REQUEST_TIMEOUT_S: Final = 5.0
CONNECTIONS_MAX: Final = 32


class HealthCheck(msgspec.Struct, frozen=True):
    key: Key
    local_endpoints: int


def response(check: HealthCheck) -> bytes:
    """The whole HTTP answer."""
    status = HTTPStatus.OK if check.local_endpoints else HTTPStatus.SERVICE_UNAVAILABLE
    namespace, name = check.key
    body = msgspec.json.encode(
        {
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": check.local_endpoints,
            "serviceProxyHealthy": True,
        }
    )
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"X-Load-Balancing-Endpoint-Weight: {check.local_endpoints}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class HealthServer:
    """One listener for each port asked for; all in the nursery of its owner."""

    def __init__(self, nursery: trio.Nursery, address: str) -> None:
        self._nursery = nursery
        self._address = address
        self._checks: dict[int, HealthCheck] = {}
        self._scopes: dict[int, trio.CancelScope] = {}
        self._limit = trio.CapacityLimiter(CONNECTIONS_MAX)

    def update(self, checks: Mapping[int, HealthCheck]) -> None:
        """Serve exactly these ports."""
        self._checks = dict(checks)
        for port in self._scopes.keys() - checks.keys():
            self._scopes.pop(port).cancel()
        for port in checks.keys() - self._scopes.keys():
            scope = self._scopes[port] = trio.CancelScope()
            self._nursery.start_soon(self._listen, port, scope)

    async def _listen(self, port: int, scope: trio.CancelScope) -> None:
        with scope:
            try:
                listeners = await trio.open_tcp_listeners(port, host=self._address)
            except OSError as error:
                logger.error("healthCheckNodePort=%d cannot listen: %s", port, error)
                await trio.sleep_forever()  # until the Service changes its port

            async def answer(stream: trio.SocketStream) -> None:
                async with self._limit:
                    await self._answer(stream, port)

            await trio.serve_listeners(answer, listeners)

    async def _answer(self, stream: trio.SocketStream, port: int) -> None:
        request = b""
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            try:
                async with stream:
                    while b"\r\n\r\n" not in request and len(request) < REQUEST_BYTES_MAX:
                        chunk = await stream.receive_some(REQUEST_BYTES_MAX)
                        if not chunk:
                            return
                        request += chunk
                    check = self._checks.get(port)
                    if check is not None:
                        await stream.send_all(response(check))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
