"""What every pod worker is handed: the node's runtime, network, caches and helpers."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import msgspec
import trio

from edgekube.client.api import Client, Informer
from edgekube.client.events import EventRecorder
from edgekube.kubelet.config import KubeletConfig
from edgekube.kubelet.env import Sources
from edgekube.kubelet.images import ImageManager
from edgekube.kubelet.withdrawal import Withdrawals
from edgekube.network.api import PodNetwork
from edgekube.runtime.api import ContainerRuntime
from edgekube.types.core_v1 import ConfigMap, Pod, Secret, Service


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """One per kubelet. `node_allocatable` is in cores and bytes."""

    config: KubeletConfig
    client: Client
    runtime: ContainerRuntime
    network: PodNetwork
    events: EventRecorder
    images: ImageManager
    config_maps: Informer[ConfigMap]
    secrets: Informer[Secret]
    services: Informer[Service]
    withdrawals: Withdrawals
    node_allocatable: Mapping[str, Fraction]
    node_memory_bytes: int
    starts: trio.CapacityLimiter
    neighbours: Callable[[str], Sequence[Pod]]  # the pods on this node that have not ended, but for the uid given

    def sources(self, pod: Pod, pod_ips: tuple[str, ...]) -> Sources:
        """The lookups of one pod's environment and volumes."""
        namespace = pod.metadata.namespace
        return Sources(
            config_map=lambda name: self.config_maps.get(namespace, name),
            secret=lambda name: self.secrets.get(namespace, name),
            services=lambda: (*self.services.list(namespace), *self._master(namespace)),
            node_allocatable=self.node_allocatable,
            pod_ips=pod_ips,
            host_ips=(self.config.node_ip,),
        )

    def _master(self, namespace: str) -> tuple[Service, ...]:
        master = self.services.get("default", "kubernetes") if namespace != "default" else None
        return (master,) if master is not None else ()
