"""When a Job is done, has failed, and what its pods' ends count for. Pure (job-controller, KEP-3329, 3850, 3998)."""

from edgekube.controllers import indexes
from edgekube.types.batch_v1 import Job, JobSpec, PodFailurePolicyRule
from edgekube.types.core_v1 import Pod
from edgekube.types.integers import natural

INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"


def index_of(pod: Pod) -> int | None:
    return natural(pod.metadata.annotations.get(INDEX_ANNOTATION, ""))


def is_indexed(job: Job) -> bool:
    return job.spec.completionMode == "Indexed"


def completions(job: Job) -> int | None:
    return job.spec.completions


def parallelism(job: Job) -> int:
    return 1 if job.spec.parallelism is None else job.spec.parallelism


def policy_action(spec: JobSpec, pod: Pod) -> tuple[str, str]:
    """(action, message) of the first podFailurePolicy rule a failed pod meets; Count without one."""
    rules = spec.podFailurePolicy.rules if spec.podFailurePolicy is not None else ()
    for number, rule in enumerate(rules):
        what = _matches(rule, pod)
        if what:
            return rule.action, f"{what} matching {rule.action} rule at index {number}"
    return "Count", ""


def _matches(rule: PodFailurePolicyRule, pod: Pod) -> str:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    wanted = rule.onExitCodes
    if wanted is not None:
        for status in (*pod.status.initContainerStatuses, *pod.status.containerStatuses):
            if wanted.containerName and status.name != wanted.containerName:
                continue
            ended = status.state.terminated
            if ended is None or ended.exitCode == 0:
                continue
            if (ended.exitCode in wanted.values) == (wanted.operator == "In"):
                return f"Container {status.name} for pod {name} failed with exit code {ended.exitCode}"
    for pattern in rule.onPodConditions:
        for condition in pod.status.conditions:
            if (condition.type, condition.status) == (pattern.type, pattern.status or "True"):
                return f"Pod {name} has condition {condition.type}"
    return ""


def success_policy(job: Job, succeeded: set[int]) -> str:
    """The message of the first successPolicy rule that holds (KEP-3998), or ""."""
    rules = job.spec.successPolicy.rules if job.spec.successPolicy is not None else ()
    for number, rule in enumerate(rules):
        of = succeeded
        if rule.succeededIndexes is not None:
            of = succeeded & indexes.parse(rule.succeededIndexes, job.spec.completions or 0)
            needed = rule.succeededCount
            if needed is None:
                needed = len(indexes.parse(rule.succeededIndexes, job.spec.completions or 0))
        else:
            needed = rule.succeededCount or 0
        if needed and len(of) >= needed:
            return f"Matched rules at index {number}"
    return ""
