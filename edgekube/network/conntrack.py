"""Connection tracking entries (linux/netfilter/nfnetlink_conntrack.h): find those that lead nowhere, remove them.

UDP has no connection to break: a client that keeps its socket would send to a gone endpoint for as long as it sends.
"""

import errno
from collections.abc import Callable
from typing import Final, NamedTuple

from edgekube.network.netlink import NETLINK_NETFILTER, Netlink, NetlinkError
from edgekube.network.nft_batch import nfgen
from edgekube.network.tlv import attr, parse_attrs

_SUBSYSTEM: Final = 1 << 8
_GET, _DELETE = 1, 2
_TUPLE_ORIG, _TUPLE_REPLY = 1, 2
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_NESTED: Final = 0x8000
AF_INET: Final = 2


class Flow(NamedTuple):
    """One IPv4 entry: where the client sent (`destination`), who answers (`responder`). Addresses packed."""

    protocol: int
    source: bytes
    destination: bytes
    destination_port: int
    responder: bytes
    responder_port: int
    original: bytes  # the encoded tuple that names the entry


class Conntrack:
    """ctnetlink in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_NETFILTER)

    def close(self) -> None:
        self._netlink.close()

    def flows(self) -> list[Flow]:
        """All IPv4 entries with ports. Raises NetlinkError where the kernel has no ctnetlink."""
        answers = self._netlink.dump(_SUBSYSTEM | _GET, nfgen(AF_INET), what="list the tracked connections")
        found = (_flow(answer.payload) for answer in answers)
        return [flow for flow in found if flow is not None]

    def remove(self, wanted: Callable[[Flow], bool]) -> int:
        """Remove the entries `wanted` says yes to; returns how many there were."""
        count = 0
        for flow in self.flows():
            if not wanted(flow):
                continue
            payload = nfgen(AF_INET) + attr(_TUPLE_ORIG | _NESTED, flow.original)
            try:
                self._netlink.request(_SUBSYSTEM | _DELETE, payload, what="remove a tracked connection")
                count += 1
            except NetlinkError as error:
                if error.errno != errno.ENOENT:
                    raise
        return count


def _flow(payload: bytes) -> Flow | None:
    attrs = parse_attrs(payload, 4)
    original = attrs.get(_TUPLE_ORIG, b"")
    ours = _tuple(original)
    theirs = _tuple(attrs.get(_TUPLE_REPLY, b""))
    if ours is None or theirs is None:
        return None
    protocol, source, destination, _, port = ours
    _, responder, _, responder_port, _ = theirs
    return Flow(protocol, source, destination, port, responder, responder_port, original)


def _tuple(data: bytes) -> tuple[int, bytes, bytes, int, int] | None:
    """(protocol, source, destination, source port, destination port)"""
    parts = parse_attrs(data)
    addresses = parse_attrs(parts.get(_TUPLE_IP, b""))
    proto = parse_attrs(parts.get(_TUPLE_PROTO, b""))
    if not {1, 2} <= addresses.keys() or not {1, 2, 3} <= proto.keys():
        return None
    return (
        proto[1][0],
        addresses[1],
        addresses[2],
        int.from_bytes(proto[2], "big"),
        int.from_bytes(proto[3], "big"),
    )
