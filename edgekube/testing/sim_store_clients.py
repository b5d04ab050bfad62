"""The users of a simulated group of whole stores: tasks that write, read and watch at one member after the other.

Whatever a member answers counts only if it did not crash meanwhile. Every value is written once, so the checks notice a
write that comes into effect twice, or at all although its caller was told that it did not.
"""

import random
from typing import TYPE_CHECKING, Final

import trio

from edgekube.store.api import (
    Compacted,
    Delete,
    Fenced,
    FutureRevision,
    Guard,
    KeyValue,
    NotLeader,
    Put,
    ReadOnly,
    StoreError,
)
from edgekube.testing.linearizability import Operation
from edgekube.testing.sim_clients import KEYS
from edgekube.testing.sim_trio import seeded
from edgekube.testing.sim_upgrade import PROGRAM
from edgekube.testing.sim_world import SimulationFailed

if TYPE_CHECKING:
    from edgekube.testing.sim_store import StoreSimulation
    from edgekube.testing.sim_store_member import StoreMember

TIMEOUTS_S: Final = (0.3, 1.0, 1.0, 7.0)


class StoreClient:
    """One user."""

    def __init__(self, number: int, simulation: "StoreSimulation") -> None:
        self._number = number
        self._simulation = simulation
        self._rng = seeded(simulation.plan.seed, 15_485_863, number)
        self._known: dict[bytes, int] = {}
        self._count = 0

    async def run(self) -> None:
        """Task: one operation after the other, with pauses."""
        rng, simulation = self._rng, self._simulation
        while not simulation.stopping:
            await trio.sleep(rng.expovariate(1000 / simulation.plan.think))
            running = simulation.running()
            if not running:
                continue
            self._count += 1
            member = rng.choice(running)
            with trio.move_on_after(rng.choice(TIMEOUTS_S)):
                await (self.read(member) if rng.random() < 0.4 else self._write(member))

    async def read(self, member: "StoreMember") -> None:
        """Read some keys behind a barrier."""
        store, incarnation = member.store, member.incarnation
        assert store is not None
        keys = tuple(self._rng.sample(KEYS, self._rng.choice((1, 1, 3))))
        call = trio.current_time()
        try:
            await store.read_barrier()
            if member.incarnation is not incarnation:
                return
            seen = tuple((key, store.get(key)) for key in keys)
        except StoreError:
            return
        self._learn(seen)
        self._record(
            Operation(
                client=self._number, call=call, back=trio.current_time(), reads=keys, revision=store.revision, seen=seen
            )
        )

    async def _write(self, member: "StoreMember") -> None:
        rng = self._rng
        chosen = rng.sample(KEYS, rng.choice((1, 1, 1, 2)))
        value = self._value(rng.randrange(3000) if rng.random() < 0.15 else 0)  # some are more than a sector
        ops = tuple(Delete(key) if rng.random() < 0.15 else Put(key, value % n) for n, key in enumerate(chosen))
        guards = tuple(Guard(key, self._known.get(key, 0)) for key in chosen) if rng.random() < 0.5 else ()
        fence = member.store.term if member.store is not None and rng.random() < 0.1 else 0
        await self._transact(member, guards, ops, fence)

    def _value(self, size: int) -> bytes:
        return b"%d.%d/%%d" % (self._number, self._count) + self._rng.randbytes(size).replace(b"%", b"-")

    def value(self, size: int) -> bytes:
        """Something to write that was not written yet, of at least so many bytes."""
        self._count += 1
        return self._value(size) % 0

    async def put(self, member: "StoreMember", value: bytes) -> None:
        """Write a value somewhere."""
        await self._transact(member, (), (Put(self._rng.choice(KEYS), value),), 0)

    async def _transact(
        self, member: "StoreMember", guards: tuple[Guard, ...], ops: tuple[Put | Delete, ...], fence: int
    ) -> None:
        store, incarnation = member.store, member.incarnation
        if store is None:
            return
        call = trio.current_time()
        back: float | None = None
        result = None
        program = PROGRAM.set(incarnation)
        try:
            result = await store.txn(guards, ops, term=fence)
            if member.incarnation is incarnation:
                back = trio.current_time()
                if store.revision < result.revision:
                    raise SimulationFailed(f"member {member.id} answers {result} and has not applied it")
        except (NotLeader, Fenced, ReadOnly):
            if member.incarnation is incarnation:
                self._simulation.checks.forbid([op.value for op in ops if isinstance(op, Put)])
        except StoreError:
            pass
        finally:
            PROGRAM.reset(program)
            ok = back is not None and result is not None
            self._record(
                Operation(
                    client=self._number,
                    call=call,
                    back=back,
                    guards=guards,
                    ops=ops,
                    succeeded=not ok or (result is not None and result.succeeded),
                    revision=result.revision if ok and result is not None else 0,
                    seen=result.failed if ok and result is not None else (),
                )
            )
        if back is not None and result is not None:
            self._learn(result.failed)
            if result.succeeded:
                self._known.update({op.key: result.revision for op in ops if isinstance(op, Put)})

    def _learn(self, seen: tuple[tuple[bytes, KeyValue | None], ...]) -> None:
        self._known.update({key: kv.mod_revision if kv is not None else 0 for key, kv in seen})

    def _record(self, operation: Operation) -> None:
        simulation = self._simulation
        simulation.history.append(operation)
        simulation.world.note(3, self._number, operation.revision, operation.back is None)


class StoreWatcher:
    """Follows a range for the whole run."""

    def __init__(self, number: int, simulation: "StoreSimulation", start: bytes, end: bytes) -> None:
        self._simulation = simulation
        self._rng: random.Random = seeded(simulation.plan.seed, 32_452_843, number)
        self._start = start
        self._end = end
        self._after = 1
        self.seen = 0

    async def run(self) -> None:
        """Task: watch at one member, then resume at another."""
        while True:
            await trio.sleep(self._rng.expovariate(20))
            running = self._simulation.running()
            if running:
                await self._watch(self._rng.choice(running))

    async def _watch(self, member: "StoreMember") -> None:
        rng, checks, start, end = self._rng, self._simulation.checks, self._start, self._end
        store, incarnation = member.store, member.incarnation
        assert store is not None
        try:
            async with store.watch(start, end, after=self._after, batch_max=rng.choice((1, 3, 500))) as watch:
                with trio.move_on_after(rng.expovariate(1)):
                    while True:
                        batch = await watch.next()
                        if member.incarnation is not incarnation:
                            return
                        self._after = checks.handed(start, end, self._after, batch)
                        self.seen += len(batch)
                        self._simulation.world.note(6, member.id, self._after)
                if member.incarnation is incarnation:
                    checks.progressed(start, end, self._after, watch.progress)
        except Compacted:
            if member.incarnation is incarnation and store.revision >= self._after:
                checks.contents(member.id, store.revision, member.rows())
                self._after = store.revision
        except (FutureRevision, StoreError):
            pass
