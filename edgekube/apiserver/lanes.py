"""How many requests run at once: heavy ones few, ordinary ones more, nodes apart, watches uncounted once started.

A simple stand-in for API Priority and Fairness with the property that matters on a small board: no amount of client
load delays a node's heartbeat or the loop as a whole.
"""

from typing import Final

import msgspec
import trio

from edgekube.apiserver.request import GROUP_NODES, User
from edgekube.types.status import too_many_requests

HEAVY_MAX: Final = 2
ORDINARY_MAX: Final = 64
NODE_MAX: Final = 64
QUEUE_MAX: Final = 256
QUEUE_SECONDS_MAX: Final = 15.0
_HEAVY_VERBS: Final = frozenset({"list", "deletecollection"})


class LaneStatistics(msgspec.Struct, frozen=True):
    heavy_running: int
    ordinary_running: int
    node_running: int
    queued: int
    rejected_total: int


class Lanes:
    def __init__(self, *, heavy_max: int = HEAVY_MAX, ordinary_max: int = ORDINARY_MAX) -> None:
        self._heavy = trio.Semaphore(heavy_max)
        self._ordinary = trio.Semaphore(ordinary_max)
        self._node = trio.Semaphore(NODE_MAX)
        self._limits = (heavy_max, ordinary_max)
        self._queued = 0
        self._rejected_total = 0

    def statistics(self) -> LaneStatistics:
        return LaneStatistics(
            heavy_running=self._limits[0] - self._heavy.value,
            ordinary_running=self._limits[1] - self._ordinary.value,
            node_running=NODE_MAX - self._node.value,
            queued=self._queued,
            rejected_total=self._rejected_total,
        )

    def enter(self, user: User, verb: str) -> "Place":
        """`async with` it to hold a place of the lane."""
        lane = self._heavy if verb in _HEAVY_VERBS else self._ordinary
        if GROUP_NODES in user.groups:
            lane = self._node
        return Place(self, lane)

    async def wait(self, lane: trio.Semaphore) -> None:
        """Queue for a place. Raises ApiError 429."""
        acquired = False
        if self._queued < QUEUE_MAX:
            self._queued += 1
            try:
                with trio.move_on_after(QUEUE_SECONDS_MAX):
                    await lane.acquire()
                    acquired = True
            finally:
                self._queued -= 1
        if not acquired:
            self._rejected_total += 1
            raise too_many_requests("the server has too many requests under way, please try again later")


class Place:
    """A place in a lane while the block runs. Raises ApiError 429 when the queue is full or moves too slowly."""

    __slots__ = ("_lane", "_lanes")

    def __init__(self, lanes: Lanes, lane: trio.Semaphore) -> None:
        self._lanes = lanes
        self._lane = lane

    async def __aenter__(self) -> None:
        try:
            self._lane.acquire_nowait()
        except trio.WouldBlock:
            await self._lanes.wait(self._lane)

    async def __aexit__(self, *_: object) -> None:
        self._lane.release()
