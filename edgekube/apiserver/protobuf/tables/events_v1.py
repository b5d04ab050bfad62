"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "Event": (
        "1=metadata:meta_v1.ObjectMeta 2=eventTime:u 3=series:EventSeries 4?reportingController:s "
        "5?reportingInstance:s 6?action:s 7?reason:s 8=regarding:core_v1.ObjectReference "
        "9=related:core_v1.ObjectReference 10?note:s 11?type:s 12=deprecatedSource:core_v1.EventSource "
        "13=deprecatedFirstTimestamp:t 14=deprecatedLastTimestamp:t 15?deprecatedCount:i"
    ),
    "EventList": "1=metadata:meta_v1.ListMeta 2=items:[Event",
    "EventSeries": "1=count:i 2=lastObservedTime:u",
}
