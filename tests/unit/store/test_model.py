"""Random programs against the model: on the store in memory, and on files with restarts and tiny bounds."""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekube.store.api import Delete, Guard, GuardKind, Put
from edgekube.store.limits import Limits
from edgekube.store.opening import open_store
from edgekube.testing.store import FakeStore
from edgekube.testing.storecheck import Checker, Model

KEYS = [b"/a", b"/a/1", b"/a/2", b"/b", b"/b/1", b"/b/\xff", b"/c/1", b"/c/10"]
BOUNDS = [b"\x01", b"/a/", b"/a0", b"/b", b"/b/", b"/b/\xff\xff", b"/c/1", b"/c/1\x00", b"0"]

keys = st.sampled_from(KEYS)
ranges = st.tuples(st.sampled_from(BOUNDS), st.sampled_from(BOUNDS))
back = st.integers(-2, 12)
guards = st.lists(st.tuples(keys, st.sampled_from(["same", "absent", "stale", "exists"])), max_size=2)
ops = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.binary(max_size=40), st.integers(-1, 8)),
        st.tuples(st.just("delete"), keys, st.binary(max_size=8), st.integers(-1, 8)),
    ),
    max_size=4,
    unique_by=lambda op: op[1],
)
steps = st.one_of(
    st.tuples(st.just("txn"), guards, ops),
    st.tuples(st.just("txn"), st.just([]), ops),
    st.tuples(st.just("range"), ranges, st.integers(0, 4), back),
    st.tuples(st.just("watch"), ranges, back, st.integers(1, 4)),
    st.tuples(st.just("drain"), st.integers(1, 3)),
    st.tuples(st.just("reopen")),
)
programs = st.lists(steps, max_size=40)


def made_guard(model: Model, key: bytes, kind: str) -> Guard:
    current = model.now.get(key)
    revision = current.mod_revision if current else 0
    if kind == "exists":
        return Guard(key, kind=GuardKind.EXISTS)
    return Guard(key, {"same": revision, "absent": 0, "stale": max(revision - 1, 0)}[kind])


def made_op(step: Any) -> Put | Delete:
    kind, key, value, splice = step
    splice = min(splice, len(value))
    return Put(key, value, splice) if kind == "put" else Delete(key, value, splice)


async def run(checker: Checker, program: list[Any]) -> int:
    """Run steps up to a reopen; returns how many were done."""
    model = checker.model
    for done, step in enumerate(program):
        match step:
            case ["txn", wanted, todo]:
                await checker.txn([made_guard(model, *guard) for guard in wanted], [made_op(op) for op in todo])
            case ["range", [start, end], limit, ago]:
                checker.range(start, end, limit, 0)
                checker.range(start, end, limit, max(model.revision - ago, 1))
            case ["watch", [start, end], ago, batch_max]:
                await checker.open_watch(start, end, max(model.revision - ago, 1), batch_max)
            case ["drain", batches]:
                checker.drain(batches)
                checker.point_reads(KEYS, b"/a", b"/b0")
            case ["reopen"]:
                return done + 1
    checker.drain(100)
    return len(program)


@given(programs)
@settings(max_examples=150, deadline=None)
def test_store_in_memory_keeps_its_promises(program: list[Any]) -> None:
    async def main() -> None:
        store, model, done = FakeStore(), Model(), 0
        while done < len(program):
            async with Checker(store, model) as checker:
                done += await run(checker, program[done:])
            store.compact(max(store.compacted, store.revision - 5))

    trio.run(main)


TINY = Limits(segment_size=4096, history_size_max=3000, history_count_max=6, history_age_kept=0.001)


@given(programs)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_store_on_files_keeps_its_promises_over_restarts(program: list[Any]) -> None:
    async def main(data: Path, run_dir: Path) -> None:
        model, done, terms = Model(), 0, 0
        while done < len(program) or not terms:
            async with AsyncExitStack() as stack:
                store = await stack.enter_async_context(open_store(data, run_dir, limits=TINY))
                checker = await stack.enter_async_context(Checker(store, model))
                assert store.term == terms + 1
                terms = store.term
                assert store.revision == model.revision
                checker.point_reads(KEYS, b"/", b"0")
                checker.range(b"/", b"0", 0, 0)
                done += await run(checker, program[done:])

    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, Path(folder) / "data", Path(folder) / "run")
