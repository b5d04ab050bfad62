"""How a member keeps time: one tick of the core every `Settings.tick_s`, none while it is alone.

A round that comes late counts as one tick: a member that was halted must not believe that the others were silent
meanwhile. A leader that answers barriers from its lease is told of the time it lost, though.
"""

from collections.abc import Callable
from random import Random

import trio

from edgekube.raft.application import Settings
from edgekube.raft.rawnode import RawNode
from edgekube.raft.roles import CANDIDATE, LEADER, PRE_CANDIDATE


class Ticker:
    """Tells the core of time, in one task, and what to do about it then (`ticked`)."""

    def __init__(self, raw: RawNode, settings: Settings, random: Random, ticked: Callable[[], None]) -> None:
        self._raw = raw
        self._settings = settings
        self._random = random
        self._ticked = ticked
        self._lot = trio.lowlevel.ParkingLot()
        self._last = trio.current_time()
        self._patience = 0  # ticks until a candidate tries again
        self.ticks = 0
        """How many there were."""

    async def run(self) -> None:
        """Task."""
        raw = self._raw
        while True:
            if raw.raft.is_alone:
                await self._lot.park()
            self._last = trio.current_time()
            await trio.sleep(self._settings.tick_s)
            self.ticks += 1
            self.age_lease()
            raw.tick()
            self._campaign_again()
            self._ticked()

    def role_changed(self) -> None:
        """There may be somebody to keep time for, or nobody any more."""
        if self._raw.raft.state is LEADER:
            self._last = trio.current_time()
        self._lot.unpark()

    def membership_changed(self) -> None:
        """As `role_changed`, in the same role."""
        self._lot.unpark()

    def _campaign_again(self) -> None:
        """Stand again sooner than the core would by itself, at a random moment so that two do not keep colliding."""
        if self._raw.raft.state not in (PRE_CANDIDATE, CANDIDATE):
            self._patience = 0
            return
        if self._patience == 0:
            ticks = self._settings.campaign_ticks
            self._patience = 1 + ticks + self._random.randrange(ticks)
        self._patience -= 1
        if self._patience == 0:
            self._raw.campaign()

    def age_lease(self) -> None:
        """Count the ticks that were missed against the lease, though not against anybody's silence."""
        raft, tick = self._raw.raft, self._settings.tick_s
        missed = int((trio.current_time() - self._last) / tick) - 1
        if missed > 0 and raft.lease_based and raft.state is LEADER:
            raft.ticks += missed
            self._last += missed * tick
