"""Faults that strike any simulated group, whatever drives its members: the network's, crashes, disks, elections.

A fault is named in a plan; `strike` turns its chances into a choice among what is there.
"""

import random
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from edgekube.testing.sim_plan import Fault, Plan
from edgekube.testing.sim_world import Network, World


class Victim(Protocol):
    """A member as faults see it."""

    id: int
    disk_factor: float
    disk_full: bool
    stalled_until: float
    removed: bool

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        ...

    @property
    def leads(self) -> bool:
        """Whether it believes to lead."""
        ...

    @property
    def term(self) -> int:
        """Its term."""
        ...

    def crash(self) -> None:
        """Stop at once."""
        ...

    def start(self) -> None:
        """Start from what is on disk."""
        ...

    def stand(self) -> None:
        """Stand for election now, without asking first whether it could win."""
        ...


V = TypeVar("V", bound=Victim)


class Faults(Generic[V]):
    """The stage with everything that can be broken on it, by whatever drives the members."""

    plan: Plan
    world: World
    network: Network
    members: dict[int, V]
    mended = False  # from then on nothing breaks any more

    def up(self) -> list[V]:
        """Members that run."""
        return [member for member in self.members.values() if member.is_up]

    def leader(self) -> V | None:
        """The leader of the highest term."""
        return max((member for member in self.up() if member.leads), key=lambda member: member.term, default=None)

    def mend_world(self) -> None:
        """The network and the disks are well from now on."""
        self.mended = True
        self.network.mend_all()
        for member in self.members.values():
            member.disk_full = False
            member.disk_factor = 1.0
            member.stalled_until = min(member.stalled_until, self.world.now)

    def strike(self, fault: Fault) -> None:
        """Let a fault happen."""
        if self.mended:
            return
        self.world.note(0, int(fault.at))
        up = self.up()
        if up:
            getattr(self, "_" + fault.kind.replace("-", "_"))(up, *fault.chances)

    def _cut(self, links: list[tuple[int, int]], span: float) -> None:
        if self.mended:
            return
        for link in links:
            self.network.cut(*link)

        def mend() -> None:
            for link in links:
                if self.network.is_cut(*link):
                    self.network.mend(*link)

        self.world.after(span, mend)

    def _both(self, left: list[int], right: list[int]) -> list[tuple[int, int]]:
        return [link for a in left for b in right for link in ((a, b), (b, a))]

    def _split(self, up: Sequence[V], where: float, seed: float, span: float) -> None:
        numbers = list(self.members)
        random.Random(seed).shuffle(numbers)
        place = 1 + int(where * (len(numbers) - 1))
        self._cut(self._both(numbers[:place], numbers[place:]), 200 + span * 2500)

    def _isolate(self, up: Sequence[V], whom: float, how: float, span: float) -> None:
        leader = self.leader()
        victim = leader if leader is not None and how < 0.5 else up[int(whom * len(up))]
        self._cut(self._both([victim.id], [n for n in self.members if n != victim.id]), 200 + span * 2500)

    def _one_way(self, up: Sequence[V], whom: float, how: float, span: float) -> None:
        leader = self.leader()
        victim = leader if leader is not None and how < 0.3 else up[int(whom * len(up))]
        others = [n for n in self.members if n != victim.id]
        deaf = int(how * 1000) % 2
        self._cut([(n, victim.id) if deaf else (victim.id, n) for n in others], 200 + span * 2500)

    def _bridge(self, up: Sequence[V], where: float, seed: float, span: float) -> None:
        numbers = list(self.members)
        random.Random(seed).shuffle(numbers)
        half = (len(numbers) - 1) // 2
        self._cut(self._both(numbers[1 : 1 + half], numbers[1 + half :]), 300 + span * 2500)

    def _flap(self, up: Sequence[V], whom: float, how: float, span: float) -> None:
        victim = up[int(whom * len(up))].id
        others = [n for n in self.members if n != victim]
        links = self._both([victim], others) if how < 0.5 else [(victim, n) for n in others]
        for n in range(3 + int(span * 8)):
            self.world.after(n * (40 + how * 400), lambda: self._cut(links, 20 + how * 200))

    def _storm(self, up: Sequence[V], loss: float, delay: float, span: float) -> None:
        network = self.network
        before = network.loss, network.repeat, network.delay_max
        network.loss, network.repeat = max(network.loss, loss * 0.5), max(network.repeat, 0.2)
        network.delay_max = max(network.delay_max, delay * 100)

        def calm() -> None:
            if self.mended:
                return
            network.loss, network.repeat, network.delay_max = before

        self.world.after(100 + span * 1500, calm)

    def _crash(self, up: Sequence[V], whom: float, how: float, span: float) -> None:
        leader = self.leader()
        victim = leader if leader is not None and how < 0.4 else up[int(whom * len(up))]
        self.crash(victim, 20 + span * span * 2000)

    def crash(self, victim: V, pause: float) -> None:
        """Crash a member; it comes back after a while."""
        if self.mended:
            return
        victim.crash()

        def back() -> None:
            if not victim.is_up and not victim.removed:
                victim.start()

        self.world.after(pause, back)

    def _crash_many(self, up: Sequence[V], share: float, seed: float, span: float) -> None:
        count = len(up) if share > 0.6 else 1 + int(share * len(up))
        generator = random.Random(seed)
        for victim in generator.sample(up, count):
            self.crash(victim, 20 + generator.random() * span * 1500)

    def _slow_disk(self, up: Sequence[V], whom: float, how: float, span: float) -> None:
        victim = up[int(whom * len(up))]
        victim.disk_factor = 3 + how * 40

        def well() -> None:
            victim.disk_factor = 1.0

        self.world.after(200 + span * 2000, well)

    def _full_disk(self, up: Sequence[V], whom: float, how: float, span: float) -> None:
        victim = up[int(whom * len(up))]
        victim.disk_full = True

        def freed() -> None:
            victim.disk_full = False

        self.world.after(200 + span * 2000, freed)

    def _contest(self, up: Sequence[V], whom: float, seed: float, span: float) -> None:
        """Without a leader, two candidates a little apart, and quick restarts of those who vote meanwhile."""
        generator = random.Random(seed)
        leader = self.leader()
        if leader is not None:
            self.crash(leader, 300)
        others = [member for member in up if member is not leader]
        generator.shuffle(others)
        apart = self.plan.disk + self.plan.delay_max
        for place, member in enumerate(others):
            if place < 2:
                self.world.after(place * apart * 2 * span, member.stand)
            else:
                delay = apart * 3 * generator.random()
                self.world.after(delay, lambda member=member: self.crash(member, 1))  # type: ignore[misc]

    def _churn(self, up: Sequence[V], whom: float, seed: float, span: float) -> None:
        generator = random.Random(seed)
        for n in range(2 + int(span * 8)):
            self.world.after(n * (50 + 250 * whom), lambda: self._lose_leader(generator))

    def _lose_leader(self, generator: random.Random) -> None:
        leader = self.leader()
        if leader is None:
            return
        others = [member for member in self.up() if member is not leader]
        if generator.random() < 0.5:
            self.crash(leader, 10 + generator.random() * 300)
        else:
            self._cut(self._both([leader.id], [member.id for member in others]), 50 + generator.random() * 300)
        if others and generator.random() < 0.7:
            generator.choice(others).stand()
