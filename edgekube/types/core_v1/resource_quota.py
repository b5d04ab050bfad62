"""core/v1: resource quota.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Object, Quantity, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ResourceQuotaStatus(Object, frozen=True, kw_only=True):
    hard: Mapping[str, Quantity] = EMPTY
    used: Mapping[str, Quantity] = EMPTY


class ScopedResourceSelectorRequirement(Object, frozen=True, kw_only=True):
    operator: str = always("")
    scopeName: str = always("")
    values: tuple[str, ...] = ()


class ScopeSelector(Object, frozen=True, kw_only=True):
    matchExpressions: tuple[ScopedResourceSelectorRequirement, ...] = ()


class ResourceQuotaSpec(Object, frozen=True, kw_only=True):
    hard: Mapping[str, Quantity] = EMPTY
    scopeSelector: ScopeSelector | None = None
    scopes: tuple[str, ...] = ()


class ResourceQuota(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ResourceQuotaSpec = always(ResourceQuotaSpec())
    status: ResourceQuotaStatus = always(ResourceQuotaStatus())


class ResourceQuotaList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ResourceQuota, ...] = always(())
