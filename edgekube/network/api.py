"""What a node's pod network offers: attach a network namespace, detach it, say what is attached."""

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network
from typing import Protocol

import msgspec


class NetworkFailure(Exception):
    """A link, address or route could not be made; the message says which and what to do."""


class PortMapping(msgspec.Struct, frozen=True):
    """A hostPort."""

    container_port: int
    host_port: int
    protocol: str = "TCP"  # TCP, UDP, SCTP
    host_ip: str = ""


class Attachment(msgspec.Struct, frozen=True):
    """One sandbox on the pod network; survives restarts through the network's state file."""

    sandbox_id: str
    ips: tuple[str, ...]
    host_link: str
    ports: tuple[PortMapping, ...] = ()


class PodNetwork(Protocol):
    """The pod network of this node. All calls are idempotent."""

    async def start(self, pod_cidr: IPv4Network) -> None:
        """Make the bridge (first address of the CIDR), sysctls and routes; adopt what an earlier process left."""
        ...

    @property
    def mtu(self) -> int: ...

    @property
    def gateway(self) -> IPv4Interface: ...

    async def attach(
        self,
        sandbox_id: str,
        netns_path: str,
        *,
        ports: Sequence[PortMapping] = (),
        ingress_bps: int = 0,
        egress_bps: int = 0,
    ) -> Attachment:
        """An address and a veth for the namespace; the same ones when called again."""
        ...

    async def detach(self, sandbox_id: str) -> None:
        """Give link and address back; the host end goes first."""
        ...

    def attachments(self) -> Sequence[Attachment]: ...

    async def retain(self, sandbox_ids: Sequence[str]) -> None:
        """Remove every attachment and link that belongs to none of these."""
        ...

    async def stop(self, *, remove: bool) -> None:
        """Close sockets; with `remove` restore bridge, links, routes and sysctls to what was found (`reset`)."""
        ...
