"""core/v1 kinds other than pods and volumes."""

from typing import Any

import msgspec

from edgekube.types.core_v1.endpoints import Endpoints, EndpointSubset
from edgekube.types.core_v1.limit_range import LimitRange, LimitRangeItem
from edgekube.types.core_v1.namespace import Namespace
from edgekube.types.core_v1.node import Node, NodeStatus
from edgekube.types.core_v1.replication_controller import ReplicationController
from edgekube.types.core_v1.secret import Secret
from edgekube.types.core_v1.service import (
    ClientIPConfig,
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceSpec,
    SessionAffinityConfig,
)
from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.defaults.pod import template

AFFINITY_SECONDS = 10800
NAME_LABEL = "kubernetes.io/metadata.name"


def replication_controller(obj: ReplicationController) -> ReplicationController:
    """The template's labels stand in for a missing selector and missing labels."""
    obj = within(obj, spec=lambda spec: within(fill(spec, replicas=1), template=template))
    labels = obj.spec.template.metadata.labels if obj.spec.template else {}
    if not labels:
        return obj
    return within(
        obj,
        spec=lambda spec: fill(spec, selector=labels),
        metadata=lambda meta: fill(meta, labels=labels),
    )


def service(obj: Service) -> Service:
    obj = within(obj, spec=_service_spec)
    if obj.spec.type != "LoadBalancer":
        return obj
    return within(
        obj,
        status=lambda status: within(
            status, loadBalancer=lambda balancer: within(balancer, ingress=each(_load_balancer_address))
        ),
    )


def _load_balancer_address(item: LoadBalancerIngress) -> LoadBalancerIngress:
    return fill(item, ipMode="VIP") if item.ip else item


def _service_spec(spec: ServiceSpec) -> ServiceSpec:
    spec = fill(spec, sessionAffinity="None", type="ClusterIP")
    if spec.sessionAffinity == "None" and spec.sessionAffinityConfig is not None:
        spec = msgspec.structs.replace(spec, sessionAffinityConfig=None)
    if spec.sessionAffinity == "ClientIP":
        spec = within(fill(spec, sessionAffinityConfig=SessionAffinityConfig()), sessionAffinityConfig=_affinity)
    spec = within(spec, ports=each(_service_port))
    outside = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and spec.externalIPs)
    if outside:
        spec = fill(spec, externalTrafficPolicy="Cluster")
    if spec.type in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec = fill(spec, internalTrafficPolicy="Cluster")
    if spec.type == "LoadBalancer":
        spec = fill(spec, allocateLoadBalancerNodePorts=True)
    return spec


def _affinity(config: SessionAffinityConfig) -> SessionAffinityConfig:
    config = fill(config, clientIP=ClientIPConfig())
    return within(config, clientIP=lambda client: fill(client, timeoutSeconds=AFFINITY_SECONDS))


def _service_port(port: ServicePort) -> ServicePort:
    port = fill(port, protocol="TCP", targetPort=port.port)
    return msgspec.structs.replace(port, targetPort=port.port) if port.targetPort == "" else port


def endpoints(obj: Endpoints) -> Endpoints:
    return within(obj, subsets=each(_subset))


def _subset(subset: EndpointSubset) -> EndpointSubset:
    return within(subset, ports=each(lambda port: fill(port, protocol="TCP")))


def secret(obj: Secret) -> Secret:
    return fill(obj, type="Opaque")


def namespace(obj: Namespace) -> Namespace:
    """Every namespace is labelled with its name, so that selectors can name one; an unnamed one has none yet."""
    obj = within(obj, status=lambda status: fill(status, phase="Active"))
    name = obj.metadata.name
    if not name or obj.metadata.labels.get(NAME_LABEL) == name:
        return obj
    return within(obj, metadata=lambda meta: within(meta, labels=lambda labels: {**labels, NAME_LABEL: name}))


def node(obj: Node) -> Node:
    return within(obj, status=_node_status)


def _node_status(status: NodeStatus) -> NodeStatus:
    return fill(status, allocatable=status.capacity) if status.capacity else status


def limit_range(obj: LimitRange) -> LimitRange:
    return within(obj, spec=lambda spec: within(spec, limits=each(_limit)))


def _limit(item: LimitRangeItem) -> LimitRangeItem:
    """For containers: the default limit is the maximum, the default request is the default limit or the minimum."""
    if item.type != "Container":
        return item
    default: dict[str, Any] = {**item.max, **item.default}
    request: dict[str, Any] = {**item.min, **default, **item.defaultRequest}
    if default != item.default:
        item = msgspec.structs.replace(item, default=default)
    if request != item.defaultRequest:
        item = msgspec.structs.replace(item, defaultRequest=request)
    return item
