"""storage/v1: CSINode.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class VolumeNodeResources(Object, frozen=True, kw_only=True):
    count: Int32 | None = None


class CSINodeDriver(Object, frozen=True, kw_only=True):
    allocatable: VolumeNodeResources | None = None
    name: str = always("")
    nodeID: str = always("")
    topologyKeys: tuple[str, ...] = ()


class CSINodeSpec(Object, frozen=True, kw_only=True):
    drivers: tuple[CSINodeDriver, ...] = always(())


class CSINode(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: CSINodeSpec = always(CSINodeSpec())


class CSINodeList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[CSINode, ...] = always(())
