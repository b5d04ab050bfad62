"""PodDisruptionBudgets (pkg/apis/policy/validation)."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.apps import at_most_all, int_or_percent
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import label_selector, one_of
from edgekube.types.fieldpath import FieldError, Path, invalid

SPEC = Path("spec")


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if subresource == "status":
        return errors
    spec = new.spec
    if spec.minAvailable is not None and spec.maxUnavailable is not None:
        errors.append(invalid(SPEC, spec, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        value = getattr(spec, name)
        if value is not None:
            errors += int_or_percent(value, SPEC / name) + at_most_all(value, SPEC / name)
    errors += label_selector(spec.selector, SPEC / "selector")
    policies = ("AlwaysAllow", "IfHealthyBudget")
    return errors + one_of(spec.unhealthyPodEvictionPolicy, policies, SPEC / "unhealthyPodEvictionPolicy", needed=False)
