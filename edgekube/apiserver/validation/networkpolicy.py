"""NetworkPolicies (pkg/apis/networking/validation)."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import label_selector, network, one_of, port_number, port_or_name
from edgekube.types.fieldpath import FieldError, Path, forbidden, invalid, required

SPEC = Path("spec")
PROTOCOLS = ("SCTP", "TCP", "UDP")
TYPES = ("Egress", "Ingress")


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    spec = new.spec
    errors += label_selector(spec.podSelector, SPEC / "podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(getattr(spec, direction)):
            at = SPEC / direction / index
            for position, port in enumerate(rule.ports):
                errors += _port(port, at / "ports" / position)
            for position, peer in enumerate(rule.from_ if peers == "from" else rule.to):
                errors += _peer(peer, at / peers / position)
    if len(spec.policyTypes) > len(TYPES):
        errors.append(
            invalid(SPEC / "policyTypes", list(spec.policyTypes), "may not specify more than two policyTypes")
        )
    for index, kind in enumerate(spec.policyTypes):
        errors += one_of(kind, TYPES, SPEC / "policyTypes" / index)
    return errors


def _port(port: Any, at: Path) -> list[FieldError]:
    errors = one_of(port.protocol, PROTOCOLS, at / "protocol", needed=False)
    if port.port is not None:
        errors += port_or_name(port.port, at / "port")
    if port.endPort is None:
        return errors
    end = at / "endPort"
    if port.port is None:
        errors.append(invalid(end, port.endPort, "may not be specified when `port` is not specified"))
    elif isinstance(port.port, str):
        errors.append(invalid(end, port.endPort, "may not be specified when `port` is non-numeric"))
    else:
        if port.endPort < port.port:
            errors.append(invalid(end, port.endPort, "must be greater than or equal to `port`"))
        errors += port_number(port.endPort, end)
    return errors


def _peer(peer: Any, at: Path) -> list[FieldError]:
    errors = label_selector(peer.podSelector, at / "podSelector")
    errors += label_selector(peer.namespaceSelector, at / "namespaceSelector")
    selects = peer.podSelector is not None or peer.namespaceSelector is not None
    if peer.ipBlock is not None:
        errors += _block(peer.ipBlock, at / "ipBlock")
        if selects:
            errors.append(forbidden(at, "may not specify both ipBlock and another peer"))
    elif not selects:
        errors.append(required(at, "must specify a peer"))
    return errors


def _block(block: Any, at: Path) -> list[FieldError]:
    if not block.cidr:
        return [required(at / "cidr")]
    errors = network(block.cidr, at / "cidr")
    whole = None if errors else ip_network(block.cidr, strict=False)
    for index, text in enumerate(block.except_):
        place = at / "except" / index
        wrong = network(text, place)
        errors += wrong
        if whole is None or wrong:
            continue
        part = ip_network(text, strict=False)
        inside = part.version == whole.version and part.prefixlen > whole.prefixlen
        if not inside or part.network_address not in whole:
            errors.append(invalid(place, text, "must be a strict subset of `cidr`"))
    return errors
