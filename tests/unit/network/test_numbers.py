"""Our numbers and encodings against pyroute2's: an independent reading of the kernel's headers."""

from ipaddress import IPv4Interface, IPv4Network

import pytest

from edgekube.network import links, nft, nft_batch
from edgekube.network.api import Attachment, PortMapping
from edgekube.network.nft import Chain, Hook, SetSpec
from edgekube.network.rules import network_table
from edgekube.network.tlv import Message, parse_messages

nftsocket = pytest.importorskip("pyroute2.netlink.nfnetlink.nftsocket")
ifinfmsg = pytest.importorskip("pyroute2.netlink.rtnl.ifinfmsg")
ifaddrmsg = pytest.importorskip("pyroute2.netlink.rtnl.ifaddrmsg")
rtmsg = pytest.importorskip("pyroute2.netlink.rtnl.rtmsg")


def decode(cls: type, payload: bytes) -> object:
    """A payload read by one of pyroute2's message classes."""
    data = (16 + len(payload)).to_bytes(4, "little") + bytes(12) + payload
    message = cls(data)  # type: ignore[call-arg]
    message.decode()
    return message


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (links.IFLA_ADDRESS, "IFLA_ADDRESS"),
        (links.IFLA_IFNAME, "IFLA_IFNAME"),
        (links.IFLA_MTU, "IFLA_MTU"),
        (links.IFLA_MASTER, "IFLA_MASTER"),
        (links.IFLA_LINKINFO, "IFLA_LINKINFO"),
        (links.IFLA_IFALIAS, "IFLA_IFALIAS"),
        (links.IFLA_AF_SPEC, "IFLA_AF_SPEC"),
        (links.IFLA_NET_NS_FD, "IFLA_NET_NS_FD"),
    ],
)
def test_link_attributes(ours: int, theirs: str) -> None:
    assert ifinfmsg.ifinfmsg.nla_map[ours][0] == theirs


def test_an_address_is_read_by_pyroute2() -> None:
    found = decode(ifaddrmsg.ifaddrmsg, links._address(7, IPv4Interface("10.42.0.1/24")))
    assert (found["family"], found["prefixlen"], found["index"]) == (2, 24, 7)  # type: ignore[index]
    assert found.get_attr("IFA_LOCAL") == "10.42.0.1"  # type: ignore[attr-defined]


def test_a_route_is_read_by_pyroute2() -> None:
    payload = links._route_payload(
        IPv4Network("10.43.0.0/16"),
        7,
        gateway=IPv4Interface("10.42.0.1/24").ip,
        source=IPv4Interface("10.42.0.9/24").ip,
        onlink=True,
        family=2,
    )
    found = decode(rtmsg.rtmsg, payload)
    assert (found["dst_len"], found["table"], found["type"], found["flags"]) == (16, 254, 1, 4)  # type: ignore[index]
    values = {name: found.get_attr(name) for name in ("RTA_DST", "RTA_GATEWAY", "RTA_PREFSRC", "RTA_OIF")}  # type: ignore[attr-defined]
    assert values == {
        "RTA_DST": "10.43.0.0",
        "RTA_GATEWAY": "10.42.0.1",
        "RTA_PREFSRC": "10.42.0.9",
        "RTA_OIF": 7,
    }


def messages() -> list[Message]:
    """The network's own table as a batch, without begin and end."""
    attachment = Attachment("a", ("10.42.0.2",), "ekv1", (PortMapping(80, 8080),))
    table = network_table(
        bridge="ek0",
        pod_cidr=IPv4Network("10.42.0.0/24"),
        cluster_cidr=IPv4Network("10.42.0.0/16"),
        attachments=[attachment],
    )
    batch = nft_batch.Batch(nft.NFPROTO_IPV4, table.name)
    batch.replace_table(table)
    found = list(parse_messages(batch.encode(5)))
    assert [found[0].type, found[-1].type] == [nft_batch.NFNL_BATCH_BEGIN, nft_batch.NFNL_BATCH_END]
    return found[1:-1]


