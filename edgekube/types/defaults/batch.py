"""batch/v1."""

from edgekube.types.batch_v1 import CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec, PodFailurePolicy
from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.defaults.pod import template

BACKOFF_LIMIT = 6
INT32_MAX = 2**31 - 1  # with a limit per index there is no limit on the whole


def job(obj: Job) -> Job:
    """A Job; the template's labels stand in for missing labels."""
    obj = within(obj, spec=_job_spec)
    labels = obj.spec.template.metadata.labels
    return within(obj, metadata=lambda meta: fill(meta, labels=labels)) if labels else obj


def _job_spec(spec: JobSpec) -> JobSpec:
    if spec.completions is None and spec.parallelism is None:
        spec = fill(spec, completions=1)
    spec = fill(
        spec,
        parallelism=1,
        backoffLimit=BACKOFF_LIMIT if spec.backoffLimitPerIndex is None else INT32_MAX,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="TerminatingOrFailed" if spec.podFailurePolicy is None else "Failed",
    )
    return within(spec, template=template, podFailurePolicy=_failure_policy)


def _failure_policy(policy: PodFailurePolicy) -> PodFailurePolicy:
    return within(
        policy,
        rules=each(lambda rule: within(rule, onPodConditions=each(lambda pattern: fill(pattern, status="True")))),
    )


def cron_job(obj: CronJob) -> CronJob:
    """A CronJob; the Job inside gets its own defaults when it is created."""
    return within(obj, spec=_cron_job_spec)


def _cron_job_spec(spec: CronJobSpec) -> CronJobSpec:
    spec = fill(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    return within(spec, jobTemplate=_job_template)


def _job_template(job_template: JobTemplateSpec) -> JobTemplateSpec:
    return within(job_template, spec=lambda spec: within(spec, template=template, podFailurePolicy=_failure_policy))
