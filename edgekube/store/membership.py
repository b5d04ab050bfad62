"""Who belongs to a group, and which learners should get a vote."""

from collections.abc import Mapping, Set
from typing import Final

import msgspec

from edgekube.raft.messages import ConfState
from edgekube.store.api import StoreError
from edgekube.types.unreadable import UNREADABLE

VOTERS_MAX: Final = 7  # more cost every write and survive no failure that is likely


class MembershipRefused(StoreError):
    """The membership cannot be changed so, or not now."""


class Members(msgspec.Struct, frozen=True, gc=False):
    """The members of a group; `changing` while a joint membership is in force."""

    voters: tuple[int, ...]
    learners: tuple[int, ...]
    changing: bool
    addresses: dict[int, bytes]

    @classmethod
    def of(cls, conf_state: ConfState, addresses: Mapping[int, bytes]) -> "Members":
        """The same as Raft puts it."""
        return cls(
            voters=tuple(sorted({*conf_state.voters, *conf_state.voters_outgoing})),
            learners=tuple(sorted({*conf_state.learners, *conf_state.learners_next})),
            changing=bool(conf_state.voters_outgoing),
            addresses=dict(addresses),
        )


def members_of(conf_state: ConfState) -> set[int]:
    """Everybody in a membership, in whichever role."""
    return {*conf_state.voters, *conf_state.learners, *conf_state.voters_outgoing, *conf_state.learners_next}


def encode_addresses(addresses: Mapping[int, bytes]) -> bytes:
    """What a change of the membership carries beside it: where those are found whom it brings."""
    return msgspec.msgpack.encode(addresses) if addresses else b""


def decode_addresses(context: bytes) -> dict[int, bytes]:
    """The addresses in a change; none in one that was made by something else."""
    try:
        return msgspec.msgpack.decode(context, type=dict[int, bytes]) if context else {}
    except UNREADABLE:
        return {}


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
