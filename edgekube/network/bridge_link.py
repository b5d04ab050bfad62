"""The node's bridge itself: what it should be like, and making it so. Knows no pods."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from edgekube.network.api import NetworkFailure
from edgekube.network.links import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_NEWLINK,
    Rtnl,
    parse_link,
)
from edgekube.network.names import mac_of
from edgekube.network.sysctl import write_sysctl
from edgekube.network.tlv import Message


class BridgeLink:
    """A bridge with the gateway address, further /32 addresses of the node, and the route for Services.

    `index` is the link's, 0 before `ensure`.
    """

    def __init__(
        self,
        name: str,
        gateway: IPv4Interface,
        local_addresses: Sequence[IPv4Address],
        service_cidr: IPv4Network | None,
    ) -> None:
        self.index = 0
        self._name = name
        self._gateway = gateway
        self._addresses = frozenset({gateway, *(IPv4Interface((address, 32)) for address in local_addresses)})
        self._service_cidr = service_cidr

    def ensure(self, rtnl: Rtnl, mtu: int) -> None:
        """Make it, or make it right. Raises NetworkFailure."""
        bridge = rtnl.link(self._name)
        if bridge is None:
            rtnl.add_bridge(self._name, mac=mac_of(self._gateway.ip), mtu=mtu)
            bridge = rtnl.link(self._name)
            if bridge is not None:
                rtnl.no_link_local(bridge.index)
        if bridge is None or bridge.kind != "bridge":
            raise NetworkFailure(
                f"the link {self._name} exists and is no bridge; remove it or choose another bridge name"
            )
        self.index = bridge.index
        if bridge.mtu != mtu:
            rtnl.set_mtu(bridge.index, mtu)
        for found in rtnl.addresses(bridge.index):
            if found.interface.version == 4 and found.interface not in self._addresses:
                rtnl.delete_address(bridge.index, found.interface)
        rtnl.add_address(bridge.index, self._gateway)  # the first address is the source of the node's own traffic
        for address in self._addresses:
            rtnl.add_address(bridge.index, address)
        # No ICMP redirects to pods: see BridgeNetwork._start_sysctls.
        write_sysctl(f"net/ipv4/conf/{self._name}/send_redirects", "0")
        rtnl.set_up(bridge.index)
        if self._service_cidr is not None:
            rtnl.add_route(self._service_cidr, bridge.index, source=self._gateway.ip)

    def is_whole(self, rtnl: Rtnl) -> bool:
        """Whether it is as `ensure` made it."""
        bridge = rtnl.link(self._name)
        if bridge is None or not bridge.up or bridge.index != self.index:
            return False
        held = {found.interface for found in rtnl.addresses(bridge.index)}
        routed = {route.destination for route in rtnl.routes() if route.index == bridge.index}
        return self._addresses <= held and (self._service_cidr is None or self._service_cidr in routed)

    def is_damage(self, message: Message) -> bool:
        """Whether an rtnetlink event may mean that it is not whole any more."""
        if message.type in (RTM_NEWLINK, RTM_DELLINK):
            link = parse_link(message.payload)
            return link.index == self.index and (message.type == RTM_DELLINK or not link.up)
        return message.type in (RTM_DELADDR, RTM_DELROUTE)
