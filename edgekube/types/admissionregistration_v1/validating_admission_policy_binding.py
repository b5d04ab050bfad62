"""admissionregistration/v1: ValidatingAdmissionPolicyBinding.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.admissionregistration_v1.common import MatchResources, ParamRef
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ValidatingAdmissionPolicyBindingSpec(Object, frozen=True, kw_only=True):
    matchResources: MatchResources | None = None
    paramRef: ParamRef | None = None
    policyName: str = always("")
    validationActions: tuple[str, ...] = always(())


class ValidatingAdmissionPolicyBinding(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ValidatingAdmissionPolicyBindingSpec = always(ValidatingAdmissionPolicyBindingSpec())


class ValidatingAdmissionPolicyBindingList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ValidatingAdmissionPolicyBinding, ...] = always(())
