"""Namespaces: a name that is a DNS label, finalizers that are names."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import texts
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old, names.dns1123_label)
    path = Path("spec", "finalizers")
    for index, name in enumerate(new.spec.finalizers):
        if name != "kubernetes":
            errors += texts(names.qualified_name(name), name, path / index)
    return errors
