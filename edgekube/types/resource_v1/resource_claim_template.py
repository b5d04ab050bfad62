"""resource/v1: ResourceClaimTemplate.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta
from edgekube.types.resource_v1.common import ResourceClaimSpec


class ResourceClaimTemplateSpec(Object, frozen=True, kw_only=True):
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ResourceClaimSpec = always(ResourceClaimSpec())


class ResourceClaimTemplate(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ResourceClaimTemplateSpec = always(ResourceClaimTemplateSpec())


class ResourceClaimTemplateList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ResourceClaimTemplate, ...] = always(())
