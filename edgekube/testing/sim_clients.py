"""The users of a simulated group: clients that write and read at any member, and watchers that move between members.

Clients keep the history that is judged at the end; watchers check every batch against the record of all events.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from edgekube.store import command as commands
from edgekube.store.api import Compacted, Delete, FutureRevision, Guard, KeyValue, Op, Put, Watch
from edgekube.store.state import Outcome
from edgekube.testing import sim_machine
from edgekube.testing.linearizability import Operation
from edgekube.testing.sim_checks import Checks
from edgekube.testing.sim_member import Member, Restarted
from edgekube.testing.sim_plan import Plan
from edgekube.testing.sim_world import Network, SimulationFailed, World

KEYS: Final = tuple(b"/k/%d" % n for n in range(6))
TIMEOUT: Final = 700.0  # virtual milliseconds


class Group:
    """What users see of the members."""

    def __init__(self, world: World, network: Network, members: dict[int, Member]) -> None:
        self.world = world
        self.network = network
        self.members = members

    def up(self) -> list[Member]:
        """Those that run."""
        return [member for member in self.members.values() if member.is_up]

    @property
    def version(self) -> int:
        """What every member that may ever read the log understands."""
        return min((member.version for member in self.members.values() if not member.removed), default=sim_machine.OLD)


class Client:
    """One client: an operation, a pause, an operation. `history` gets what came of them."""

    def __init__(
        self, number: int, plan: Plan, group: Group, history: list[Operation], *, invited: bool = False
    ) -> None:
        """An `invited` client does nothing by itself but read when it is told to."""
        self._number = number
        self._plan = plan
        self._group = group
        self._history = history
        self._rng = random.Random(plan.seed * 15_485_863 + number)
        self._count = 0
        self._known: dict[bytes, int] = {}
        self._home = 0
        self._term = 0
        self.stopped = False
        self._invited = invited
        self.again()

    def visit(self, member: Member) -> None:
        """Read at a member now."""
        self._count += 1
        if not self.stopped:
            self._read(member)

    def again(self) -> None:
        """Pause, then go on."""
        if self._invited:
            return
        self._group.world.after(self._rng.expovariate(1 / self._plan.think), self._next)

    def _next(self) -> None:
        if self.stopped:
            return
        up = self._group.up()
        if not up:
            self.again()
            return
        member = self._group.members.get(self._home)
        if member is None or not member.is_up or self._rng.random() < 0.1:
            member = self._rng.choice(up)
        self._home = member.id
        self._count += 1
        if self._rng.random() < 0.4:
            self._read(member)
        else:
            self._write(member)

    def _read(self, member: Member) -> None:
        keys = tuple(self._rng.sample(KEYS, 1 if self._rng.random() < 0.7 else 3))
        call = self._group.world.now
        turn = _Turn(self, TIMEOUT, lambda: None)

        def answered() -> None:
            if not turn.take():
                return
            machine = member.machine
            seen = tuple((key, machine.get(key)) for key in keys)
            self._learn(seen)
            self._history.append(
                Operation(
                    client=self._number,
                    call=call,
                    back=self._group.world.now,
                    reads=keys,
                    revision=machine.revision,
                    seen=seen,
                )
            )
            self.again()

        if not member.read(b"%d.%d" % (self._number, self._count), answered) and turn.take():
            self._home = 0
            self.again()

    def _write(self, member: Member) -> None:
        guards, ops = self._transaction()
        call = self._group.world.now

        def record(back: float | None, outcome: Outcome | None) -> None:
            result = None if outcome is None else outcome.result
            self._history.append(
                Operation(
                    client=self._number,
                    call=call,
                    back=back,
                    guards=guards,
                    ops=ops,
                    succeeded=result is None or result.succeeded,
                    revision=0 if result is None else result.revision,
                    seen=() if result is None else result.failed,
                )
            )

        turn = _Turn(self, TIMEOUT, lambda: record(None, None))

        def answered(outcome: Outcome | None) -> None:
            if not turn.take():
                return
            if outcome is None or outcome.fenced:
                self._home = 0
            else:
                record(self._group.world.now, outcome)
                if outcome.result.succeeded:
                    self._known.update({op.key: outcome.result.revision for op in ops if isinstance(op, Put)})
                self._learn(outcome.result.failed)
            self.again()

        lead = member.node.raft.lead if member.node is not None else 0
        if member.leads:
            self._propose(member, guards, ops, answered)
        elif lead in self._group.members:
            self._forward(member, self._group.members[lead], guards, ops, answered)
        else:
            answered(None)

    def _propose(
        self, member: Member, guards: tuple[Guard, ...], ops: tuple[Op, ...], answered: Callable[[Outcome | None], None]
    ) -> None:
        # The term this client knew before: a write of an ended leadership must be refused.
        fence = self._term if self._rng.random() < 0.2 else 0
        self._term = member.node.raft.term if member.node is not None else 0
        _, data = commands.encode(guards, ops, fence)
        if not member.propose(sim_machine.encode(data, self._group.version), answered):
            answered(None)

    def _forward(
        self,
        member: Member,
        leader: Member,
        guards: tuple[Guard, ...],
        ops: tuple[Op, ...],
        answered: Callable[[Outcome | None], None],
    ) -> None:
        """Send the request to the leader; its answer counts once this member has applied as much."""
        network = self._group.network
        arrived: list[bool] = []  # a request is not repeated by its connection

        def applied(outcome: Outcome | None) -> None:
            index = leader.machine.index if outcome is not None else 0
            network.send(
                leader.id,
                member.id,
                lambda: member.when_applied(index, lambda: answered(outcome)) if member.is_up else None,
            )

        def arrive() -> None:
            if not arrived:
                arrived.append(True)
                self._propose(leader, guards, ops, applied)

        network.send(member.id, leader.id, arrive)

    def _transaction(self) -> tuple[tuple[Guard, ...], tuple[Op, ...]]:
        rng = self._rng
        chance = rng.random()
        keys = rng.sample(KEYS, 1 if chance < 0.8 else rng.choice((2, 3)))
        value = b"%d.%d" % (self._number, self._count)
        ops: list[Op] = [
            Delete(key) if rng.random() < 0.15 else Put(key, value + b"/%d" % n) for n, key in enumerate(keys)
        ]
        guards: tuple[Guard, ...] = ()
        if chance < 0.5 or chance > 0.9:
            guards = tuple(Guard(key, self._known.get(key, 0)) for key in keys)
        return guards, tuple(ops)

    def _learn(self, seen: Sequence[tuple[bytes, KeyValue | None]]) -> None:
        for key, kv in seen:
            self._known[key] = kv.mod_revision if kv is not None else 0


class _Turn:
    """One operation under way: whoever takes it first, the answer or the timeout, ends it."""

    def __init__(self, client: Client, timeout: float, timed_out: Callable[[], None]) -> None:
        self._taken = False

        def due() -> None:
            if self.take():
                timed_out()
                client.again()

        client._group.world.after(timeout, due)

    def take(self) -> bool:
        """Whether it was still open; it is closed now."""
        taken, self._taken = self._taken, True
        return not taken


class Watcher:
    """Follows a range of keys for the whole run, at one member after the other."""

    def __init__(self, number: int, plan: Plan, group: Group, checks: Checks, start: bytes, end: bytes) -> None:
        self._rng = random.Random(plan.seed * 32_452_843 + number)
        self._group = group
        self._checks = checks
        self._start = start
        self._end = end
        self._member: Member | None = None
        self._watch: Watch | None = None
        self._context: AbstractAsyncContextManager[Watch] | None = None
        self._progress = 0
        self.after = checks.revision
        self.seen = 0
        self._scheduled = False
        self.wake()

    def wake(self) -> None:
        """Look again in a while."""
        if not self._scheduled:
            self._scheduled = True
            self._group.world.after(self._rng.expovariate(1 / 20.0), self._turn)

    def published(self, member: Member) -> None:
        """A member has news."""
        if member is self._member:
            self.wake()

    def _turn(self) -> None:
        self._scheduled = False
        if self._watch is None:
            self._open()
        if self._watch is None:
            self._group.world.after(100, self.wake)
            return
        try:
            batch = self._watch.next_nowait()
        except Compacted:
            self._list()
            return
        except Restarted:
            self.close()
            self.wake()
            return
        self._check(batch)
        if batch or self._rng.random() < 0.05:
            if self._rng.random() < 0.1:
                self.close()  # and resume elsewhere
            self.wake()

    def _open(self) -> None:
        up = self._group.up()
        if not up:
            return
        self._member = member = self._rng.choice(up)
        self._context = context = member.hub.watch(
            self._start, self._end, after=self.after, batch_max=self._rng.choice((1, 3, 500))
        )
        try:
            self._watch = finished(context.__aenter__())
            self._progress = self.after
        except (FutureRevision, Restarted):
            self._watch = self._context = None
        except Compacted:
            self._watch = self._context = None
            self._list()

    def _list(self) -> None:
        """The history is gone: begin again with the state there is."""
        self.close()
        assert self._member is not None
        if self._member.is_up and self._member.machine.revision >= self.after:
            machine = self._member.machine
            found = {kv.key: kv for kv in machine.range(b"\x01", b"\xff")}
            self._checks.contents(self._member.id, machine.revision, found)
            self.after = machine.revision
        self.wake()

    def _check(self, batch: Sequence[Any]) -> None:
        """No gap, no duplicate, in order, whole transactions."""
        watch = self._watch
        assert watch is not None
        self.after = self._checks.handed(self._start, self._end, self.after, batch)
        self.seen += len(batch)
        progress = watch.progress
        if progress < self._progress:
            raise SimulationFailed(f"the progress of a watch went from {self._progress} back to {progress}")
        self._progress = progress
        self._checks.progressed(self._start, self._end, self.after, progress)

    def close(self) -> None:
        """Stop watching here."""
        if self._context is not None and self._watch is not None:
            finished(self._context.__aexit__(None, None, None))
        self._watch = self._context = None


def finished(awaitable: Any) -> Any:
    """The value of something awaitable that does not wait."""
    try:
        awaitable.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("it waits")
