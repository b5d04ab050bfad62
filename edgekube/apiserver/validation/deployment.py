"""Deployments."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation import apps
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import not_negative, unchanged
from edgekube.types.fieldpath import FieldError, forbidden, invalid, not_supported, required

SPEC = apps.SPEC


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if subresource == "status":
        return errors
    spec = new.spec
    errors += apps.selector_and_template(spec)
    errors += apps.replicas(spec)
    errors += _strategy(spec.strategy)
    errors += not_negative(spec.revisionHistoryLimit, SPEC / "revisionHistoryLimit")
    if spec.progressDeadlineSeconds is not None:
        errors += not_negative(spec.progressDeadlineSeconds, SPEC / "progressDeadlineSeconds")
        if spec.progressDeadlineSeconds <= spec.minReadySeconds:
            errors.append(
                invalid(
                    SPEC / "progressDeadlineSeconds",
                    spec.progressDeadlineSeconds,
                    "must be greater than minReadySeconds",
                )
            )
    if old is not None:
        errors += unchanged(spec.selector, old.spec.selector, SPEC / "selector")
    return errors


def _strategy(strategy: Any) -> list[FieldError]:
    path = SPEC / "strategy"
    rolling = strategy.rollingUpdate
    match strategy.type:
        case "Recreate":
            if rolling is not None:
                return [forbidden(path / "rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")]
            return []
        case "RollingUpdate":
            if rolling is None:
                return [required(path / "rollingUpdate", "this should be defaulted and never be nil")]
            at = path / "rollingUpdate"
            errors: list[FieldError] = []
            for name in ("maxUnavailable", "maxSurge"):
                value = getattr(rolling, name)
                if value is not None:
                    errors += apps.int_or_percent(value, at / name)
            if apps.is_zero(rolling.maxUnavailable) and apps.is_zero(rolling.maxSurge):
                errors.append(
                    invalid(at / "maxUnavailable", rolling.maxUnavailable, "may not be 0 when `maxSurge` is 0")
                )
            if rolling.maxUnavailable is not None:
                errors += apps.at_most_all(rolling.maxUnavailable, at / "maxUnavailable")
            return errors
    return [not_supported(path, {"type": strategy.type}, ["Recreate", "RollingUpdate"])]
