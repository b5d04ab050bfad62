"""Which endpoints get a Service port's traffic on this node. Pure.

Rules of kube-proxy: ready endpoints; when there are none, those that terminate but still serve (KEP-1669), so that a
rolling update loses no request; topology hints (KEP-2433, KEP-3015) only when every candidate carries one and the
result is not empty.
"""

from collections.abc import Iterable, Sequence
from socket import AF_INET, inet_pton

import msgspec

from edgekube.types.core_v1.service import ServicePort
from edgekube.types.discovery_v1 import Endpoint, EndpointPort, EndpointSlice


class Target(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where a packet may go: packed IPv4 address and port."""

    address: bytes
    port: int


class Targets(msgspec.Struct, frozen=True):
    """`cluster`: all nodes' endpoints after hints; `local`: this node's. Sorted, without duplicates."""

    cluster: tuple[Target, ...] = ()
    local: tuple[Target, ...] = ()


def select(port: ServicePort, slices: Iterable[EndpointSlice], *, node_name: str, zone: str) -> Targets:
    """The targets of one Service port, out of all EndpointSlices of the Service."""
    candidates = [
        (endpoint, number)
        for piece in slices
        if piece.addressType == "IPv4"
        for number in _port_numbers(port, piece.ports)
        for endpoint in piece.endpoints
        if endpoint.addresses
    ]
    local = [candidate for candidate in candidates if candidate[0].nodeName == node_name]
    usable = _usable(candidates)
    return Targets(cluster=_targets(_hinted(usable, node_name, zone)), local=_targets(_usable(local)))


def _port_numbers(port: ServicePort, ports: Iterable[EndpointPort]) -> list[int]:
    protocol = port.protocol or "TCP"
    return [
        found.port
        for found in ports
        if found.port is not None and (found.name or "") == port.name and (found.protocol or "TCP") == protocol
    ]


def is_ready(endpoint: Endpoint) -> bool:
    """Unknown counts as ready."""
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def is_serving_out(endpoint: Endpoint) -> bool:
    """Terminating, but still answering."""
    conditions = endpoint.conditions
    return conditions is not None and bool(conditions.terminating) and bool(conditions.serving)


def _usable(candidates: Sequence[tuple[Endpoint, int]]) -> list[tuple[Endpoint, int]]:
    ready = [candidate for candidate in candidates if is_ready(candidate[0])]
    return ready or [candidate for candidate in candidates if is_serving_out(candidate[0])]


def _hinted(candidates: list[tuple[Endpoint, int]], node_name: str, zone: str) -> list[tuple[Endpoint, int]]:
    hints = [endpoint.hints for endpoint, _ in candidates]
    if hints and all(hint is not None and hint.forNodes for hint in hints):
        near = [
            candidate
            for candidate, hint in zip(candidates, hints, strict=True)
            if hint is not None and any(node.name == node_name for node in hint.forNodes)
        ]
        if near:
            return near
    if zone and hints and all(hint is not None and hint.forZones for hint in hints):
        near = [
            candidate
            for candidate, hint in zip(candidates, hints, strict=True)
            if hint is not None and any(found.name == zone for found in hint.forZones)
        ]
        if near:
            return near
    return candidates


def _targets(candidates: Iterable[tuple[Endpoint, int]]) -> tuple[Target, ...]:
    return tuple(sorted({Target(inet_pton(AF_INET, endpoint.addresses[0]), number) for endpoint, number in candidates}))
