"""flowcontrol/v1: FlowSchema.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, Time, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class FlowDistinguisherMethod(Object, frozen=True, kw_only=True):
    type: str = always("")


class FlowSchemaCondition(Object, frozen=True, kw_only=True):
    status: str = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = ""


class PriorityLevelConfigurationReference(Object, frozen=True, kw_only=True):
    name: str = always("")


class GroupSubject(Object, frozen=True, kw_only=True):
    name: str = always("")


class NonResourcePolicyRule(Object, frozen=True, kw_only=True):
    nonResourceURLs: tuple[str, ...] = always(())
    verbs: tuple[str, ...] = always(())


class ResourcePolicyRule(Object, frozen=True, kw_only=True):
    apiGroups: tuple[str, ...] = always(())
    clusterScope: bool = False
    namespaces: tuple[str, ...] = ()
    resources: tuple[str, ...] = always(())
    verbs: tuple[str, ...] = always(())


class ServiceAccountSubject(Object, frozen=True, kw_only=True):
    name: str = always("")
    namespace: str = always("")


class UserSubject(Object, frozen=True, kw_only=True):
    name: str = always("")


class FlowSchemaStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[FlowSchemaCondition, ...] = ()


class Subject(Object, frozen=True, kw_only=True):
    kind: str = always("")
    group: GroupSubject | None = None
    serviceAccount: ServiceAccountSubject | None = None
    user: UserSubject | None = None


class PolicyRulesWithSubjects(Object, frozen=True, kw_only=True):
    nonResourceRules: tuple[NonResourcePolicyRule, ...] = ()
    resourceRules: tuple[ResourcePolicyRule, ...] = ()
    subjects: tuple[Subject, ...] = always(())


class FlowSchemaSpec(Object, frozen=True, kw_only=True):
    distinguisherMethod: FlowDistinguisherMethod | None = None
    matchingPrecedence: Int32 = 0
    priorityLevelConfiguration: PriorityLevelConfigurationReference = always(PriorityLevelConfigurationReference())
    rules: tuple[PolicyRulesWithSubjects, ...] = ()


class FlowSchema(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: FlowSchemaSpec = always(FlowSchemaSpec())
    status: FlowSchemaStatus = always(FlowSchemaStatus())


class FlowSchemaList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[FlowSchema, ...] = always(())
