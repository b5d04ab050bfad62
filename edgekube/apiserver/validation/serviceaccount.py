"""ServiceAccounts."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.types.fieldpath import FieldError


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    return metadata(new, old)
