"""ControllerRevisions: what they hold is history, and stays."""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import not_negative, unchanged
from edgekube.types.fieldpath import FieldError, Path, required


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    data = _value(new)
    if data is None:
        errors.append(required(Path("data"), "data is mandatory"))
    errors += not_negative(new.revision, Path("revision"))
    if old is not None:
        errors += unchanged(data, _value(old), Path("data"))
    return errors


def _value(revision: Any) -> Any:
    raw = bytes(revision.data)
    return msgspec.json.decode(raw) if raw else None
