"""Links, addresses, routes and neighbours: rtnetlink (rtnetlink(7)) for what a node's network needs of it.

Values in, values out; every call but `delete_link` is one quick kernel round trip. IPv4 and IPv6 addresses alike.
"""

import errno
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_address

import trio
from msgspec import Struct

from edgekube.network.names import LINK_NAME_MAX
from edgekube.network.netlink import NETLINK_ROUTE, Netlink, NetlinkError
from edgekube.network.tlv import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    attr,
    attr_str,
    attr_u8,
    attr_u32,
    nest,
    parse_attrs,
    text,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29

RTNLGRP_LINK = 1
RTNLGRP_IPV4_IFADDR = 5
RTNLGRP_IPV4_ROUTE = 7
RTNLGRP_IPV6_IFADDR = 9

AF_INET, AF_INET6 = 2, 10

IFF_UP, IFF_LOOPBACK, IFF_LOWER_UP = 0x1, 0x8, 0x10000

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18
IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_NET_NS_FD = 20, 26, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE = 4  # hairpin
IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_MCAST_SNOOPING = 1, 5, 23
IFLA_INET6_ADDR_GEN_MODE = 8
VETH_INFO_PEER = 1
IFLA_VXLAN_ID, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING, IFLA_VXLAN_PORT = 1, 4, 7, 15

IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_CACHEINFO, IFA_FLAGS, IFA_PROTO = 1, 2, 3, 6, 8, 11
IFA_F_NODAD = 0x02
VIRTUAL_PROTO = 0x65  # our mark on virtual addresses, from Linux 5.18 on
VIRTUAL_LABEL = ":ek"  # the same for IPv4 on any kernel

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_TABLE = 1, 4, 5, 7, 15
RT_TABLE_MAIN = 254
RTPROT_BOOT, RTPROT_STATIC = 3, 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST = 0, 253, 254
RTN_UNICAST = 1
RTNH_F_ONLINK = 4

NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT, NUD_NOARP = 0x80, 0x40
NTF_SELF = 0x02
AF_BRIDGE = 7

ALIAS_BYTES_MAX = 255

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


class Link(Struct, frozen=True):
    """A network interface. `kind` is "" for hardware; `master` is the index of its bridge or 0."""

    index: int
    name: str
    kind: str
    mtu: int
    mac: bytes
    master: int
    up: bool
    carrier: bool
    loopback: bool
    alias: str
    tunnel: tuple[int, bytes, int] = (0, b"", 0)  # of a vxlan: VNI, local address, port


class LinkAddress(Struct, frozen=True):
    """`virtual` tells the addresses put there with `add_address(virtual=True)`."""

    index: int
    interface: Interface
    virtual: bool = False


class Route(Struct, frozen=True):
    """A unicast route of the main table; `destination` None is the default route."""

    destination: Network | None
    index: int
    gateway: Address | None


