"""PriorityClasses."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import one_of
from edgekube.types.fieldpath import FieldError, Path, forbidden

USER_VALUE_MAX = 1_000_000_000
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    name = new.metadata.name
    if name.startswith("system-"):
        if SYSTEM_CLASSES.get(name) != new.value:
            errors.append(
                forbidden(
                    Path("metadata", "name"),
                    "priority class names with 'system-' prefix are reserved for system use only",
                )
            )
    elif new.value > USER_VALUE_MAX:
        errors.append(forbidden(Path("value"), f"maximum allowed value of a user defined priority is {USER_VALUE_MAX}"))
    errors += one_of(new.preemptionPolicy, ("Never", "PreemptLowerPriority"), Path("preemptionPolicy"), needed=False)
    if old is not None:
        if new.value != old.value:
            errors.append(forbidden(Path("value"), "may not be changed in an update."))
        if new.preemptionPolicy != old.preemptionPolicy:
            errors.append(forbidden(Path("preemptionPolicy"), "may not be changed in an update."))
    return errors
