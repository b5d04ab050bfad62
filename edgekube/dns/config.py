"""What the DNS server is told by the node that starts it."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import msgspec


class DnsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the cluster DNS server of one node.

    listen: addresses of this node to answer on, the cluster DNS service address first; pods get it in their
        resolv.conf. The pod network puts it on its bridge.
    networks: the cluster's pod and service ranges: reverse names in them are answered here alone.
    resolv_conf: the node's own, read again when it changes; `upstreams` takes its place when given.
    upstream_port: 53 everywhere but in tests.
    """

    listen: tuple[IPv4Address, ...]
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    domain: str = "cluster.local"
    port: int = 53
    resolv_conf: Path = Path("/etc/resolv.conf")
    upstreams: tuple[IPv4Address | IPv6Address, ...] | None = None
    upstream_port: int = 53