class Rtnl:
    """rtnetlink in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_ROUTE)
        self._slow: Netlink | None = None
        self._slow_lock = trio.Lock()
        try:
            self._slow = Netlink(NETLINK_ROUTE)
        except BaseException:
            self._netlink.close()
            raise

    def close(self) -> None:
        self._netlink.close()
        if self._slow is not None:
            self._slow.close()

    def links(self) -> list[Link]:
        answers = self._netlink.dump(RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0), what="list the network links")
        return [parse_link(answer.payload) for answer in answers]

    def link(self, name: str) -> Link | None:
        """The link of that name, or None."""
        payload = _IFINFO.pack(0, 0, 0, 0, 0) + attr_str(IFLA_IFNAME, name)
        try:
            answers = self._netlink.request(RTM_GETLINK, payload, what=f"look up the link {name}")
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return parse_link(answers[0].payload) if answers else None

    def add_bridge(self, name: str, *, mac: bytes, mtu: int) -> None:
        """A bridge with a fixed MAC (else it takes its ports' lowest and peers' ARP caches go stale), no STP."""
        data = nest(
            IFLA_INFO_DATA,
            attr_u32(IFLA_BR_FORWARD_DELAY, 0),
            attr_u32(IFLA_BR_STP_STATE, 0),
            attr_u8(IFLA_BR_MCAST_SNOOPING, 0),
        )
        self._new_link(
            attr_str(IFLA_IFNAME, name)
            + attr(IFLA_ADDRESS, mac)
            + attr_u32(IFLA_MTU, mtu)
            + nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"bridge"), data),
            what=f"make the bridge {name}",
        )

    def add_vxlan(self, name: str, *, vni: int, local: IPv4Address, port: int, mac: bytes, mtu: int) -> None:
        """A tunnel end that learns nothing by itself: neighbours and forwarding entries are given."""
        data = nest(
            IFLA_INFO_DATA,
            attr_u32(IFLA_VXLAN_ID, vni),
            attr(IFLA_VXLAN_LOCAL, local.packed),
            attr_u8(IFLA_VXLAN_LEARNING, 0),
            attr(IFLA_VXLAN_PORT, port.to_bytes(2, "big")),
        )
        self._new_link(
            attr_str(IFLA_IFNAME, name)
            + attr(IFLA_ADDRESS, mac)
            + attr_u32(IFLA_MTU, mtu)
            + nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"vxlan"), data),
            what=f"make the tunnel {name} from {local}",
        )

    def add_veth(
        self,
        name: str,
        *,
        peer: str,
        peer_netns_fd: int,
        peer_mac: bytes,
        mtu: int,
        master: int = 0,
    ) -> None:
        """A pair: `name` here on the bridge `master`, `peer` in the given namespace; both still down."""
        ours = attr_str(IFLA_IFNAME, name) + attr_u32(IFLA_MTU, mtu)
        if master:
            ours += attr_u32(IFLA_MASTER, master)
        theirs = (
            _IFINFO.pack(0, 0, 0, 0, 0)
            + attr_str(IFLA_IFNAME, peer)
            + attr(IFLA_ADDRESS, peer_mac)
            + attr_u32(IFLA_MTU, mtu)
            + attr_u32(IFLA_NET_NS_FD, peer_netns_fd)
        )
        info = nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"veth"), nest(IFLA_INFO_DATA, attr(VETH_INFO_PEER, theirs)))
        self._new_link(ours + info, what=f"make the veth pair {name}")

    def no_link_local(self, index: int) -> None:
        """No IPv6 link-local address, hence no DAD, MLD and solicitations on a link that speaks IPv4 alone.

        To be called while the link is down. A kernel without IPv6 has nothing to turn off.
        """
        payload = _IFINFO.pack(0, 0, index, 0, 0) + _NO_LINK_LOCAL
        try:
            self._netlink.request(RTM_NEWLINK, payload, what=f"turn off IPv6 link-local addresses on link {index}")
        except NetlinkError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise

    def configure_port(self, index: int, alias: str) -> None:
        """Let the bridge send a frame back out of this port, where it came from; note who the link belongs to."""
        info = nest(
            IFLA_LINKINFO,
            attr(IFLA_INFO_SLAVE_KIND, b"bridge"),
            nest(IFLA_INFO_SLAVE_DATA, attr_u8(IFLA_BRPORT_MODE, 1)),
        )
        payload = _IFINFO.pack(0, 0, index, 0, 0) + attr(IFLA_IFALIAS, alias.encode()[:ALIAS_BYTES_MAX]) + info
        self._netlink.request(RTM_NEWLINK, payload, what=f"configure the bridge port {index}")

    def set_up(self, index: int, *, up: bool = True) -> None:
        payload = _IFINFO.pack(0, 0, index, IFF_UP if up else 0, IFF_UP)
        self._netlink.request(RTM_NEWLINK, payload, what=f"set link {index} {'up' if up else 'down'}")

    def set_master(self, index: int, master: int) -> None:
        """Make the link a port of a bridge."""
        payload = _IFINFO.pack(0, 0, index, 0, 0) + attr_u32(IFLA_MASTER, master)
        self._netlink.request(RTM_NEWLINK, payload, what=f"make link {index} a port of bridge {master}")

    def set_mtu(self, index: int, mtu: int) -> None:
        payload = _IFINFO.pack(0, 0, index, 0, 0) + attr_u32(IFLA_MTU, mtu)
        self._netlink.request(RTM_NEWLINK, payload, what=f"set the MTU of link {index} to {mtu}")

    def delete_link_now(self, name: str) -> None:
        """`delete_link` where no trio runs."""
        payload = _IFINFO.pack(0, 0, 0, 0, 0) + attr_str(IFLA_IFNAME, name)
        self._netlink.request(RTM_DELLINK, payload, what=f"remove the link {name}")

    async def delete_link(self, name: str) -> bool:
        """Remove a link (a veth takes its peer along). False when there was none. The kernel needs milliseconds."""
        payload = _IFINFO.pack(0, 0, 0, 0, 0) + attr_str(IFLA_IFNAME, name)
        assert self._slow is not None
        async with self._slow_lock:
            try:
                await self._slow.request_in_thread(RTM_DELLINK, payload, what=f"remove the link {name}")
            except NetlinkError as error:
                if error.errno == errno.ENODEV:
                    return False
                raise
        return True

    def addresses(self, index: int = 0) -> list[LinkAddress]:
        """All addresses, or those of one link."""
        answers = self._netlink.dump(RTM_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0), what="list the addresses")
        found = (parse_address(answer.payload) for answer in answers)
        return [address for address in found if address is not None and index in (0, address.index)]

    def add_address(self, index: int, address: Interface, *, virtual: bool = False) -> None:
        """Idempotent. IPv6 addresses go without duplicate address detection, usable at once.

        A virtual address has host scope, hence is never chosen as a source, and a mark to be found by.
        """
        try:
            self._netlink.request(
                RTM_NEWADDR,
                self._virtual_address(index, address) if virtual else _address(index, address),
                NLM_F_CREATE | NLM_F_EXCL,
                what=f"put {address} on link {index}",
            )
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise

    def _virtual_address(self, index: int, address: Interface) -> bytes:
        payload = _address(index, address, RT_SCOPE_HOST) + attr_u8(IFA_PROTO, VIRTUAL_PROTO)
        if address.version == 6:  # knows no host scope: deprecated at once has the same effect
            return payload + attr(IFA_CACHEINFO, struct.pack("=IIII", 0, 0xFFFFFFFF, 0, 0))
        label = next((link.name for link in self.links() if link.index == index), "") + VIRTUAL_LABEL
        return payload + (attr_str(IFA_LABEL, label) if len(label) <= LINK_NAME_MAX else b"")

    def delete_address(self, index: int, address: Interface) -> None:
        """Idempotent."""
        try:
            self._netlink.request(RTM_DELADDR, _address(index, address), what=f"take {address} from link {index}")
        except NetlinkError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                raise

    def routes(self) -> list[Route]:
        """Unicast routes of the main table, both families."""
        payload = _RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)
        found = (_route(answer.payload) for answer in self._netlink.dump(RTM_GETROUTE, payload, what="list routes"))
        return [route for route in found if route is not None]

    def add_route(
        self,
        destination: Network | None,
        index: int,
        *,
        gateway: Address | None = None,
        source: Address | None = None,
        onlink: bool = False,
        family: int = AF_INET,
    ) -> None:
        """Add or replace a route of the main table; None is the default route of `family`."""
        payload = _route_payload(destination, index, gateway=gateway, source=source, onlink=onlink, family=family)
        self._netlink.request(
            RTM_NEWROUTE,
            payload,
            NLM_F_CREATE | NLM_F_REPLACE,
            what=f"route {destination or 'default'} through link {index}",
        )

    def delete_route(self, destination: Network | None, index: int, *, family: int = AF_INET) -> None:
        """Idempotent."""
        payload = _route_payload(destination, index, gateway=None, source=None, onlink=False, family=family, any_=True)
        try:
            self._netlink.request(RTM_DELROUTE, payload, what=f"remove the route {destination or 'default'}")
        except NetlinkError as error:
            if error.errno not in (errno.ESRCH, errno.ENODEV):
                raise

    def set_neighbour(self, index: int, address: Address, mac: bytes) -> None:
        """A permanent neighbour, replacing what was known of the address."""
        family = AF_INET if address.version == 4 else AF_INET6
        payload = _NDMSG.pack(family, index, NUD_PERMANENT, 0, 0) + attr(NDA_DST, address.packed)
        self._netlink.request(
            RTM_NEWNEIGH,
            payload + attr(NDA_LLADDR, mac),
            NLM_F_CREATE | NLM_F_REPLACE,
            what=f"set the neighbour {address} on link {index}",
        )

    def delete_neighbour(self, index: int, address: Address) -> None:
        """Idempotent."""
        family = AF_INET if address.version == 4 else AF_INET6
        payload = _NDMSG.pack(family, index, 0, 0, 0) + attr(NDA_DST, address.packed)
        self._delete_neighbour(payload, f"remove the neighbour {address} of link {index}")

    def set_tunnel_end(self, index: int, mac: bytes, address: IPv4Address) -> None:
        """Frames to this MAC go through the tunnel to that address."""
        payload = _NDMSG.pack(AF_BRIDGE, index, NUD_PERMANENT | NUD_NOARP, NTF_SELF, 0)
        self._netlink.request(
            RTM_NEWNEIGH,
            payload + attr(NDA_LLADDR, mac) + attr(NDA_DST, address.packed),
            NLM_F_CREATE | NLM_F_REPLACE,
            what=f"set the tunnel end {address} on link {index}",
        )

    def delete_tunnel_end(self, index: int, mac: bytes) -> None:
        """Idempotent."""
        payload = _NDMSG.pack(AF_BRIDGE, index, 0, NTF_SELF, 0) + attr(NDA_LLADDR, mac)
        self._delete_neighbour(payload, f"remove a tunnel end of link {index}")

    def _delete_neighbour(self, payload: bytes, what: str) -> None:
        try:
            self._netlink.request(RTM_DELNEIGH, payload, what=what)
        except NetlinkError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def _new_link(self, attrs: bytes, *, what: str) -> None:
        payload = _IFINFO.pack(0, 0, 0, 0, 0) + attrs
        self._netlink.request(RTM_NEWLINK, payload, NLM_F_CREATE | NLM_F_EXCL, what=what)


# addr_gen_mode "none".
_NO_LINK_LOCAL = nest(IFLA_AF_SPEC, nest(AF_INET6, attr_u8(IFLA_INET6_ADDR_GEN_MODE, 1)))


def parse_link(payload: bytes) -> Link:
    """The link of an RTM_NEWLINK or RTM_DELLINK message."""
    _, _, index, flags, _ = _IFINFO.unpack_from(payload)
    attrs = parse_attrs(payload, _IFINFO.size)
    info = parse_attrs(attrs.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=text(attrs.get(IFLA_IFNAME, b"")),
        kind=text(info.get(IFLA_INFO_KIND, b"")),
        mtu=_u32(attrs.get(IFLA_MTU)),
        mac=attrs.get(IFLA_ADDRESS, b""),
        master=_u32(attrs.get(IFLA_MASTER)),
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        loopback=bool(flags & IFF_LOOPBACK),
        alias=text(attrs.get(IFLA_IFALIAS, b"")),
        tunnel=_tunnel(info) if info.get(IFLA_INFO_KIND, b"").startswith(b"vxlan") else (0, b"", 0),
    )


def _tunnel(info: dict[int, bytes]) -> tuple[int, bytes, int]:
    data = parse_attrs(info.get(IFLA_INFO_DATA, b""))
    port = int.from_bytes(data.get(IFLA_VXLAN_PORT, b""), "big")
    return _u32(data.get(IFLA_VXLAN_ID)), data.get(IFLA_VXLAN_LOCAL, b""), port


def parse_address(payload: bytes) -> LinkAddress | None:
    """The address of an RTM_NEWADDR or RTM_DELADDR message; None for other families."""
    family, prefix, _, _, index = _IFADDR.unpack_from(payload)
    attrs = parse_attrs(payload, _IFADDR.size)
    packed = attrs.get(IFA_LOCAL) or attrs.get(IFA_ADDRESS)
    if packed is None or family not in (AF_INET, AF_INET6):
        return None
    interface: Interface = (
        IPv4Interface((int.from_bytes(packed, "big"), prefix))
        if family == AF_INET
        else IPv6Interface((int.from_bytes(packed, "big"), prefix))
    )
    ours = attrs.get(IFA_PROTO) == bytes((VIRTUAL_PROTO,)) or text(attrs.get(IFA_LABEL, b"")).endswith(VIRTUAL_LABEL)
    return LinkAddress(index, interface, ours)


def _address(index: int, address: Interface, scope: int = RT_SCOPE_UNIVERSE) -> bytes:
    packed = address.ip.packed
    family = AF_INET if address.version == 4 else AF_INET6
    payload = _IFADDR.pack(family, address.network.prefixlen, 0, scope, index) + attr(IFA_LOCAL, packed)
    payload += attr(IFA_ADDRESS, packed)
    if family == AF_INET6:
        payload += attr_u32(IFA_FLAGS, IFA_F_NODAD)
    return payload


def _route_payload(
    destination: Network | None,
    index: int,
    *,
    gateway: Address | None,
    source: Address | None,
    onlink: bool,
    family: int,
    any_: bool = False,
) -> bytes:
    if destination is not None:
        family = AF_INET if destination.version == 4 else AF_INET6
    prefix = destination.prefixlen if destination is not None else 0
    scope = RT_SCOPE_UNIVERSE if gateway is not None or family == AF_INET6 else RT_SCOPE_LINK
    if any_:
        scope = 255  # RT_SCOPE_NOWHERE: delete whatever its scope
    head = _RTMSG.pack(
        family,
        prefix,
        0,
        0,
        RT_TABLE_MAIN,
        0 if any_ else RTPROT_STATIC,
        scope,
        0 if any_ else RTN_UNICAST,
        RTNH_F_ONLINK if onlink else 0,
    )
    attrs = attr_u32(RTA_OIF, index)
    if destination is not None:
        attrs += attr(RTA_DST, destination.network_address.packed)
    if gateway is not None:
        attrs += attr(RTA_GATEWAY, gateway.packed)
    if source is not None:
        attrs += attr(RTA_PREFSRC, source.packed)
    return head + attrs


def _route(payload: bytes) -> Route | None:
    family, prefix, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(payload)
    attrs = parse_attrs(payload, _RTMSG.size)
    if family not in (AF_INET, AF_INET6) or kind != RTN_UNICAST or _u32(attrs.get(RTA_TABLE), table) != RT_TABLE_MAIN:
        return None
    destination: Network | None = None
    if RTA_DST in attrs:
        number = int.from_bytes(attrs[RTA_DST], "big")
        destination = IPv4Network((number, prefix)) if family == AF_INET else IPv6Network((number, prefix))
    gateway = ip_address(attrs[RTA_GATEWAY]) if RTA_GATEWAY in attrs else None
    return Route(destination, _u32(attrs.get(RTA_OIF)), gateway)


def _u32(value: bytes | None, default: int = 0) -> int:
    return default if value is None else int(struct.unpack("=I", value)[0])
