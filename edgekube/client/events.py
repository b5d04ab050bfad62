"""Records Events about objects, folding repeats into one object with a count (client-go's EventCorrelator).

Recording never blocks and never fails its caller: a full queue drops the event and counts it.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import msgspec
import trio

from edgekube.client.api import Client, KubeObject
from edgekube.types.core_v1 import Event, EventSource, ObjectReference
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError
from edgekube.types.time import format_time

QUEUE_MAX = 512
REMEMBERED_MAX = 1024  # distinct events whose repeats are folded
MESSAGE_BYTES_MAX = 1024  # the API refuses longer notes

Similar = tuple[str, str, str, str, str, str]


class Recorded(msgspec.Struct):
    name: str
    count: int


class EventRecorder:
    """Events of one component. `run` sends what `event` queues; both belong to the same role's nursery."""

    def __init__(self, client: Client, component: str, *, host: str = "", now: Callable[[], datetime]) -> None:
        self._client = client
        self._source = EventSource(component=component, host=host)
        self._now = now
        self._send, self._receive = trio.open_memory_channel[Event](QUEUE_MAX)
        self._seen: OrderedDict[Similar, Recorded] = OrderedDict()
        self._sequence = 0
        self.dropped = 0

    def event(self, obj: KubeObject, type_: str, reason: str, message: str, *, field_path: str = "") -> None:
        """Record one event; `type_` is Normal or Warning, `reason` a CamelCase word, `message` a sentence."""
        meta = obj.metadata
        now = self._now()
        stamp = format_time(now)
        self._sequence += 1
        event = Event(
            metadata=ObjectMeta(
                name=f"{meta.name}.{int(now.timestamp() * 1e6) & (2**56 - 1):x}{self._sequence & 0xFF:02x}",
                namespace=meta.namespace or "default",
            ),
            involvedObject=ObjectReference(
                apiVersion=obj.apiVersion,
                kind=obj.kind,
                name=meta.name,
                namespace=meta.namespace,
                uid=meta.uid,
                resourceVersion=meta.resourceVersion,
                fieldPath=field_path,
            ),
            type=type_,
            reason=reason,
            message=message[:MESSAGE_BYTES_MAX],
            source=self._source,
            reportingComponent=self._source.component,
            reportingInstance=self._source.host,
            firstTimestamp=stamp,
            lastTimestamp=stamp,
            count=1,
        )
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self.dropped += 1

    async def run(self) -> None:
        """Send queued events until cancelled."""
        async for event in self._receive:
            try:
                await self._deliver(event)
            except ApiError:
                # The namespace may be going away, or the object's name makes no valid event name: not worth a retry.
                self.dropped += 1

    async def _deliver(self, event: Event) -> None:
        about = event.involvedObject
        similar = (about.uid, about.name, about.fieldPath, event.type, event.reason, event.message)
        known = self._seen.get(similar)
        if known is not None:
            self._seen.move_to_end(similar)
            known.count += 1
            try:
                await self._client.patch(
                    Event,
                    known.name,
                    event.metadata.namespace,
                    patch={"count": known.count, "lastTimestamp": event.lastTimestamp},
                )
                return
            except ApiError as error:
                if error.code != 404:
                    raise
        await self._client.create(event)
        self._seen[similar] = Recorded(event.metadata.name, 1)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
