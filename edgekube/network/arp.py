"""Unsolicited announcements that an address is here now: gratuitous ARP (RFC 5227), unsolicited NA (RFC 4861 7.2.6)."""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

ETHERTYPE_ARP: Final = 0x0806
BROADCAST: Final = b"\xff" * 6
ARP_REQUEST, ARP_REPLY = 1, 2
_NA: Final = 136
_OVERRIDE: Final = 0x20000000
_TARGET_LINK_ADDRESS: Final = 2
_IPV6_MULTICAST_IF: Final = 17
_IPV6_MULTICAST_HOPS: Final = 18
_ALL_NODES: Final = "ff02::1"


def gratuitous_arp(address: IPv4Address, mac: bytes, operation: int) -> bytes:
    """The ARP packet without Ethernet header: sender and target protocol address are the same."""
    target = BROADCAST if operation == ARP_REPLY else bytes(6)
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation)
    return head + mac + address.packed + target + address.packed


def neighbour_advertisement(address: IPv6Address, mac: bytes) -> bytes:
    """The ICMPv6 message; the kernel fills in the checksum."""
    head = struct.pack(">BBHI", _NA, 0, 0, _OVERRIDE)
    return head + address.packed + bytes((_TARGET_LINK_ADDRESS, 1)) + mac


def send_announcement(address: IPv4Address | IPv6Address, link: str, index: int, mac: bytes) -> None:
    """Broadcast on one link; both ARP operations, for devices differ in which they believe. Raises OSError."""
    if isinstance(address, IPv4Address):
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as packets:
            for operation in (ARP_REQUEST, ARP_REPLY):
                packets.sendto(gratuitous_arp(address, mac, operation), (link, ETHERTYPE_ARP, 0, 0, BROADCAST))
        return
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6) as icmp:
        icmp.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_HOPS, 255)  # receivers drop anything less
        icmp.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_IF, index)
        icmp.sendto(neighbour_advertisement(address, mac), (_ALL_NODES, 0, 0, index))
