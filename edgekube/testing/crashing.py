"""A client whose process dies right after a number of writes: what is left behind must be enough to go on from."""

from collections.abc import Callable
from typing import Any

from edgekube.client.api import Client

WRITES = frozenset({"create", "create_sub", "update", "patch", "delete"})


class Crash(BaseException):
    """The process is gone. No `except Exception` survives it."""


class CrashingClient:
    """Passes everything on to `inner`; the write number `after` still happens, then Crash is raised."""

    def __init__(self, inner: Client, after: int) -> None:
        self._inner = inner
        self._left = after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._counted(found) if name in WRITES else found

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            result = await call(*args, **kwargs)
            self._left -= 1
            if self._left == 0:
                raise Crash
            return result

        return counted
