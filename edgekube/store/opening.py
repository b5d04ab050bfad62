"""Opening a member's store: its files, what a crash has left in them, and the tasks of the store on them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio

from edgekube.raft.application import Settings
from edgekube.raft.messages import ConfState, HardState
from edgekube.raft.transport import NoTransport, Transport
from edgekube.raft.wal import LogCorrupt, LogFailed, LogFull, Wal
from edgekube.store.api import ReadOnly
from edgekube.store.backup import finish_restore
from edgekube.store.disk import Disk, Meta, StateDisk, StoreCorrupt, StoreFailed
from edgekube.store.kept import KeptLog
from edgekube.store.limits import Limits
from edgekube.store.replicated import ReplicatedStore
from edgekube.store.state import Position


@asynccontextmanager
async def open_replicated(
    data_dir: Path,
    run_dir: Path,
    *,
    member: int,
    transport: Transport | None = None,
    voters: Sequence[int] = (),
    addresses: Mapping[int, bytes] | None = None,
    join: bool = False,
    cluster_id: str = "",
    limits: Limits | None = None,
    settings: Settings | None = None,
    random: Random | None = None,
    promote: bool = True,
    alone: bool = False,
    note: Callable[[str], None] | None = None,
) -> AsyncIterator[ReplicatedStore]:
    """Open (or create) a member's store in `data_dir/store`; `run_dir/store` takes what need not survive a reboot.

    Where nothing is stored yet, the group begins with `voters` (this member alone by default), who must all be told the
    same and the same `cluster_id`; or, with `join`, this member waits to be added by the leader of another one.
    `promote` lets the leader make voters of learners by itself (`membership.planned`); `alone` refuses a store that
    belongs to several members.

    Raises StoreError (StoreCorrupt, ReadOnly) with what to do. When the disk fails while the store is open, the body is
    cancelled and StoreFailed comes out: end the process.
    """
    limits = limits or Limits()
    random = random or Random()
    finish_restore(data_dir)
    conf_state = ConfState() if join else ConfState(voters=tuple(voters) or (member,))
    disk = Disk(
        data_dir / "store",
        run_dir,
        size_bytes_max=limits.database_size_max,
        first=first_meta(
            conf_state, addresses or {}, "" if join else cluster_id or f"{random.getrandbits(128):032x}", random
        ),
    )
    try:
        log = Wal(
            data_dir / "store" / "log",
            identity=disk.meta.identity,
            attested=disk.meta.log_position,
            segment_size=limits.segment_size,
        )
    except BaseException as error:
        disk.close()
        if isinstance(error, LogCorrupt):
            raise StoreCorrupt(str(error)) from error
        if isinstance(error, LogFull):
            raise ReadOnly(str(error)) from error
        raise
    others = {*disk.meta.conf_state.voters, *log.initial_state()[1].voters} - {member}
    if alone and others:
        log.close()
        disk.close()
        raise StoreCorrupt(f"this store belongs to a cluster with members {sorted(others)}, not to {member} alone")
    async with run_replicated(
        disk,
        log,
        member=member,
        transport=transport,
        limits=limits,
        settings=settings,
        random=random,
        promote=promote,
        note=note,
    ) as store:
        yield store


def first_meta(conf_state: ConfState, addresses: Mapping[int, bytes], cluster_id: str, random: Random) -> Meta:
    """What a database begins with: nothing and no entry, or, with a membership, the empty state after entry 1.

    (The first membership stands in no entry, so it counts as a snapshot; who joins later is sent one.)
    """
    mark = (1, 1) if conf_state.voters else (0, 0)
    return Meta(
        Position(*mark),
        cluster_id,
        random.randbytes(16),
        conf_state=conf_state,
        addresses=dict(addresses),
        installed=mark,
    )


@asynccontextmanager
async def open_store(
    data_dir: Path, run_dir: Path, *, member: int = 1, limits: Limits | None = None
) -> AsyncIterator[ReplicatedStore]:
    """Open (or create) the store of a member that is alone, as `open_replicated` does; it leads from the start.

    Raises StoreCorrupt also for a store that belongs to several members.
    """
    async with open_replicated(data_dir, run_dir, member=member, limits=limits, alone=True) as store:
        yield store


@asynccontextmanager
async def run_replicated(
    disk: StateDisk,
    log: KeptLog,
    *,
    member: int,
    transport: Transport | None = None,
    limits: Limits | None = None,
    settings: Settings | None = None,
    random: Random | None = None,
    promote: bool = True,
    note: Callable[[str], None] | None = None,
) -> AsyncIterator[ReplicatedStore]:
    """A store on an open database and log, which it closes at the end. See `open_replicated`."""
    try:
        await _finish_install(disk, log)
        _check(disk.meta.position, log)
        store = ReplicatedStore(
            disk,
            log,
            member=member,
            transport=transport or NoTransport(),
            limits=limits or Limits(),
            settings=settings,
            random=random or Random(),
            promote=promote,
            note=note,
        )
    except BaseException:
        log.close()
        disk.close()
        raise
    try:
        try:
            async with trio.open_nursery() as nursery:
                await store.start(nursery)
                yield store
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the body's own exception, or the failure of one task
                raise group.exceptions[0] from group.exceptions[0].__cause__
            raise
    finally:
        store.close()


async def _finish_install(disk: StateDisk, log: KeptLog) -> None:
    """Where a crash came between installing a state and restoring the log behind it, restore the log."""
    meta = disk.meta
    index, term = meta.installed
    if log.first_index() - 1 >= index:
        return
    if meta.position.index != index:
        raise StoreCorrupt(
            f"the database is at entry {meta.position.index}, the log begins at {log.first_index()} and should begin "
            f"behind {index}: they do not belong together; restore the node from a backup"
        )
    hard_state, _ = log.initial_state()
    try:
        await log.reserve(1024)
        ticket = log.restore(index, term, meta.conf_state, HardState(hard_state.term, hard_state.vote, index))
        await log.sync(ticket)
    except LogFull as error:
        raise ReadOnly(str(error)) from error
    except LogFailed as error:
        raise StoreFailed(str(error)) from error


def _check(position: Position, log: KeptLog) -> None:
    index = position.index
    if not log.first_index() - 1 <= index <= log.last_index():
        raise StoreCorrupt(
            f"the database is at entry {index}, the log has {log.first_index()} to {log.last_index()}: "
            "they do not belong together; restore the node from a backup"
        )
    if log.term(index) != position.term:
        raise StoreCorrupt(f"database and log disagree about entry {index}; restore the node from a backup")
