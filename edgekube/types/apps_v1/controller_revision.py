"""apps/v1: ControllerRevision.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from msgspec import Raw

from edgekube.types._base import NO_RAW, Int64, Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ControllerRevision(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    data: Raw = NO_RAW
    revision: Int64 = always(0)


class ControllerRevisionList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ControllerRevision, ...] = always(())
