"""A member's database in memory, on a disk that loses power: each commit has happened whole or not at all."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from edgekube.store.api import ReadOnly, StoreError
from edgekube.store.disk import IncomingState, Meta, Rows, StoreFailed
from edgekube.testing.memorydisk import MemoryDisk
from edgekube.testing.sim_files import SimDisk
from edgekube.testing.sim_world import SimulationFailed

if TYPE_CHECKING:
    from edgekube.testing.sim_store_member import Incarnation


class SimDatabase(MemoryDisk):
    """See the module. `incarnation` is who has it open."""

    def __init__(self, meta: Meta, disk: SimDisk) -> None:
        super().__init__(meta)
        self.files = disk
        self.incarnation: Incarnation | None = None
        self.held = False  # commits wait meanwhile
        self._under_way: list[Callable[[SimDatabase], None]] = []

    def crash(self, disk: SimDisk) -> "SimDatabase":
        """What the next start finds: a commit under way has happened or not."""
        twin = SimDatabase(self.meta, disk)
        twin._rows = dict(self._rows)
        for change in self._under_way:
            if disk.rng.random() < 0.5:
                change(twin)
        return twin

    async def _perform(self, change: "Callable[[SimDatabase], None]", full: type[StoreError]) -> None:
        if self.files.full:
            await trio.lowlevel.checkpoint()
            raise full("the simulated disk is full")
        self._under_way.append(change)
        with trio.CancelScope(shield=True):
            while self.held and (self.incarnation is None or not self.incarnation.is_ghost):  # noqa: ASYNC110
                await trio.sleep(0.002)
        await self.files.perform(lambda: None)
        self._under_way.remove(change)
        change(self)

    def _check(self, meta: Meta) -> None:
        """What the database remembers of the log must be there when both lose power."""
        incarnation = self.incarnation
        if incarnation is None or incarnation.is_ghost or incarnation.log is None:
            return
        if meta.log_position > incarnation.log.durable_end:
            raise SimulationFailed(
                f"member {incarnation.number} tells its database of a log synced up to {meta.log_position}, and it is "
                f"up to {incarnation.log.durable_end}"
            )

    async def commit(self, changes: Rows, meta: Meta) -> None:
        """See `Disk.commit`."""
        kept = list(changes)
        self._check(meta)

        def change(database: SimDatabase) -> None:
            for key, kv in kept:
                if kv is None:
                    database._rows.pop(key, None)
                else:
                    database._rows[key] = kv
            database.meta = msgspec.structs.replace(meta)

        await self._perform(change, ReadOnly)

    async def install(self, incoming: IncomingState, meta: Meta, switched: Callable[[], None]) -> None:
        """See `Disk.install`."""
        rows = dict(incoming.rows)  # type: ignore[attr-defined]
        self._check(meta)

        def change(database: SimDatabase) -> None:
            database._rows = dict(rows)
            database.meta = meta

        await self._perform(change, StoreFailed)
        switched()
