"""Admission webhooks and policies."""

from typing import Any, TypeVar

from edgekube.types.admissionregistration_v1 import (
    MatchResources,
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
    MutatingWebhook,
    MutatingWebhookConfiguration,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
    WebhookClientConfig,
)
from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.meta_v1.label_selector import LabelSelector

Hook = TypeVar("Hook", MutatingWebhook, ValidatingWebhook)

TIMEOUT_SECONDS = 10
HTTPS_PORT = 443


def mutating_webhooks(obj: MutatingWebhookConfiguration) -> MutatingWebhookConfiguration:
    return within(obj, webhooks=each(_mutating))


def _mutating(hook: MutatingWebhook) -> MutatingWebhook:
    return _webhook(fill(hook, reinvocationPolicy="Never"))


def validating_webhooks(obj: ValidatingWebhookConfiguration) -> ValidatingWebhookConfiguration:
    return within(obj, webhooks=each(_validating))


def _validating(hook: ValidatingWebhook) -> ValidatingWebhook:
    return _webhook(hook)


def _webhook(hook: Hook) -> Hook:
    hook = fill(
        hook,
        failurePolicy="Fail",
        matchPolicy="Equivalent",
        namespaceSelector=LabelSelector(),
        objectSelector=LabelSelector(),
        timeoutSeconds=TIMEOUT_SECONDS,
    )
    return within(hook, rules=each(_rule), clientConfig=_client)


def _rule(rule: Any) -> Any:
    return fill(rule, scope="*")


def _client(config: WebhookClientConfig) -> WebhookClientConfig:
    return within(config, service=lambda service: fill(service, port=HTTPS_PORT))


def _match(match: MatchResources) -> MatchResources:
    match = fill(match, matchPolicy="Equivalent", namespaceSelector=LabelSelector(), objectSelector=LabelSelector())
    return within(match, resourceRules=each(_rule), excludeResourceRules=each(_rule))


def validating_policy(obj: ValidatingAdmissionPolicy) -> ValidatingAdmissionPolicy:
    return within(obj, spec=lambda spec: within(fill(spec, failurePolicy="Fail"), matchConstraints=_match))


def validating_binding(obj: ValidatingAdmissionPolicyBinding) -> ValidatingAdmissionPolicyBinding:
    return within(obj, spec=lambda spec: within(spec, matchResources=_match))


def mutating_policy(obj: MutatingAdmissionPolicy) -> MutatingAdmissionPolicy:
    return within(
        obj,
        spec=lambda spec: within(fill(spec, failurePolicy="Fail", reinvocationPolicy="Never"), matchConstraints=_match),
    )


def mutating_binding(obj: MutatingAdmissionPolicyBinding) -> MutatingAdmissionPolicyBinding:
    return within(obj, spec=lambda spec: within(spec, matchResources=_match))
