"""Leases."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import not_negative, positive
from edgekube.types.fieldpath import FieldError, Path


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if new.spec is not None:
        errors += positive(new.spec.leaseDurationSeconds, Path("spec", "leaseDurationSeconds"))
        errors += not_negative(new.spec.leaseTransitions, Path("spec", "leaseTransitions"))
    return errors
