"""The state machine of one member: terms, roles, elections, time and membership.

What a member does with a message depends on its role; those parts live in `leader`, `follower` and `candidate`. Here is
what all roles share: the rules about terms (section 5.1 of the paper), votes (5.2, 5.4), the transitions between roles
and the bookkeeping of what is durable and applied.

Messages that promise something durable (votes, acknowledged appends) collect in `after_append` and leave only once
everything appended before them is written; all others collect in `msgs`. A member sends itself such promises too: a
leader counts its own append when it is durable, not earlier.
"""

from collections.abc import Callable, Sequence
from typing import Final

from edgekube.raft import candidate, confchange, follower, leader
from edgekube.raft.confchange import ConfChangeV2
from edgekube.raft.config import Config, ReadOnlyOption
from edgekube.raft.errors import ConfChangeError, ConfigError, ProposalDroppedError
from edgekube.raft.log import Log
from edgekube.raft.messages import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HUP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_SNAP,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    NO_LIMIT,
    NO_MEMBER,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Snapshot,
    entries_size,
    payloads_size,
)
from edgekube.raft.readonly import ReadQueue, ReadState
from edgekube.raft.roles import CANDIDATE, FOLLOWER, LEADER, PRE_CANDIDATE, CampaignType, StateType
from edgekube.raft.tracker import Tracker

# How many bytes of entries to look at at once when searching for unapplied membership changes.
SCAN_SIZE: Final = 1 << 20

_FOR_ALL_ROLES: Final = frozenset({MSG_VOTE, MSG_PRE_VOTE, MSG_HUP, MSG_STORAGE_APPEND_RESP, MSG_STORAGE_APPLY_RESP})


