"""meta/v1: list meta.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from msgspec import field

from edgekube.types._base import Int64, Object, always


class ShardInfo(Object, frozen=True, kw_only=True):
    selector: str = always("")


class ListMeta(Object, frozen=True, kw_only=True):
    continue_: str = field(name="continue", default="")
    remainingItemCount: Int64 | None = None
    resourceVersion: str = ""
    selfLink: str = ""
    shardInfo: ShardInfo | None = None
