"""Events: namespace and object must agree."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.types.fieldpath import FieldError, Path, invalid


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    about = new.involvedObject.namespace
    if about != new.metadata.namespace and not (not about and new.metadata.namespace in ("default", "kube-system")):
        errors.append(invalid(Path("involvedObject", "namespace"), about, "does not match event.namespace"))
    return errors
