"""The node's resolvers, out of resolv.conf(5). Pure but for reading the file."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

STUB: Final = IPv4Address("127.0.0.53")  # systemd-resolved; what it asks is in its own file
STUB_UPSTREAMS: Final = Path("/run/systemd/resolve/resolv.conf")
UPSTREAMS_MAX: Final = 6
FILE_BYTES_MAX: Final = 65536

Address = IPv4Address | IPv6Address


def parse_nameservers(text: str) -> list[Address]:
    """Addresses in the file's order; lines that make no sense are skipped, as the C library does."""
    found: list[Address] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ip_address(words[1])
        except ValueError:
            continue
        if address not in found:
            found.append(address)
    return found


def upstreams(path: Path, own: Collection[Address], stub_file: Path = STUB_UPSTREAMS) -> list[Address]:
    """Whom to ask: never ourselves, and not systemd-resolved's stub, which may well ask us, but those it asks."""
    found = parse_nameservers(_read(path))
    if STUB in found:
        found = [address for address in found if address != STUB] + parse_nameservers(_read(stub_file))
    usable = [address for address in dict.fromkeys(found) if address not in own and address != STUB]
    return usable[:UPSTREAMS_MAX]


def _read(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError:
        return ""
