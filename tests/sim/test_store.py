"""Seeds of simulated groups of whole stores: the product's driver, log, keeper and forwarding keep every promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import msgspec
import pytest

from edgekube.testing.sim_plan import shrink
from edgekube.testing.sim_store import make_store_plan, make_story_plan, run_store
from tests.sim.mutants import Mutant
from tests.sim.store_mutants import STORE_MUTANTS

GATE_SEEDS = 80
LONG_SEEDS = 4000
CHUNK = 20
GATE_MUTANT_SEEDS = 12
REPLAYED = (3, 5, 9, 20, 33)

PRINT_DIGESTS = """
import json, sys
from edgekube.testing.sim_store import make_store_plan, run_store
print(json.dumps([run_store(make_store_plan(int(seed))).digest for seed in sys.argv[1:]]))
"""


def play(begin: int) -> None:
    reports = [run_store(make_store_plan(seed)) for seed in range(begin, begin + CHUNK)]
    failed = {report.plan.seed: report.failure for report in reports if report.failure}
    assert not failed
    assert sum(report.operations for report in reports) > CHUNK
    assert sum(report.watched for report in reports) > CHUNK
    print(f"{len(reports)} seeds, {sum(report.elections for report in reports)} elections")


@pytest.mark.parametrize("begin", range(0, GATE_SEEDS, CHUNK))
def test_every_promise_holds(begin: int) -> None:
    play(begin)


@pytest.mark.long
@pytest.mark.parametrize("begin", range(GATE_SEEDS, LONG_SEEDS, CHUNK))
def test_every_promise_holds_in_many_more(begin: int) -> None:
    play(begin)


def test_seeds_replay_here_and_in_another_process() -> None:
    here = [run_store(make_store_plan(seed)) for seed in REPLAYED]
    again = [run_store(make_store_plan(seed)) for seed in reversed(REPLAYED)]
    for first, second in zip(here, reversed(again), strict=True):
        assert msgspec.structs.asdict(first) == msgspec.structs.asdict(second)
    digests = [report.digest for report in here]
    assert len(set(digests)) == len(digests)
    for hash_seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", PRINT_DIGESTS, *map(str, REPLAYED)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
        assert json.loads(found.stdout) == digests


def test_a_failing_plan_shrinks_and_still_fails() -> None:
    mutant = next(one for one in STORE_MUTANTS if one.name == "answers leave before the sync")
    with mutant.active():
        failing = next(plan for seed in range(mutant.seeds) if run_store(plan := make_store_plan(seed)).failure)
        least = shrink(failing, lambda plan: bool(run_store(plan).failure), runs_max=12)
        assert run_store(least).failure
    assert len(least.faults) < len(failing.faults)
    assert not run_store(least).failure


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(one, marks=[pytest.mark.long] if one.seeds > GATE_MUTANT_SEEDS else [], id=one.name)
        for one in STORE_MUTANTS
    ],
)
def test_a_wrong_variant_is_found(mutant: Mutant) -> None:
    story = mutant.story
    with mutant.active():
        assert any(
            run_store(make_story_plan(seed, story) if story else make_store_plan(seed)).failure
            for seed in range(mutant.seeds)
        )
