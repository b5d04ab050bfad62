"""core/v1: binding.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.core_v1.reference import ObjectReference
from edgekube.types.meta_v1.object_meta import ObjectMeta


class Binding(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    target: ObjectReference = always(ObjectReference())
