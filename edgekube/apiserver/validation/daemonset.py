"""DaemonSets."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation import apps
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import not_negative, unchanged
from edgekube.types.fieldpath import FieldError, invalid, not_supported, required

SPEC = apps.SPEC


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if subresource == "status":
        return errors
    spec = new.spec
    errors += apps.selector_and_template(spec, kind="daemonset")
    errors += not_negative(spec.minReadySeconds, SPEC / "minReadySeconds")
    errors += not_negative(spec.revisionHistoryLimit, SPEC / "revisionHistoryLimit")
    errors += _strategy(spec.updateStrategy)
    if old is not None:
        errors += unchanged(spec.selector, old.spec.selector, SPEC / "selector")
    return errors


def _strategy(strategy: Any) -> list[FieldError]:
    path = SPEC / "updateStrategy"
    if strategy.type == "OnDelete":
        return []
    if strategy.type != "RollingUpdate":
        return [not_supported(path, {"type": strategy.type}, ["OnDelete", "RollingUpdate"])]
    rolling, at = strategy.rollingUpdate, path / "rollingUpdate"
    if rolling is None:
        return [required(at)]
    errors: list[FieldError] = []
    for name in ("maxUnavailable", "maxSurge"):
        value = getattr(rolling, name)
        if value is not None:
            errors += apps.int_or_percent(value, at / name) + apps.at_most_all(value, at / name)
    unavailable, surge = not apps.is_zero(rolling.maxUnavailable), not apps.is_zero(rolling.maxSurge)
    if unavailable and surge:
        errors.append(invalid(at / "maxSurge", rolling.maxSurge, "may not be set when maxUnavailable is non-zero"))
    elif not unavailable and not surge:
        errors.append(required(at / "maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return errors
