"""The `kubernetes` Service in `default` and where it leads: the API servers (kube-apiserver's kubernetesservice)."""

from collections.abc import Sequence

import msgspec

from edgekube.client.api import Key
from edgekube.controllers.framework import Context, Watch
from edgekube.types.core_v1 import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Service,
    ServicePort,
    ServiceSpec,
)
from edgekube.types.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
from edgekube.types.discovery_v1 import EndpointPort as SlicePort
from edgekube.types.meta_v1 import ObjectMeta

NAME, NAMESPACE = "kubernetes", "default"
LABELS = {"component": "apiserver", "provider": "kubernetes"}
SLICE_LABELS = {"kubernetes.io/service-name": NAME}
SKIP_MIRROR = {"endpointslice.kubernetes.io/skip-mirror": "true"}


class KubernetesServiceController:
    """`addresses` are the API servers' own; `service_ip` is the first address of the service CIDR."""

    name = "kubernetes-service"

    def __init__(self, context: Context, *, addresses: Sequence[str], port: int, service_ip: str) -> None:
        self._context = context
        self._addresses = tuple(addresses)
        self._port = port
        self._service_ip = service_ip
        self._services = context.informer(Service)
        self._endpoints = context.informer(Endpoints)
        self._slices = context.informer(EndpointSlice)

    def watches(self) -> Sequence[Watch]:
        key = ((NAMESPACE, NAME),)
        mine = {NAME}
        return tuple(
            Watch(cls, lambda change: key if (change.obj.metadata.name in mine) else ())
            for cls in (Service, Endpoints, EndpointSlice)
        )

    async def ensure(self) -> None:
        """Once at start, before any of the three exists."""
        await self.reconcile((NAMESPACE, NAME))

    async def reconcile(self, key: Key) -> float | None:
        client = self._context.client
        meta = ObjectMeta(name=NAME, namespace=NAMESPACE, labels=LABELS)
        if self._services.get(*key) is None:
            port = ServicePort(name="https", protocol="TCP", port=443, targetPort=self._port)
            spec = ServiceSpec(
                type="ClusterIP", clusterIP=self._service_ip, clusterIPs=(self._service_ip,), ports=(port,)
            )
            await client.create(Service(apiVersion="v1", kind="Service", metadata=meta, spec=spec))
        subsets = (
            EndpointSubset(
                addresses=tuple(EndpointAddress(ip=ip) for ip in self._addresses),
                ports=(EndpointPort(name="https", port=self._port, protocol="TCP"),),
            ),
        )
        endpoints = self._endpoints.get(*key)
        if endpoints is None:
            await client.create(
                Endpoints(
                    apiVersion="v1",
                    kind="Endpoints",
                    metadata=ObjectMeta(name=NAME, namespace=NAMESPACE, labels=SKIP_MIRROR),
                    subsets=subsets,
                )
            )
        elif endpoints.subsets != subsets:
            patch = {"subsets": [msgspec.to_builtins(s) for s in subsets]}
            await client.patch(Endpoints, NAME, NAMESPACE, patch=patch)
        reachable = tuple(
            Endpoint(addresses=(ip,), conditions=EndpointConditions(ready=True)) for ip in self._addresses
        )
        ports = (SlicePort(name="https", port=self._port, protocol="TCP"),)
        current = self._slices.get(*key)
        if current is None:
            await client.create(
                EndpointSlice(
                    apiVersion="discovery.k8s.io/v1",
                    kind="EndpointSlice",
                    metadata=ObjectMeta(name=NAME, namespace=NAMESPACE, labels=SLICE_LABELS),
                    addressType="IPv4",
                    endpoints=reachable,
                    ports=ports,
                )
            )
        elif (current.endpoints, current.ports) != (reachable, ports):
            slice_patch = {
                "endpoints": [msgspec.to_builtins(e) for e in reachable],
                "ports": [msgspec.to_builtins(p) for p in ports],
            }
            await client.patch(EndpointSlice, NAME, NAMESPACE, patch=slice_patch)
        return None
