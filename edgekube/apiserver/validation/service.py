"""Services (core validation.ValidateService, ValidateServiceUpdate)."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import labels, metadata
from edgekube.apiserver.validation.rules import address, network, one_of, port_number, port_or_name, texts
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, duplicate, forbidden, invalid, not_supported, required

SPEC = Path("spec")
TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
AFFINITY_SECONDS_MAX = 86_400


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old, names.dns1035_label)
    if subresource == "status":
        return errors
    spec = new.spec
    headless = spec.clusterIP == "None"
    if not spec.ports and not headless and spec.type != "ExternalName":
        errors.append(required(SPEC / "ports"))
    errors += one_of(spec.type, TYPES, SPEC / "type")
    match spec.type:
        case "ExternalName":
            if spec.clusterIPs or spec.clusterIP:
                errors.append(forbidden(SPEC / "clusterIPs", "may not be set for ExternalName services"))
            name = spec.externalName.removesuffix(".")
            if not name:
                errors.append(required(SPEC / "externalName"))
            else:
                errors += texts(names.dns1123_subdomain(name), spec.externalName, SPEC / "externalName")
        case "NodePort" | "LoadBalancer" if headless:
            errors.append(
                invalid(SPEC / "clusterIPs" / 0, "None", f"may not be set to 'None' for {spec.type} services")
            )
    errors += _ports(spec)
    errors += labels(spec.selector, SPEC / "selector")
    errors += _affinity(spec)
    errors += _addresses(spec)
    errors += _policies(spec)
    if old is not None:
        errors += _update(spec, old.spec)
    return errors


def _ports(spec: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    used: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    seen: set[str] = set()
    for index, port in enumerate(spec.ports):
        at = SPEC / "ports" / index
        if not port.name:
            if len(spec.ports) > 1:
                errors.append(required(at / "name"))
        else:
            errors += texts(names.dns1123_label(port.name), port.name, at / "name")
            if port.name in seen:
                errors.append(duplicate(at / "name", port.name))
            seen.add(port.name)
        errors += port_number(port.port, at / "port")
        errors += one_of(port.protocol, ("SCTP", "TCP", "UDP"), at / "protocol")
        if spec.type != "ExternalName":
            errors += port_or_name(port.targetPort, at / "targetPort")
        key = (port.protocol, port.port)
        if key in used:
            errors.append(duplicate(at, {"protocol": port.protocol, "port": port.port}))
        used.add(key)
        if port.nodePort:
            node_key = (port.protocol, port.nodePort)
            if node_key in node_ports:
                errors.append(duplicate(at / "nodePort", port.nodePort))
            node_ports.add(node_key)
            if spec.type in ("ClusterIP", "ExternalName"):
                errors.append(forbidden(at / "nodePort", f"may not be used when `type` is '{spec.type}'"))
        if port.appProtocol:
            errors += texts(names.qualified_name(port.appProtocol), port.appProtocol, at / "appProtocol")
    return errors


def _affinity(spec: Any) -> list[FieldError]:
    errors = one_of(spec.sessionAffinity, ("ClientIP", "None"), SPEC / "sessionAffinity")
    config = spec.sessionAffinityConfig
    at = SPEC / "sessionAffinityConfig"
    if spec.sessionAffinity == "ClientIP":
        client = config.clientIP if config is not None else None
        if client is None or client.timeoutSeconds is None:
            errors.append(required(at / "clientIP" / "timeoutSeconds", "when session affinity type is ClientIP"))
        elif not 0 < client.timeoutSeconds <= AFFINITY_SECONDS_MAX:
            errors.append(
                invalid(
                    at / "clientIP" / "timeoutSeconds",
                    client.timeoutSeconds,
                    f"must be greater than 0 and less than {AFFINITY_SECONDS_MAX}",
                )
            )
    elif config is not None:
        errors.append(forbidden(at, f"must not be set when session affinity is {spec.sessionAffinity}"))
    return errors


def _addresses(spec: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, text in enumerate(spec.clusterIPs):
        if text != "None":
            errors += address(text, SPEC / "clusterIPs" / index)[1]
    if spec.clusterIPs and spec.clusterIP and spec.clusterIPs[0] != spec.clusterIP:
        errors.append(invalid(SPEC / "clusterIPs", spec.clusterIPs, "first value must match `clusterIP`"))
    if len(spec.clusterIPs) > 2:
        errors.append(invalid(SPEC / "clusterIPs", spec.clusterIPs, "may only hold up to 2 values"))
    for index, family in enumerate(spec.ipFamilies):
        if family not in ("IPv4", "IPv6"):
            errors.append(not_supported(SPEC / "ipFamilies" / index, family, ["IPv4", "IPv6"]))
    errors += one_of(
        spec.ipFamilyPolicy,
        ("PreferDualStack", "RequireDualStack", "SingleStack"),
        SPEC / "ipFamilyPolicy",
        needed=False,
    )
    if spec.type != "ExternalName" and spec.ipFamilies[:1] == ("IPv6",):
        errors.append(invalid(SPEC / "ipFamilies" / 0, "IPv6", "not configured on this cluster"))
    if spec.ipFamilyPolicy == "RequireDualStack":
        errors.append(
            invalid(
                SPEC / "ipFamilyPolicy", spec.ipFamilyPolicy, "this cluster is not configured for dual-stack services"
            )
        )
    for index, text in enumerate(spec.externalIPs):
        at = SPEC / "externalIPs" / index
        found, problems = address(text, at)
        errors += problems
        if found is not None and (
            found.is_unspecified or found.is_loopback or found.is_link_local or found.is_multicast
        ):
            errors.append(invalid(at, text, "may not be an unspecified, loopback, link-local or multicast address"))
    if spec.loadBalancerSourceRanges:
        at = SPEC / "loadBalancerSourceRanges"
        if spec.type != "LoadBalancer":
            errors.append(forbidden(at, "may only be used when `type` is 'LoadBalancer'"))
        for index, text in enumerate(spec.loadBalancerSourceRanges):
            errors += network(text.strip(), at / index)
    if spec.loadBalancerIP and spec.type == "LoadBalancer":
        errors += address(spec.loadBalancerIP, SPEC / "loadBalancerIP")[1]
    if spec.loadBalancerClass is not None:
        at = SPEC / "loadBalancerClass"
        if spec.type != "LoadBalancer":
            errors.append(forbidden(at, "may only be used when `type` is 'LoadBalancer'"))
        errors += texts(names.qualified_name(spec.loadBalancerClass), spec.loadBalancerClass, at)
    return errors


def _policies(spec: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    external = spec.type in ("NodePort", "LoadBalancer") or bool(spec.externalIPs)
    at = SPEC / "externalTrafficPolicy"
    if spec.externalTrafficPolicy:
        if not external:
            errors.append(invalid(at, spec.externalTrafficPolicy, "may only be set for externally-accessible services"))
        elif spec.externalTrafficPolicy not in ("Cluster", "Local"):
            errors.append(not_supported(at, spec.externalTrafficPolicy, ["Cluster", "Local"]))
    elif spec.type in ("NodePort", "LoadBalancer"):
        errors.append(required(at, f"must be set for {spec.type} services"))
    errors += one_of(spec.internalTrafficPolicy, ("Cluster", "Local"), SPEC / "internalTrafficPolicy", needed=False)
    if spec.healthCheckNodePort:
        where = SPEC / "healthCheckNodePort"
        errors += port_number(spec.healthCheckNodePort, where)
        if spec.type != "LoadBalancer" or spec.externalTrafficPolicy != "Local":
            errors.append(
                invalid(
                    where,
                    spec.healthCheckNodePort,
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
                )
            )
    if spec.allocateLoadBalancerNodePorts is not None and spec.type != "LoadBalancer":
        errors.append(
            forbidden(SPEC / "allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'")
        )
    if spec.trafficDistribution is not None and spec.trafficDistribution not in (
        "PreferClose", "PreferSameNode", "PreferSameZone",
    ):  # fmt: skip
        errors.append(
            not_supported(
                SPEC / "trafficDistribution",
                spec.trafficDistribution,
                ["PreferClose", "PreferSameNode", "PreferSameZone"],
            )
        )
    return errors


def _update(new: Any, old: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    if (
        old.type != "ExternalName"
        and new.type != "ExternalName"
        and new.clusterIP
        and old.clusterIP
        and (new.clusterIP != old.clusterIP)
    ):
        at = SPEC / "clusterIPs" / 0
        errors.append(invalid(at, list(new.clusterIPs) or [new.clusterIP], "may not change once set"))
    if old.type == new.type == "LoadBalancer" and old.loadBalancerClass != new.loadBalancerClass:
        errors.append(invalid(SPEC / "loadBalancerClass", new.loadBalancerClass, "may not change once set"))
    both_balance = old.type == new.type == "LoadBalancer" and old.externalTrafficPolicy == new.externalTrafficPolicy
    if (
        both_balance
        and new.externalTrafficPolicy == "Local"
        and new.healthCheckNodePort
        and (old.healthCheckNodePort != new.healthCheckNodePort)
    ):
        errors.append(invalid(SPEC / "healthCheckNodePort", new.healthCheckNodePort, "field is immutable"))
    return errors
