"""admissionregistration/v1: ValidatingAdmissionPolicy.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int64, Object, always
from edgekube.types.admissionregistration_v1.common import MatchCondition, MatchResources, ParamKind, Variable
from edgekube.types.meta_v1.condition import Condition
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class AuditAnnotation(Object, frozen=True, kw_only=True):
    key: str = always("")
    valueExpression: str = always("")


class ExpressionWarning(Object, frozen=True, kw_only=True):
    fieldRef: str = always("")
    warning: str = always("")


class Validation(Object, frozen=True, kw_only=True):
    expression: str = always("")
    message: str = ""
    messageExpression: str = ""
    reason: str = ""


class TypeChecking(Object, frozen=True, kw_only=True):
    expressionWarnings: tuple[ExpressionWarning, ...] = ()


class ValidatingAdmissionPolicySpec(Object, frozen=True, kw_only=True):
    auditAnnotations: tuple[AuditAnnotation, ...] = ()
    failurePolicy: str = ""
    matchConditions: tuple[MatchCondition, ...] = ()
    matchConstraints: MatchResources | None = None
    paramKind: ParamKind | None = None
    validations: tuple[Validation, ...] = ()
    variables: tuple[Variable, ...] = ()


class ValidatingAdmissionPolicyStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()
    observedGeneration: Int64 = 0
    typeChecking: TypeChecking | None = None


class ValidatingAdmissionPolicy(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ValidatingAdmissionPolicySpec = always(ValidatingAdmissionPolicySpec())
    status: ValidatingAdmissionPolicyStatus = always(ValidatingAdmissionPolicyStatus())


class ValidatingAdmissionPolicyList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ValidatingAdmissionPolicy, ...] = always(())
