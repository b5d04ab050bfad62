"""Services, endpoints, ingresses, policies."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.tables.cells import NONE, UNSET, age, labels
from edgekube.apiserver.tables.columns import Spec, spec
from edgekube.types import selectors

_SHOWN_MAX = 3  # addresses before the "+ n more..."


def _age(obj: Any, now: float) -> str:
    return age(obj.metadata.creationTimestamp, now)


def _service(obj: Any, now: float) -> Sequence[Any]:
    spec_ = obj.spec
    ports = ",".join(
        f"{p.port}:{p.nodePort}/{p.protocol}" if p.nodePort else f"{p.port}/{p.protocol}" for p in spec_.ports
    )
    address = spec_.clusterIPs[0] if spec_.clusterIPs else (spec_.clusterIP or NONE)
    return (
        obj.metadata.name, spec_.type, address, _external(obj), ports or NONE, _age(obj, now), labels(spec_.selector)
    )  # fmt: skip


def _external(obj: Any) -> str:
    spec_ = obj.spec
    match spec_.type:
        case "ExternalName":
            return str(spec_.externalName)
        case "LoadBalancer":
            given = [i.ip or i.hostname for i in obj.status.loadBalancer.ingress]
            shown = ",".join([*given, *spec_.externalIPs])
            return shown or "<pending>"
    return ",".join(spec_.externalIPs) or NONE


def _endpoints(obj: Any, now: float) -> Sequence[Any]:
    pairs = []
    for subset in obj.subsets:
        if not subset.ports:
            pairs += [a.ip for a in subset.addresses]
        for port in subset.ports:
            pairs += [f"{a.ip}:{port.port}" if ":" not in a.ip else f"[{a.ip}]:{port.port}" for a in subset.addresses]
    return (obj.metadata.name, _short(pairs), _age(obj, now))


def _short(items: Sequence[str]) -> str:
    if not items:
        return NONE
    more = len(items) - _SHOWN_MAX
    return ",".join(items[:_SHOWN_MAX]) + (f" + {more} more..." if more > 0 else "")


def _endpoint_slice(obj: Any, now: float) -> Sequence[Any]:
    ports = [UNSET if p.port is None else str(p.port) for p in obj.ports]
    addresses = [address for endpoint in obj.endpoints for address in endpoint.addresses]
    return (
        obj.metadata.name, obj.addressType, _short(ports) if ports else UNSET,
        _short(addresses) if addresses else UNSET, _age(obj, now),
    )  # fmt: skip


def _ingress(obj: Any, now: float) -> Sequence[Any]:
    spec_ = obj.spec
    hosts = [rule.host or "*" for rule in spec_.rules] if spec_ else []
    balanced = obj.status.loadBalancer.ingress if obj.status else ()
    return (
        obj.metadata.name, (spec_.ingressClassName if spec_ else None) or NONE, _short(hosts) if hosts else "*",
        ",".join(i.ip or i.hostname for i in balanced), "80, 443" if spec_ and spec_.tls else "80", _age(obj, now),
    )  # fmt: skip


def _ingress_class(obj: Any, now: float) -> Sequence[Any]:
    parameters = obj.spec.parameters if obj.spec else None
    shown = NONE
    if parameters is not None:
        group = f".{parameters.apiGroup}" if parameters.apiGroup else ""
        shown = f"{parameters.kind}{group}/{parameters.name}"
    return (obj.metadata.name, obj.spec.controller if obj.spec else "", shown, _age(obj, now))


def _policy(obj: Any, now: float) -> Sequence[Any]:
    chosen = obj.spec.podSelector if obj.spec else None
    try:
        shown = str(selectors.from_label_selector(chosen)) if chosen is not None else ""
    except selectors.SelectorError:
        shown = "<error>"
    return (obj.metadata.name, shown or NONE, _age(obj, now))


def _ip_address(obj: Any, now: float) -> Sequence[Any]:
    ref = obj.spec.parentRef if obj.spec else None
    parent = "/".join(part for part in (ref.resource, ref.namespace, ref.name) if part) if ref else NONE
    return (obj.metadata.name, parent, _age(obj, now))


def _service_cidr(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, ",".join(obj.spec.cidrs) if obj.spec else "", _age(obj, now))


TABLES: dict[str, Spec] = {
    "Service": spec("Type Cluster-IP External-IP Port(s) Age Selector+", _service),
    "Endpoints": spec("Endpoints Age", _endpoints),
    "EndpointSlice": spec("AddressType Ports Endpoints Age", _endpoint_slice),
    "Ingress": spec("Class Hosts Address Ports Age", _ingress),
    "IngressClass": spec("Controller Parameters Age", _ingress_class),
    "NetworkPolicy": spec("Pod-Selector Age", _policy),
    "IPAddress": spec("ParentRef Age", _ip_address),
    "ServiceCIDR": spec("CIDRs Age", _service_cidr),
}
