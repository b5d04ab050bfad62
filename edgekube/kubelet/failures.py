"""Failures that pass: what a worker tries again, however deep in a nursery it happened."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

import trio

from edgekube.kubelet.env import ConfigError
from edgekube.network.api import NetworkFailure
from edgekube.runtime.api import RuntimeFailure
from edgekube.types.status import ApiError

PASSING = (RuntimeFailure, NetworkFailure, ConfigError, OSError, ApiError)


@contextmanager
def one_failure() -> Iterator[None]:
    """Turn a group of nothing but passing failures, as nurseries raise them, into its first one.

    A group with anything else in it is a bug's, or carries a cancellation: it goes on as it is.
    """
    try:
        yield
    except ExceptionGroup as group:
        matching, rest = group.split(PASSING)
        if matching is None or rest is not None:
            raise
        raise _leaf(matching) from group


def _leaf(group: BaseExceptionGroup[Exception]) -> Exception:
    first: Exception | BaseExceptionGroup[Exception] = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def all_of(steps: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Run steps side by side, all to their end although one fails; then raise the first failure."""
    failures: list[Exception] = []

    async def guarded(step: Callable[[], Awaitable[None]]) -> None:
        try:
            with one_failure():
                await step()
        except PASSING as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        for step in steps:
            nursery.start_soon(guarded, step)
    if failures:
        raise failures[0]
