"""events/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, MicroTime, Object, Time, always
from edgekube.types.core_v1.event import EventSource
from edgekube.types.core_v1.reference import ObjectReference
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class EventSeries(Object, frozen=True, kw_only=True):
    count: Int32 = always(0)
    lastObservedTime: MicroTime = ""


class Event(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    action: str = ""
    deprecatedCount: Int32 = 0
    deprecatedFirstTimestamp: Time = ""
    deprecatedLastTimestamp: Time = ""
    deprecatedSource: EventSource = always(EventSource())
    eventTime: MicroTime = ""
    note: str = ""
    reason: str = ""
    regarding: ObjectReference = always(ObjectReference())
    related: ObjectReference | None = None
    reportingController: str = ""
    reportingInstance: str = ""
    series: EventSeries | None = None
    type: str = ""


class EventList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Event, ...] = always(())
