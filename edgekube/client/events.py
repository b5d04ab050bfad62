"""Records Events about objects, folding repeats into one object with a count (client-go's EventCorrelator).

An object that has ever more to say of one kind is cut short twice: from the tenth different message with the same
reason on they become one, and past a burst of events about it only one in five minutes is kept.
Recording never blocks and never fails its caller: a full queue drops the event and counts it.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec
import trio

from edgekube.client.api import Client, KubeObject
from edgekube.types.core_v1 import Event, EventSource, ObjectReference
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError
from edgekube.types.time import format_time

K = TypeVar("K")
V = TypeVar("V")

QUEUE_MAX = 512
REMEMBERED_MAX = 1024  # distinct events whose repeats are folded
MESSAGE_CHARACTERS_MAX = 1024  # the API refuses longer notes
DIFFERENT_MAX = 10  # messages with one reason about one object within the window, before they are combined
COMBINE_WINDOW_SECONDS = 600.0
COMBINED = "(combined from similar events): "
BURST_MAX = 25  # events about one object
REFILL_SECONDS = 300.0

About = tuple[str, str, str, str]  # uid, namespace, name, field path
Alike = tuple[About, str, str]  # and type, reason
Similar = tuple[Alike, str]  # and message, "" for a combined one


class Recorded(msgspec.Struct):
    name: str
    count: int


class _Talk(msgspec.Struct):
    """What was said lately of one kind about one object."""

    messages: set[str]
    until: float


class _Bucket(msgspec.Struct):
    tokens: float
    at: float


class Correlator:
    """Decides what becomes of an event: (the key its repeats share, its message), or None for one too many. Pure."""

    def __init__(self) -> None:
        self._talks: OrderedDict[Alike, _Talk] = OrderedDict()
        self._buckets: OrderedDict[About, _Bucket] = OrderedDict()

    def judge(self, about: About, type_: str, reason: str, message: str, now: float) -> tuple[Similar, str] | None:
        """`now` in seconds of any clock that does not go back."""
        alike = (about, type_, reason)
        talk = _recent(self._talks, alike, lambda: _Talk(set(), now + COMBINE_WINDOW_SECONDS))
        if now > talk.until:
            talk.messages.clear()
        talk.until = now + COMBINE_WINDOW_SECONDS
        many = message not in talk.messages and len(talk.messages) >= DIFFERENT_MAX - 1
        if not many:
            talk.messages.add(message)
        bucket = _recent(self._buckets, about, lambda: _Bucket(BURST_MAX, now))
        bucket.tokens = min(BURST_MAX, bucket.tokens + (now - bucket.at) / REFILL_SECONDS)
        bucket.at = now
        if bucket.tokens < 1:
            return None
        bucket.tokens -= 1
        return ((alike, ""), COMBINED + message) if many else ((alike, message), message)


def _recent(held: "OrderedDict[K, V]", key: K, make: Callable[[], V]) -> V:
    """The entry of a key, made when it is new; the longest unused one makes room."""
    found = held.get(key)
    if found is None:
        found = held[key] = make()
        if len(held) > REMEMBERED_MAX:
            held.popitem(last=False)
    else:
        held.move_to_end(key)
    return found


class EventRecorder:
    """Events of one component. `run` sends what `event` queues; both belong to the same role's nursery."""

    def __init__(self, client: Client, component: str, *, host: str = "", now: Callable[[], datetime]) -> None:
        self._client = client
        self._source = EventSource(component=component, host=host)
        self._now = now
        self._send, self._receive = trio.open_memory_channel[Event](QUEUE_MAX)
        self._seen: OrderedDict[Similar, Recorded] = OrderedDict()
        self._correlator = Correlator()
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
            message=message[:MESSAGE_CHARACTERS_MAX],
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
        ref = event.involvedObject
        about = (ref.uid, ref.namespace, ref.name, ref.fieldPath)
        judged = self._correlator.judge(about, event.type, event.reason, event.message, trio.current_time())
        if judged is None:
            self.dropped += 1
            return
        similar, message = judged
        message = message[:MESSAGE_CHARACTERS_MAX]
        known = self._seen.get(similar)
        if known is not None:
            self._seen.move_to_end(similar)
            known.count += 1
            try:
                await self._client.patch(
                    Event,
                    known.name,
                    event.metadata.namespace,
                    patch={"count": known.count, "lastTimestamp": event.lastTimestamp, "message": message},
                )
                return
            except ApiError as error:
                if error.code != 404:
                    raise
        await self._client.create(msgspec.structs.replace(event, message=message))
        self._seen[similar] = Recorded(event.metadata.name, 1)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
