"""Fail-stop: when the disk fails, nobody may go on as if it were well."""

from collections.abc import Awaitable, Callable

import trio

from edgekube.raft.errors import StorageError
from edgekube.store.api import StoreError
from edgekube.store.disk import StoreFailed


async def run_fail_stop(task: Callable[[], Awaitable[None]], failed: Callable[[Exception], StoreFailed]) -> None:
    """Run a task whose disk may fail. `failed` stops everything else and gives what to raise."""
    try:
        await task()
    except (StorageError, StoreError) as error:
        raise failed(error) from error
    except BaseExceptionGroup as group:
        failures, rest = group.split((StorageError, StoreError))
        if failures is None or (rest is not None and rest.split(trio.Cancelled)[1] is not None):
            raise
        failure = _leaf(failures)
        raise failed(failure) from failure


def _leaf(group: BaseExceptionGroup[BaseException]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
