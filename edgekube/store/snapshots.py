"""Snapshots between members: the whole state, out at one revision while writes go on, and in beside the present one."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from edgekube.raft.errors import RaftError, SnapshotTemporarilyUnavailableError
from edgekube.raft.messages import Snapshot
from edgekube.store.api import KEY_SIZE_BYTES_MAX, Compacted, StoreError
from edgekube.store.disk import IncomingState, Meta, StateDisk, StoreFailed
from edgekube.store.kept import KeptLog
from edgekube.store.state import Position, StateMachine
from edgekube.store.transfer import PAGE_COUNT, ChunkReader, ChunkWriter, SnapshotHead, decode_head, encode_head, split

if TYPE_CHECKING:
    from edgekube.store.replicated import ReplicatedStore

HOLD_S: Final = 60.0  # a snapshot that was announced and not begun keeps history so long

_LAST_KEY: Final = b"\xff" * (KEY_SIZE_BYTES_MAX + 1)


class Snapshots:
    """The snapshots of one member, in both directions."""

    def __init__(self, store: "ReplicatedStore", state: StateMachine, disk: StateDisk, log: KeptLog) -> None:
        self._store = store
        self._state = state
        self._disk = disk
        self._log = log
        self._offers: dict[int, tuple[int, float]] = {}  # announced or being sent: revision, held until
        self._incoming: tuple[Snapshot, IncomingState] | None = None
        self._receiving = False

    @property
    def held(self) -> bool:
        """Whether history must stay, because one is being sent or about to be."""
        now = trio.current_time()
        for key in [key for key, (_, until) in self._offers.items() if until < now]:
            del self._offers[key]
        return bool(self._offers)

    def head(self) -> Snapshot:
        """See `Application.snapshot`."""
        store, state = self._store, self._state
        if not store.conf_state.voters:
            raise SnapshotTemporarilyUnavailableError("this member has no state yet")
        head = SnapshotHead(store.cluster_id, state.revision, state.digest, dict(store.addresses))
        self._offers[state.index] = (state.revision, trio.current_time() + HOLD_S)
        return Snapshot(state.index, state.term, store.conf_state, encode_head(head))

    async def chunks(self, snapshot: Snapshot) -> AsyncGenerator[bytes, None]:
        """See `Application.snapshot_chunks`. The pages are read at the snapshot's revision, while writes go on."""
        revision = decode_head(snapshot).revision
        self._offers[snapshot.index] = (revision, inf)
        writer = ChunkWriter(snapshot)
        try:
            start = b"\x01"
            while page := self._store.range(start, _LAST_KEY, limit=PAGE_COUNT, revision=revision):
                for part in split(page):
                    yield writer.chunk(part)
                start = page[-1].key + b"\0"
                await trio.lowlevel.checkpoint()
            yield writer.chunk(())
        except (Compacted, StoreError) as error:
            raise RaftError(f"the state at revision {revision} is gone: {error}") from error
        finally:
            self._offers.pop(snapshot.index, None)

    async def receive(self, snapshot: Snapshot, chunks: AsyncIterator[bytes]) -> None:
        """See `Application.receive_snapshot`."""
        store, head = self._store, decode_head(snapshot)
        if self._state.index > 0 and head.cluster_id != store.cluster_id:
            raise RaftError(f"the snapshot is of cluster {head.cluster_id}, this member belongs to {store.cluster_id}")
        if self._receiving or store.node.installs_snapshot:
            raise RaftError("another snapshot is on its way in")
        self.discard()
        reader, incoming = ChunkReader(snapshot), self._disk.receive()
        self._receiving = True
        try:
            async for chunk in chunks:
                rows = reader.rows(chunk)
                if rows:
                    await incoming.add(rows)
            if not reader.complete:
                raise RaftError("the snapshot broke off")
        except StoreError as error:
            incoming.discard()
            raise RaftError(str(error)) from error
        except BaseException:
            incoming.discard()
            raise
        finally:
            self._receiving = False
        self._incoming = (snapshot, incoming)

    async def install(self, snapshot: Snapshot, switched: Callable[[], None]) -> None:
        """See `Application.install_snapshot`; `switched` is called when the new state is the present one."""
        if self._incoming is None or self._incoming[0] != snapshot:
            raise StoreFailed(
                f"the snapshot at {snapshot.index} was replaced before it was installed: restart the node"
            )
        incoming, self._incoming = self._incoming[1], None
        head = decode_head(snapshot)
        meta = Meta(
            Position(snapshot.index, snapshot.term, head.revision, head.digest),
            head.cluster_id,
            self._disk.meta.identity,
            log_position=self._log.synced_position,
            conf_state=snapshot.conf_state,
            addresses=head.addresses,
            installed=(snapshot.index, snapshot.term),
        )
        await self._store.install_state(incoming, meta, switched)

    def discard(self) -> None:
        """Give up what was received and not installed."""
        if self._incoming is not None:
            self._incoming[1].discard()
            self._incoming = None
