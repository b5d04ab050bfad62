"""Network policies, ingress classes and endpoint slices."""

from typing import Any

from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.discovery_v1 import EndpointSlice
from edgekube.types.networking_v1 import IngressClass, NetworkPolicy, NetworkPolicySpec


def network_policy(obj: NetworkPolicy) -> NetworkPolicy:
    return within(obj, spec=_policy_spec)


def _policy_spec(spec: NetworkPolicySpec) -> NetworkPolicySpec:
    """Ingress is always meant; Egress only where there are egress rules."""
    spec = fill(spec, policyTypes=("Ingress", "Egress") if spec.egress else ("Ingress",))
    return within(spec, ingress=each(_rule), egress=each(_rule))


def _rule(rule: Any) -> Any:
    return within(rule, ports=each(lambda port: fill(port, protocol="TCP")))


def ingress_class(obj: IngressClass) -> IngressClass:
    return within(obj, spec=lambda spec: within(spec, parameters=lambda parameters: fill(parameters, scope="Cluster")))


def endpoint_slice(obj: EndpointSlice) -> EndpointSlice:
    return within(obj, ports=each(lambda port: fill(port, name="", protocol="TCP")))
