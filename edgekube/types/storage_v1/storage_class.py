"""storage/v1: StorageClass.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Object, always
from edgekube.types.core_v1.node_selector import TopologySelectorTerm
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class StorageClass(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    allowVolumeExpansion: bool | None = None
    allowedTopologies: tuple[TopologySelectorTerm, ...] = ()
    mountOptions: tuple[str, ...] = ()
    parameters: Mapping[str, str] = EMPTY
    provisioner: str = always("")
    reclaimPolicy: str = ""
    volumeBindingMode: str = ""


class StorageClassList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[StorageClass, ...] = always(())
