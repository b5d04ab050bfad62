"""admissionregistration/v1: what several kinds share.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, always
from edgekube.types.meta_v1.label_selector import LabelSelector


class MatchCondition(Object, frozen=True, kw_only=True):
    expression: str = always("")
    name: str = always("")


class NamedRuleWithOperations(Object, frozen=True, kw_only=True):
    apiGroups: tuple[str, ...] = ()
    apiVersions: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    resourceNames: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str = ""


class ParamKind(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""


class ParamRef(Object, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    parameterNotFoundAction: str = ""
    selector: LabelSelector | None = None


class RuleWithOperations(Object, frozen=True, kw_only=True):
    apiGroups: tuple[str, ...] = ()
    apiVersions: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str = ""


class ServiceReference(Object, frozen=True, kw_only=True):
    name: str = always("")
    namespace: str = always("")
    path: str | None = None
    port: Int32 | None = None


class Variable(Object, frozen=True, kw_only=True):
    expression: str = always("")
    name: str = always("")


class MatchResources(Object, frozen=True, kw_only=True):
    excludeResourceRules: tuple[NamedRuleWithOperations, ...] = ()
    matchPolicy: str = ""
    namespaceSelector: LabelSelector | None = None
    objectSelector: LabelSelector | None = None
    resourceRules: tuple[NamedRuleWithOperations, ...] = ()


class WebhookClientConfig(Object, frozen=True, kw_only=True):
    caBundle: bytes = b""
    service: ServiceReference | None = None
    url: str | None = None
