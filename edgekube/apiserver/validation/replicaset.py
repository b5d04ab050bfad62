"""ReplicaSets."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation import apps
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import unchanged
from edgekube.types.fieldpath import FieldError


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if subresource == "status":
        return errors
    errors += apps.replicas(new.spec)
    errors += apps.selector_and_template(new.spec)
    if old is not None:
        errors += unchanged(new.spec.selector, old.spec.selector, apps.SPEC / "selector")
    return errors
