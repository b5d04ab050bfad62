"""Which address a new sandbox gets: a pure allocator over one pod CIDR."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from edgekube.network.api import NetworkFailure

NODE_PREFIX_MIN = 16  # a larger pod CIDR gains nothing: a node runs hundreds of pods, not 65,000


class AddressPool:
    """Hands out the pod CIDR's addresses in a circle, so that a released one comes back as late as possible.

    The first address (the gateway), the network and the broadcast address are never handed out.
    """

    def __init__(self, cidr: IPv4Network, taken: Iterable[IPv4Address] = (), last: IPv4Address | None = None) -> None:
        if not NODE_PREFIX_MIN <= cidr.prefixlen <= 29:
            raise NetworkFailure(f"the pod CIDR {cidr} must have a prefix between /{NODE_PREFIX_MIN} and /29")
        self._first = int(cidr.network_address) + 2
        self._count = cidr.num_addresses - 3
        self._cidr = cidr
        self._taken = {int(address) for address in taken}
        self._next = 0
        if last is not None and last in cidr:
            self._next = (int(last) - self._first + 1) % self._count

    @property
    def last(self) -> IPv4Address:
        """The address handed out last: what a restarted process goes on from."""
        return IPv4Address(self._first + (self._next - 1) % self._count)

    def allocate(self) -> IPv4Address:
        """Raises NetworkFailure when all are taken."""
        for step in range(self._count):
            position = (self._next + step) % self._count
            number = self._first + position
            if number not in self._taken:
                self._taken.add(number)
                self._next = (position + 1) % self._count
                return IPv4Address(number)
        raise NetworkFailure(f"no address left in the pod CIDR {self._cidr}: all {self._count} are in use")

    def release(self, address: IPv4Address) -> None:
        self._taken.discard(int(address))
