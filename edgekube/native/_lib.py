"""The one place that knows the extension's dynamic names."""

import errno
import os
from pathlib import Path
from typing import Any

try:
    import edgekube.native._native as _native
except ImportError as error:  # pragma: no cover - only on a tree that was never built
    raise ImportError(
        f"EdgeKube's native part is missing or was built for another machine ({error}): run `python3 native/build.py`"
    ) from error

lib: Any = _native.lib
ffi: Any = _native.ffi

SHIM_PATH = str(Path(__file__).with_name("shim"))
PAUSE_PATH = str(Path(__file__).with_name("pause"))


def check(result: int, *paths: str | None) -> int:
    """Turns -errno into OSError; `paths` are what the call was about."""
    if result < 0:
        named = [path for path in paths if path]
        if len(named) > 1:
            raise OSError(-result, os.strerror(-result), named[0], None, named[1])
        raise OSError(-result, os.strerror(-result), *named[:1])
    return result


def text(value: str | None) -> Any:
    """A C string, or NULL. Raises OSError for one that C would read to its first NUL only."""
    if value is None:
        return ffi.NULL
    if "\0" in value:
        raise OSError(errno.EINVAL, "a NUL character in a path", value)
    return os.fsencode(value)


def strings(values: list[str] | tuple[str, ...], *, terminated: bool) -> tuple[Any, list[Any]]:
    """A `const char *const[]` and the objects that keep it alive."""
    kept = [ffi.new("char[]", os.fsencode(value)) for value in values]
    return ffi.new("const char *[]", [*kept, ffi.NULL] if terminated else kept), kept
