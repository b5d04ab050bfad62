"""core/v1: event.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, MicroTime, Object, Time, always
from edgekube.types.core_v1.reference import ObjectReference
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class EventSeries(Object, frozen=True, kw_only=True):
    count: Int32 = 0
    lastObservedTime: MicroTime = ""


class EventSource(Object, frozen=True, kw_only=True):
    component: str = ""
    host: str = ""


class Event(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    action: str = ""
    count: Int32 = 0
    eventTime: MicroTime = ""
    firstTimestamp: Time = ""
    involvedObject: ObjectReference = always(ObjectReference())
    lastTimestamp: Time = ""
    message: str = ""
    reason: str = ""
    related: ObjectReference | None = None
    reportingComponent: str = ""
    reportingInstance: str = ""
    series: EventSeries | None = None
    source: EventSource = always(EventSource())
    type: str = ""


class EventList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Event, ...] = always(())
