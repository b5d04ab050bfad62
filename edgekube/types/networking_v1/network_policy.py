"""networking/v1: NetworkPolicy.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from msgspec import field

from edgekube.types._base import Int32, IntOrString, Object, always
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class IPBlock(Object, frozen=True, kw_only=True):
    cidr: str = always("")
    except_: tuple[str, ...] = field(name="except", default=())


class NetworkPolicyPort(Object, frozen=True, kw_only=True):
    endPort: Int32 | None = None
    port: IntOrString | None = None
    protocol: str = ""


class NetworkPolicyPeer(Object, frozen=True, kw_only=True):
    ipBlock: IPBlock | None = None
    namespaceSelector: LabelSelector | None = None
    podSelector: LabelSelector | None = None


class NetworkPolicyEgressRule(Object, frozen=True, kw_only=True):
    ports: tuple[NetworkPolicyPort, ...] = ()
    to: tuple[NetworkPolicyPeer, ...] = ()


class NetworkPolicyIngressRule(Object, frozen=True, kw_only=True):
    from_: tuple[NetworkPolicyPeer, ...] = field(name="from", default=())
    ports: tuple[NetworkPolicyPort, ...] = ()


class NetworkPolicySpec(Object, frozen=True, kw_only=True):
    egress: tuple[NetworkPolicyEgressRule, ...] = ()
    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    podSelector: LabelSelector = always(LabelSelector())
    policyTypes: tuple[str, ...] = ()


class NetworkPolicy(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: NetworkPolicySpec = always(NetworkPolicySpec())


class NetworkPolicyList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[NetworkPolicy, ...] = always(())
