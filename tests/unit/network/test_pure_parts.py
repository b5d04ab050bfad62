"""Addresses, names, state, the host's picture and hostile netlink bytes."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.network.api import Attachment, NetworkFailure, PortMapping
from edgekube.network.arp import ARP_REPLY, gratuitous_arp, neighbour_advertisement
from edgekube.network.host import grabbed, overlaps, pod_mtu
from edgekube.network.ipam import AddressPool
from edgekube.network.links import Link, LinkAddress, Route
from edgekube.network.names import LINK_NAME_MAX, host_link_name, mac_of
from edgekube.network.rules import HOST_PORTS, HOST_PORTS_AT, attachment_elements
from edgekube.network.state import NetworkState, load_state, remove_state, save_state
from edgekube.network.tlv import TlvError, attr, attr_str, nest, parse_attrs, parse_messages, text
from edgekube.network.vip import right_link

CIDR = IPv4Network("10.42.0.0/29")


def test_released_addresses_come_back_last() -> None:
    pool = AddressPool(CIDR)
    first = [str(pool.allocate()) for _ in range(3)]
    assert first == ["10.42.0.2", "10.42.0.3", "10.42.0.4"]
    pool.release(IPv4Address("10.42.0.2"))
    assert [str(pool.allocate()) for _ in range(3)] == ["10.42.0.5", "10.42.0.6", "10.42.0.2"]
    with pytest.raises(NetworkFailure, match="all 5 are in use"):
        pool.allocate()


def test_a_follower_goes_on_where_the_last_one_stopped() -> None:
    pool = AddressPool(CIDR)
    pool.allocate()
    follower = AddressPool(CIDR, taken=[], last=pool.last)
    assert str(follower.allocate()) == "10.42.0.3"


@given(st.lists(st.booleans(), max_size=60))
def test_no_address_is_ever_handed_out_twice(steps: list[bool]) -> None:
    pool, held = AddressPool(CIDR), []
    for take in steps:
        if take and len(held) < 5:
            address = pool.allocate()
            assert address not in held
            assert address in list(CIDR.hosts())[1:]
            held.append(address)
        elif held:
            pool.release(held.pop(0))


def test_bad_pod_cidrs() -> None:
    for text_ in ("10.0.0.0/8", "10.42.0.0/30"):
        with pytest.raises(NetworkFailure, match="prefix"):
            AddressPool(IPv4Network(text_))


def test_names_fit_and_differ() -> None:
    names = {host_link_name(f"sandbox-{number}") for number in range(2000)}
    assert len(names) == 2000
    assert max(map(len, names)) <= LINK_NAME_MAX
    assert mac_of(IPv4Address("10.42.0.7")).hex(":") == "0a:58:0a:2a:00:07"


def test_state_is_replaced_whole(tmp_path: Path) -> None:
    state = NetworkState(attachments={"a": Attachment("a", ("10.42.0.2",), "ekv1", (PortMapping(80, 8080),))})
    save_state(tmp_path, state)
    assert load_state(tmp_path) == state
    (tmp_path / "network.json").write_text("{")
    with pytest.raises(NetworkFailure, match=r"network\.json"):
        load_state(tmp_path)
    remove_state(tmp_path)
    assert load_state(tmp_path) == NetworkState()


def test_host_ports_by_address() -> None:
    ports = (PortMapping(80, 8080), PortMapping(53, 53, "UDP", "192.168.1.1"), PortMapping(81, 81, host_ip="0.0.0.0"))
    found = attachment_elements(Attachment("a", ("10.42.0.2",), "ekv1", ports))
    assert (len(found[HOST_PORTS]), len(found[HOST_PORTS_AT])) == (2, 1)
    with pytest.raises(NetworkFailure, match="none of TCP, UDP, SCTP"):
        attachment_elements(Attachment("a", ("10.42.0.2",), "ekv1", (PortMapping(1, 1, "ICMP"),)))


def link(index: int, name: str, *, kind: str = "", mtu: int = 1500, up: bool = True) -> Link:
    return Link(index, name, kind, mtu, b"", 0, up, up, name == "lo", "")


def test_the_mtu_of_the_way_out() -> None:
    links = [
        link(1, "lo", mtu=65536),
        link(2, "eth0", mtu=1492),
        link(3, "wlan0", mtu=1400),
        link(4, "docker0", kind="bridge", mtu=900),
    ]
    default = Route(None, 2, IPv4Address("192.168.1.254"))
    assert pod_mtu(links, [default], 50) == 1442
    assert pod_mtu(links, [], 0) == 1400
    assert pod_mtu(links[:1], [], 0) == 1500


def test_overlaps_and_address_grabbers() -> None:
    routes = [
        Route(IPv4Network("10.43.0.0/24"), 2, None),
        Route(IPv4Network("10.42.0.0/24"), 9, None),
        Route(None, 2, None),
    ]
    found = overlaps([IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16")], routes, frozenset({9}))
    assert len(found) == 1
    assert "10.43.0.0/24" in found[0]
    taken = [LinkAddress(5, IPv4Interface("169.254.3.4/16")), LinkAddress(6, IPv4Interface("169.254.3.4/16"))]
    assert len(grabbed([link(5, "ekvabc"), link(6, "eth0")], taken, frozenset({5}))) == 1


def test_a_virtual_address_goes_to_the_link_of_its_network() -> None:
    links = [link(2, "eth0"), link(3, "eth1"), link(4, "eth2", up=False)]
    addresses = [LinkAddress(3, IPv4Interface("192.168.2.1/24")), LinkAddress(4, IPv4Interface("192.168.3.1/24"))]
    default = [Route(None, 2, None)]
    assert right_link(IPv4Address("192.168.2.99"), links, default, addresses) == 3
    assert right_link(IPv4Address("203.0.113.9"), links, default, addresses) == 2
    assert right_link(IPv4Address("192.168.3.9"), links, [], addresses) is None


def test_announcements() -> None:
    packet = gratuitous_arp(IPv4Address("192.168.1.9"), b"\2\0\0\0\0\1", ARP_REPLY)
    assert packet.hex() == "0001080006040002" + "020000000001" + "c0a80109" + "ffffffffffff" + "c0a80109"
    message = neighbour_advertisement(__import__("ipaddress").IPv6Address("fd00::9"), b"\2\0\0\0\0\1")
    assert (message[0], message[4], len(message), message[24:26]) == (136, 0x20, 32, b"\2\1")


def test_attributes_round_trip() -> None:
    found = parse_attrs(attr(1, b"abcde") + nest(2, attr_str(3, "x")))
    assert found[1] == b"abcde"
    assert text(parse_attrs(found[2])[3]) == "x"


@given(st.binary(max_size=200))
def test_only_tlv_errors_escape(data: bytes) -> None:
    for parse in (lambda: list(parse_messages(data)), lambda: parse_attrs(data)):
        try:
            parse()
        except TlvError:
            pass
