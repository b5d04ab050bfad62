"""Runs controllers: informers feed keys into a work queue, workers reconcile them (controller-runtime's shape).

A controller says what it watches and how to reconcile one key. The framework owns retries, logging and concurrency.
Because an in-process write shows in the cache before the call returns, a controller needs no expectations.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import trio

from edgekube.client.api import Change, Client, Informer, Key
from edgekube.client.events import EventRecorder
from edgekube.client.names import key_of, pretty
from edgekube.client.queue import WorkQueue
from edgekube.controllers.owners import namespace_terminating
from edgekube.types.status import ApiError

log = logging.getLogger(__name__)

WORKERS = 4  # per controller: they wait on the store most of their time


class Watch(msgspec.Struct, frozen=True):
    """One kind a controller watches, and which keys to reconcile when one of its objects changes."""

    cls: type[Any]
    keys: Callable[[Change[Any]], Iterable[Key]] = lambda change: (key_of(change.obj),)


class Controller(Protocol):
    """`name` is Kubernetes' name of it (deployment-controller); it is also its field manager and event source."""

    name: str

    def watches(self) -> Sequence[Watch]: ...

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object nearer to what it should be; returns seconds until it wants to be called again, if at all.

        Raising ApiError retries with back-off.
        """
        ...


class Context(msgspec.Struct, frozen=True):
    """What a controller is made from. `now` is cluster time (clock.py), aware UTC."""

    client: Client
    events: EventRecorder
    now: Callable[[], datetime]

    def informer(self, cls: type[Any]) -> Informer[Any]:
        return self.client.informer(cls)


async def run_controller(controller: Controller, context: Context) -> None:
    """Run one controller until cancelled."""
    queue: WorkQueue[Key] = WorkQueue()
    unsubscribe: list[Callable[[], None]] = []
    try:
        watches = controller.watches()
        for watch in watches:
            await context.informer(watch.cls).wait_synced()
        for watch in watches:

            def enqueue(change: Change[Any], keys: Callable[[Change[Any]], Iterable[Key]] = watch.keys) -> None:
                for key in keys(change):
                    queue.add(key)

            unsubscribe.append(context.informer(watch.cls).subscribe(enqueue))
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(_work, controller, queue)
    finally:
        for stop in unsubscribe:
            stop()


async def _work(controller: Controller, queue: WorkQueue[Key]) -> None:
    while True:
        key = await queue.get()
        try:
            await reconcile_once(controller, queue, key)
        finally:
            queue.done(key)


async def reconcile_once(controller: Controller, queue: WorkQueue[Key], key: Key) -> None:
    """One attempt at one key, with its outcome written back to the queue."""
    try:
        again = await controller.reconcile(key)
    except ApiError as error:
        if namespace_terminating(error):
            queue.forget(key)  # nothing can be made there any more, and what goes brings us back by itself
            return
        # A conflict or a vanished object is how optimistic concurrency looks from here: quiet, and try again.
        level = logging.DEBUG if error.code in (404, 409) else logging.WARNING
        log.log(
            level, "controller=%s key=%s retry=%d error=%s", controller.name, pretty(key), queue.failures(key), error
        )
        queue.retry(key)
    except Exception:
        # A bug met by one object must not stop the controller for all others: said loudly, retried slowly.
        log.exception("controller=%s key=%s retry=%d", controller.name, pretty(key), queue.failures(key))
        queue.retry(key)
    else:
        queue.forget(key)
        if again is not None:
            queue.add_after(key, again)
