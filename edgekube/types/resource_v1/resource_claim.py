"""resource/v1: ResourceClaim.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from msgspec import Raw

from edgekube.types._base import EMPTY, NO_RAW, Object, Quantity, Time, always
from edgekube.types.core_v1.node_selector import NodeSelector
from edgekube.types.meta_v1.condition import Condition
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta
from edgekube.types.resource_v1.common import DeviceToleration, OpaqueDeviceConfiguration, ResourceClaimSpec


class NetworkDeviceData(Object, frozen=True, kw_only=True):
    hardwareAddress: str = ""
    interfaceName: str = ""
    ips: tuple[str, ...] = ()


class DeviceAllocationConfiguration(Object, frozen=True, kw_only=True):
    opaque: OpaqueDeviceConfiguration | None = None
    requests: tuple[str, ...] = ()
    source: str = always("")


class DeviceRequestAllocationResult(Object, frozen=True, kw_only=True):
    adminAccess: bool | None = None
    bindingConditions: tuple[str, ...] = ()
    bindingFailureConditions: tuple[str, ...] = ()
    consumedCapacity: Mapping[str, Quantity] = EMPTY
    device: str = always("")
    driver: str = always("")
    pool: str = always("")
    request: str = always("")
    shareID: str | None = None
    tolerations: tuple[DeviceToleration, ...] = ()


class ResourceClaimConsumerReference(Object, frozen=True, kw_only=True):
    apiGroup: str = ""
    name: str = always("")
    resource: str = always("")
    uid: str = always("")


class AllocatedDeviceStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()
    data: Raw = NO_RAW
    device: str = always("")
    driver: str = always("")
    networkData: NetworkDeviceData | None = None
    pool: str = always("")
    shareID: str | None = None


class DeviceAllocationResult(Object, frozen=True, kw_only=True):
    config: tuple[DeviceAllocationConfiguration, ...] = ()
    results: tuple[DeviceRequestAllocationResult, ...] = ()


class AllocationResult(Object, frozen=True, kw_only=True):
    allocationTimestamp: Time = ""
    devices: DeviceAllocationResult = always(DeviceAllocationResult())
    nodeSelector: NodeSelector | None = None


class ResourceClaimStatus(Object, frozen=True, kw_only=True):
    allocation: AllocationResult | None = None
    devices: tuple[AllocatedDeviceStatus, ...] = ()
    reservedFor: tuple[ResourceClaimConsumerReference, ...] = ()


class ResourceClaim(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ResourceClaimSpec = always(ResourceClaimSpec())
    status: ResourceClaimStatus = ResourceClaimStatus()


class ResourceClaimList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ResourceClaim, ...] = always(())