class Raft:
    """One member. `rawnode.RawNode` is its interface; the attributes are for the role modules and for tests."""

    __slots__ = (
        "_step_role",
        "after_append",
        "check_quorum",
        "disable_conf_change_validation",
        "disable_proposal_forwarding",
        "election_elapsed",
        "election_timeout",
        "elections_started",
        "heartbeat_elapsed",
        "heartbeat_timeout",
        "id",
        "is_learner",
        "lead",
        "lead_transferee",
        "lease_void",
        "log",
        "max_size_per_msg",
        "max_uncommitted_size",
        "msgs",
        "note_line",
        "pending_conf_index",
        "pending_reads",
        "pre_vote",
        "random",
        "randomized_election_timeout",
        "read_only",
        "read_states",
        "reads",
        "startup_ticks",
        "state",
        "step_down_on_removal",
        "term",
        "ticks",
        "tracker",
        "uncommitted_size",
        "vote",
    )

    def __init__(self, config: Config) -> None:
        config.validate()
        self.id = config.id
        self.note_line = config.note
        self.random = config.random
        self.log = Log(config.storage, config.max_committed_size_per_ready)
        self.tracker = Tracker(config.max_inflight_msgs, config.max_inflight_bytes)
        self.max_size_per_msg = config.max_size_per_msg
        self.max_uncommitted_size = config.max_uncommitted_entries_size
        self.check_quorum = config.check_quorum
        self.pre_vote = config.pre_vote
        self.read_only = config.read_only
        self.disable_proposal_forwarding = config.disable_proposal_forwarding
        self.disable_conf_change_validation = config.disable_conf_change_validation
        self.step_down_on_removal = config.step_down_on_removal
        self.election_timeout = config.election_tick
        self.heartbeat_timeout = config.heartbeat_tick

        self.term = 0
        self.vote = NO_MEMBER
        self.lead = NO_MEMBER
        self.state: StateType = FOLLOWER
        self.is_learner = False
        self.msgs: list[Message] = []
        self.after_append: list[Message] = []
        self.reads = ReadQueue()
        # Barriers asked for before the leader has committed anything in its term.
        self.pending_reads: list[Message] = []
        self.read_states: list[ReadState] = []
        self.lead_transferee = NO_MEMBER
        # Ticks as leader. They begin so high that a member which was never heard from is out of any lease.
        self.ticks = 2 * self.election_timeout
        self.lease_void = False
        self.startup_ticks = 0
        # Membership changes may be proposed only when everything up to here is applied.
        self.pending_conf_index = 0
        self.uncommitted_size = 0
        self.elections_started = 0
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.randomized_election_timeout = 0
        self._step_role: Callable[[Raft, Message], None] = follower.step

        hard_state, conf_state = config.storage.initial_state()
        self.switch_to(confchange.restore(self.tracker, self.log.last_index, conf_state))
        if hard_state != HardState():
            if hard_state.commit > self.log.last_index:
                raise ConfigError(
                    f"the stored log ends at {self.log.last_index}, before the stored commit index "
                    f"{hard_state.commit}: the storage lost data, restore it from a peer"
                )
            # It may be behind the snapshot, after a crash between storing the two.
            self.log.committed = max(hard_state.commit, self.log.committed)
            self.term, self.vote = hard_state.term, hard_state.vote
        if config.applied > 0:
            if not self.log.applied <= config.applied <= self.log.last_index:
                raise ConfigError(
                    f"applied is {config.applied}: it must be in the stored log "
                    f"[{self.log.applied}, {self.log.last_index}]"
                )
            # What was applied is committed, though with asynchronous writes the commit index may not be stored yet.
            self.log.commit_to(config.applied)
            self.log.applied_to(config.applied, 0)
        if self.lease_based and self.term:
            # It may have heard from a leader just before it stopped, and that leader may count on it.
            self.startup_ticks = self.election_timeout
        self.become_follower(self.term, NO_MEMBER)

    @property
    def is_alone(self) -> bool:
        """Whether this member leads a group of itself: nothing can happen but by its own doing."""
        return self.state is LEADER and self.tracker.alone == self.id

    def note(self, text: str) -> None:
        """Pass a fact on to whoever keeps the log."""
        if self.note_line is not None:
            self.note_line(f"member={self.id} term={self.term} {text}")

    def _reset(self, term: int) -> None:
        if self.term != term:
            self.term = term
            self.vote = NO_MEMBER
        self.lead = NO_MEMBER
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.randomized_election_timeout = self.election_timeout + self.random.randrange(self.election_timeout)
        self.lead_transferee = NO_MEMBER
        self.tracker.reset_votes()
        last = self.log.last_index
        for member, progress in self.tracker.members:
            progress.reset(last if member == self.id else 0, last + 1)
        self.pending_conf_index = 0
        self.uncommitted_size = 0
        self.reads.reset()
        self.pending_reads.clear()
        self.lease_void = False

    def become_follower(self, term: int, lead: int) -> None:
        """Follow `lead`, or nobody yet."""
        was = self.state
        self._step_role = follower.step
        self._reset(term)
        self.lead = lead
        self.state = FOLLOWER
        if was is not FOLLOWER:
            self.note(f"became=follower lead={lead}")

    def become_pre_candidate(self) -> None:
        """Ask whether an election could be won. The term and the vote stay, so nothing needs to be stored."""
        assert self.state is not LEADER, "a leader does not campaign"
        self._step_role = candidate.step
        self.tracker.reset_votes()
        self.lead = NO_MEMBER
        self.state = PRE_CANDIDATE
        self.note("became=pre-candidate")

    def become_candidate(self) -> None:
        """Begin a term and vote for oneself."""
        assert self.state is not LEADER, "a leader does not campaign"
        self._step_role = candidate.step
        self._reset(self.term + 1)
        self.vote = self.id
        self.state = CANDIDATE
        self.elections_started += 1
        self.note("became=candidate")

    def become_leader(self) -> None:
        """Lead this term, and append the empty entry whose commitment commits all earlier ones (section 5.4.2)."""
        assert self.state is not FOLLOWER, "only an elected candidate leads"
        self._step_role = leader.step
        self._reset(self.term)
        self.lead = self.id
        self.state = LEADER
        own = self.tracker.progress[self.id]
        own.become_replicate()
        own.recent_active = True
        # A change may be waiting among the unapplied entries: wait for all of them rather than look for it.
        self.pending_conf_index = self.log.last_index
        self.append([Entry(self.term, self.log.last_index + 1)])
        self.note(f"became=leader last_index={self.log.last_index}")

    def step(self, message: Message) -> None:
        """Act on a message. Raises `RaftProtocolError` when it contradicts the protocol.

        The term decides first: a higher one makes any member a follower, a lower one marks a message as outdated.
        Local messages, forwarded proposals and read barriers have term 0.
        """
        term, kind = message.term, message.type
        if term != self.term and term:
            if term < self.term:
                self._step_outdated(message)
                return
            if kind in (MSG_VOTE, MSG_PRE_VOTE) and self._in_lease and message.context != CampaignType.TRANSFER.value:
                # Whoever hears from a leader helps nobody to depose it; a candidate that was cut off tries in vain.
                return
            if kind == MSG_PRE_VOTE or (kind == MSG_PRE_VOTE_RESP and not message.reject):
                # Both name a term that nobody has entered yet: the one the pre-candidate would campaign in.
                pass
            elif kind in (MSG_APP, MSG_HEARTBEAT, MSG_SNAP):
                self.become_follower(term, message.from_)
            else:
                self.become_follower(term, NO_MEMBER)

        if kind not in _FOR_ALL_ROLES:
            self._step_role(self, message)
        elif kind in (MSG_VOTE, MSG_PRE_VOTE):
            self._answer_vote(message)
        elif kind == MSG_HUP:
            self.hup(CampaignType.PRE_ELECTION if self.pre_vote else CampaignType.ELECTION)
        elif kind == MSG_STORAGE_APPEND_RESP:
            if message.index:
                self.log.unstable.stable_to(message.index, message.log_term)
            if message.snapshot is not None:
                self.snapshot_applied(message.snapshot)
        elif message.entries:
            size = entries_size(message.entries) if self.log.applying_size_max < NO_LIMIT else 0
            self.entries_applied(message.entries, size)

    @property
    def _in_lease(self) -> bool:
        if self.startup_ticks:
            return True
        return self.check_quorum and self.lead != NO_MEMBER and self.election_elapsed < self.election_timeout

    def _step_outdated(self, message: Message) -> None:
        kind = message.type
        if (self.check_quorum or self.pre_vote) and kind in (MSG_HEARTBEAT, MSG_APP):
            # The sender believes it leads. With these settings our higher term would never reach it by a vote
            # request, and we would ignore it for ever: answer, so that it learns the term and steps down.
            self.after_append.append(Message(MSG_APP_RESP, message.from_, self.id, self.term))
        elif kind == MSG_PRE_VOTE:
            # Silence could deadlock a group in which pre-vote was switched on member by member.
            self.after_append.append(Message(MSG_PRE_VOTE_RESP, message.from_, self.id, self.term, reject=True))
        elif kind == MSG_STORAGE_APPEND_RESP and message.snapshot is not None:
            # The entries may have been replaced since, in a later term, by ones that are not written yet, so the report
            # says nothing about them. A snapshot is committed state and stays valid.
            self.snapshot_applied(message.snapshot)

    def _answer_vote(self, message: Message) -> None:
        pre_vote = message.type == MSG_PRE_VOTE
        response = MSG_PRE_VOTE_RESP if pre_vote else MSG_VOTE_RESP
        can_vote = (
            self.vote == message.from_
            or (self.vote == NO_MEMBER and self.lead == NO_MEMBER)
            or (pre_vote and message.term > self.term)
        )
        # A learner votes too: it may have been promoted and not know yet (etcd-io/raft discusses this at length).
        if can_vote and self.log.is_up_to_date(message.index, message.log_term):
            self.after_append.append(Message(response, message.from_, self.id, message.term))
            if not pre_vote:
                self.election_elapsed = 0
                self.vote = message.from_
        else:
            self.after_append.append(Message(response, message.from_, self.id, self.term, reject=True))

    def propose(self, payloads: Sequence[bytes]) -> None:
        """Append or forward application data. Raises `ProposalDroppedError`."""
        if self.state is LEADER:
            leader.check_can_propose(self)
            index = self.log.last_index
            term = self.term
            self.append([Entry(term, i, 0, data) for i, data in enumerate(payloads, index + 1)])
            leader.bcast_append(self)
        else:
            self.step(Message(MSG_PROP, 0, self.id, entries=[Entry(0, 0, 0, data) for data in payloads]))

    def append(self, entries: list[Entry]) -> None:
        """Append a leader's own entries, already numbered. Raises `ProposalDroppedError` when too much is waiting."""
        if self.max_uncommitted_size < NO_LIMIT:
            size = payloads_size(entries)
            # Empty entries always pass: they end a term's uncertainty and leave joint memberships.
            if size and self.uncommitted_size and self.uncommitted_size + size > self.max_uncommitted_size:
                raise ProposalDroppedError
            self.uncommitted_size += size
        self.log.append(entries)
        self.after_append.append(Message(MSG_APP_RESP, self.id, self.id, self.term, 0, self.log.last_index))

    def tick(self) -> None:
        """One unit of time has passed."""
        if self.state is LEADER:
            leader.tick(self)
            return
        if self.startup_ticks:
            self.startup_ticks -= 1
        self.election_elapsed += 1
        if self.election_elapsed >= self.randomized_election_timeout and self.promotable:
            self.election_elapsed = 0
            self.step(Message(MSG_HUP, 0, self.id))

    def hup(self, campaign_type: CampaignType) -> None:
        """Campaign if that is allowed."""
        if self.state is LEADER:
            return
        if not self.promotable:
            self.note("refused=campaign reason=not a voter, or a snapshot is being applied")
            return
        # A member that campaigned under an outdated membership could win with a quorum that no longer counts.
        if self.has_unapplied_conf_change():
            self.note("refused=campaign reason=a membership change is committed and not applied")
            return
        candidate.campaign(self, campaign_type)

    @property
    def promotable(self) -> bool:
        """Whether this member may become leader."""
        progress = self.tracker.progress.get(self.id)
        return progress is not None and not progress.is_learner and not self.log.has_snapshot

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        """A snapshot was stored and applied."""
        self.log.unstable.stable_snapshot_to(snapshot.index)
        self.applied_to(max(snapshot.index, self.log.applied), 0)

    def entries_applied(self, entries: Sequence[Entry], size: int) -> None:
        """Committed entries were applied, `size` bytes of them as `accept_applying` was told."""
        self.applied_to(entries[-1].index, size)
        if self.max_uncommitted_size < NO_LIMIT:
            self.uncommitted_size = max(self.uncommitted_size - payloads_size(entries), 0)

    def applied_to(self, index: int, size: int) -> None:
        """Note what was applied, and leave a joint membership that is to be left automatically."""
        self.log.applied_to(max(index, self.log.applied), size)
        if self.tracker.membership.auto_leave:
            self.maybe_leave_joint()

    def maybe_leave_joint(self) -> None:
        """As leader, leave a joint membership that is to be left automatically and has been applied.

        The proposal is dropped while leadership is being handed over, and then repeated with a later heartbeat.
        """
        if self.state is LEADER and self.tracker.membership.auto_leave and self.log.applied >= self.pending_conf_index:
            try:
                self.step(Message(MSG_PROP, 0, self.id, entries=[Entry(0, 0, EntryType.CONF_CHANGE_V2)]))
            except ProposalDroppedError:
                return
            self.note(f"leaving=joint membership={self.tracker.membership}")

    def maybe_commit(self) -> bool:
        """Advance the commit index to what a quorum has stored, if that is of the present term (section 5.4.2)."""
        log = self.log
        index = self.tracker.committed()
        if index > log.committed and log.term(index) == self.term:
            log.committed = index
            return True
        return False

    def check_conf_change(self, change: ConfChangeV2) -> str | None:
        """Why a membership change must not be appended now, if so.

        Raises `ConfChangeError` when it could be appended but never applied.
        """
        log, joint = self.log, self.tracker.membership.is_joint
        if self.disable_conf_change_validation:
            return None
        if self.pending_conf_index > log.applied:
            return f"change {self.pending_conf_index} may be unapplied, applied is {log.applied}"
        if joint and change.changes:
            return "the joint membership must be left first"
        if not joint and not change.changes:
            return "there is no joint membership to leave"
        confchange.apply(self.tracker, log.last_index, change)
        return None

    def apply_conf_change(self, change: ConfChangeV2) -> ConfState:
        """Change the membership. Raises `ConfChangeError`, and changes nothing, when that is not possible."""
        try:
            changed = confchange.apply(self.tracker, self.log.last_index, change)
        except ConfChangeError as error:
            self.note(f"refused=membership-change reason={error}")
            raise
        return self.switch_to(changed)

    def switch_to(self, changed: confchange.Changed) -> ConfState:
        """Work under another membership from now on."""
        membership, members = changed
        self.tracker.replace(membership, members)
        self.note(f"membership={membership}")
        state = membership.conf_state()
        own = members.get(self.id)
        self.is_learner = own is not None and own.is_learner
        if self.state is not LEADER:
            return state
        if own is None or own.is_learner:
            if self.step_down_on_removal:
                self.become_follower(self.term, NO_MEMBER)
            return state
        if not membership.voters:
            return state
        if self.maybe_commit():
            # A smaller quorum may have committed more.
            leader.bcast_append(self)
        else:
            # New members need not wait for a heartbeat.
            for member, progress in self.tracker.members:
                if member != self.id:
                    leader.maybe_send_append(self, member, progress, send_if_empty=False)
        if self.lead_transferee and self.lead_transferee not in membership.voters_all:
            self.lead_transferee = NO_MEMBER
        return state

    def has_unapplied_conf_change(self) -> bool:
        """Whether a committed membership change waits to be applied."""
        log = self.log
        index = log.applied + 1
        while index <= log.committed:
            entries = log.slice(index, log.committed + 1, SCAN_SIZE)
            if any(entry.type != EntryType.NORMAL for entry in entries):
                return True
            index = entries[-1].index + 1
        return False

    @property
    def lease_based(self) -> bool:
        """Whether read barriers are answered from the lease."""
        return self.read_only is ReadOnlyOption.LEASE_BASED


def type_name(kind: int) -> str:
    """The name of a message type, also of one that does not exist."""
    try:
        return MessageType(kind).name
    except ValueError:
        return f"type {kind}"
