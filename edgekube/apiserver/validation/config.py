"""ConfigMaps."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import texts
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, forbidden, invalid, too_long

SIZE_BYTES_MAX = 1024 * 1024
_IMMUTABLE = "field is immutable when `immutable` is set"


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    size = 0
    for key, value in new.data.items():
        errors += texts(names.config_key(key), key, Path("data").key(key))
        if key in new.binaryData:
            errors.append(invalid(Path("data").key(key), key, "duplicate of key present in binaryData"))
        size += len(value.encode())
    for key, value in new.binaryData.items():
        errors += texts(names.config_key(key), key, Path("binaryData").key(key))
        size += len(value)
    if size > SIZE_BYTES_MAX:
        errors.append(too_long(Path(""), SIZE_BYTES_MAX))
    if old is not None and old.immutable:
        errors += frozen(new, old, ("data", "binaryData"))
    return errors


def frozen(new: Any, old: Any, fields: Sequence[str]) -> list[FieldError]:
    """KEP-1412: once immutable, always."""
    errors = [] if new.immutable else [forbidden(Path("immutable"), _IMMUTABLE)]
    return errors + [forbidden(Path(f), _IMMUTABLE) for f in fields if getattr(new, f) != getattr(old, f)]
