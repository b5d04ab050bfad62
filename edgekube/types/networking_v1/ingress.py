"""networking/v1: Ingress.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, always
from edgekube.types.core_v1.reference import TypedLocalObjectReference
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class IngressPortStatus(Object, frozen=True, kw_only=True):
    error: str | None = None
    port: Int32 = always(0)
    protocol: str = always("")


class ServiceBackendPort(Object, frozen=True, kw_only=True):
    name: str = ""
    number: Int32 = 0


class IngressTLS(Object, frozen=True, kw_only=True):
    hosts: tuple[str, ...] = ()
    secretName: str = ""


class IngressLoadBalancerIngress(Object, frozen=True, kw_only=True):
    hostname: str = ""
    ip: str = ""
    ports: tuple[IngressPortStatus, ...] = ()


class IngressServiceBackend(Object, frozen=True, kw_only=True):
    name: str = always("")
    port: ServiceBackendPort = always(ServiceBackendPort())


class IngressLoadBalancerStatus(Object, frozen=True, kw_only=True):
    ingress: tuple[IngressLoadBalancerIngress, ...] = ()


class IngressBackend(Object, frozen=True, kw_only=True):
    resource: TypedLocalObjectReference | None = None
    service: IngressServiceBackend | None = None


class IngressStatus(Object, frozen=True, kw_only=True):
    loadBalancer: IngressLoadBalancerStatus = always(IngressLoadBalancerStatus())


class HTTPIngressPath(Object, frozen=True, kw_only=True):
    backend: IngressBackend = always(IngressBackend())
    path: str = ""
    pathType: str = always("")


class HTTPIngressRuleValue(Object, frozen=True, kw_only=True):
    paths: tuple[HTTPIngressPath, ...] = always(())


class IngressRule(Object, frozen=True, kw_only=True):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressSpec(Object, frozen=True, kw_only=True):
    defaultBackend: IngressBackend | None = None
    ingressClassName: str | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class Ingress(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: IngressSpec = always(IngressSpec())
    status: IngressStatus = always(IngressStatus())


class IngressList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Ingress, ...] = always(())
