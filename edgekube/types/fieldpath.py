"""Field paths and validation errors, worded as the API words them.

Path("spec") / "containers" / 0 / "name"           spec.containers[0].name
Path("metadata", "labels").key("app.example/x")     metadata.labels[app.example/x]
"""

import json
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

import msgspec

from edgekube.types.meta_v1.status import StatusCause

SHOWN_MAX: Final = 8192  # characters of a bad value repeated back to the client


class _Key(str):
    """A step into a map."""

    __slots__ = ()


_new = object.__new__


class Path:
    """A place in an object. Immutable; text is made when asked for, for validation mostly finds nothing."""

    __slots__ = ("_parent", "_step")

    def __init__(self, *names: str) -> None:
        self._parent: Path | None = None
        self._step: str | int = ".".join(names)

    def __truediv__(self, step: str | int) -> "Path":
        """A child field by name, or a list element by number."""
        child = _new(Path)
        child._parent = self
        child._step = step
        return child

    def key(self, key: str) -> "Path":
        """A map entry."""
        return self / _Key(key)

    def __str__(self) -> str:
        parts: list[str] = []
        at: Path | None = self
        while at is not None:
            step = at._step
            if isinstance(step, int | _Key):
                parts.append(f"[{step}]")
            elif step:
                parts.append(f".{step}")
            at = at._parent
        return "".join(reversed(parts)).removeprefix(".") or "<nil>"

    def __repr__(self) -> str:
        return f"Path({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class FieldErrorType(Enum):
    """What is wrong: the words of the message, and the cause's reason."""

    NOT_FOUND = ("Not found", "FieldValueNotFound")
    REQUIRED = ("Required value", "FieldValueRequired")
    DUPLICATE = ("Duplicate value", "FieldValueDuplicate")
    INVALID = ("Invalid value", "FieldValueInvalid")
    NOT_SUPPORTED = ("Unsupported value", "FieldValueNotSupported")
    FORBIDDEN = ("Forbidden", "FieldValueForbidden")
    TOO_LONG = ("Too long", "FieldValueTooLong")
    TOO_MANY = ("Too many", "FieldValueTooMany")
    INTERNAL = ("Internal error", "InternalError")
    TYPE_INVALID = ("Invalid value", "FieldValueTypeInvalid")


_VALUELESS: Final = frozenset(
    {FieldErrorType.REQUIRED, FieldErrorType.FORBIDDEN, FieldErrorType.TOO_LONG, FieldErrorType.INTERNAL}
)


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with one field."""

    type: FieldErrorType
    path: Path
    value: Any = None
    detail: str = ""

    @property
    def body(self) -> str:
        """The message without the path."""
        text = self.type.value[0]
        if self.type not in _VALUELESS:
            text += f": {_show(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.path}: {self.body}"

    def cause(self) -> StatusCause:
        """The same as a cause in a Status."""
        return StatusCause(reason=self.type.value[1], message=self.body, field=str(self.path))


def required(path: Path, detail: str = "") -> FieldError:
    """Nothing there where something must be."""
    return FieldError(FieldErrorType.REQUIRED, path, detail=detail)


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    """A value that breaks a rule, which `detail` tells."""
    return FieldError(FieldErrorType.INVALID, path, value, detail)


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> FieldError:
    """A value that is none of `supported`."""
    known = ", ".join(json.dumps(item) for item in supported)
    return FieldError(FieldErrorType.NOT_SUPPORTED, path, value, f"supported values: {known}" if known else "")


def duplicate(path: Path, value: Any) -> FieldError:
    """A second of what may be there once."""
    return FieldError(FieldErrorType.DUPLICATE, path, value)


def forbidden(path: Path, detail: str) -> FieldError:
    """A field that may not be set, or changed, here."""
    return FieldError(FieldErrorType.FORBIDDEN, path, detail=detail)


def not_found(path: Path, value: Any) -> FieldError:
    """A reference to what does not exist."""
    return FieldError(FieldErrorType.NOT_FOUND, path, value)


def too_long(path: Path, size_max: int) -> FieldError:
    """More bytes than `size_max`."""
    return FieldError(FieldErrorType.TOO_LONG, path, detail=f"may not be more than {size_max} bytes")


def too_many(path: Path, count: int, count_max: int) -> FieldError:
    """More items than `count_max`."""
    return FieldError(FieldErrorType.TOO_MANY, path, count, f"must have at most {count_max} items")


def internal(path: Path, detail: str) -> FieldError:
    """The check itself failed."""
    return FieldError(FieldErrorType.INTERNAL, path, detail=detail)


def _show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."
