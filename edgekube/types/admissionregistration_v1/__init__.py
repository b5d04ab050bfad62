"""admissionregistration/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .common import MatchCondition as MatchCondition
    from .common import MatchResources as MatchResources
    from .common import NamedRuleWithOperations as NamedRuleWithOperations
    from .common import ParamKind as ParamKind
    from .common import ParamRef as ParamRef
    from .common import RuleWithOperations as RuleWithOperations
    from .common import ServiceReference as ServiceReference
    from .common import Variable as Variable
    from .common import WebhookClientConfig as WebhookClientConfig
    from .mutating_admission_policy import ApplyConfiguration as ApplyConfiguration
    from .mutating_admission_policy import JSONPatch as JSONPatch
    from .mutating_admission_policy import MutatingAdmissionPolicy as MutatingAdmissionPolicy
    from .mutating_admission_policy import MutatingAdmissionPolicyList as MutatingAdmissionPolicyList
    from .mutating_admission_policy import MutatingAdmissionPolicySpec as MutatingAdmissionPolicySpec
    from .mutating_admission_policy import Mutation as Mutation
    from .mutating_admission_policy_binding import MutatingAdmissionPolicyBinding as MutatingAdmissionPolicyBinding
    from .mutating_admission_policy_binding import (
        MutatingAdmissionPolicyBindingList as MutatingAdmissionPolicyBindingList,
    )
    from .mutating_admission_policy_binding import (
        MutatingAdmissionPolicyBindingSpec as MutatingAdmissionPolicyBindingSpec,
    )
    from .mutating_webhook_configuration import MutatingWebhook as MutatingWebhook
    from .mutating_webhook_configuration import MutatingWebhookConfiguration as MutatingWebhookConfiguration
    from .mutating_webhook_configuration import MutatingWebhookConfigurationList as MutatingWebhookConfigurationList
    from .validating_admission_policy import AuditAnnotation as AuditAnnotation
    from .validating_admission_policy import ExpressionWarning as ExpressionWarning
    from .validating_admission_policy import TypeChecking as TypeChecking
    from .validating_admission_policy import ValidatingAdmissionPolicy as ValidatingAdmissionPolicy
    from .validating_admission_policy import ValidatingAdmissionPolicyList as ValidatingAdmissionPolicyList
    from .validating_admission_policy import ValidatingAdmissionPolicySpec as ValidatingAdmissionPolicySpec
    from .validating_admission_policy import ValidatingAdmissionPolicyStatus as ValidatingAdmissionPolicyStatus
    from .validating_admission_policy import Validation as Validation
    from .validating_admission_policy_binding import (
        ValidatingAdmissionPolicyBinding as ValidatingAdmissionPolicyBinding,
    )
    from .validating_admission_policy_binding import (
        ValidatingAdmissionPolicyBindingList as ValidatingAdmissionPolicyBindingList,
    )
    from .validating_admission_policy_binding import (
        ValidatingAdmissionPolicyBindingSpec as ValidatingAdmissionPolicyBindingSpec,
    )
    from .validating_webhook_configuration import ValidatingWebhook as ValidatingWebhook
    from .validating_webhook_configuration import ValidatingWebhookConfiguration as ValidatingWebhookConfiguration
    from .validating_webhook_configuration import (
        ValidatingWebhookConfigurationList as ValidatingWebhookConfigurationList,
    )
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "common": (
                "MatchCondition MatchResources NamedRuleWithOperations ParamKind ParamRef RuleWithOperations"
                " ServiceReference Variable WebhookClientConfig"
            ),
            "mutating_admission_policy": (
                "ApplyConfiguration JSONPatch MutatingAdmissionPolicy MutatingAdmissionPolicyList"
                " MutatingAdmissionPolicySpec Mutation"
            ),
            "mutating_admission_policy_binding": (
                "MutatingAdmissionPolicyBinding MutatingAdmissionPolicyBindingList"
                " MutatingAdmissionPolicyBindingSpec"
            ),
            "mutating_webhook_configuration": (
                "MutatingWebhook MutatingWebhookConfiguration MutatingWebhookConfigurationList"
            ),
            "validating_admission_policy": (
                "AuditAnnotation ExpressionWarning TypeChecking ValidatingAdmissionPolicy"
                " ValidatingAdmissionPolicyList ValidatingAdmissionPolicySpec ValidatingAdmissionPolicyStatus"
                " Validation"
            ),
            "validating_admission_policy_binding": (
                "ValidatingAdmissionPolicyBinding ValidatingAdmissionPolicyBindingList"
                " ValidatingAdmissionPolicyBindingSpec"
            ),
            "validating_webhook_configuration": (
                "ValidatingWebhook ValidatingWebhookConfiguration ValidatingWebhookConfigurationList"
            ),
        },
    )
