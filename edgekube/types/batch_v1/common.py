"""batch/v1: what several kinds share.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, Object, always
from edgekube.types.core_v1.pod_spec import PodTemplateSpec
from edgekube.types.meta_v1.label_selector import LabelSelector


class PodFailurePolicyOnExitCodesRequirement(Object, frozen=True, kw_only=True):
    containerName: str | None = None
    operator: str = always("")
    values: tuple[Int32, ...] = always(())


class PodFailurePolicyOnPodConditionsPattern(Object, frozen=True, kw_only=True):
    status: str = ""
    type: str = always("")


class SuccessPolicyRule(Object, frozen=True, kw_only=True):
    succeededCount: Int32 | None = None
    succeededIndexes: str | None = None


class PodFailurePolicyRule(Object, frozen=True, kw_only=True):
    action: str = always("")
    onExitCodes: PodFailurePolicyOnExitCodesRequirement | None = None
    onPodConditions: tuple[PodFailurePolicyOnPodConditionsPattern, ...] = ()


class SuccessPolicy(Object, frozen=True, kw_only=True):
    rules: tuple[SuccessPolicyRule, ...] = always(())


class PodFailurePolicy(Object, frozen=True, kw_only=True):
    rules: tuple[PodFailurePolicyRule, ...] = always(())


class JobSpec(Object, frozen=True, kw_only=True):
    activeDeadlineSeconds: Int64 | None = None
    backoffLimit: Int32 | None = None
    backoffLimitPerIndex: Int32 | None = None
    completionMode: str = ""
    completions: Int32 | None = None
    managedBy: str | None = None
    manualSelector: bool | None = None
    maxFailedIndexes: Int32 | None = None
    parallelism: Int32 | None = None
    podFailurePolicy: PodFailurePolicy | None = None
    podReplacementPolicy: str = ""
    selector: LabelSelector | None = None
    successPolicy: SuccessPolicy | None = None
    suspend: bool | None = None
    template: PodTemplateSpec = always(PodTemplateSpec())
    ttlSecondsAfterFinished: Int32 | None = None
