"""Address pools for LoadBalancer Services: which Service gets which address. Pure.

Nobody loses an address to a newcomer: first those who hold one keep it, then explicit wishes are met, then the rest
get the lowest free address.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)
from typing import Final

import msgspec

from edgekube.client.api import Key

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
SEARCH_MAX: Final = 65536  # addresses looked at in one range; an IPv6 pool is larger than any number of Services


class PoolError(ValueError):
    """A pool that cannot be understood; the message says which and how to write it."""


class Request(msgspec.Struct, frozen=True):
    """One Service: what it holds (its status) and what it asks for by name."""

    key: Key
    age: str  # creationTimestamp: the older goes first
    held: tuple[str, ...] = ()
    wanted: str = ""


class Refusal(msgspec.Struct, frozen=True):
    reason: str
    message: str


class Pool:
    """The configured ranges in their order."""

    def __init__(self, ranges: Iterable[str]) -> None:
        self._networks: list[Network] = []
        for text in ranges:
            self._networks += parse_range(text)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)

    def free(self, taken: set[Address]) -> Address | None:
        """The lowest address nobody has; network and broadcast addresses of a CIDR count as usable, as in MetalLB."""
        for network in self._networks:
            for step in range(min(network.num_addresses, SEARCH_MAX)):
                address = network.network_address + step
                if address not in taken:
                    return address
        return None


def parse_range(text: str) -> Sequence[Network]:
    """`192.168.1.240-192.168.1.250`, `192.168.1.240/28` or one address. Raises PoolError."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    try:
        if not dash:
            return (ip_network(first, strict=False),)
        low, high = ip_address(first), ip_address(last)
        if isinstance(low, IPv4Address) and isinstance(high, IPv4Address):
            return list(summarize_address_range(low, high))
        if isinstance(low, IPv6Address) and isinstance(high, IPv6Address):
            return list(summarize_address_range(low, high))
    except ValueError as error:
        raise PoolError(f"the address pool {text!r} is not understood ({error}); write FIRST-LAST or a CIDR") from error
    raise PoolError(f"the address pool {text!r} mixes IPv4 and IPv6")


def allocate(requests: Iterable[Request], pool: Pool) -> Mapping[Key, Address | Refusal]:
    """An address or a reason for every request."""
    ordered = sorted(requests, key=lambda request: (request.age, request.key))
    taken: dict[Address, Key] = {}
    found: dict[Key, Address | Refusal] = {}
    for request in ordered:
        for text in request.held:
            address = _parse(text)
            fits = address is not None and address in pool and request.wanted in ("", text)
            if address is not None and fits and address not in taken:
                taken[address] = request.key
                found[request.key] = address
                break
    for request in ordered:
        if request.wanted and request.key not in found:
            found[request.key] = _wish(request, pool, taken)
    for request in ordered:
        if request.key not in found:
            address = pool.free(set(taken))
            if address is None:
                found[request.key] = Refusal("NoFreeAddress", "all addresses of the pool are in use; enlarge the pool")
            else:
                taken[address] = request.key
                found[request.key] = address
    return found


def _wish(request: Request, pool: Pool, taken: dict[Address, Key]) -> Address | Refusal:
    address = _parse(request.wanted)
    if address is None or address not in pool:
        return Refusal("AddressNotInPool", f"the requested address {request.wanted} is in no configured pool")
    if address in taken:
        namespace, name = taken[address]
        return Refusal("AddressInUse", f"the requested address {address} belongs to Service {namespace}/{name}")
    taken[address] = request.key
    return address


def _parse(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
