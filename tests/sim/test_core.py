"""Seeds of the simulated group: every promise holds in each of them."""

from __future__ import annotations

import msgspec
import pytest

from edgekube.testing.sim_core import run
from edgekube.testing.sim_plan import make_plan, shrink
from tests.sim.mutants import MUTANTS, Mutant

GATE_SEEDS = 600
LONG_SEEDS = 5000
CHUNK = 50


def play(begin: int) -> None:
    reports = [run(make_plan(seed)) for seed in range(begin, begin + CHUNK)]
    failed = {report.plan.seed: report.failure for report in reports if report.failure}
    assert not failed
    assert sum(report.operations for report in reports) > CHUNK
    print(f"{len(reports)} seeds, {sum(report.elections for report in reports)} elections")


@pytest.mark.parametrize("begin", range(0, GATE_SEEDS, CHUNK))
def test_every_promise_holds(begin: int) -> None:
    play(begin)


@pytest.mark.long
@pytest.mark.parametrize("begin", range(GATE_SEEDS, LONG_SEEDS, CHUNK))
def test_every_promise_holds_in_many_more(begin: int) -> None:
    play(begin)


@pytest.mark.parametrize("seed", [3, 7, 11, 19])
def test_a_seed_replays(seed: int) -> None:
    first, second = run(make_plan(seed)), run(make_plan(seed))
    assert first.digest == second.digest
    assert msgspec.structs.asdict(first) == msgspec.structs.asdict(second)
    assert run(make_plan(seed + 1)).digest != first.digest


def test_a_failing_plan_shrinks_and_still_fails() -> None:
    mutant = next(one for one in MUTANTS if one.name == "a conflicting tail is not cut")
    with mutant.active() as make:
        failing = next(plan for seed in range(mutant.seeds) if run(plan := make_plan(seed), make).failure)
        least = shrink(failing, lambda plan: bool(run(plan, make).failure), runs_max=60)
        assert run(least, make).failure
    assert len(least.faults) < len(failing.faults)
    assert not run(least).failure


@pytest.mark.parametrize(
    "mutant", [pytest.param(one, marks=[pytest.mark.long] if one.seeds > 60 else [], id=one.name) for one in MUTANTS]
)
def test_a_wrong_variant_is_found(mutant: Mutant) -> None:
    with mutant.active() as make:
        assert any(run(make_plan(seed), make).failure for seed in range(mutant.seeds))
