"""Transactions between members: those that go to the leader, and those that come to it.

`writes` tells how each comes into effect exactly once.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from edgekube.raft.errors import RaftProtocolError
from edgekube.raft.node import RaftNode
from edgekube.raft.transport import PeerUnavailable, Transport
from edgekube.store import command as commands
from edgekube.store import requests
from edgekube.store.api import NotLeader, Put, ReadOnly, StoreError
from edgekube.store.requests import Answer, Verdict
from edgekube.store.writes import InFlight, Session, Taken, Write

LEADER_WAIT_S: Final = 5.0  # so long a write waits for somebody to lead
RETRY_S: Final = 0.1
BATCH_COUNT_MAX: Final = 256
BATCH_SIZE_BYTES_MAX: Final = 1024 * 1024


class Forwarder:
    """Brings to the leader what this member may not propose itself. `submit` is for what it may, after all."""

    def __init__(
        self, node: RaftNode, transport: Transport, in_flight: InFlight, submit: Callable[[Write], None]
    ) -> None:
        self._node = node
        self._transport = transport
        self._in_flight = in_flight
        self._submit = submit
        self._queue: deque[Write] = deque()  # surely in no log
        self._resend: list[Write] = []  # sent, and no answer came
        self._lot = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self.count = 0
        """How many transactions were sent, each time counted."""

    def append(self, write: Write) -> None:
        """One more, which is surely in no log."""
        write.since = trio.current_time()
        self._queue.append(write)
        self._lot.unpark()

    def role_changed(self) -> None:
        """Somebody else leads, or nobody does."""
        self._scope.cancel()
        self._lot.unpark_all()

    def stop(self, error: StoreError) -> None:
        """The store ends: tell all who wait."""
        for write in self._queue:
            write.reply(type(error)(str(error)))
        self._queue.clear()
        self._resend.clear()

    async def run(self) -> None:
        """Task."""
        queue, node = self._queue, self._node
        while True:
            while not queue and not self._resend:
                await self._lot.park()
            if node.leads:
                self._resend.clear()  # the first entry of this term tells
                # Refused by itself a moment ago, for being too far ahead of the others or about to hand over.
                await trio.sleep(RETRY_S)
                for _ in range(len(queue)):
                    self._submit(queue.popleft())
            elif node.lead:
                await self._forward()
            else:
                self._give_up_waiting()
                with trio.move_on_after(RETRY_S):
                    await self._lot.park()

    def _give_up_waiting(self) -> None:
        """Tell those who have waited long for a leader that there is none, if their write surely did not happen."""
        kept = []
        deadline = trio.current_time() - LEADER_WAIT_S
        for write in self._queue:
            if write.since > deadline:
                kept.append(write)
            else:
                self._in_flight.give_up(write)
                write.reply(NotLeader())
        self._queue.clear()
        self._queue.extend(kept)

    async def _forward(self) -> None:
        """Send one batch to the leader, and take its answer."""
        node, in_flight = self._node, self._in_flight
        lead, term = node.lead, node.term
        batch = self._take_batch(term)
        if not batch:
            return
        request = requests.Propose(
            term, in_flight.nonce, in_flight.floor, tuple([(write.sequence, write.data) for write in batch])
        )
        self.count += len(batch)
        answer = Answer(Verdict.AGAIN)
        with trio.CancelScope() as self._scope:  # cancelled when somebody else leads
            try:
                answer = requests.decode_answer(await self._transport.request(lead, requests.encode(request)))
            except (PeerUnavailable, RaftProtocolError):
                pass
        if answer.verdict == Verdict.ACCEPTED:
            return
        for write in batch:
            if in_flight.is_sent(write) and write.term == term:
                self._not_accepted(write, answer)
        if (lead, term) == (node.lead, node.term):
            with trio.move_on_after(RETRY_S):
                await self._lot.park()

    def _take_batch(self, term: int) -> list[Write]:
        in_flight, queue = self._in_flight, self._queue
        # What was sent in an earlier term is settled by the next entry that is applied.
        batch = [write for write in self._resend if in_flight.is_sent(write) and write.term == term]
        self._resend = batch[BATCH_COUNT_MAX:]
        del batch[BATCH_COUNT_MAX:]
        size = sum([len(write.data) for write in batch])
        while queue and len(batch) < BATCH_COUNT_MAX and (not batch or size < BATCH_SIZE_BYTES_MAX):
            write = queue.popleft()
            if write.task is None:
                in_flight.give_up(write)  # nobody waits any more
                continue
            if not write.sequence:
                in_flight.mark(write)
            in_flight.add_sent(write, term)
            size += len(write.data)
            batch.append(write)
        return batch

    def _not_accepted(self, write: Write, answer: Answer) -> None:
        if answer.verdict == Verdict.AGAIN or write.doubtful:
            write.doubtful = True
            self._resend.append(write)
        elif answer.verdict == Verdict.READ_ONLY:
            self._in_flight.give_up(write)
            write.reply(ReadOnly(answer.reason))
        else:
            self._in_flight.take_back(write)
            write.since = trio.current_time()
            self._queue.append(write)


class Intake:
    """Takes, as leader, what others forward. `refusal` says why puts, or with True all writes, are refused here."""

    def __init__(self, node: RaftNode, refusal: Callable[[], tuple[str, bool]]) -> None:
        self._node = node
        self._refusal = refusal
        self._sessions: dict[tuple[int, int], Session] = {}
        self._term = 0

    async def take(self, peer: int, request: requests.Propose) -> Answer:
        """Propose what another member forwards; the answer says whether it is in this leader's log."""
        node = self._node
        if not node.leads or node.term != request.term:
            return Answer(Verdict.NOT_LEADER)
        try:
            asked = [commands.decode(data) for _, data in request.commands]
        except commands.UnknownCommand as error:  # in the log it would stop every member that cannot read it
            return Answer(Verdict.READ_ONLY, str(error))
        reason, refuses_all = self._refusal()
        if reason and (refuses_all or any(_puts(command) for command in asked)):
            return Answer(Verdict.READ_ONLY, reason)
        if self._term != node.term:
            self._sessions, self._term = {}, node.term
        session = self._sessions.setdefault((peer, request.nonce), Session())
        data = dict(request.commands)
        fresh = session.admit(request.floor, list(data))
        for number in fresh:
            session.pending.add(number)
            node.propose(Taken(data[number], request.term, session, number))
        while session.pending:
            await session.lot.park()
        if all(number in session.accepted or number < session.floor for number in data):
            return Answer(Verdict.ACCEPTED)
        return Answer(Verdict.AGAIN)


def _puts(command: commands.Command) -> bool:
    return any(isinstance(op, Put) for op in command.ops)
