"""resource/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .common import CapacityRequirements as CapacityRequirements
    from .common import CELDeviceSelector as CELDeviceSelector
    from .common import DeviceClaim as DeviceClaim
    from .common import DeviceClaimConfiguration as DeviceClaimConfiguration
    from .common import DeviceConstraint as DeviceConstraint
    from .common import DeviceRequest as DeviceRequest
    from .common import DeviceSelector as DeviceSelector
    from .common import DeviceSubRequest as DeviceSubRequest
    from .common import DeviceToleration as DeviceToleration
    from .common import ExactDeviceRequest as ExactDeviceRequest
    from .common import OpaqueDeviceConfiguration as OpaqueDeviceConfiguration
    from .common import ResourceClaimSpec as ResourceClaimSpec
    from .device_class import DeviceClass as DeviceClass
    from .device_class import DeviceClassConfiguration as DeviceClassConfiguration
    from .device_class import DeviceClassList as DeviceClassList
    from .device_class import DeviceClassSpec as DeviceClassSpec
    from .resource_claim import AllocatedDeviceStatus as AllocatedDeviceStatus
    from .resource_claim import AllocationResult as AllocationResult
    from .resource_claim import DeviceAllocationConfiguration as DeviceAllocationConfiguration
    from .resource_claim import DeviceAllocationResult as DeviceAllocationResult
    from .resource_claim import DeviceRequestAllocationResult as DeviceRequestAllocationResult
    from .resource_claim import NetworkDeviceData as NetworkDeviceData
    from .resource_claim import ResourceClaim as ResourceClaim
    from .resource_claim import ResourceClaimConsumerReference as ResourceClaimConsumerReference
    from .resource_claim import ResourceClaimList as ResourceClaimList
    from .resource_claim import ResourceClaimStatus as ResourceClaimStatus
    from .resource_claim_template import ResourceClaimTemplate as ResourceClaimTemplate
    from .resource_claim_template import ResourceClaimTemplateList as ResourceClaimTemplateList
    from .resource_claim_template import ResourceClaimTemplateSpec as ResourceClaimTemplateSpec
    from .resource_slice import CapacityRequestPolicy as CapacityRequestPolicy
    from .resource_slice import CapacityRequestPolicyRange as CapacityRequestPolicyRange
    from .resource_slice import Counter as Counter
    from .resource_slice import CounterSet as CounterSet
    from .resource_slice import Device as Device
    from .resource_slice import DeviceAttribute as DeviceAttribute
    from .resource_slice import DeviceCapacity as DeviceCapacity
    from .resource_slice import DeviceCounterConsumption as DeviceCounterConsumption
    from .resource_slice import DeviceTaint as DeviceTaint
    from .resource_slice import NodeAllocatableResourceMapping as NodeAllocatableResourceMapping
    from .resource_slice import ResourcePool as ResourcePool
    from .resource_slice import ResourceSlice as ResourceSlice
    from .resource_slice import ResourceSliceList as ResourceSliceList
    from .resource_slice import ResourceSliceSpec as ResourceSliceSpec
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "common": (
                "CELDeviceSelector CapacityRequirements DeviceClaim DeviceClaimConfiguration DeviceConstraint"
                " DeviceRequest DeviceSelector DeviceSubRequest DeviceToleration ExactDeviceRequest"
                " OpaqueDeviceConfiguration ResourceClaimSpec"
            ),
            "device_class": "DeviceClass DeviceClassConfiguration DeviceClassList DeviceClassSpec",
            "resource_claim": (
                "AllocatedDeviceStatus AllocationResult DeviceAllocationConfiguration DeviceAllocationResult"
                " DeviceRequestAllocationResult NetworkDeviceData ResourceClaim ResourceClaimConsumerReference"
                " ResourceClaimList ResourceClaimStatus"
            ),
            "resource_claim_template": "ResourceClaimTemplate ResourceClaimTemplateList ResourceClaimTemplateSpec",
            "resource_slice": (
                "CapacityRequestPolicy CapacityRequestPolicyRange Counter CounterSet Device DeviceAttribute"
                " DeviceCapacity DeviceCounterConsumption DeviceTaint NodeAllocatableResourceMapping ResourcePool"
                " ResourceSlice ResourceSliceList ResourceSliceSpec"
            ),
        },
    )
