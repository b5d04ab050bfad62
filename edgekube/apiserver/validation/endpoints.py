"""Endpoints."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import address, dns_label, one_of, port_number, texts
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, invalid, required


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    for index, subset in enumerate(new.subsets):
        at = Path("subsets") / index
        if not subset.addresses and not subset.notReadyAddresses:
            errors.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for part in ("addresses", "notReadyAddresses"):
            for position, one in enumerate(getattr(subset, part)):
                where = at / part / position
                found, problems = address(one.ip, where / "ip")
                errors += problems
                if found is not None:
                    errors += usable(found, one.ip, where / "ip")
                if one.hostname:
                    errors += dns_label(one.hostname, where / "hostname")
        for position, port in enumerate(subset.ports):
            where = at / "ports" / position
            if not port.name:
                if len(subset.ports) > 1:
                    errors.append(required(where / "name"))
            else:
                errors += texts(names.dns1123_label(port.name), port.name, where / "name")
            errors += port_number(port.port, where / "port")
            errors += one_of(port.protocol, ("SCTP", "TCP", "UDP"), where / "protocol")
    return errors


def usable(found: IPv4Address | IPv6Address, text: str, path: Path) -> list[FieldError]:
    """validation.ValidateNonSpecialIP: traffic to these would go somewhere it must not."""
    for special, name in (
        (found.is_unspecified, "may not be unspecified"),
        (found.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (found.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (found.is_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ):
        if special:
            return [invalid(path, text, name)]
    return []
