"""What a driver lets its core read: the log, and snapshots of the application."""

from collections.abc import Sequence

from edgekube.raft.application import Application, Log
from edgekube.raft.messages import ConfState, Entry, HardState, Snapshot


class CoreStorage:
    """Implements `storage.Storage`.

    The first entry counts as compacted always: the first membership stands in no entry, so a member that joins has to
    be sent a snapshot with it.
    """

    def __init__(self, member: int, log: Log, application: Application, conf_state: ConfState) -> None:
        """`conf_state` is the membership as of what the application has applied."""
        self._log = log
        self._application = application
        self._conf_state = conf_state
        self._commit = max(application.applied, committed_alone(log, member))

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What is stored, and is known to be committed without asking anybody."""
        state, _ = self._log.initial_state()
        if self._commit > state.commit:
            state = HardState(state.term, state.vote, self._commit)
        return state, self._conf_state

    def entries(self, lo: int, hi: int, size_max: int) -> Sequence[Entry]:
        """See `Storage.entries`."""
        return self._log.entries(lo, hi, size_max)

    def term(self, index: int) -> int:
        """See `Storage.term`."""
        return self._log.term(index)

    def last_index(self) -> int:
        """See `Storage.last_index`."""
        return self._log.last_index()

    def first_index(self) -> int:
        """See `Storage.first_index`."""
        first = self._log.first_index()
        return 2 if first == 1 and self._log.last_index() else first

    def snapshot(self) -> Snapshot:
        """See `Storage.snapshot`."""
        return self._application.snapshot(self._application.applied)


def committed_alone(log: Log, member: int) -> int:
    """How far the log is known to be committed without asking anybody.

    What a lone voter has stored is committed. The log tells whether it still is alone: it holds the membership that was
    applied last, ahead of every entry that was proposed under it. (The stored commit index lags behind.)
    """
    state, conf_state = log.initial_state()
    alone = conf_state.voters == (member,) and not conf_state.voters_outgoing
    return log.last_index() if alone else state.commit
