"""core/v1: component status.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ComponentCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    error: str = ""
    message: str = ""
    type: str = always("")


class ComponentStatus(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    conditions: tuple[ComponentCondition, ...] = ()


class ComponentStatusList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ComponentStatus, ...] = always(())
