"""networking/v1: ServiceCIDR.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.meta_v1.condition import Condition
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ServiceCIDRSpec(Object, frozen=True, kw_only=True):
    cidrs: tuple[str, ...] = ()


class ServiceCIDRStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()


class ServiceCIDR(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ServiceCIDRSpec = always(ServiceCIDRSpec())
    status: ServiceCIDRStatus = always(ServiceCIDRStatus())


class ServiceCIDRList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ServiceCIDR, ...] = always(())
