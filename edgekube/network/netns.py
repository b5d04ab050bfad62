"""Doing something inside another network namespace without a fork.

setns(2) changes the calling thread alone. The work gets a thread of its own that never comes back: a failed way back
would leave a thread of the pool in a pod's namespace.
"""

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from edgekube.network.api import NetworkFailure

T = TypeVar("T")


def enter(fd: int) -> None:
    """Move the calling thread into the network namespace of a descriptor. Raises OSError."""
    from edgekube.native.namespaces import Namespace, setns  # only who enters a namespace needs the extension

    setns(fd, Namespace.NET)


def run_in_netns(path: str, work: Callable[[], T]) -> T:
    """Run `work` in the network namespace bound at `path`; it should take well under a millisecond.

    Sockets it makes stay in that namespace; /proc/sys/net shows that namespace. Raises what `work` raises, and
    NetworkFailure when the namespace cannot be entered.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def inside() -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                enter(fd)
            finally:
                os.close(fd)
        except OSError as error:
            failure.append(NetworkFailure(f"enter the network namespace {path}: {error.strerror}"))
            return
        try:
            result.append(work())
        except BaseException as error:  # handed to the caller, who raises it
            failure.append(error)

    thread = threading.Thread(target=inside, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
