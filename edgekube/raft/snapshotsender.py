"""The sending of snapshots, each in a task of its own: the core waits for none of them."""

from collections import deque
from collections.abc import Callable
from contextlib import aclosing

import trio

from edgekube.raft.application import Application
from edgekube.raft.errors import RaftError
from edgekube.raft.messages import Message, encode_message
from edgekube.raft.transport import Transport


class SnapshotSender:
    """Sends what MsgSnap announces. `sent` is told to whom one was sent, and whether that failed and why."""

    def __init__(
        self, application: Application, transport: Transport, sent: Callable[[Message, RaftError | None], None]
    ) -> None:
        self._application = application
        self._transport = transport
        self._sent = sent
        self._queue: deque[Message] = deque()
        self._lot = trio.lowlevel.ParkingLot()
        self.count = 0
        """How many have arrived."""

    def send(self, message: Message) -> None:
        """Send one, soon."""
        self._queue.append(message)
        self._lot.unpark()

    async def run(self) -> None:
        """Task: start the sending of each snapshot the core wants sent."""
        async with trio.open_nursery() as nursery:
            while True:
                while not self._queue:
                    await self._lot.park()
                nursery.start_soon(self._send, self._queue.popleft())

    async def _send(self, message: Message) -> None:
        assert message.snapshot is not None
        failure: RaftError | None = None
        try:
            async with aclosing(self._application.snapshot_chunks(message.snapshot)) as chunks:
                await self._transport.send_snapshot(message.to, encode_message(message), chunks)
            self.count += 1
        except RaftError as error:
            failure = error
        self._sent(message, failure)
