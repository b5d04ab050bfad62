"""Virtual addresses: put on the right link of this node, announced to the LAN, taken away again.

The address sits on the link itself (the kernel then answers ARP and neighbour solicitations for it), as a single
address of host scope, so that it never becomes the source of the node's own traffic. It carries an address protocol
number of ours and an IPv4 label, by which the next process recognizes it after a kill.
"""

import logging
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Final

import trio

from edgekube.network.api import NetworkFailure
from edgekube.network.arp import send_announcement
from edgekube.network.links import (
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_LINK,
    Address,
    Link,
    LinkAddress,
    Route,
    Rtnl,
)
from edgekube.network.netlink import NETLINK_ROUTE, MessagesLost, Netlink

logger = logging.getLogger(__name__)

REPEAT_S: Final = (1.0, 3.0)  # a lost broadcast must not cost anybody an ARP cache's lifetime
SETTLE_S: Final = 0.2


class VipAnnouncer:
    """Holds a set of addresses in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._rtnl = Rtnl()
        self._events = Netlink(NETLINK_ROUTE, (RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR))
        self._wanted: frozenset[Address] = frozenset()
        self._repeat: trio.Event = trio.Event()
        self._fresh: set[Address] = set()
        self._down: set[int] = set()

    def close(self) -> None:
        self._rtnl.close()
        self._events.close()

    def held(self) -> dict[Address, int]:
        """The addresses of ours that are on a link, and its index."""
        return {found.interface.ip: found.index for found in self._rtnl.addresses() if found.virtual}

    async def hold(self, wanted: Collection[Address]) -> None:
        """Make these, and only these, this node's; what is new here is announced. Raises NetworkFailure."""
        self._wanted = frozenset(wanted)
        await trio.lowlevel.checkpoint()
        links = [link for link in self._rtnl.links() if not link.loopback]
        routes, addresses = self._rtnl.routes(), self._rtnl.addresses()
        held = {found.interface.ip: found.index for found in addresses if found.virtual}
        for address, index in held.items():
            if address not in self._wanted or right_link(address, links, routes, addresses) not in (None, index):
                self._rtnl.delete_address(index, _single(address))
        by_index = {link.index: link for link in links}
        missing = []
        for address in self._wanted:
            best = right_link(address, links, routes, addresses)
            if best is None:
                missing.append(address)
            elif held.get(address) != best:
                self._rtnl.add_address(best, _single(address), virtual=True)
                self._announce(address, by_index[best])
                self._fresh.add(address)
                self._repeat.set()
        if missing:
            names = ", ".join(str(address) for address in missing)
            raise NetworkFailure(f"no link of this node leads to {names}; choose a pool inside the LAN's range")

    def remove_all(self) -> None:
        """Take every address of ours from the links (`reset`)."""
        self._wanted = frozenset()
        for address, index in self.held().items():
            self._rtnl.delete_address(index, _single(address))

    async def watch(self) -> None:
        """Until cancelled: put back what others remove, repeat announcements, announce again when a link comes up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._repeat_announcements)
            while True:
                try:
                    await self._events.receive()
                except MessagesLost:
                    pass
                await trio.sleep(SETTLE_S)
                self._drain()
                if not self._wanted:
                    continue
                self._announce_after_outage()
                if self._wanted - self.held().keys():
                    try:
                        await self.hold(self._wanted)
                    except NetworkFailure as error:
                        logger.error("%s", error)

    async def _repeat_announcements(self) -> None:
        while True:
            await self._repeat.wait()
            self._repeat = trio.Event()
            for pause in REPEAT_S:
                await trio.sleep(pause)
                links = {link.index: link for link in self._rtnl.links()}
                for address, index in self.held().items():
                    if address in self._fresh and index in links:
                        self._announce(address, links[index])
            self._fresh.clear()

    def _announce_after_outage(self) -> None:
        """A switch that was away has forgotten, or never heard, where our addresses are."""
        links = {link.index: link for link in self._rtnl.links()}
        for address, index in self.held().items():
            if index in links and links[index].carrier and index in self._down:
                self._announce(address, links[index])
        self._down = {index for index, link in links.items() if not link.carrier}

    def _announce(self, address: Address, link: Link) -> None:
        try:
            send_announcement(address, link.name, link.index, link.mac)
        except OSError as error:
            logger.warning("announcing %s on %s: %s", address, link.name, error.strerror)

    def _drain(self) -> None:
        try:
            while self._events.receive_nowait() is not None:
                pass
        except MessagesLost:
            pass


def right_link(
    address: Address, links: Collection[Link], routes: Collection[Route], addresses: Collection[LinkAddress]
) -> int | None:
    """The link whose network holds the address, else the default route's; None when there is neither."""
    usable = {link.index for link in links if link.up}
    for found in addresses:
        network = found.interface.network
        if found.index in usable and not found.virtual and network.version == address.version and address in network:
            return found.index
    for route in routes:
        if route.destination is None and route.index in usable:
            return route.index
    return None


def _single(address: Address) -> IPv4Interface | IPv6Interface:
    if isinstance(address, IPv4Address):
        return IPv4Interface((address, 32))
    assert isinstance(address, IPv6Address)
    return IPv6Interface((address, 128))
