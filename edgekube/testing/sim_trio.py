"""trio made a function of a seed, for one run: its shuffle of tasks, its clock, and processes that stand still.

trio runs what is runnable in batches, each shuffled by a generator of its own; here the batch is put into the order of
the tasks' birth first and the generator is seeded. Time is virtual and jumps to the next deadline. Threads would bring
real time in: whoever simulates replaces them (`sim_files`). The garbage collector does not run meanwhile, as finalizers
of asynchronous generators would start tasks.

Tasks belong to the process in whose context they were started (`PROCESS`). A process that stands still keeps its
runnable tasks; its timers go off meanwhile, as they do in a process that was stopped, and it notices when it goes on.
"""

import contextlib
import gc
import random
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import trio
from trio.testing import MockClock

from edgekube.testing.sim_world import SimulationFailed

STEPS_MAX: Final = 1_500_000
"""Steps of tasks in one run; a run that takes more goes round in circles."""
JUMPS_MAX: Final = 1000
"""Jumps of the clock with no step between."""


class Process:
    """Something that runs until it crashes, and may stand still. A ghost is one whose tasks only unwind."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_ghost = False
        self.stalled = False
        self._held: list[trio.lowlevel.Task] = []
        self._missed: list[Callable[[], None]] = []

    def stall(self) -> None:
        """Stand still."""
        if not self.is_ghost:
            self.stalled = True

    def resume(self) -> None:
        """Go on: first what came in meanwhile, then every task that has something to do."""
        self.stalled = False
        missed, self._missed = self._missed, []
        for call in missed:
            call()
        held, self._held = self._held, []
        if held:
            trio._core._run.GLOBAL_RUN_CONTEXT.runner.runq.extend(held)

    def die(self) -> None:
        """Become a ghost."""
        self._missed.clear()
        self.is_ghost = True
        self.resume()

    def deliver(self, call: Callable[[], None]) -> None:
        """Do something in the process: now, when it goes on, or never if it is a ghost."""
        if self.is_ghost:
            return
        if self.stalled:
            self._missed.append(call)
        else:
            call()

    def hold(self, task: trio.lowlevel.Task) -> None:
        """Keep a task that became runnable."""
        self._held.append(task)


PROCESS: Final[ContextVar[Process | None]] = ContextVar("simulated process", default=None)


class Patches:
    """Attributes replaced for a while."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace one."""
        self._before.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Put all back."""
        for owner, name, value in reversed(self._before):
            setattr(owner, name, value)
        self._before.clear()


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[Patches]:
    """While entered, `run` is a function of the seed. More can be replaced until the end with what it gives."""
    internals: Any = trio._core._run
    patches = Patches()
    right, right_jump = internals.Runner.reschedule, MockClock._autojump
    steps = jumps = 0

    def jump(clock: MockClock) -> None:
        nonlocal jumps
        right_jump(clock)
        jumps += 1
        if jumps > JUMPS_MAX:
            raise SimulationFailed("every task waits, and none for a time: they wait for ever")

    def reschedule(runner: Any, task: trio.lowlevel.Task, *send: Any) -> None:
        nonlocal steps, jumps
        right(runner, task, *send)
        jumps = 0
        steps += 1
        if steps > STEPS_MAX:
            steps = 0
            raise SimulationFailed(f"more than {STEPS_MAX} steps of tasks: {task.name} may go round in circles")
        process = task.context.get(PROCESS)
        if process is not None and process.stalled:
            runner.runq.remove(task)
            process.hold(task)

    state = internals._r.getstate()
    collecting = gc.isenabled()
    patches.set(internals, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    patches.set(internals.Runner, "reschedule", reschedule)
    patches.set(MockClock, "_autojump", jump)
    internals._r.seed(seed)
    gc.disable()
    try:
        yield patches
    finally:
        patches.undo()
        internals._r.setstate(state)
        if collecting:
            gc.enable()


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run it in virtual time, which begins at 0."""
    trio.run(main, clock=MockClock(autojump_threshold=0))


def seeded(*parts: int) -> random.Random:
    """A generator of its own for each use; the same in every process."""
    return random.Random(hash(parts))
