"""node/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Object, Quantity, always
from edgekube.types.core_v1.scheduling import Toleration
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class Overhead(Object, frozen=True, kw_only=True):
    podFixed: Mapping[str, Quantity] = EMPTY


class Scheduling(Object, frozen=True, kw_only=True):
    nodeSelector: Mapping[str, str] = EMPTY
    tolerations: tuple[Toleration, ...] = ()


class RuntimeClass(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    handler: str = always("")
    overhead: Overhead | None = None
    scheduling: Scheduling | None = None


class RuntimeClassList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[RuntimeClass, ...] = always(())
