"""How one member behaves: every setting with what it does and when to change it."""

from collections.abc import Callable
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from edgekube.raft.errors import ConfigError
from edgekube.raft.messages import NO_LIMIT, NO_MEMBER

if TYPE_CHECKING:
    from edgekube.raft.storage import Storage


class ReadOnlyOption(Enum):
    """How a leader makes sure that it still is one before it answers a read barrier."""

    SAFE = "safe"
    LEASE_BASED = "lease-based"


class Config(Struct, kw_only=True):
    """The settings of one member. `validate` fills in the defaults that depend on others."""

    id: int
    """Who this member is, greater than 0. It is the member's for ever: a member that lost its disk comes back under
    another id, because a vote or an acknowledgement given under the old one must not be taken back."""

    storage: "Storage"
    """Where stable entries and state are read from. At start the core asks it for the hard state and the membership;
    later for entries and terms that are no longer in memory, and for a snapshot when a follower needs one."""

    random: Random
    """Where randomness comes from: only the election timeouts draw from it. Seed it differently on every member, or
    their elections will collide; seed it with a known number in a simulation, and the run repeats."""

    election_tick: int = 10
    """Ticks without word from a leader after which a follower campaigns; each member adds a random part of up to as
    much again. It must be greater than `heartbeat_tick`; ten times that keeps one lost heartbeat from costing a
    leader its office. With `check_quorum` it also is the interval in which a leader must hear from a quorum."""

    heartbeat_tick: int = 1
    """Ticks between heartbeats of a leader. Heartbeats carry the commit index to members that have nothing else to
    hear, and provoke the answers by which a stalled follower is noticed."""

    applied: int = 0
    """The index up to which the application had applied entries when it stopped. The core will not hand those out
    again. 0 means that everything behind the storage's snapshot is applied anew."""

    async_storage_writes: bool = False
    """Whether writes and application run beside the core. Off, the caller of `ready` stores, sends, applies and calls
    `advance`, one after the other. On, `advance` is not used: a Ready's messages include a MsgStorageAppend and a
    MsgStorageApply for two local workers, which do the work in order and then deliver the `responses` in them. The
    core keeps making progress meanwhile, and a leader's appends leave before its own write is durable."""

    max_size_per_msg: int = NO_LIMIT
    """Bytes of entries in one append, as `messages.entries_size` counts. Small values make recovery after a loss cheap
    and keep a slow link responsive, large ones raise throughput. An append always carries at least one entry, so 0
    means one entry each."""

    max_committed_size_per_ready: int = 0
    """Bytes of committed entries being applied at a time: a bound on how long one round of application takes and on the
    memory it holds. When more are committed the rest follows in later Readys. At least one entry is always handed
    out. 0 means as much as `max_size_per_msg`."""

    max_uncommitted_entries_size: int = 0
    """Bytes of application data that may sit in a leader's log without being committed. Further proposals are dropped,
    so that a leader which lost its quorum does not fill its memory and disk. One proposal is accepted whatever its
    size when nothing else is waiting. 0 means no limit."""

    max_inflight_msgs: int = 256
    """Appends on the way to one follower at a time. It bounds what the transport has to buffer; too small a number
    leaves a fast link with a long round trip idle."""

    max_inflight_bytes: int = 0
    """Bytes of application data on the way to one follower at a time, counted in whole appends: the one that reaches
    the limit is still sent. It must not be less than `max_size_per_msg`. 0 means no limit."""

    check_quorum: bool = False
    """Whether a leader that has not heard from a quorum for `election_tick` ticks steps down, and whether followers
    that hear from a leader ignore candidates. It ends the office of a leader that is cut off, which otherwise believes
    in itself for ever, and keeps a member that returns from a partition from disturbing a working group."""

    pre_vote: bool = False
    """Whether a member asks if it could win before it campaigns (section 9.6 of Ongaro's thesis). A member that cannot
    win then never raises its term, so it does not force a new election on others when it reconnects."""

    read_only: ReadOnlyOption = ReadOnlyOption.SAFE
    """How read barriers are answered. SAFE asks a quorum by a round of heartbeats. LEASE_BASED answers at once while a
    quorum has echoed heartbeats so recently that it cannot have elected another leader, and otherwise does as SAFE. It
    is wrong when clocks run at different speeds or a process is halted. It requires `check_quorum`, and the same
    setting and `election_tick` on every member."""

    disable_proposal_forwarding: bool = False
    """Whether a follower drops proposals instead of passing them to the leader. Set it when the caller routes requests
    itself and wants to know at once that it asked the wrong member."""

    disable_conf_change_validation: bool = False
    """Whether a leader lets membership changes into its log that look incompatible with its present membership. It is
    meant for an application that decides at apply time whether a change takes effect. Otherwise leave it off: the
    check keeps two changes from being under way at once, on which safety rests."""

    step_down_on_removal: bool = False
    """Whether a leader that applies its own removal, or becomes a learner, turns follower at once. Off, it goes on
    leading the others, to which it no longer belongs, until somebody else campaigns."""

    note: Callable[[str], None] | None = None
    """Called with one line for each fact that an operator may want in a log: elections, membership, snapshots,
    refused messages. Never on the path of an ordinary proposal, so an idle or a busy member in order is silent."""

    def validate(self) -> None:
        """Raise `ConfigError` when settings contradict each other, and fill in those that follow from others."""
        if self.id <= NO_MEMBER:
            raise ConfigError(f"id {self.id} cannot be a member: choose one greater than 0")
        if self.heartbeat_tick <= 0:
            raise ConfigError(f"heartbeat_tick is {self.heartbeat_tick}: it must be greater than 0")
        if self.election_tick <= self.heartbeat_tick:
            raise ConfigError(
                f"election_tick is {self.election_tick}: it must be greater than heartbeat_tick ({self.heartbeat_tick})"
            )
        if self.max_inflight_msgs <= 0:
            raise ConfigError(f"max_inflight_msgs is {self.max_inflight_msgs}: it must be greater than 0")
        self.max_uncommitted_entries_size = self.max_uncommitted_entries_size or NO_LIMIT
        self.max_committed_size_per_ready = self.max_committed_size_per_ready or self.max_size_per_msg or 1
        self.max_inflight_bytes = self.max_inflight_bytes or NO_LIMIT
        if self.max_inflight_bytes < self.max_size_per_msg:
            raise ConfigError(
                f"max_inflight_bytes is {self.max_inflight_bytes}: it must not be less than max_size_per_msg "
                f"({self.max_size_per_msg})"
            )
        if self.read_only is ReadOnlyOption.LEASE_BASED and not self.check_quorum:
            raise ConfigError("read_only is lease-based: it needs check_quorum, without which no lease ends")
