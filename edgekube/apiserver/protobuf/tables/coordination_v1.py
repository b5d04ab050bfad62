"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "Lease": "1=metadata:meta_v1.ObjectMeta 2=spec:LeaseSpec",
    "LeaseList": "1=metadata:meta_v1.ListMeta 2=items:[Lease",
    "LeaseSpec": (
        "1=holderIdentity:s 2=leaseDurationSeconds:i 3=acquireTime:u 4=renewTime:u 5=leaseTransitions:i "
        "6=strategy:s 7=preferredHolder:s"
    ),
}
