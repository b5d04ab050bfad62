"""What the cloud role sees of the cluster, and a wake-up for each who decides by it."""

from typing import Final

import trio

from edgekube.client.api import Change, Client, Informer, Key
from edgekube.cloud.edge import SERVICE_NAME_LABEL, Slices, wants_balancer
from edgekube.types.core_v1 import Node, Service
from edgekube.types.discovery_v1 import EndpointSlice

FINALIZER: Final = "service.kubernetes.io/load-balancer-cleanup"
SLICE_INDEX: Final = "cloud/service"


class Cluster:
    """Services, nodes and the EndpointSlices that matter; changes of anything else wake nobody."""

    def __init__(self, client: Client) -> None:
        self.services: Informer[Service] = client.informer(Service)
        self.nodes: Informer[Node] = client.informer(Node)
        self.slices: Informer[EndpointSlice] = client.informer(EndpointSlice)
        self.slices.add_index(SLICE_INDEX, _service_keys)
        self._changed = trio.Event()
        self._unsubscribe = [
            self.services.subscribe(self._service_changed),
            self.nodes.subscribe(self._node_changed),
            self.slices.subscribe(self._slice_changed),
        ]

    def close(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    async def wait_synced(self) -> None:
        for informer in (self.services, self.nodes, self.slices):
            await informer.wait_synced()

    def wake_up(self) -> trio.Event:
        """Set at the next change that may matter."""
        return self._changed

    def local_slices(self) -> Slices:
        """EndpointSlices of the Services whose placement they decide: those with policy Local."""
        return {
            key_of(service): self.slices.by_index(SLICE_INDEX, "/".join(key_of(service)))
            for service in self.services.list()
            if service.spec.externalTrafficPolicy == "Local" and wants_balancer(service)
        }

    def _service_changed(self, change: Change[Service]) -> None:
        if any(side is not None and _concerns_us(side) for side in (change.old, change.new)):
            self._wake()

    def _node_changed(self, change: Change[Node]) -> None:
        if change.old is None or change.new is None or _picture(change.old) != _picture(change.new):
            self._wake()

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for text in _service_keys(change.obj):
            namespace, _, name = text.partition("/")
            service = self.services.get(namespace, name)
            if service is not None and service.spec.externalTrafficPolicy == "Local" and wants_balancer(service):
                self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _picture(node: Node) -> object:
    """What of a node matters here; its heartbeats do not."""
    ready = [(found.type, found.status) for found in node.status.conditions if found.type == "Ready"]
    return (ready, node.status.addresses, node.metadata.labels)


def _concerns_us(service: Service) -> bool:
    return service.spec.type == "LoadBalancer" or FINALIZER in service.metadata.finalizers


def _service_keys(piece: EndpointSlice) -> list[str]:
    name = piece.metadata.labels.get(SERVICE_NAME_LABEL)
    return [f"{piece.metadata.namespace}/{name}"] if name else []


def key_of(service: Service) -> Key:
    return (service.metadata.namespace, service.metadata.name)
