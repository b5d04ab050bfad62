"""resource/v1: what several kinds share.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from msgspec import Raw

from edgekube.types._base import EMPTY, NO_RAW, Int64, Object, Quantity, always


class CELDeviceSelector(Object, frozen=True, kw_only=True):
    expression: str = always("")


class CapacityRequirements(Object, frozen=True, kw_only=True):
    requests: Mapping[str, Quantity] = EMPTY


class DeviceConstraint(Object, frozen=True, kw_only=True):
    distinctAttribute: str | None = None
    matchAttribute: str | None = None
    requests: tuple[str, ...] = ()


class OpaqueDeviceConfiguration(Object, frozen=True, kw_only=True):
    driver: str = always("")
    parameters: Raw = NO_RAW


class DeviceToleration(Object, frozen=True, kw_only=True):
    effect: str = ""
    key: str = ""
    operator: str = ""
    tolerationSeconds: Int64 | None = None
    value: str = ""


class DeviceSelector(Object, frozen=True, kw_only=True):
    cel: CELDeviceSelector | None = None


class DeviceClaimConfiguration(Object, frozen=True, kw_only=True):
    opaque: OpaqueDeviceConfiguration | None = None
    requests: tuple[str, ...] = ()


class DeviceSubRequest(Object, frozen=True, kw_only=True):
    allocationMode: str = ""
    capacity: CapacityRequirements | None = None
    count: Int64 = 0
    deviceClassName: str = always("")
    name: str = always("")
    selectors: tuple[DeviceSelector, ...] = ()
    tolerations: tuple[DeviceToleration, ...] = ()


class ExactDeviceRequest(Object, frozen=True, kw_only=True):
    adminAccess: bool | None = None
    allocationMode: str = ""
    capacity: CapacityRequirements | None = None
    count: Int64 = 0
    deviceClassName: str = always("")
    selectors: tuple[DeviceSelector, ...] = ()
    tolerations: tuple[DeviceToleration, ...] = ()


class DeviceRequest(Object, frozen=True, kw_only=True):
    exactly: ExactDeviceRequest | None = None
    firstAvailable: tuple[DeviceSubRequest, ...] = ()
    name: str = always("")


class DeviceClaim(Object, frozen=True, kw_only=True):
    config: tuple[DeviceClaimConfiguration, ...] = ()
    constraints: tuple[DeviceConstraint, ...] = ()
    requests: tuple[DeviceRequest, ...] = ()


class ResourceClaimSpec(Object, frozen=True, kw_only=True):
    devices: DeviceClaim = always(DeviceClaim())
