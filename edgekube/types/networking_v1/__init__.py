"""networking/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ingress import HTTPIngressPath as HTTPIngressPath
    from .ingress import HTTPIngressRuleValue as HTTPIngressRuleValue
    from .ingress import Ingress as Ingress
    from .ingress import IngressBackend as IngressBackend
    from .ingress import IngressList as IngressList
    from .ingress import IngressLoadBalancerIngress as IngressLoadBalancerIngress
    from .ingress import IngressLoadBalancerStatus as IngressLoadBalancerStatus
    from .ingress import IngressPortStatus as IngressPortStatus
    from .ingress import IngressRule as IngressRule
    from .ingress import IngressServiceBackend as IngressServiceBackend
    from .ingress import IngressSpec as IngressSpec
    from .ingress import IngressStatus as IngressStatus
    from .ingress import IngressTLS as IngressTLS
    from .ingress import ServiceBackendPort as ServiceBackendPort
    from .ingress_class import IngressClass as IngressClass
    from .ingress_class import IngressClassList as IngressClassList
    from .ingress_class import IngressClassParametersReference as IngressClassParametersReference
    from .ingress_class import IngressClassSpec as IngressClassSpec
    from .ip_address import IPAddress as IPAddress
    from .ip_address import IPAddressList as IPAddressList
    from .ip_address import IPAddressSpec as IPAddressSpec
    from .ip_address import ParentReference as ParentReference
    from .network_policy import IPBlock as IPBlock
    from .network_policy import NetworkPolicy as NetworkPolicy
    from .network_policy import NetworkPolicyEgressRule as NetworkPolicyEgressRule
    from .network_policy import NetworkPolicyIngressRule as NetworkPolicyIngressRule
    from .network_policy import NetworkPolicyList as NetworkPolicyList
    from .network_policy import NetworkPolicyPeer as NetworkPolicyPeer
    from .network_policy import NetworkPolicyPort as NetworkPolicyPort
    from .network_policy import NetworkPolicySpec as NetworkPolicySpec
    from .service_cidr import ServiceCIDR as ServiceCIDR
    from .service_cidr import ServiceCIDRList as ServiceCIDRList
    from .service_cidr import ServiceCIDRSpec as ServiceCIDRSpec
    from .service_cidr import ServiceCIDRStatus as ServiceCIDRStatus
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "ingress": (
                "HTTPIngressPath HTTPIngressRuleValue Ingress IngressBackend IngressList IngressLoadBalancerIngress"
                " IngressLoadBalancerStatus IngressPortStatus IngressRule IngressServiceBackend IngressSpec"
                " IngressStatus IngressTLS ServiceBackendPort"
            ),
            "ingress_class": "IngressClass IngressClassList IngressClassParametersReference IngressClassSpec",
            "ip_address": "IPAddress IPAddressList IPAddressSpec ParentReference",
            "network_policy": (
                "IPBlock NetworkPolicy NetworkPolicyEgressRule NetworkPolicyIngressRule NetworkPolicyList"
                " NetworkPolicyPeer NetworkPolicyPort NetworkPolicySpec"
            ),
            "service_cidr": "ServiceCIDR ServiceCIDRList ServiceCIDRSpec ServiceCIDRStatus",
        },
    )
