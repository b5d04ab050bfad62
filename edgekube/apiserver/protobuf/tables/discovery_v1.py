"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "Endpoint": (
        "1=addresses:[s 2=conditions:EndpointConditions 3=hostname:s 4=targetRef:core_v1.ObjectReference "
        "5?deprecatedTopology:{s 6=nodeName:s 7=zone:s 8=hints:EndpointHints"
    ),
    "EndpointConditions": "1=ready:b 2=serving:b 3=terminating:b",
    "EndpointHints": "1?forZones:[ForZone 2?forNodes:[ForNode",
    "EndpointPort": "1=name:s 2=protocol:s 3=port:i 4=appProtocol:s",
    "EndpointSlice": "1=metadata:meta_v1.ObjectMeta 2=endpoints:[Endpoint 3=ports:[EndpointPort 4=addressType:s",
    "EndpointSliceList": "1=metadata:meta_v1.ListMeta 2=items:[EndpointSlice",
    "ForNode": "1=name:s",
    "ForZone": "1=name:s",
}
