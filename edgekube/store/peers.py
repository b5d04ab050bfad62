"""What a member has to do with others. A member alone makes none of it, and does not even load it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from edgekube.raft.transport import Transport
from edgekube.store import requests
from edgekube.store.api import StoreError
from edgekube.store.barriers import Barriers
from edgekube.store.changes import MembershipChanges
from edgekube.store.comparing import Comparer
from edgekube.store.disk import StateDisk
from edgekube.store.forwarding import Forwarder, Intake
from edgekube.store.kept import KeptLog
from edgekube.store.snapshots import Snapshots
from edgekube.store.state import StateMachine
from edgekube.store.writes import InFlight

if TYPE_CHECKING:
    from edgekube.store.replicated import ReplicatedStore


class Peers:
    """The parts, and what goes to several of them. Its tasks run in the store's nursery."""

    def __init__(
        self,
        store: "ReplicatedStore",
        nursery: trio.Nursery,
        *,
        state: StateMachine,
        disk: StateDisk,
        log: KeptLog,
        transport: Transport,
        in_flight: InFlight,
        refusal: Callable[[], tuple[str, bool]],
        promote: bool,
        note: Callable[[str], None] | None,
    ) -> None:
        self.forwarder = Forwarder(store.node, transport, in_flight, store.submit)
        self.barriers = Barriers(store.node, in_flight.nonce)
        self.comparer = Comparer(store, state, transport, note)
        self.snapshots = Snapshots(store, state, disk, log)
        self.changes = MembershipChanges(store)
        self._intake = Intake(store.node, refusal)
        nursery.start_soon(self.forwarder.run)
        nursery.start_soon(self.barriers.run)
        nursery.start_soon(self.comparer.run)
        if promote:
            nursery.start_soon(self.changes.run_promoter)

    async def answer(self, peer: int, request: bytes) -> bytes:
        """See `Application.answer`."""
        asked = requests.decode_request(request)
        if isinstance(asked, requests.Propose):
            return requests.encode(await self._intake.take(peer, asked))
        return requests.encode(self.comparer.answer(asked))

    def role_changed(self) -> None:
        """Somebody else leads, or nobody does."""
        self.forwarder.role_changed()
        self.barriers.role_changed()
        self.changes.wake()

    def stop(self, error: StoreError) -> None:
        """The store ends: tell all who wait."""
        self.forwarder.stop(error)
        self.barriers.stop(error)
        self.snapshots.discard()
