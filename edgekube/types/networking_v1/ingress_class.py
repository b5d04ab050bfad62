"""networking/v1: IngressClass.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class IngressClassParametersReference(Object, frozen=True, kw_only=True):
    kind: str = always("")
    apiGroup: str | None = None
    name: str = always("")
    namespace: str | None = None
    scope: str | None = None


class IngressClassSpec(Object, frozen=True, kw_only=True):
    controller: str = ""
    parameters: IngressClassParametersReference | None = None


class IngressClass(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: IngressClassSpec = always(IngressClassSpec())


class IngressClassList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[IngressClass, ...] = always(())
