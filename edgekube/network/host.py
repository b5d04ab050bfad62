"""What the node's surroundings mean for the pod network: MTU, overlaps, other people's address managers. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

from edgekube.network.links import Link, LinkAddress, Route

MTU_DEFAULT: Final = 1500
MTU_MIN: Final = 576
_VIRTUAL_KINDS: Final = frozenset({"bridge", "veth", "dummy", "vxlan", "tun", "wireguard", "ifb", "ipip", "sit"})
_LINK_LOCAL: Final = IPv4Network("169.254.0.0/16")


def pod_mtu(links: Sequence[Link], routes: Sequence[Route], overhead: int) -> int:
    """The MTU of the way out (the default route's link, else the smallest real link) less the overlay's headers."""
    by_index = {link.index: link for link in links}
    candidates = [
        by_index[route.index].mtu for route in routes if route.destination is None and route.index in by_index
    ]
    if not candidates:
        candidates = [link.mtu for link in links if link.up and not link.loopback and link.kind not in _VIRTUAL_KINDS]
    return max(MTU_MIN, min(candidates, default=MTU_DEFAULT) - overhead)


def overlaps(cidrs: Sequence[IPv4Network], routes: Sequence[Route], own_links: frozenset[int]) -> list[str]:
    """Routes of the host that would swallow, or be swallowed by, the cluster's ranges."""
    return [
        f"the host routes {destination}, which overlaps the cluster's {cidr}; "
        "choose other ranges with --cluster-cidr and --service-cidr"
        for destination in (route.destination for route in routes if route.index not in own_links)
        if isinstance(destination, IPv4Network) and destination.prefixlen
        for cidr in cidrs
        if destination.overlaps(cidr)
    ]


def grabbed(links: Sequence[Link], addresses: Sequence[LinkAddress], own_links: frozenset[int]) -> list[str]:
    """Our links on which an address manager (dhcpcd, avahi-autoipd) put an address."""
    names = {link.index: link.name for link in links}
    return [
        f"another program put {found.interface} on {names[found.index]}; "
        "keep it off these links (dhcpcd: `denyinterfaces ekv* ek0` in /etc/dhcpcd.conf)"
        for found in addresses
        if found.index in own_links and found.index in names and found.interface.ip in _LINK_LOCAL
    ]
