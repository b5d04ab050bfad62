"""Virtual time and a network that loses, delays, repeats and reorders: the stage of a simulation.

Everything that happens is an event on one queue, ordered by virtual time (milliseconds) and then by when it was asked
for, so a run is a function of its seed. `World.note` folds each fact into a running digest: two runs with the same
digest did the same things at the same times.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

TRACE_LENGTH_MAX: Final = 400
EVENTS_MAX: Final = 400_000
"""Events of one run; a run that takes more goes round in circles."""


class SimulationFailed(Exception):
    """A promise was broken; the message says which."""


class World:
    """The queue of events, the digest of what happened, and the last things that did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.digest = 0
        self.trace: deque[tuple[float, tuple[Hashable, ...]]] = deque(maxlen=TRACE_LENGTH_MAX)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Let something happen `delay` milliseconds from now."""
        self._number += 1
        heapq.heappush(self._queue, (self.now + delay, self._number, call))

    def note(self, *fact: int) -> None:
        """Make a fact part of the trace. Only numbers: their hash is the same in every process."""
        self.digest = hash((self.digest, self.now, fact))
        self.trace.append((self.now, fact))

    def run_until(self, end: float) -> None:
        """Let everything happen that is due until `end`."""
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, call = heapq.heappop(queue)
            self.events += 1
            if self.events > EVENTS_MAX:
                raise SimulationFailed(f"more than {EVENTS_MAX} events: something goes round in circles")
            call()
        self.now = end


class Network:
    """Links between members by number. Each has its own generator, so that a fault on one leaves the others alone."""

    def __init__(self, world: World, seed: int, *, loss: float, repeat: float, delay_min: float, delay_max: float):
        self._world = world
        self._seed = seed
        self.loss = loss
        self.repeat = repeat
        self.delay_min = delay_min
        self.delay_max = delay_max
        self._generators: dict[tuple[int, int], random.Random] = {}
        self._cuts: dict[tuple[int, int], int] = {}
        self.sent = self.lost = 0

    def generator(self, sender: int, receiver: int) -> random.Random:
        """The randomness of one link."""
        link = (sender, receiver)
        generator = self._generators.get(link)
        if generator is None:
            generator = self._generators[link] = random.Random(self._seed * 1009 + sender * 31 + receiver)
        return generator

    def cut(self, sender: int, receiver: int) -> None:
        """Lose everything on a link, in this direction; cuts count."""
        self._cuts[sender, receiver] = self._cuts.get((sender, receiver), 0) + 1

    def mend(self, sender: int, receiver: int) -> None:
        """Take one cut back."""
        self._cuts[sender, receiver] -= 1

    def mend_all(self) -> None:
        """A network in order: no cuts, no loss, no repetition."""
        self._cuts.clear()
        self.loss = self.repeat = 0.0
        self.delay_max = self.delay_min + 1

    def is_cut(self, sender: int, receiver: int) -> bool:
        """Whether the link loses everything now."""
        return self._cuts.get((sender, receiver), 0) > 0

    def send(
        self, sender: int, receiver: int, arrive: Callable[[], None], lose: Callable[[], None] | None = None
    ) -> None:
        """Let `arrive` happen after the link's delay, perhaps twice, or `lose` instead."""
        self.sent += 1
        generator = self.generator(sender, receiver)
        if self.is_cut(sender, receiver) or generator.random() < self.loss:
            self.lost += 1
            if lose is not None:
                self._world.after(self.delay_max, lose)
            return
        arrivals = 1 + (generator.random() < self.repeat)
        for _ in range(arrivals):
            delay = generator.uniform(self.delay_min, self.delay_max)
            if generator.random() < 0.02:
                delay *= 10  # overtaken by many

            def arriving() -> None:
                if not self.is_cut(sender, receiver):
                    arrive()
                elif lose is not None:
                    lose()

            self._world.after(delay, arriving)
