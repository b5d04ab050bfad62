"""core/v1: pod template.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.core_v1.pod_spec import PodTemplateSpec
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class PodTemplate(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    template: PodTemplateSpec = always(PodTemplateSpec())


class PodTemplateList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[PodTemplate, ...] = always(())
