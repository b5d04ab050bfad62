"""core/v1: namespace.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, Time, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class NamespaceSpec(Object, frozen=True, kw_only=True):
    finalizers: tuple[str, ...] = ()


class NamespaceCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class NamespaceStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[NamespaceCondition, ...] = ()
    phase: str = ""


class Namespace(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: NamespaceSpec = always(NamespaceSpec())
    status: NamespaceStatus = always(NamespaceStatus())


class NamespaceList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Namespace, ...] = always(())
