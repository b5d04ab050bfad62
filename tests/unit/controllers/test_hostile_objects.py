"""Whatever gets past validation, controllers and scheduler go on: no object brings a traceback or a 500."""

import logging
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from edgekube.testing.cluster import FakeCluster
from edgekube.testing.hostile import hostile
from edgekube.testing.workloads import (
    cron_job,
    daemon_set,
    deployment,
    job,
    pod,
    replica_set,
    service,
    stateful_set,
)
from edgekube.types.codec import DecodeError, convert
from edgekube.types.status import ApiError

OBJECTS = 60
BASES: list[Callable[[], Any]] = [
    lambda: pod("x"),
    lambda: deployment("x", 2),
    lambda: replica_set("x", 2),
    lambda: stateful_set("x", 2),
    lambda: daemon_set("x"),
    lambda: job("x"),
    lambda: job("x", completions=3, completionMode="Indexed", parallelism=2),
    lambda: cron_job("x", "*/1 * * * *"),
    lambda: service("x", {"app": "a"}),
]


@pytest.mark.parametrize("seed", range(3))
async def test_no_object_brings_a_traceback(
    seed: int, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    random = Random(seed)
    caplog.set_level(logging.ERROR)
    async with FakeCluster() as cluster:
        made = []
        for number in range(OBJECTS):
            base = random.choice(BASES)()
            try:
                obj = convert(type(base), hostile(base, random, f"o{number}"))
                made.append(await cluster.client.create(obj))
            except (ApiError, DecodeError) as refused:
                if isinstance(refused, ApiError) and refused.code >= 500:
                    raise
        assert len(made) > OBJECTS // 10, f"only {len(made)} get past validation: change less of each"
        await cluster.settle(90)
        for each in made:
            try:
                await cluster.client.delete(type(each), each.metadata.name, "default")
            except ApiError as error:
                if error.code != 404:
                    raise
        await cluster.settle(60)
    assert [record.getMessage() for record in caplog.records] == []
