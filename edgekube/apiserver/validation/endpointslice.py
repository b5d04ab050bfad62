"""EndpointSlices."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.endpoints import usable
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import address, dns_label, one_of, port_number, subdomain, texts, unchanged
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, duplicate, invalid, required, too_many

ENDPOINTS_MAX = 1000
PORTS_MAX = 20_000
ADDRESSES_MAX = 100


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    errors += one_of(new.addressType, ("FQDN", "IPv4", "IPv6"), Path("addressType"))
    if len(new.endpoints) > ENDPOINTS_MAX:
        errors.append(too_many(Path("endpoints"), len(new.endpoints), ENDPOINTS_MAX))
        return errors
    for index, endpoint in enumerate(new.endpoints):
        at = Path("endpoints") / index
        if not endpoint.addresses:
            errors.append(required(at / "addresses", "must contain at least 1 address"))
        elif len(endpoint.addresses) > ADDRESSES_MAX:
            errors.append(too_many(at / "addresses", len(endpoint.addresses), ADDRESSES_MAX))
        for position, text in enumerate(endpoint.addresses):
            errors += _address(new.addressType, text, at / "addresses" / position)
        if endpoint.nodeName:
            errors += subdomain(endpoint.nodeName, at / "nodeName")
        if endpoint.hostname:
            errors += dns_label(endpoint.hostname, at / "hostname")
    if len(new.ports) > PORTS_MAX:
        errors.append(too_many(Path("ports"), len(new.ports), PORTS_MAX))
    seen: set[str] = set()
    for index, port in enumerate(new.ports):
        at = Path("ports") / index
        name = port.name or ""
        if name:
            errors += texts(names.dns1123_label(name), name, at / "name")
        if name in seen:
            errors.append(duplicate(at / "name", port.name))
        seen.add(name)
        errors += one_of(port.protocol or "", ("SCTP", "TCP", "UDP"), at / "protocol")
        if port.port is not None:
            errors += port_number(port.port, at / "port")
        if port.appProtocol:
            errors += texts(names.qualified_name(port.appProtocol), port.appProtocol, at / "appProtocol")
    if old is not None:
        errors += unchanged(new.addressType, old.addressType, Path("addressType"))
    return errors


def _address(kind: str, text: str, path: Path) -> list[FieldError]:
    if kind == "FQDN":
        return subdomain(text.removesuffix("."), path)
    found, errors = address(text, path)
    if found is not None:
        if kind == "IPv4" and found.version != 4:
            errors.append(invalid(path, text, "must be an IPv4 address"))
        elif kind == "IPv6" and found.version != 6:
            errors.append(invalid(path, text, "must be an IPv6 address"))
        errors += usable(found, text, path)
    return errors
