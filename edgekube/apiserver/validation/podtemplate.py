"""PodTemplates."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.podspec import template
from edgekube.types.fieldpath import FieldError, Path


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    return [*metadata(new, old), *template(new.template, Path("template"))]
