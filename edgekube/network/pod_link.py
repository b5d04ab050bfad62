"""The pod's end of its veth pair: run inside the pod's network namespace (see `netns`)."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from edgekube.network.api import NetworkFailure
from edgekube.network.links import Rtnl
from edgekube.network.sysctl import write_sysctl

POD_LINK: Final = "eth0"


def configure(address: IPv4Address, gateway: IPv4Address) -> None:
    """Bring the link up with the address as /32 and everything routed through the gateway.

    A /32 sends even neighbours' traffic through the node, where Services, policies and connection tracking see it;
    nothing then depends on br_netfilter. Raises NetworkFailure.
    """
    rtnl = Rtnl()
    try:
        loopback = rtnl.link("lo")
        if loopback is not None and not loopback.up:
            rtnl.set_up(loopback.index)
        link = rtnl.link(POD_LINK)
        if link is None:
            raise NetworkFailure(f"the pod's link {POD_LINK} vanished while it was being set up")
        # The node never has a shorter way to offer than itself.
        for name in ("all", POD_LINK):
            write_sysctl(f"net/ipv4/conf/{name}/accept_redirects", "0")
        rtnl.set_up(link.index)
        rtnl.add_address(link.index, IPv4Interface((address, 32)))
        rtnl.add_route(IPv4Network((gateway, 32)), link.index, source=address)
        rtnl.add_route(None, link.index, gateway=gateway, source=address, onlink=True)
    finally:
        rtnl.close()


def is_configured(address: IPv4Address) -> bool:
    """Whether this namespace already has that address on its link."""
    rtnl = Rtnl()
    try:
        link = rtnl.link(POD_LINK)
        if link is None or not link.up:
            return False
        return any(found.interface.ip == address for found in rtnl.addresses(link.index))
    finally:
        rtnl.close()


def remove() -> None:
    """Take a leftover link of that name out of the way (it has lost its pair or its address)."""
    rtnl = Rtnl()
    try:
        if rtnl.link(POD_LINK) is not None:
            rtnl.delete_link_now(POD_LINK)
    finally:
        rtnl.close()
