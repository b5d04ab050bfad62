"""resource/v1: ResourceSlice.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from msgspec import field

from edgekube.types._base import EMPTY, Int64, Object, Quantity, Time, always
from edgekube.types.core_v1.node_selector import NodeSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class CapacityRequestPolicyRange(Object, frozen=True, kw_only=True):
    max: Quantity | None = None
    min: Quantity = always("0")
    step: Quantity | None = None


class Counter(Object, frozen=True, kw_only=True):
    value: Quantity = always("0")


class DeviceAttribute(Object, frozen=True, kw_only=True):
    bool_: bool | None = field(name="bool", default=None)
    bools: tuple[bool, ...] = ()
    int_: Int64 | None = field(name="int", default=None)
    ints: tuple[Int64, ...] = ()
    string: str | None = None
    strings: tuple[str, ...] = ()
    version: str | None = None
    versions: tuple[str, ...] = ()


class DeviceTaint(Object, frozen=True, kw_only=True):
    effect: str = always("")
    key: str = always("")
    timeAdded: Time = ""
    value: str = ""


class NodeAllocatableResourceMapping(Object, frozen=True, kw_only=True):
    allocationMultiplier: Quantity | None = None
    capacityKey: str | None = None


class ResourcePool(Object, frozen=True, kw_only=True):
    generation: Int64 = always(0)
    name: str = always("")
    resourceSliceCount: Int64 = always(0)


class CapacityRequestPolicy(Object, frozen=True, kw_only=True):
    default: Quantity | None = None
    validRange: CapacityRequestPolicyRange | None = None
    validValues: tuple[Quantity, ...] = ()


class CounterSet(Object, frozen=True, kw_only=True):
    counters: Mapping[str, Counter] = always(EMPTY)
    name: str = always("")


class DeviceCounterConsumption(Object, frozen=True, kw_only=True):
    counterSet: str = always("")
    counters: Mapping[str, Counter] = always(EMPTY)


class DeviceCapacity(Object, frozen=True, kw_only=True):
    requestPolicy: CapacityRequestPolicy | None = None
    value: Quantity = always("0")


class Device(Object, frozen=True, kw_only=True):
    allNodes: bool | None = None
    allowMultipleAllocations: bool | None = None
    attributes: Mapping[str, DeviceAttribute] = EMPTY
    bindingConditions: tuple[str, ...] = ()
    bindingFailureConditions: tuple[str, ...] = ()
    bindsToNode: bool | None = None
    capacity: Mapping[str, DeviceCapacity] = EMPTY
    consumesCounters: tuple[DeviceCounterConsumption, ...] = ()
    name: str = always("")
    nodeAllocatableResourceMappings: Mapping[str, NodeAllocatableResourceMapping] = EMPTY
    nodeName: str | None = None
    nodeSelector: NodeSelector | None = None
    taints: tuple[DeviceTaint, ...] = ()


class ResourceSliceSpec(Object, frozen=True, kw_only=True):
    allNodes: bool | None = None
    devices: tuple[Device, ...] = ()
    driver: str = always("")
    nodeName: str | None = None
    nodeSelector: NodeSelector | None = None
    perDeviceNodeSelection: bool | None = None
    pool: ResourcePool = always(ResourcePool())
    sharedCounters: tuple[CounterSet, ...] = ()


class ResourceSlice(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ResourceSliceSpec = always(ResourceSliceSpec())


class ResourceSliceList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ResourceSlice, ...] = always(())
