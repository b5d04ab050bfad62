"""What bounds a store, and what it tells about itself."""

import msgspec

from edgekube.raft.walformat import SEGMENT_SIZE_BYTES
from edgekube.store.disk import DATABASE_SIZE_BYTES_MAX


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a store. Sizes in bytes, ages in seconds.

    `history_age_kept` is how far back watches can resume after a restart (the log carries it), `history_age_max` how
    long the running process remembers; whichever of size and count is reached first cuts both short. Up to
    `history_size_idle` is remembered however old. The log is kept for slow followers up to `segments_kept_max`; who
    falls further behind gets a snapshot.
    """

    database_size_max: int = DATABASE_SIZE_BYTES_MAX
    segment_size: int = SEGMENT_SIZE_BYTES
    segments_max: int = 8
    segments_kept_max: int = 24
    history_size_max: int = 8 * 1024 * 1024
    history_count_max: int = 10_000
    history_size_idle: int = 1024 * 1024
    history_age_kept: float = 60.0
    history_age_max: float = 300.0


class StoreStatistics(msgspec.Struct, frozen=True):
    """A moment's figures of a store. `unflushed_*` is what the log carries and the database does not have yet.

    `lead` is the leader this member knows (0: none), `forwarded` how many transactions went to the leader from here,
    `diverged` says what differed when this member's state was last found to contradict the leader's.
    """

    revision: int
    compacted: int
    applied_index: int
    term: int
    database_bytes: int
    log_segments: int
    log_syncs: int
    log_bytes_written: int
    flushes: int
    recent_keys: int
    unflushed_transactions: int
    unflushed_bytes: int
    history_transactions: int
    history_bytes: int
    watchers: int
    waiting: int
    read_only: str
    lead: int = 0
    forwarded: int = 0
    compared: int = 0
    diverged: str = ""
