"""core/v1: limit range.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Object, Quantity, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class LimitRangeItem(Object, frozen=True, kw_only=True):
    default: Mapping[str, Quantity] = EMPTY
    defaultRequest: Mapping[str, Quantity] = EMPTY
    max: Mapping[str, Quantity] = EMPTY
    maxLimitRequestRatio: Mapping[str, Quantity] = EMPTY
    min: Mapping[str, Quantity] = EMPTY
    type: str = always("")


class LimitRangeSpec(Object, frozen=True, kw_only=True):
    limits: tuple[LimitRangeItem, ...] = always(())


class LimitRange(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: LimitRangeSpec = always(LimitRangeSpec())


class LimitRangeList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[LimitRange, ...] = always(())
