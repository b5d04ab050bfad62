"""Rollout arithmetic against its invariants, with statuses that lag behind."""

import random

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgekube.controllers import indexes, rollout
from edgekube.testing.workloads import deployment, meta, replica_set
from edgekube.types.apps_v1 import (
    Deployment,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)

amounts = st.one_of(st.integers(0, 12), st.integers(0, 100).map(lambda n: f"{n}%"))


def rs(name: str, replicas: int, available: int = 0, *, age: int = 0, maximum: int = 0, desired: int = 0) -> ReplicaSet:
    notes = {rollout.MAX_REPLICAS: str(maximum), rollout.DESIRED_REPLICAS: str(desired)} if maximum else {}
    made = replica_set(name, replicas)
    stamp = f"2026-01-01T00:00:{59 - age:02}Z"
    return msgspec.structs.replace(
        made,
        metadata=meta(name, uid=name, creationTimestamp=stamp, annotations=notes),
        status=ReplicaSetStatus(replicas=replicas, availableReplicas=available),
    )


def web(replicas: int, surge: int | str, unavailable: int | str) -> Deployment:
    rolling = RollingUpdateDeployment(maxSurge=surge, maxUnavailable=unavailable)
    return deployment("web", replicas, strategy=DeploymentStrategy(type="RollingUpdate", rollingUpdate=rolling))


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (3, 0, 0, (0, 1)),
        (4, "0%", "10%", (0, 1)),
        (2, 0, 9, (0, 2)),
    ],
)
def test_bounds(replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]) -> None:
    assert rollout.bounds(web(replicas, surge, unavailable)) == expected


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 15), amounts, amounts, st.integers(0, 2**16), st.booleans())
def test_a_rollout_keeps_its_bounds_and_ends(
    total: int, surge: int | str, unavailable: int | str, seed: int, lagging: bool
) -> None:
    """A world in which pods come and go at random, and statuses tell of it late."""
    rng = random.Random(seed)
    d = web(total, surge, unavailable)
    most, least = rollout.bounds(d)
    spec, real, told = {"new": 0, "old": total}, {"new": 0, "old": total}, {"new": 0, "old": total}
    for _ in range(40 * (total + 2)):
        new, old = rs("new", spec["new"], told["new"]), rs("old", spec["old"], told["old"], age=9)
        spec.update(rollout.rolling(d, new, [old]))
        assert sum(spec.values()) <= total + most
        # Scaling down may take pods that serve.
        real = {name: min(count, spec[name]) for name, count in real.items()}
        assert sum(real.values()) >= total - least
        if spec == {"new": total, "old": 0} and real["new"] == total:
            break
        if real["new"] < spec["new"] and rng.random() < 0.7:
            real["new"] += 1
        told = {name: real[name] if not lagging or rng.random() < 0.5 else told[name] for name in told}
    assert spec == {"new": total, "old": 0}


def test_unhealthy_replicas_go_first() -> None:
    d = web(10, 0, 2)
    old, older = rs("old", 4, 4), rs("older", 6, 1, age=5)
    assert rollout.rolling(d, rs("new", 0), [old, older]) == {"older": 4}


@pytest.mark.parametrize(
    ("total", "sizes", "before", "expected"),
    [
        (15, {"old": 8, "new": 5}, 13, {"old": 11, "new": 7}),  # the Kubernetes documentation's example
        (5, {"old": 8, "new": 5}, 13, {"old": 5, "new": 3}),
        (0, {"old": 8, "new": 5}, 13, {"old": 0, "new": 0}),
        (12, {"old": 5, "new": 5}, 10, {"old": 7, "new": 8}),  # the leftover goes to the newest of equals
    ],
)
def test_proportional(total: int, sizes: dict[str, int], before: int, expected: dict[str, int]) -> None:
    d = web(total, 3, 2)
    old = rs("old", sizes["old"], age=9, maximum=before, desired=before - 3)
    new = rs("new", sizes["new"], maximum=before, desired=before - 3)
    assert {**sizes, **rollout.proportional(d, new, [old, new])} == expected


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 40), st.lists(st.integers(1, 30), min_size=2, max_size=5), amounts)
@example(2, [2, 2, 2, 2], 0)
def test_proportional_reaches_the_new_size(total: int, sizes: list[int], surge: int | str) -> None:
    d = web(total, surge, 1)
    before = sum(sizes)
    sets = [rs(f"s{n}", size, age=n, maximum=before, desired=before) for n, size in enumerate(sizes)]
    held = {s.metadata.name: s.spec.replicas or 0 for s in sets}
    after = {**held, **rollout.proportional(d, sets[0], sets)}
    reached, wanted = sum(after.values()), total + rollout.bounds(d)[0] if total else 0
    # What rounding leaves over may be more than the first set has, as upstream: then there is one step more to go.
    assert reached == wanted or (reached > wanted and min(after.values()) == 0)
    assert min(after.values()) >= 0


@given(st.sets(st.integers(0, 200)))
def test_indexes_round_trip(numbers: set[int]) -> None:
    assert indexes.parse(indexes.render(numbers), 201) == numbers


@pytest.mark.parametrize(("text", "expected"), [
    ("", set()), ("1,3-5,7", {1, 3, 4, 5, 7}), ("8-99", {8, 9}), ("x,2-,-3,4", {4}), ("0-99999999999", set(range(10))),
])  # fmt: skip
def test_indexes_trust_nothing(text: str, expected: set[int]) -> None:
    assert indexes.parse(text, 10) == expected
