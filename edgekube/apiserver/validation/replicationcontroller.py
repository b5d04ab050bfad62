"""ReplicationControllers."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation import apps
from edgekube.apiserver.validation.meta import labels, metadata
from edgekube.types import selectors
from edgekube.types.fieldpath import FieldError, required


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if subresource == "status":
        return errors
    spec = new.spec
    errors += apps.replicas(spec)
    if not spec.selector:
        errors.append(required(apps.SPEC / "selector"))
    wrong = labels(spec.selector, apps.SPEC / "selector")
    errors += wrong
    if spec.template is None:
        errors.append(required(apps.SPEC / "template"))
        return errors
    if spec.selector and not wrong:
        errors += apps.matches(selectors.from_labels(spec.selector), spec.template)
    return errors + apps.pod_template(spec.template, restart=("Always",))
