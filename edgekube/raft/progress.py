"""What a leader knows of one member, and how much it may send to it before hearing back.

A member is probed (one append at a time, until its log and the leader's meet), replicated to (optimistically, within a
window of messages and bytes), or receiving a snapshot (no appends at all).
"""

import enum
from collections import deque
from typing import Final


class ProgressState(enum.IntEnum):
    """How the leader feeds the member."""

    StateProbe = 0
    StateReplicate = 1
    StateSnapshot = 2


PROBE: Final = ProgressState.StateProbe
REPLICATE: Final = ProgressState.StateReplicate
SNAPSHOT: Final = ProgressState.StateSnapshot


class Inflights:
    """The sliding window of appends sent and not yet acknowledged: (last index, payload bytes) of each.

    `full` says that nothing more may be sent. The byte limit is soft by one message, so that an entry larger than the
    limit can travel at all.
    """

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_window", "full")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._window: deque[tuple[int, int]] = deque()
        self.full = False

    def __len__(self) -> int:
        return len(self._window)

    def add(self, index: int, size: int) -> None:
        """Note an append whose last entry is `index`. The window must not be full."""
        window = self._window
        assert not self.full, "an append was sent through a full window"
        assert not window or window[-1][0] < index, "appends were sent out of order"
        window.append((index, size))
        self._bytes += size
        self.full = len(window) >= self._count_max or self._bytes >= self._bytes_max

    def free_to(self, index: int) -> None:
        """Forget the appends up to and including `index`: the member has stored them."""
        window = self._window
        while window and window[0][0] <= index:
            self._bytes -= window.popleft()[1]
        self.full = len(window) >= self._count_max or self._bytes >= self._bytes_max

    def reset(self) -> None:
        """Forget all of them."""
        self._window.clear()
        self._bytes = 0
        self.full = False


class Progress:
    """One member in the eyes of the leader. Invariant: `match` < `next`.

    `match` is the highest index known to be stored there, `next` the first one to send. `recent_active` says that it
    was heard from since the last quorum check. `flow_paused` holds further appends back until an answer or a heartbeat
    interval passes. `pending_snapshot` is the index of the snapshot being sent, or 0.
    """

    __slots__ = (
        "flow_paused",
        "inflights",
        "is_learner",
        "match",
        "next",
        "pending_snapshot",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(
        self, next_index: int, inflights: Inflights, *, is_learner: bool = False, recent_active: bool = False
    ) -> None:
        self.match = 0
        self.next = next_index
        self.sent_commit = 0
        self.state: ProgressState = PROBE
        self.pending_snapshot = 0
        self.recent_active = recent_active
        self.flow_paused = False
        self.inflights = inflights
        self.is_learner = is_learner

    def copy(self) -> "Progress":
        """A copy that shares the window: configurations replace one another, they are never used side by side."""
        twin = Progress(self.next, self.inflights, is_learner=self.is_learner, recent_active=self.recent_active)
        twin.match, twin.sent_commit, twin.state = self.match, self.sent_commit, self.state
        twin.pending_snapshot, twin.flow_paused = self.pending_snapshot, self.flow_paused
        return twin

    def reset(self, match: int, next_index: int) -> None:
        """Start afresh for a new term: nothing is known but that the member may lack everything."""
        self._enter(PROBE)
        self.match = match
        self.next = next_index
        self.sent_commit = 0
        self.recent_active = False

    def _enter(self, state: ProgressState) -> None:
        self.flow_paused = False
        self.pending_snapshot = 0
        self.state = state
        self.inflights.reset()

    def become_probe(self) -> None:
        """Send one append at a time, beginning after what is known to be stored or, after a snapshot, behind that."""
        after_snapshot = self.pending_snapshot + 1 if self.state is SNAPSHOT else 0
        self._enter(PROBE)
        self.next = max(self.match + 1, after_snapshot)
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        """Send optimistically from behind what is known to be stored."""
        self._enter(REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """Send no appends until the snapshot at `index` has arrived or failed."""
        self._enter(SNAPSHOT)
        self.pending_snapshot = index
        self.next = max(index, self.match) + 1
        self.sent_commit = index

    def sent_entries(self, count: int, size: int) -> None:
        """Note that an append with `count` entries and `size` payload bytes, beginning at `next`, was sent."""
        if self.state is REPLICATE:
            if count:
                self.next += count
                self.inflights.add(self.next - 1, size)
            # An append that fills the window, or is sent although it is full, is a probe: one, then silence.
            self.flow_paused = self.inflights.full
        else:
            assert self.state is PROBE, "an append was sent to a member that awaits a snapshot"
            if count:
                self.flow_paused = True

    def can_bump_commit(self, index: int) -> bool:
        """Whether sending the commit index `index` now would tell the member anything it can use."""
        return self.sent_commit < index and self.sent_commit < self.next - 1

    def maybe_update(self, index: int) -> bool:
        """Note that everything up to `index` is stored there; False when that is no news."""
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = index + 1
        self.flow_paused = False
        return True

    def maybe_decrease(self, rejected: int, hint: int) -> bool:
        """Step back after the append at `rejected` was refused; False when the refusal is stale.

        `hint` is the highest index at which the two logs may agree.
        """
        if self.state is REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        else:
            # A probed member has at most one append to refuse, and that began at `next`.
            if self.next - 1 != rejected:
                return False
            self.next = max(min(rejected, hint + 1), self.match + 1)
            self.flow_paused = False
        self.sent_commit = min(self.sent_commit, self.next - 1)
        return True

    @property
    def is_paused(self) -> bool:
        """Whether no append may be sent now."""
        return self.flow_paused or self.state is SNAPSHOT

    def __str__(self) -> str:
        text = f"{self.state.name} match={self.match} next={self.next}"
        if self.is_learner:
            text += " learner"
        if self.is_paused:
            text += " paused"
        if self.pending_snapshot:
            text += f" pendingSnap={self.pending_snapshot}"
        if not self.recent_active:
            text += " inactive"
        if len(self.inflights):
            text += f" inflight={len(self.inflights)}"
            if self.inflights.full:
                text += "[full]"
        return text
