"""The pod network between nodes: one vxlan tunnel end a node (RFC 7348), told of every other node.

Everything a node must know of another is its address and its pod CIDR: the tunnel end's own address is the CIDR's
network address, its MAC is made of that. Nothing is learned, flooded or asked for on the wire.
"""

import logging
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

import msgspec

from edgekube.network.api import NetworkFailure
from edgekube.network.links import Rtnl
from edgekube.network.names import mac_of

logger = logging.getLogger(__name__)

VXLAN_OVERHEAD_BYTES: Final = 50  # outer IPv4, UDP, vxlan and the inner Ethernet header
VNI: Final = 77
PORT: Final = 8472  # Linux's traditional one, which firewalls of k3s and flannel users already let through
PEERS_MAX: Final = 4096


class Peer(msgspec.Struct, frozen=True):
    """Another node: where it is and which pods it has."""

    address: IPv4Address
    pod_cidr: IPv4Network


class VxlanOverlay:
    """This node's tunnel end, in the network namespace of the thread that makes it.

    link_name: of the tunnel; vni and port must be the same on all nodes.
    """

    def __init__(self, *, link_name: str = "ekx0", vni: int = VNI, port: int = PORT) -> None:
        self._name = link_name
        self._vni = vni
        self._port = port
        self._rtnl = Rtnl()
        self._index = 0
        self._gateway = IPv4Address(0)
        self._peers: dict[IPv4Network, IPv4Address] = {}

    def close(self) -> None:
        self._rtnl.close()

    async def start(self, *, pod_cidr: IPv4Network, address: IPv4Address, mtu: int) -> None:
        """Make the tunnel end, or take over a fitting one; `mtu` is that of pods. Raises NetworkFailure."""
        own = pod_cidr.network_address
        wanted = (self._vni, address.packed, self._port)
        link = self._rtnl.link(self._name)
        if link is not None and (link.kind, link.tunnel, link.mac) != ("vxlan", wanted, mac_of(own)):
            await self._rtnl.delete_link(self._name)
            link = None
        if link is None:
            self._rtnl.add_vxlan(self._name, vni=self._vni, local=address, port=self._port, mac=mac_of(own), mtu=mtu)
            link = self._rtnl.link(self._name)
            if link is None:
                raise NetworkFailure(f"the tunnel {self._name} vanished right after it was made")
            self._rtnl.no_link_local(link.index)
        elif link.mtu != mtu:
            self._rtnl.set_mtu(link.index, mtu)
        self._index = link.index
        self._gateway = own + 1
        # What is masqueraded into the tunnel gets this source: its answers come back through the tunnel as well.
        self._rtnl.add_address(link.index, IPv4Interface((own, 32)))
        self._rtnl.set_up(link.index)
        self._peers = {}

    def set_peers(self, peers: Collection[Peer]) -> None:
        """Reach exactly these nodes. Raises NetworkFailure when the kernel refuses one."""
        if len(peers) > PEERS_MAX:
            raise NetworkFailure(f"{len(peers)} nodes are more than the {PEERS_MAX} one overlay is made for")
        wanted = {peer.pod_cidr: peer.address for peer in peers}
        present = {
            route.destination
            for route in self._rtnl.routes()
            if route.index == self._index and isinstance(route.destination, IPv4Network)
        }
        for cidr in present - wanted.keys():
            self._rtnl.delete_route(cidr, self._index)
            self._rtnl.delete_neighbour(self._index, cidr.network_address)
            self._rtnl.delete_tunnel_end(self._index, mac_of(cidr.network_address))
        for cidr, address in wanted.items():
            if cidr in present and self._peers.get(cidr) == address:
                continue
            far = cidr.network_address
            self._rtnl.set_tunnel_end(self._index, mac_of(far), address)
            self._rtnl.set_neighbour(self._index, far, mac_of(far))
            self._rtnl.add_route(cidr, self._index, gateway=far, source=self._gateway, onlink=True)
        self._peers = wanted

    async def remove(self) -> None:
        """Take the tunnel away, routes and all (`reset`)."""
        await self._rtnl.delete_link(self._name)
