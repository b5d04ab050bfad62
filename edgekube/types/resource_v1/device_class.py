"""resource/v1: DeviceClass.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta
from edgekube.types.resource_v1.common import DeviceSelector, OpaqueDeviceConfiguration


class DeviceClassConfiguration(Object, frozen=True, kw_only=True):
    opaque: OpaqueDeviceConfiguration | None = None


class DeviceClassSpec(Object, frozen=True, kw_only=True):
    config: tuple[DeviceClassConfiguration, ...] = ()
    extendedResourceName: str | None = None
    selectors: tuple[DeviceSelector, ...] = ()


class DeviceClass(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: DeviceClassSpec = always(DeviceClassSpec())


class DeviceClassList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[DeviceClass, ...] = always(())
