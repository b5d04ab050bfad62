"""authorization/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Object, always
from edgekube.types.meta_v1.label_selector import FieldSelectorRequirement, LabelSelectorRequirement
from edgekube.types.meta_v1.object_meta import ObjectMeta


class FieldSelectorAttributes(Object, frozen=True, kw_only=True):
    rawSelector: str = ""
    requirements: tuple[FieldSelectorRequirement, ...] = ()


class LabelSelectorAttributes(Object, frozen=True, kw_only=True):
    rawSelector: str = ""
    requirements: tuple[LabelSelectorRequirement, ...] = ()


class SubjectAccessReviewStatus(Object, frozen=True, kw_only=True):
    allowed: bool = always(False)
    denied: bool = False
    evaluationError: str = ""
    reason: str = ""


class NonResourceAttributes(Object, frozen=True, kw_only=True):
    path: str = ""
    verb: str = ""


class NonResourceRule(Object, frozen=True, kw_only=True):
    nonResourceURLs: tuple[str, ...] = ()
    verbs: tuple[str, ...] = always(())


class ResourceRule(Object, frozen=True, kw_only=True):
    apiGroups: tuple[str, ...] = ()
    resourceNames: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = always(())


class SelfSubjectRulesReviewSpec(Object, frozen=True, kw_only=True):
    namespace: str = ""


class ResourceAttributes(Object, frozen=True, kw_only=True):
    fieldSelector: FieldSelectorAttributes | None = None
    group: str = ""
    labelSelector: LabelSelectorAttributes | None = None
    name: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    verb: str = ""
    version: str = ""


class SubjectRulesReviewStatus(Object, frozen=True, kw_only=True):
    evaluationError: str = ""
    incomplete: bool = always(False)
    nonResourceRules: tuple[NonResourceRule, ...] = always(())
    resourceRules: tuple[ResourceRule, ...] = always(())


class SelfSubjectAccessReviewSpec(Object, frozen=True, kw_only=True):
    nonResourceAttributes: NonResourceAttributes | None = None
    resourceAttributes: ResourceAttributes | None = None


class SubjectAccessReviewSpec(Object, frozen=True, kw_only=True):
    extra: Mapping[str, tuple[str, ...]] = EMPTY
    groups: tuple[str, ...] = ()
    nonResourceAttributes: NonResourceAttributes | None = None
    resourceAttributes: ResourceAttributes | None = None
    uid: str = ""
    user: str = ""


class SelfSubjectRulesReview(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: SelfSubjectRulesReviewSpec = always(SelfSubjectRulesReviewSpec())
    status: SubjectRulesReviewStatus = always(SubjectRulesReviewStatus())


class SelfSubjectAccessReview(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: SelfSubjectAccessReviewSpec = always(SelfSubjectAccessReviewSpec())
    status: SubjectAccessReviewStatus = always(SubjectAccessReviewStatus())


class LocalSubjectAccessReview(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: SubjectAccessReviewSpec = always(SubjectAccessReviewSpec())
    status: SubjectAccessReviewStatus = always(SubjectAccessReviewStatus())


class SubjectAccessReview(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: SubjectAccessReviewSpec = always(SubjectAccessReviewSpec())
    status: SubjectAccessReviewStatus = always(SubjectAccessReviewStatus())
