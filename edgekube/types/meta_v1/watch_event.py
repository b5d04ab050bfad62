"""meta/v1: watch event.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from msgspec import Raw

from edgekube.types._base import NO_RAW, Object, always


class WatchEvent(Object, frozen=True, kw_only=True):
    object: Raw = NO_RAW
    type: str = always("")
