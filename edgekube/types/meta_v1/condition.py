"""meta/v1: condition.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int64, Object, Time, always


class Condition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = always("")
    observedGeneration: Int64 = 0
    reason: str = always("")
    type: str = always("")
