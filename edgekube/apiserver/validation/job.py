"""Jobs."""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.apiserver.validation.meta import labels, metadata
from edgekube.apiserver.validation.podspec import template
from edgekube.apiserver.validation.rules import label_selector, not_negative, one_of, unchanged
from edgekube.types import names, selectors
from edgekube.types.fieldpath import FieldError, Path, forbidden, invalid, required

PARALLELISM_INDEXED_MAX = 100_000
SPEC = Path("spec")


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if subresource == "status":
        return errors
    spec = new.spec
    errors += job_spec(spec, SPEC)
    if old is None:
        if spec.selector is None:
            errors.append(required(SPEC / "selector"))
        else:
            wrong = label_selector(spec.selector, SPEC / "selector")
            errors += wrong
            found = spec.template.metadata.labels
            if not wrong and not selectors.from_label_selector(spec.selector).matches(found):
                errors.append(
                    invalid(
                        SPEC / "template" / "metadata" / "labels",
                        dict(found),
                        "`selector` does not match template `labels`",
                    )
                )
        if spec.completionMode == "Indexed":
            errors += [
                invalid(Path("metadata", "name"), new.metadata.name, text)
                for text in names.dns1123_label(f"{new.metadata.name}-{max((spec.completions or 1) - 1, 0)}")
            ]
        return errors
    before = old.spec
    if spec.completionMode != "Indexed" or spec.completions != spec.parallelism:
        errors += unchanged(spec.completions, before.completions, SPEC / "completions")
    errors += unchanged(spec.selector, before.selector, SPEC / "selector")
    errors += unchanged(spec.completionMode, before.completionMode, SPEC / "completionMode")
    errors += unchanged(spec.podFailurePolicy, before.podFailurePolicy, SPEC / "podFailurePolicy")
    errors += unchanged(spec.backoffLimitPerIndex, before.backoffLimitPerIndex, SPEC / "backoffLimitPerIndex")
    errors += unchanged(spec.managedBy, before.managedBy, SPEC / "managedBy")
    errors += unchanged(spec.successPolicy, before.successPolicy, SPEC / "successPolicy")
    errors += _template_unchanged(spec, old)
    return errors


def _template_unchanged(spec: Any, old: Any) -> list[FieldError]:
    """A suspended job that never started may still be told where to run (KEP-2926)."""
    now, before = spec.template, old.spec.template
    if old.spec.suspend and not old.status.startTime:
        replace = msgspec.structs.replace
        now = replace(
            now,
            metadata=replace(now.metadata, labels=before.metadata.labels, annotations=before.metadata.annotations),
            spec=replace(
                now.spec,
                nodeSelector=before.spec.nodeSelector,
                affinity=before.spec.affinity,
                tolerations=before.spec.tolerations,
                schedulingGates=before.spec.schedulingGates,
            ),
        )
    return unchanged(now, before, SPEC / "template")


def job_spec(spec: Any, path: Path) -> list[FieldError]:
    """What a Job and a CronJob's template have in common."""
    errors: list[FieldError] = []
    for name in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
                 "backoffLimitPerIndex", "maxFailedIndexes"):  # fmt: skip
        errors += not_negative(getattr(spec, name), path / name)
    errors += one_of(spec.completionMode, ("Indexed", "NonIndexed"), path / "completionMode", needed=False)
    if spec.completionMode == "Indexed":
        if spec.completions is None:
            errors.append(required(path / "completions", "when completion mode is Indexed"))
        if spec.parallelism is not None and spec.parallelism > PARALLELISM_INDEXED_MAX:
            errors.append(
                invalid(
                    path / "parallelism",
                    spec.parallelism,
                    f"must be less than or equal to {PARALLELISM_INDEXED_MAX} when completion mode is Indexed",
                )
            )
    elif spec.backoffLimitPerIndex is not None:
        errors.append(
            invalid(path / "backoffLimitPerIndex", spec.backoffLimitPerIndex, "requires indexed completion mode")
        )
    errors += one_of(
        spec.podReplacementPolicy, ("Failed", "TerminatingOrFailed"), path / "podReplacementPolicy", needed=False
    )
    at = path / "template"
    errors += template(spec.template, at)
    errors += labels(spec.template.metadata.labels, at / "metadata" / "labels")
    policy = spec.template.spec.restartPolicy
    where = at / "spec" / "restartPolicy"
    if policy in ("", "Always"):
        errors.append(required(where, 'valid values: "OnFailure", "Never"'))
    if spec.podFailurePolicy is not None and policy != "Never":
        errors.append(invalid(where, policy, 'only "Never" is supported when podFailurePolicy is specified'))
    if spec.podFailurePolicy is not None:
        errors += _failure_policy(spec.podFailurePolicy, path / "podFailurePolicy")
    return errors


def _failure_policy(policy: Any, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, rule in enumerate(policy.rules):
        at = path / "rules" / index
        errors += one_of(rule.action, ("Count", "FailIndex", "FailJob", "Ignore"), at / "action")
        if rule.onExitCodes is None and not rule.onPodConditions:
            errors.append(invalid(at, rule, "specifying one of OnExitCodes and OnPodConditions is required"))
        if rule.onExitCodes is not None:
            if rule.onPodConditions:
                errors.append(invalid(at, rule, "specifying both OnExitCodes and OnPodConditions is not supported"))
            codes, where = rule.onExitCodes, at / "onExitCodes"
            errors += one_of(codes.operator, ("In", "NotIn"), where / "operator")
            if not codes.values:
                errors.append(invalid(where / "values", codes.values, "at least one value is required"))
            elif codes.operator == "In" and 0 in codes.values:
                errors.append(invalid(where / "values", 0, "must not be 0 for the In operator"))
    if not policy.rules:
        errors.append(forbidden(path / "rules", "at least one rule is required"))
    return errors
