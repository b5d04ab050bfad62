"""batch/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .common import JobSpec as JobSpec
    from .common import PodFailurePolicy as PodFailurePolicy
    from .common import PodFailurePolicyOnExitCodesRequirement as PodFailurePolicyOnExitCodesRequirement
    from .common import PodFailurePolicyOnPodConditionsPattern as PodFailurePolicyOnPodConditionsPattern
    from .common import PodFailurePolicyRule as PodFailurePolicyRule
    from .common import SuccessPolicy as SuccessPolicy
    from .common import SuccessPolicyRule as SuccessPolicyRule
    from .cron_job import CronJob as CronJob
    from .cron_job import CronJobList as CronJobList
    from .cron_job import CronJobSpec as CronJobSpec
    from .cron_job import CronJobStatus as CronJobStatus
    from .cron_job import JobTemplateSpec as JobTemplateSpec
    from .job import Job as Job
    from .job import JobCondition as JobCondition
    from .job import JobList as JobList
    from .job import JobStatus as JobStatus
    from .job import UncountedTerminatedPods as UncountedTerminatedPods
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "common": (
                "JobSpec PodFailurePolicy PodFailurePolicyOnExitCodesRequirement"
                " PodFailurePolicyOnPodConditionsPattern PodFailurePolicyRule SuccessPolicy SuccessPolicyRule"
            ),
            "cron_job": "CronJob CronJobList CronJobSpec CronJobStatus JobTemplateSpec",
            "job": "Job JobCondition JobList JobStatus UncountedTerminatedPods",
        },
    )