def test_tables_chains_sets_and_rules_are_read_by_pyroute2() -> None:
    classes = {
        nft_batch.NEWTABLE: nftsocket.nft_table_msg,
        nft_batch.NEWCHAIN: nftsocket.nft_chain_msg,
        nft_batch.NEWRULE: nftsocket.nft_rule_msg,
        nft_batch.NEWSET: nftsocket.nft_set_msg,
        nft_batch.NEWSETELEM: nftsocket.nft_set_elem_list_msg,
    }
    names: dict[int, list[str]] = {}
    for message in messages():
        kind = message.type & 0xFF
        if kind in classes:
            found = decode(classes[kind], message.payload)
            prefix = classes[kind].prefix if hasattr(classes[kind], "prefix") else ""
            names.setdefault(kind, []).append(prefix)
            assert found["nfgen_family"] == 2  # type: ignore[index]
            if kind == nft_batch.NEWCHAIN:
                assert found.get_attr("NFTA_CHAIN_TABLE") == "edgekube-net"  # type: ignore[attr-defined]
                hook = found.get_attr("NFTA_CHAIN_HOOK")  # type: ignore[attr-defined]
                assert hook.get_attr("NFTA_HOOK_PRIORITY") in (-101, 100)
                assert found.get_attr("NFTA_CHAIN_TYPE") == "nat"  # type: ignore[attr-defined]
            if kind == nft_batch.NEWRULE:
                expressions = found.get_attr("NFTA_RULE_EXPRESSIONS")  # type: ignore[attr-defined]
                assert expressions[-1].get_attr("NFTA_EXPR_NAME") in ("nat", "masq")
    assert set(names) == set(classes)


def test_type_numbers_of_concatenations() -> None:
    assert nft.type_number((nft.TYPE_IPV4, nft.TYPE_INET_PROTO, nft.TYPE_INET_SERVICE)) == (7 << 12) | (12 << 6) | 13
    assert nft.type_length((nft.TYPE_IPV4, nft.TYPE_INET_PROTO, nft.TYPE_INET_SERVICE)) == 12
    assert nft.type_length((nft.TYPE_INET_SERVICE,)) == 2
    assert nft.type_number((nft.TYPE_VERDICT,)) == nft.TYPE_VERDICT


def steps(batch: nft_batch.Batch) -> list[str]:
    return batch.steps[1:]


def test_a_change_sends_only_what_differs_and_in_a_safe_order() -> None:
    old_chain = Chain(((nft.decide(nft.NF_ACCEPT),),))
    new_chain = Chain(((nft.decide(nft.NF_DROP),),))
    go = nft.verdict(nft.NFT_GOTO, "keep")
    spec = SetSpec(key=(nft.TYPE_IPV4,), data=(nft.TYPE_VERDICT,))
    batch = nft_batch.Batch(2, "t")
    batch.change(
        {"map": spec, "gone-set": spec},
        {"keep": old_chain, "gone": old_chain, "same": old_chain},
        nft_batch.Delta(
            sets={"new-set": spec, "gone-set": None, "map": spec},
            chains={"keep": new_chain, "gone": None, "same": old_chain, "new": new_chain},
            elements={"map": {b"moved": go, b"gone": None, b"same": go}},
        ),
        {"map": {b"moved": nft.verdict(nft.NFT_GOTO, "gone"), b"gone": go, b"same": go}},
    )
    assert steps(batch) == [
        "make the set new-set",
        "make the chain new",
        "delete elements from map",
        "flush the chain keep",
        "flush the chain gone",
        "add a rule to keep",
        "add a rule to new",
        "add elements to map",
        "drop the chain gone",
        "drop the set gone-set",
    ]


def test_long_element_lists_are_split() -> None:
    spec = SetSpec(key=(nft.TYPE_IPV4,))
    elements = {number.to_bytes(4, "big"): b"" for number in range(20_000)}
    batch = nft_batch.Batch(2, "t")
    batch.change({}, {}, nft_batch.Delta(sets={"s": spec}, elements={"s": elements}), {})
    found = list(parse_messages(batch.encode(None)))
    lists = [message for message in found if message.type & 0xFF == nft_batch.NEWSETELEM and message.type > 255]
    assert len(lists) > 1
    assert all(len(message.payload) < 65_535 for message in lists)


def test_equal_tables_make_no_batch() -> None:
    chain = Chain((), Hook("nat", nft.OUTPUT, 0))
    batch = nft_batch.Batch(2, "t")
    batch.change({}, {"c": chain}, nft_batch.Delta(chains={"c": chain, "never": None}), {})
    assert len(batch) == 0
