"""Changes of the membership: proposed as leader, awaited until they are in force, and the promotion of learners."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import trio

from edgekube.raft.confchange import ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from edgekube.raft.errors import ConfChangeError, ProposalDroppedError
from edgekube.store.api import NotLeader
from edgekube.store.membership import Members, MembershipRefused, encode_addresses, planned
from edgekube.store.writes import WAITING_COUNT_MAX

if TYPE_CHECKING:
    from edgekube.store.replicated import ReplicatedStore

PROMOTE_CHECK_S: Final = 1.0


class MembershipChanges:
    """What a leader does to the membership."""

    def __init__(self, store: "ReplicatedStore") -> None:
        self._store = store
        self._lot = trio.lowlevel.ParkingLot()

    async def add_learner(self, member: int, address: bytes) -> None:
        """See `ReplicatedStore.add_learner`."""
        await self._change(
            [(ConfChangeType.ADD_LEARNER_NODE, member)],
            lambda members: member in (*members.learners, *members.voters),
            {member: address},
        )

    async def promote(self, members: Sequence[int]) -> None:
        """See `ReplicatedStore.promote`."""
        await self._change(
            [(ConfChangeType.ADD_NODE, member) for member in members],
            lambda now: set(members) <= set(now.voters) and not now.changing,
        )

    async def remove(self, member: int) -> None:
        """See `ReplicatedStore.remove`."""
        voters = self._store.members.voters
        if member == self._store.member and member in voters and len(voters) == 2:
            # Leading would end with the removal. If the other had not heard by then that it is committed, it would
            # need a vote of this one, for ever if that is stopped.
            raise MembershipRefused(f"member {member} leads and one other votes: hand over first, and remove it there")
        await self._change(
            [(ConfChangeType.REMOVE_NODE, member)],
            lambda members: member not in (*members.voters, *members.learners),
        )

    async def _change(
        self,
        changes: Sequence[tuple[ConfChangeType, int]],
        done: Callable[[Members], bool],
        addresses: Mapping[int, bytes] | None = None,
    ) -> None:
        store, node = self._store, self._store.node
        change = ConfChangeV2(
            ConfChangeTransition.AUTO,
            tuple([ConfChangeSingle(kind, member) for kind, member in changes]),
            encode_addresses(addresses or {}),
        )
        term = node.term
        try:
            index = node.propose_membership(change)
        except ProposalDroppedError as error:
            raise NotLeader(node.lead) from error
        except ConfChangeError as error:
            raise MembershipRefused(str(error)) from error
        await store.wait_index(index)
        await store.wait_members(lambda members: not members.changing or node.term != term)
        if not done(store.members):
            raise MembershipRefused("another change of the membership was under way, or leadership was lost: try again")
        # The log learns with the next write only that the change is committed. A removed member may be stopped now, and
        # a leader that lost power and does not know would need its vote.
        await store.sync_log()

    def wake(self) -> None:
        """The role or the membership has changed."""
        self._lot.unpark_all()

    async def run_promoter(self) -> None:
        """Task: as leader, make voters of learners as `membership.planned` says."""
        store = self._store
        while True:
            if not store.term or not store.conf_state.learners:
                await self._lot.park()
                continue
            members = planned(store.conf_state, self._caught_up())
            if members:
                try:
                    await store.promote(*members)
                except (NotLeader, MembershipRefused):
                    pass  # looked at again below
            with trio.move_on_after(PROMOTE_CHECK_S):
                await self._lot.park()

    def _caught_up(self) -> set[int]:
        progress = self._store.node.status().progress
        enough = max(self._store.applied - WAITING_COUNT_MAX, 1)
        return {member for member, one in progress.items() if one.recent_active and one.match >= enough}
