"""What the core wants stored, on its way into the log: in order, many at once, and with the right commit index."""

from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from edgekube.raft.application import Application, Log
from edgekube.raft.messages import ConfState, Entry, HardState, Message
from edgekube.raft.wal import LogFull

BATCH_SIZE_BYTES_MAX: Final = 1024 * 1024
ENTRY_OVERHEAD_BYTES: Final = 64
FULL_RETRY_S: Final = 2.0


class LogWriter:
    """The queue of MsgStorageAppend. One task calls `write` and `write_alone`; nothing else here waits.

    The commit index in the log is a hint for the next start, so it never makes a write of its own: it goes along with
    something else. It must not come ahead of the entries it is about, though, which may replace some that wait here.
    """

    def __init__(self, log: Log, application: Application, hard_state: HardState) -> None:
        """`hard_state` is what the log holds."""
        self._log = log
        self._application = application
        self._durable = (hard_state.term, hard_state.vote)
        self._commit = hard_state.commit  # of what is in the log
        self._queue: deque[Message] = deque()
        self._busy = False
        self.installed = 0
        """How many snapshots were installed."""

    def __bool__(self) -> bool:
        return bool(self._queue)

    def offer(self, message: Message) -> bool:
        """Take a MsgStorageAppend in; False when it is as good as done."""
        if message.snapshot is None and not self._busy and not self._queue and not self._needs_write(message):
            self._commit = max(self._commit, message.commit)
            return False
        self._queue.append(message)
        return True

    async def write(self) -> Sequence[Message]:
        """Make a group of what waits durable, and return it: its responses are due."""
        log = self._log
        ticket = 0
        self._busy = True
        try:
            group = self._take_group()
            for message in group:
                if message.snapshot is not None:
                    ticket = await self._install(message)
                elif self._needs_write(message):
                    ticket = await self._append(message)
                self._commit = max(self._commit, message.commit)
            if ticket:
                await log.sync(ticket)
        finally:
            self._busy = False
        return group

    async def write_alone(self, entries: Sequence[Entry]) -> None:
        """Make entries durable that come next, of somebody who has no commit index to note. There is space for them."""
        log = self._log
        self._busy = True
        try:
            await log.sync(log.append(entries))
        finally:
            self._busy = False

    def note_membership(self, index: int, conf_state: ConfState) -> None:
        """The membership that the entry at `index`, which is stored, has brought. It goes along with the next write."""
        # Who was alone has noted no commit index, and has to know from now on that this change is committed.
        self._commit = max(self._commit, index)
        self._log.append((), HardState(*self._durable, self._commit))
        self._log.append((), None, conf_state)

    def _take_group(self) -> list[Message]:
        """What to make durable together: up to a snapshot, which goes alone, or to a bound on size."""
        queue = self._queue
        group = [queue.popleft()]
        if group[0].snapshot is not None:
            return group
        size = _size(group[0])
        while queue and queue[0].snapshot is None and (size := size + _size(queue[0])) <= BATCH_SIZE_BYTES_MAX:
            group.append(queue.popleft())
        return group

    async def _append(self, message: Message) -> int:
        """Hand a message's entries and state to the log, whatever their size; only the last part is left unsynced."""
        log, entries = self._log, message.entries
        begin, size = 0, 0
        for position, entry in enumerate(entries):
            needed = len(entry.data) + ENTRY_OVERHEAD_BYTES
            if size and size + needed > BATCH_SIZE_BYTES_MAX:
                await self._reserve(size)
                await log.sync(log.append(entries[begin:position]))
                begin, size = position, 0
            size += needed
        await self._reserve(size + 4 * ENTRY_OVERHEAD_BYTES)
        if message.term:
            self._durable = (message.term, message.vote)
        self._commit = max(self._commit, message.commit)
        return log.append(entries[begin:] if begin else entries, HardState(*self._durable, self._commit))

    async def _reserve(self, size: int) -> None:
        """Wait until there is space. Meanwhile nothing is acknowledged, so the others go on without this member."""
        stopped = False
        while True:
            try:
                await self._log.reserve(size)
            except LogFull as error:
                stopped = True
                self._application.writing_stopped(str(error))
                await trio.sleep(FULL_RETRY_S)
                continue
            if stopped:
                self._application.writing_stopped("")
            return

    async def _install(self, message: Message) -> int:
        snapshot = message.snapshot
        assert snapshot is not None
        await self._application.install_snapshot(snapshot)
        await self._reserve(4 * ENTRY_OVERHEAD_BYTES)
        if message.term:
            self._durable = (message.term, message.vote)
        self._commit = max(self._commit, snapshot.index)
        self.installed += 1
        return self._log.restore(
            snapshot.index, snapshot.term, snapshot.conf_state, HardState(*self._durable, self._commit)
        )

    def _needs_write(self, message: Message) -> bool:
        """Whether a message asks for something new to be durable; a commit index alone does not."""
        if message.entries:
            return True
        return bool(message.term) and (message.term, message.vote) != self._durable


def _size(message: Message) -> int:
    return sum([len(entry.data) for entry in message.entries]) + ENTRY_OVERHEAD_BYTES * len(message.entries)
