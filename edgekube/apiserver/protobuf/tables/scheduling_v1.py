"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "PriorityClass": "1=metadata:meta_v1.ObjectMeta 2=value:i 3?globalDefault:b 4?description:s 5=preemptionPolicy:s",
    "PriorityClassList": "1=metadata:meta_v1.ListMeta 2=items:[PriorityClass",
}
