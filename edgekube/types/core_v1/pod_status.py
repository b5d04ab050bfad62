"""core/v1: pod status.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int64, Object, Quantity, Time, always
from edgekube.types.core_v1.container_status import ContainerStatus
from edgekube.types.core_v1.resources import ResourceRequirements


class ContainerExtendedResourceRequest(Object, frozen=True, kw_only=True):
    containerName: str = always("")
    requestName: str = always("")
    resourceName: str = always("")


class HostIP(Object, frozen=True, kw_only=True):
    ip: str = always("")


class NodeAllocatableResourceClaimStatus(Object, frozen=True, kw_only=True):
    containers: tuple[str, ...] = ()
    resourceClaimName: str = always("")
    resources: Mapping[str, Quantity] = always(EMPTY)


class PodCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastProbeTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    observedGeneration: Int64 = 0
    reason: str = ""
    type: str = always("")


class PodIP(Object, frozen=True, kw_only=True):
    ip: str = always("")


class PodResourceClaimStatus(Object, frozen=True, kw_only=True):
    name: str = always("")
    resourceClaimName: str | None = None


class PodExtendedResourceClaimStatus(Object, frozen=True, kw_only=True):
    requestMappings: tuple[ContainerExtendedResourceRequest, ...] = always(())
    resourceClaimName: str = always("")


class PodStatus(Object, frozen=True, kw_only=True):
    allocatedResources: Mapping[str, Quantity] = EMPTY
    conditions: tuple[PodCondition, ...] = ()
    containerStatuses: tuple[ContainerStatus, ...] = ()
    ephemeralContainerStatuses: tuple[ContainerStatus, ...] = ()
    extendedResourceClaimStatus: PodExtendedResourceClaimStatus | None = None
    hostIP: str = ""
    hostIPs: tuple[HostIP, ...] = ()
    initContainerStatuses: tuple[ContainerStatus, ...] = ()
    message: str = ""
    nodeAllocatableResourceClaimStatuses: tuple[NodeAllocatableResourceClaimStatus, ...] = ()
    nominatedNodeName: str = ""
    observedGeneration: Int64 = 0
    phase: str = ""
    podIP: str = ""
    podIPs: tuple[PodIP, ...] = ()
    qosClass: str = ""
    reason: str = ""
    resize: str = ""
    resourceClaimStatuses: tuple[PodResourceClaimStatus, ...] = ()
    resources: ResourceRequirements | None = None
    startTime: Time = ""
