"""The roles of a member, and why it campaigns."""

import enum
from typing import Final


class StateType(enum.IntEnum):
    """The role of a member."""

    StateFollower = 0
    StateCandidate = 1
    StateLeader = 2
    StatePreCandidate = 3


FOLLOWER: Final = StateType.StateFollower
CANDIDATE: Final = StateType.StateCandidate
LEADER: Final = StateType.StateLeader
PRE_CANDIDATE: Final = StateType.StatePreCandidate


class CampaignType(enum.Enum):
    """Why a member campaigns: to find out if it could win, to win, or to win because the leader asked it to."""

    PRE_ELECTION = b"CampaignPreElection"
    ELECTION = b"CampaignElection"
    TRANSFER = b"CampaignTransfer"
