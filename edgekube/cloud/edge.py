"""The `edge` provider's decisions: addresses for Services on machines that have no cloud around them. Pure.

Without a pool the nodes' own addresses serve (as k3s does), so two Services cannot have the same port. With a pool each
Service has an address of its own, which one node at a time announces on its LAN.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2s
from ipaddress import ip_address
from typing import Final

from edgekube.client.api import Key
from edgekube.cloud.pool import Address, Pool, Refusal, Request, allocate
from edgekube.cloud.provider import Decision
from edgekube.types.core_v1 import LoadBalancerIngress, Node, Service
from edgekube.types.discovery_v1 import EndpointSlice

CLASS: Final = "edgekube.io/edge"
ADDRESS_ANNOTATION: Final = "edgekube.io/load-balancer-ip"
EXCLUDE_LABEL: Final = "node.kubernetes.io/exclude-from-external-load-balancers"
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"

Slices = Mapping[Key, Sequence[EndpointSlice]]


def wants_balancer(service: Service) -> bool:
    """Whether this provider is to look after the Service."""
    spec, metadata = service.spec, service.metadata
    return (
        spec.type == "LoadBalancer" and not metadata.deletionTimestamp and spec.loadBalancerClass in (None, "", CLASS)
    )


def decide(
    services: Iterable[Service],
    nodes: Sequence[Node],
    slices: Slices,
    pool: Pool,
    reserved_ports: Iterable[tuple[str, int]] = (),
) -> dict[Key, Decision]:
    """The decision for every Service that wants a load balancer."""
    ours = [service for service in services if wants_balancer(service)]
    if pool:
        return _from_pool(ours, pool)
    return _from_nodes(ours, nodes, slices, reserved_ports)


def announcer_of(address: str, service: Service, nodes: Sequence[Node], slices: Slices) -> str:
    """The node that answers for a pool address: every node comes to the same result by itself; "" without nodes.

    Ready nodes, with policy Local those that have an endpoint; among them by rendezvous hashing, so that the loss of a
    node moves its addresses alone.
    """
    candidates = [node for node in nodes if EXCLUDE_LABEL not in node.metadata.labels]
    candidates = [node for node in candidates if is_ready(node)] or candidates
    names = [node.metadata.name for node in candidates]
    if service.spec.externalTrafficPolicy == "Local":
        serving = _serving_nodes(service, slices)
        names = [name for name in names if name in serving] or names
    return max(names, key=lambda name: blake2s(f"{address} {name}".encode()).digest(), default="")


def is_ready(node: Node) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)


def _from_pool(services: Sequence[Service], pool: Pool) -> dict[Key, Decision]:
    requests = [
        Request(
            key=_key(service),
            age=service.metadata.creationTimestamp or "",
            held=tuple(entry.ip for entry in service.status.loadBalancer.ingress if entry.ip),
            wanted=service.spec.loadBalancerIP or service.metadata.annotations.get(ADDRESS_ANNOTATION, ""),
        )
        for service in services
    ]
    return {key: _decision(found) for key, found in allocate(requests, pool).items()}


def _decision(found: Address | Refusal) -> Decision:
    if isinstance(found, Refusal):
        return Decision(reason=found.reason, message=found.message)
    return Decision(ingress=(_ingress(str(found)),))


def _from_nodes(
    services: Sequence[Service], nodes: Sequence[Node], slices: Slices, reserved_ports: Iterable[tuple[str, int]]
) -> dict[Key, Decision]:
    found: dict[Key, Decision] = {}
    taken: dict[tuple[str, int], str] = dict.fromkeys(reserved_ports, "the node itself")
    for service in sorted(services, key=lambda one: (one.metadata.creationTimestamp or "", _key(one))):
        key = _key(service)
        ports = [(port.protocol or "TCP", port.port) for port in service.spec.ports]
        clash = next((port for port in ports if port in taken), None)
        if clash is not None:
            protocol, port = clash
            message = (
                f"port {port}/{protocol} of the nodes' addresses belongs to {taken[clash]}; "
                "choose another port or configure an address pool"
            )
            found[key] = Decision(reason="PortInUse", message=message)
            continue
        taken.update(dict.fromkeys(ports, f"Service {key[0]}/{key[1]}"))
        addresses = _node_addresses(service, nodes, slices)
        if addresses:
            found[key] = Decision(ingress=tuple(_ingress(address) for address in addresses))
        else:
            found[key] = Decision(reason="NoNode", message="no ready node has an address that could serve")
    return found


def _node_addresses(service: Service, nodes: Sequence[Node], slices: Slices) -> list[str]:
    local = service.spec.externalTrafficPolicy == "Local"
    serving = _serving_nodes(service, slices) if local else frozenset()
    addresses = []
    for node in nodes:
        if not is_ready(node) or EXCLUDE_LABEL in node.metadata.labels:
            continue
        if local and node.metadata.name not in serving:
            continue
        by_type: dict[str, list[str]] = {}
        for entry in node.status.addresses:
            by_type.setdefault(entry.type, []).append(entry.address)
        usable = by_type.get("ExternalIP") or by_type.get("InternalIP") or []
        addresses += [
            address for address in usable if not service.spec.ipFamilies or _family(address) in service.spec.ipFamilies
        ]
    return sorted(set(addresses), key=lambda text: (ip_address(text).version, int(ip_address(text))))


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _serving_nodes(service: Service, slices: Slices) -> frozenset[str]:
    return frozenset(
        endpoint.nodeName
        for piece in slices.get(_key(service), ())
        for endpoint in piece.endpoints
        if endpoint.nodeName and (endpoint.conditions is None or endpoint.conditions.ready is not False)
    )


def _ingress(address: str) -> LoadBalancerIngress:
    return LoadBalancerIngress(ip=address, ipMode="VIP")


def _key(service: Service) -> Key:
    return (service.metadata.namespace, service.metadata.name)
