"""rbac/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class AggregationRule(Object, frozen=True, kw_only=True):
    clusterRoleSelectors: tuple[LabelSelector, ...] = ()


class PolicyRule(Object, frozen=True, kw_only=True):
    apiGroups: tuple[str, ...] = ()
    nonResourceURLs: tuple[str, ...] = ()
    resourceNames: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = always(())


class RoleRef(Object, frozen=True, kw_only=True):
    kind: str = always("")
    apiGroup: str = ""
    name: str = always("")


class Subject(Object, frozen=True, kw_only=True):
    kind: str = always("")
    apiGroup: str = ""
    name: str = always("")
    namespace: str = ""


class ClusterRole(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    aggregationRule: AggregationRule | None = None
    rules: tuple[PolicyRule, ...] = ()


class Role(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    rules: tuple[PolicyRule, ...] = ()


class ClusterRoleBinding(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    roleRef: RoleRef = always(RoleRef())
    subjects: tuple[Subject, ...] = ()


class RoleBinding(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    roleRef: RoleRef = always(RoleRef())
    subjects: tuple[Subject, ...] = ()


class ClusterRoleList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ClusterRole, ...] = always(())


class RoleList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Role, ...] = always(())


class ClusterRoleBindingList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ClusterRoleBinding, ...] = always(())


class RoleBindingList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[RoleBinding, ...] = always(())
