"""Campaigning: becoming a candidate, asking for votes, counting them (section 5.2; pre-vote: thesis 9.6)."""

from typing import TYPE_CHECKING

from edgekube.raft import follower, leader
from edgekube.raft.errors import ProposalDroppedError
from edgekube.raft.messages import (
    MSG_APP,
    MSG_HEARTBEAT,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_SNAP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    NO_MEMBER,
    Message,
)
from edgekube.raft.quorum import VoteResult
from edgekube.raft.roles import PRE_CANDIDATE, CampaignType

if TYPE_CHECKING:
    from edgekube.raft.core import Raft


def step(raft: "Raft", message: Message) -> None:
    """Act on a message of the present term as a candidate or pre-candidate."""
    kind = message.type
    pre_vote = raft.state is PRE_CANDIDATE
    if kind == (MSG_PRE_VOTE_RESP if pre_vote else MSG_VOTE_RESP):
        result = raft.tracker.record_vote(message.from_, not message.reject)
        if result is VoteResult.WON:
            if pre_vote:
                campaign(raft, CampaignType.ELECTION)
            else:
                raft.become_leader()
                leader.bcast_append(raft)
        elif result is VoteResult.LOST:
            raft.become_follower(raft.term, NO_MEMBER)
    elif kind in (MSG_APP, MSG_HEARTBEAT, MSG_SNAP):
        # Somebody else won this term.
        raft.become_follower(message.term, message.from_)
        follower.step(raft, message)
    elif kind == MSG_PROP:
        raise ProposalDroppedError


def campaign(raft: "Raft", campaign_type: CampaignType) -> None:
    """Ask all voters for their vote. The own vote counts when it is durable, like everybody's."""
    if campaign_type is CampaignType.PRE_ELECTION:
        raft.become_pre_candidate()
        request, response, term = MSG_PRE_VOTE, MSG_PRE_VOTE_RESP, raft.term + 1
    else:
        raft.become_candidate()
        request, response, term = MSG_VOTE, MSG_VOTE_RESP, raft.term
    context = campaign_type.value if campaign_type is CampaignType.TRANSFER else b""
    log = raft.log
    for member in sorted(raft.tracker.membership.voters_all):
        if member == raft.id:
            raft.after_append.append(Message(response, member, member, term))
        else:
            raft.msgs.append(Message(request, member, raft.id, term, log.last_term, log.last_index, context=context))
