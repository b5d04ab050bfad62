"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "Overhead": "1?podFixed:{q",
    "RuntimeClass": "1=metadata:meta_v1.ObjectMeta 2=handler:s 3=overhead:Overhead 4=scheduling:Scheduling",
    "RuntimeClassList": "1=metadata:meta_v1.ListMeta 2=items:[RuntimeClass",
    "Scheduling": "1?nodeSelector:{s 2?tolerations:[core_v1.Toleration",
}
