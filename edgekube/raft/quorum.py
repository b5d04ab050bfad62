"""Majorities and joint majorities: which index is committed, and how a vote stands (section 6 of the paper).

Pure functions. A joint configuration decides only when both of its halves do; an empty half agrees to everything, so
an ordinary configuration is a joint one with an empty second half.
"""

import enum
from collections.abc import Collection, Mapping
from typing import Final

# The commit index of a configuration without voters: it never holds anything back.
INDEX_INFINITE: Final = (1 << 64) - 1


class VoteResult(enum.Enum):
    """How an election stands. LOST: so many voters refused that no majority can come together any more."""

    PENDING = "VotePending"
    LOST = "VoteLost"
    WON = "VoteWon"


def majority_committed(voters: Collection[int], acked: Mapping[int, int]) -> int:
    """The highest index that a majority of `voters` has stored. A voter absent from `acked` has stored nothing."""
    return committed_of([acked.get(voter, 0) for voter in voters])


def committed_of(indexes: list[int]) -> int:
    """The highest index that a majority has reached, given the index of every voter. Sorts the list in place."""
    if not indexes:
        return INDEX_INFINITE
    indexes.sort()
    return indexes[(len(indexes) - 1) // 2]


def joint_committed(incoming: Collection[int], outgoing: Collection[int], acked: Mapping[int, int]) -> int:
    """The highest index stored by a majority of each half."""
    return min(majority_committed(incoming, acked), majority_committed(outgoing, acked))


def majority_vote(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """How a majority vote stands. A voter absent from `votes` has not answered yet."""
    if not voters:
        return VoteResult.WON
    yes = missing = 0
    for voter in voters:
        vote = votes.get(voter)
        if vote is None:
            missing += 1
        elif vote:
            yes += 1
    needed = len(voters) // 2 + 1
    if yes >= needed:
        return VoteResult.WON
    return VoteResult.PENDING if yes + missing >= needed else VoteResult.LOST


def joint_vote(incoming: Collection[int], outgoing: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """How a vote stands that both halves have to win."""
    first, second = majority_vote(incoming, votes), majority_vote(outgoing, votes)
    if first is second:
        return first
    return VoteResult.LOST if VoteResult.LOST in (first, second) else VoteResult.PENDING
