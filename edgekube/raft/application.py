"""What a driver stands between: its settings, the log it writes, and the application whose entries it replicates."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

import msgspec

from edgekube.raft.confchange import ConfChangeV2
from edgekube.raft.config import ReadOnlyOption
from edgekube.raft.messages import ConfState, Entry, HardState, Snapshot


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a member keeps time and how much it sends. Seconds, ticks and bytes.

    With these defaults a leader is missed after 0.8 to 1.5 s and beats about three times a second. A candidate tries
    again after `campaign_ticks` and up to as many more: those who have only just heard from the lost leader, or stood
    themselves, said no or nothing, and will not a moment later.
    """

    tick_s: float = 0.1
    heartbeat_ticks: int = 3
    election_ticks: int = 8
    campaign_ticks: int = 3
    read_only: ReadOnlyOption = ReadOnlyOption.SAFE
    append_size_max: int = 256 * 1024
    inflight_max: int = 64
    inflight_size_max: int = 4 * 1024 * 1024
    uncommitted_size_max: int = 16 * 1024 * 1024
    apply_size_max: int = 64 * 1024


class Log(Protocol):
    """The durable log: `wal.Wal`, or something in memory that behaves like it."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """See `Wal.initial_state`."""
        ...

    def first_index(self) -> int:
        """See `Wal.first_index`."""
        ...

    def last_index(self) -> int:
        """See `Wal.last_index`."""
        ...

    def term(self, index: int) -> int:
        """See `Wal.term`."""
        ...

    def entries(self, lo: int, hi: int, size_max: int) -> Sequence[Entry]:
        """See `Wal.entries`."""
        ...

    def append(
        self,
        entries: Sequence[Entry] = (),
        hard_state: HardState | None = None,
        conf_state: ConfState | None = None,
    ) -> int:
        """See `Wal.append`."""
        ...

    def restore(self, index: int, term: int, conf_state: ConfState, hard_state: HardState | None = None) -> int:
        """See `Wal.restore`."""
        ...

    async def reserve(self, size: int) -> None:
        """See `Wal.reserve`."""
        ...

    async def sync(self, ticket: int) -> None:
        """See `Wal.sync`."""
        ...


class Proposal:
    """One entry on its way into the log. Subclass it to remember who waits.

    `index` and `term` are set when the leader appended it; `required_term`, if not 0, is the only term in which it may
    be. Its fate is told to the application: `proposed`, or `refused` and then it is in no log.
    """

    __slots__ = ("data", "index", "required_term", "term")

    def __init__(self, data: bytes, required_term: int = 0) -> None:
        self.data = data
        self.index = 0
        self.term = 0
        self.required_term = required_term


class Application(Protocol):
    """The state machine above the log. Nothing here may call back into the node, except where it says so."""

    @property
    def cluster_id(self) -> str:
        """See `Receiver.cluster_id`."""
        ...

    @property
    def applied(self) -> int:
        """Index of the last entry applied."""
        ...

    @property
    def may_apply(self) -> bool:
        """False holds the application of entries back; call `RaftNode.wake` when it becomes True."""
        ...

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply committed entries of type NORMAL (data may be empty), in order and without a gap."""
        ...

    def apply_membership(self, entry: Entry, change: ConfChangeV2 | None, conf_state: ConfState) -> None:
        """A committed membership change; `change` is None when it did not fit and had no effect."""
        ...

    def proposed(self, batch: Sequence[Proposal]) -> None:
        """These are in the leader's log now, at their `index` and `term`."""
        ...

    def refused(self, batch: Sequence[Proposal], error: Exception) -> None:
        """These are in no log and never will be: `ProposalDroppedError`, `LogFull`."""
        ...

    def role_changed(self, lead: int, leads: bool, term: int) -> None:
        """The leader this member knows (0: none), and whether it is this member itself."""
        ...

    def barrier_passed(self, index: int, context: bytes) -> None:
        """A read barrier: once `index` is applied, the local state has everything that it was asked for."""
        ...

    def snapshot(self, applied: int) -> Snapshot:
        """What to send to a member that is too far behind. Raises `SnapshotTemporarilyUnavailableError`."""
        ...

    def snapshot_chunks(self, snapshot: Snapshot) -> AsyncGenerator[bytes, None]:
        """The content of a snapshot that `snapshot` returned. Raises `RaftError` when it is gone."""
        ...

    async def receive_snapshot(self, snapshot: Snapshot, chunks: AsyncIterator[bytes]) -> None:
        """Take a snapshot in and check it, without using it yet. Raises `RaftError`."""
        ...

    async def install_snapshot(self, snapshot: Snapshot) -> None:
        """Make a snapshot that was received the state, durably. The log is restored right after."""
        ...

    async def answer(self, peer: int, request: bytes) -> bytes:
        """See `Receiver.answer`."""
        ...

    def writing_stopped(self, reason: str) -> None:
        """The log cannot grow for want of space (or can again: empty)."""
        ...
