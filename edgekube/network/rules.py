"""The pod network's own nftables: egress masquerade, host ports, hairpin. Pure: values in, a table out.

Separate from the service proxy's table, so that either lives without the other. A host port is looked up just before
Services are (one priority earlier); the first NAT decision of a connection wins.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from edgekube.network import nft
from edgekube.network.api import Attachment, NetworkFailure, PortMapping
from edgekube.network.nft import Chain, Data, Hook, Rule, SetSpec, Table

TABLE: Final = "edgekube-net"
HAIRPIN: Final = "hairpin"
HOST_PORTS: Final = "host-ports"
HOST_PORTS_AT: Final = "host-ports-at"

PROTOCOLS: Final[Mapping[str, int]] = {"TCP": 6, "UDP": 17, "SCTP": 132}

PRIORITY_HOST_PORTS: Final = nft.PRIORITY_DSTNAT - 1
_MULTICAST = IPv4Network("224.0.0.0/4")

_SETS: Final = {
    # A pod that reaches itself through a Service or host port: its answer must come back through here.
    HAIRPIN: SetSpec(key=(nft.TYPE_IPV4, nft.TYPE_IPV4)),
    HOST_PORTS: SetSpec(key=(nft.TYPE_INET_PROTO, nft.TYPE_INET_SERVICE), data=(nft.TYPE_IPV4, nft.TYPE_INET_SERVICE)),
    HOST_PORTS_AT: SetSpec(
        key=(nft.TYPE_IPV4, nft.TYPE_INET_PROTO, nft.TYPE_INET_SERVICE),
        data=(nft.TYPE_IPV4, nft.TYPE_INET_SERVICE),
    ),
}


def network_table(
    *, bridge: str, pod_cidr: IPv4Network, cluster_cidr: IPv4Network, attachments: Iterable[Attachment]
) -> Table:
    """The whole table."""
    elements: dict[str, dict[bytes, Data]] = {name: {} for name in _SETS}
    for attachment in attachments:
        for name, held in attachment_elements(attachment).items():
            elements[name].update(held)
    return Table(name=TABLE, sets=_SETS, chains=_chains(bridge, pod_cidr, cluster_cidr), elements=elements)


def attachment_elements(attachment: Attachment) -> dict[str, dict[bytes, Data]]:
    """What one sandbox adds to the sets. Raises NetworkFailure for a protocol nobody knows."""
    found: dict[str, dict[bytes, Data]] = {HAIRPIN: {}, HOST_PORTS: {}, HOST_PORTS_AT: {}}
    for text in attachment.ips:
        address = IPv4Address(text)
        found[HAIRPIN][nft.key_ip(address) * 2] = b""
        for mapping in attachment.ports:
            key = nft.key_proto(protocol_number(mapping)) + nft.key_port(mapping.host_port)
            target = nft.value(nft.key_ip(address) + nft.key_port(mapping.container_port))
            if mapping.host_ip in ("", "0.0.0.0", "::"):
                found[HOST_PORTS][key] = target
            else:
                found[HOST_PORTS_AT][nft.key_ip(IPv4Address(mapping.host_ip)) + key] = target
    return found


def protocol_number(mapping: PortMapping) -> int:
    number = PROTOCOLS.get(mapping.protocol)
    if number is None:
        raise NetworkFailure(f"host port {mapping.host_port}: protocol {mapping.protocol} is none of TCP, UDP, SCTP")
    return number


def forward_rules(bridge: str) -> tuple[Rule, Rule]:
    """Accept what comes from and goes to pods: for other programs' forward chains that drop by default."""
    accept = nft.decide(nft.NF_ACCEPT)
    return (*nft.match_iif(bridge), accept), (*nft.match_oif(bridge), accept)


def _chains(bridge: str, pod_cidr: IPv4Network, cluster_cidr: IPv4Network) -> dict[str, Chain]:
    dispatch: tuple[Rule, ...] = (
        (
            nft.load_daddr(nft.R0),
            nft.load_protocol(nft.R1),
            nft.load_dport(nft.R2),
            nft.map_to(HOST_PORTS_AT, nft.R0),
            nft.dnat(nft.R0, nft.R1),
        ),
        (
            *nft.match_local(nft.FIB_DADDR),
            *nft.match_daddr(IPv4Network("127.0.0.0/8"), inside=False),
            nft.load_protocol(nft.R0),
            nft.load_dport(nft.R1),
            nft.map_to(HOST_PORTS, nft.R0),
            nft.dnat(nft.R0, nft.R1),
        ),
    )
    egress: tuple[Rule, ...] = (
        (nft.load_saddr(nft.R0), nft.load_daddr(nft.R1), nft.in_set(HAIRPIN), nft.masquerade()),
        (
            *nft.match_saddr(pod_cidr),
            *nft.match_daddr(cluster_cidr, inside=False),
            *nft.match_daddr(_MULTICAST, inside=False),
            nft.load_meta(nft.META_OIFNAME),
            nft.not_equal(nft.interface_name(bridge)),
            nft.masquerade(),
        ),
    )
    return {
        "host-ports-in": Chain(dispatch, Hook("nat", nft.PREROUTING, PRIORITY_HOST_PORTS)),
        "host-ports-out": Chain(dispatch, Hook("nat", nft.OUTPUT, PRIORITY_HOST_PORTS)),
        "egress": Chain(egress, Hook("nat", nft.POSTROUTING, nft.PRIORITY_SRCNAT)),
    }
