"""What the store promises, and the values it speaks in (DESIGN section 4; etcd's KV, Txn and Watch APIs).

One global revision orders every write; it is Kubernetes' resourceVersion. Reads are synchronous and see the applied
state; writes and read barriers wait for consensus. Nothing returned here may be mutated by the caller.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from enum import IntEnum
from typing import Protocol

import msgspec

KEY_SIZE_BYTES_MAX = 500  # LMDB's own limit is 511
VALUE_SIZE_BYTES_MAX = 3 * 1024 * 1024  # kube-apiserver's request limit, and etcd's 1.5 MiB with room
TXN_OPS_MAX = 128  # etcd's --max-txn-ops


class StoreError(Exception):
    """Base of what a store raises; the message says what to do."""


class Compacted(StoreError):
    """The revision asked for is older than the kept history (etcd ErrCompacted; HTTP 410 Gone)."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"history before revision {oldest} is gone: list again and watch from the new revision")
        self.oldest = oldest


class FutureRevision(StoreError):
    """The revision asked for has not been reached (etcd ErrFutureRev)."""


class NotLeader(StoreError):
    """This member cannot take the write now; `leader` is a hint (0: unknown)."""

    def __init__(self, leader: int = 0) -> None:
        super().__init__("no leader" if not leader else f"member {leader} leads")
        self.leader = leader


class Fenced(StoreError):
    """The write carried the term of a leadership that has ended."""


class ReadOnly(StoreError):
    """The disk is full or failing: reads go on, writes are refused until space is freed and the node restarted."""


class TooLarge(StoreError):
    """A key, a value or a transaction is over its named limit."""


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """One key at one revision. `version` counts the writes since it was created (1: just created)."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int = 1


class GuardKind(IntEnum):
    MOD_REVISION = 0  # mod_revision == value; 0 means "the key does not exist"
    EXISTS = 1  # the key exists (value ignored)


class Guard(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A condition on one key, checked when the transaction is applied (etcd Compare)."""

    key: bytes
    value: int = 0
    kind: GuardKind = GuardKind.MOD_REVISION


class Put(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="p"):
    """Store `value`. With `splice >= 0` the decimal revision of the transaction is inserted at that byte offset.

    This is how an object's resourceVersion, known only when the write is applied, gets into its stored JSON.
    """

    key: bytes
    value: bytes
    splice: int = -1


class Delete(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="d"):
    """Remove one key; deleting an absent key is no error and makes no event.

    With `value` given, watchers see it (spliced like a Put's) as the object's last state at the delete's revision.
    """

    key: bytes
    value: bytes = b""
    splice: int = -1


Op = Put | Delete


class TxnResult(msgspec.Struct, frozen=True, gc=False):
    """`succeeded`: all guards held and the ops are applied, all at `revision`.

    Otherwise nothing changed, `revision` is the current one and `failed` holds what each failed guard's key has now
    (None: absent), in guard order.
    """

    succeeded: bool
    revision: int
    failed: tuple[tuple[bytes, KeyValue | None], ...] = ()


class Event(msgspec.Struct, frozen=True, gc=False):
    """One applied change. `value` is None for a delete without a last value; `previous` is None for a create."""

    revision: int
    key: bytes
    kv: KeyValue | None  # None: the key was deleted
    previous: KeyValue | None
    deleted_value: bytes | None = None  # a delete's last state, when the Delete op carried one


class Watch(Protocol):
    """An open watch: batches of events in revision order, no gap, no duplicate.

    A batch holds whole transactions, so it may exceed `batch_max` by the last one's events. `progress` moves by itself
    while nothing matches (a bookmark's source): nobody is woken for it. Raises `Compacted` when the watcher fell behind
    the kept history.
    """

    @property
    def progress(self) -> int:
        """Every event up to and including this revision has been handed out."""
        ...

    async def next(self) -> Sequence[Event]:
        """Wait for events and return them, at least one; cancellable without loss."""
        ...

    def next_nowait(self) -> Sequence[Event]:
        """What is there now, possibly nothing."""
        ...


class Store(Protocol):
    """A replicated, revisioned key-value store; see the module docstring."""

    @property
    def revision(self) -> int:
        """Latest applied revision; starts at 1 in an empty store."""
        ...

    @property
    def compacted(self) -> int:
        """Oldest revision a watch may start after, or a range may be read at."""
        ...

    @property
    def term(self) -> int:
        """Raft term while this member leads, else 0."""
        ...

    @property
    def cluster_id(self) -> str:
        """Changes when history is abandoned (restore, lost-majority recovery)."""
        ...

    def get(self, key: bytes) -> KeyValue | None:
        """The applied value of a key."""
        ...

    def range(self, start: bytes, end: bytes, *, limit: int = 0, revision: int = 0) -> Sequence[KeyValue]:
        """Keys in [start, end), ascending; `limit` 0 is all; `revision` 0 is now, else the state as of then.

        Raises Compacted or FutureRevision.
        """
        ...

    def count(self, start: bytes, end: bytes) -> int:
        """How many keys [start, end) holds now."""
        ...

    async def txn(self, guards: Sequence[Guard], ops: Sequence[Op], *, term: int = 0) -> TxnResult:
        """Propose, replicate, fsync, apply; returns after this member has applied it.

        `term` other than 0 fences the write to that leadership. A transaction without ops is a linearizable check.
        Raises NotLeader, Fenced, ReadOnly, TooLarge. Cancelled: the write may or may not happen, exactly once.
        """
        ...

    async def read_barrier(self) -> int:
        """After this returns, reads see every write acknowledged before the call (ReadIndex). Returns the revision."""
        ...

    async def wait_applied(self, revision: int) -> None:
        """Wait until `revision` is applied here."""
        ...

    async def wait_leader(self) -> int:
        """Wait until this member leads and has applied all of earlier terms; returns the term."""
        ...

    async def wait_not_leader(self, term: int) -> None:
        """Wait until the leadership of `term` has ended here."""
        ...

    def watch(
        self, start: bytes, end: bytes, *, after: int, batch_max: int = 500
    ) -> AbstractAsyncContextManager[Watch]:
        """Events with revision > `after` on keys in [start, end). Raises Compacted when `after` is too old."""
        ...

    def subscribe(self) -> AsyncIterator[int]:
        """Applied revisions as they advance, coalesced: only the latest is kept for a slow reader."""
        ...


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys with `prefix` (etcd clientv3.GetPrefixRangeEnd); b"" is never returned.

    >>> prefix_end(b"/registry/pods/")
    b'/registry/pods0'
    """
    for i in range(len(prefix) - 1, -1, -1):
        if prefix[i] < 0xFF:
            return prefix[:i] + bytes([prefix[i] + 1])
    raise ValueError("a prefix of only 0xff bytes has no end")
