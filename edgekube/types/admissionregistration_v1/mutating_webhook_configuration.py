"""admissionregistration/v1: MutatingWebhookConfiguration.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, always
from edgekube.types.admissionregistration_v1.common import MatchCondition, RuleWithOperations, WebhookClientConfig
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class MutatingWebhook(Object, frozen=True, kw_only=True):
    admissionReviewVersions: tuple[str, ...] = always(())
    clientConfig: WebhookClientConfig = always(WebhookClientConfig())
    failurePolicy: str = ""
    matchConditions: tuple[MatchCondition, ...] = ()
    matchPolicy: str = ""
    name: str = always("")
    namespaceSelector: LabelSelector | None = None
    objectSelector: LabelSelector | None = None
    reinvocationPolicy: str = ""
    rules: tuple[RuleWithOperations, ...] = ()
    sideEffects: str = always("")
    timeoutSeconds: Int32 | None = None


class MutatingWebhookConfiguration(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    webhooks: tuple[MutatingWebhook, ...] = ()


class MutatingWebhookConfigurationList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[MutatingWebhookConfiguration, ...] = always(())
