"""Who belongs to a group, and which learners should get a vote."""

from collections.abc import Set
from typing import Final

import msgspec

from edgekube.raft.messages import ConfState

VOTERS_MAX: Final = 7  # more cost every write and survive no failure that is likely


class Members(msgspec.Struct, frozen=True, gc=False):
    """The members of a group; `changing` while a joint membership is in force."""

    voters: tuple[int, ...]
    learners: tuple[int, ...]
    changing: bool
    addresses: dict[int, bytes]


def planned(conf_state: ConfState, caught_up: Set[int]) -> tuple[int, ...]:
    """The learners to promote now, none while a change is under way.

    The number of voters stays odd: two voters survive no failure and lose writes when either stops, one survives as
    little and stops less often. So the second server keeps a full copy without a vote until the third has one, too.
    """
    if conf_state.voters_outgoing:
        return ()
    ready = [member for member in sorted(conf_state.learners) if member in caught_up]
    voters = len(conf_state.voters)
    if voters % 2 == 0:  # a voter was removed: one more restores the odd number
        return tuple(ready[:1])
    take = min(len(ready), VOTERS_MAX - voters) // 2 * 2
    return tuple(ready[:take])
