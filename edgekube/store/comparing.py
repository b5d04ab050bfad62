"""Members compare the rolling hashes of their states now and then; one that contradicts its leader raises an alarm."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from edgekube.raft.errors import RaftProtocolError
from edgekube.raft.transport import PeerUnavailable, Transport
from edgekube.store import requests
from edgekube.store.requests import Answer, Verdict
from edgekube.store.state import StateMachine

if TYPE_CHECKING:
    from edgekube.store.replicated import ReplicatedStore

AFTER_S: Final = 30.0


class Comparer:
    """Asks the leader, and answers as one."""

    def __init__(
        self, store: "ReplicatedStore", state: StateMachine, transport: Transport, note: Callable[[str], None] | None
    ) -> None:
        self._store = store
        self._state = state
        self._transport = transport
        self._note = note
        self._lot = trio.lowlevel.ParkingLot()
        self._revision = state.revision  # compared last
        self.count = 0
        """How often the leader could tell."""
        self.diverged = ""
        """What differed when it last said so; empty: nothing did."""

    def applied(self) -> None:
        """Something was: it may have changed the state."""
        if self._lot and self._state.revision != self._revision:
            self._lot.unpark()

    def installed(self) -> None:
        """The state is the leader's own."""
        self._revision = self._state.revision

    async def run(self) -> None:
        """Task: a while after something has changed, ask the leader whether it has come to the same state."""
        store, state = self._store, self._state
        while True:
            await self._lot.park()
            await trio.sleep(AFTER_S)
            lead = store.lead
            if lead in (0, store.member):
                continue
            asked = requests.Compare(store.cluster_id, state.revision, state.digest)
            try:
                answer = requests.decode_answer(await self._transport.request(lead, requests.encode(asked)))
            except (PeerUnavailable, RaftProtocolError):
                continue
            self._revision = asked.revision
            if answer.verdict in (Verdict.SAME, Verdict.DIFFERENT):
                self.count += 1
            if answer.verdict == Verdict.DIFFERENT:
                self.diverged = f"revision {asked.revision}: {asked.digest.hex()} here, {answer.reason} at {lead}"
                if self._note is not None:
                    self._note(f"alarm=diverged member={store.member} {self.diverged}")

    def answer(self, asked: requests.Compare) -> Answer:
        """What this member has to say to another's state."""
        if asked.cluster_id != self._store.cluster_id:
            return Answer(Verdict.DIFFERENT, f"cluster {self._store.cluster_id}")
        digest = self._digest_at(asked.revision)
        if digest is None:
            return Answer(Verdict.UNKNOWN)
        return Answer(Verdict.SAME if digest == asked.digest else Verdict.DIFFERENT, digest.hex())

    def _digest_at(self, revision: int) -> bytes | None:
        """The rolling hash of the state at a revision, if it is remembered."""
        state = self._state
        if revision == state.revision:
            return state.digest
        for applied in state.history.since(revision - 1):
            if applied.revision == revision:
                return applied.digest
        return None
