"""core/v1: service.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, IntOrString, Object, always
from edgekube.types.meta_v1.condition import Condition
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ClientIPConfig(Object, frozen=True, kw_only=True):
    timeoutSeconds: Int32 | None = None


class PortStatus(Object, frozen=True, kw_only=True):
    error: str | None = None
    port: Int32 = always(0)
    protocol: str = always("")


class ServicePort(Object, frozen=True, kw_only=True):
    appProtocol: str | None = None
    name: str = ""
    nodePort: Int32 = 0
    port: Int32 = always(0)
    protocol: str = ""
    targetPort: IntOrString = 0


class SessionAffinityConfig(Object, frozen=True, kw_only=True):
    clientIP: ClientIPConfig | None = None


class LoadBalancerIngress(Object, frozen=True, kw_only=True):
    hostname: str = ""
    ip: str = ""
    ipMode: str = ""
    ports: tuple[PortStatus, ...] = ()


class ServiceSpec(Object, frozen=True, kw_only=True):
    allocateLoadBalancerNodePorts: bool | None = None
    clusterIP: str = ""
    clusterIPs: tuple[str, ...] = ()
    externalIPs: tuple[str, ...] = ()
    externalName: str = ""
    externalTrafficPolicy: str = ""
    healthCheckNodePort: Int32 = 0
    internalTrafficPolicy: str = ""
    ipFamilies: tuple[str, ...] = ()
    ipFamilyPolicy: str = ""
    loadBalancerClass: str | None = None
    loadBalancerIP: str = ""
    loadBalancerSourceRanges: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    publishNotReadyAddresses: bool = False
    selector: Mapping[str, str] = EMPTY
    sessionAffinity: str = ""
    sessionAffinityConfig: SessionAffinityConfig | None = None
    trafficDistribution: str | None = None
    type: str = ""


class LoadBalancerStatus(Object, frozen=True, kw_only=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()
    loadBalancer: LoadBalancerStatus = always(LoadBalancerStatus())


class Service(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ServiceSpec = always(ServiceSpec())
    status: ServiceStatus = always(ServiceStatus())


class ServiceList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Service, ...] = always(())
