"""Names and hardware addresses derived from what they belong to, so that a restarted process finds them again."""

from base64 import b32encode
from hashlib import blake2s
from ipaddress import IPv4Address

LINK_NAME_MAX = 15  # IFNAMSIZ without its NUL
HOST_LINK_PREFIX = "ekv"


def host_link_name(sandbox_id: str) -> str:
    """The host end of a sandbox's veth pair: `ekv` and 60 bits of the id's hash, 15 characters."""
    return HOST_LINK_PREFIX + b32encode(blake2s(sandbox_id.encode()).digest()[:8]).decode().lower()[:12]


def mac_of(address: IPv4Address) -> bytes:
    """A locally administered unicast MAC made of the address: whoever reuses the address also has the same MAC.

    No neighbour table on the node or the LAN can therefore hold a stale entry for a reused pod address.
    """
    return b"\x0a\x58" + address.packed
