"""admissionregistration/v1: MutatingAdmissionPolicy.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.admissionregistration_v1.common import MatchCondition, MatchResources, ParamKind, Variable
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ApplyConfiguration(Object, frozen=True, kw_only=True):
    expression: str = ""


class JSONPatch(Object, frozen=True, kw_only=True):
    expression: str = ""


class Mutation(Object, frozen=True, kw_only=True):
    applyConfiguration: ApplyConfiguration | None = None
    jsonPatch: JSONPatch | None = None
    patchType: str = always("")


class MutatingAdmissionPolicySpec(Object, frozen=True, kw_only=True):
    failurePolicy: str = ""
    matchConditions: tuple[MatchCondition, ...] = ()
    matchConstraints: MatchResources | None = None
    mutations: tuple[Mutation, ...] = ()
    paramKind: ParamKind | None = None
    reinvocationPolicy: str = ""
    variables: tuple[Variable, ...] = ()


class MutatingAdmissionPolicy(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: MutatingAdmissionPolicySpec = always(MutatingAdmissionPolicySpec())


class MutatingAdmissionPolicyList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[MutatingAdmissionPolicy, ...] = always(())
