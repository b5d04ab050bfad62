"""Whatever a pod asks for, its worker says what is wrong with it and goes on: no pod brings a traceback."""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from edgekube.testing.hostile import each_leaf
from edgekube.testing.runtime import Behaviour
from edgekube.types.codec import DecodeError, convert
from edgekube.types.core_v1 import ConfigMap, Pod
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError
from tests.unit.kubelet.conftest import World, pod_of

BATCH = 100  # the node takes 110
T = TypeVar("T")


async def test_no_pod_brings_a_traceback(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    await world.client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"a": "b"}))
    world.runtime.behave("init", Behaviour(exit_after=0.0))
    base = pod_of(
        volumes=[
            {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "c", "configMap": {"name": "a", "items": [{"key": "a", "path": "p"}]}},
        ],
        initContainers=[{"name": "init"}],
        containers=[
            {
                "name": "main",
                "env": [
                    {"name": "A", "value": "$(B)"},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                ],
                "resources": {"requests": {"cpu": "1m", "memory": "1"}, "limits": {"cpu": "1", "memory": "64Mi"}},
                "volumeMounts": [{"name": "e", "mountPath": "/e", "subPath": "s"}, {"name": "c", "mountPath": "/c"}],
                "livenessProbe": {"exec": {"command": ["live"]}},
                "lifecycle": {"preStop": {"exec": {"command": ["stop"]}}},
                "securityContext": {"runAsUser": 5, "capabilities": {"add": ["CHOWN"]}},
                "ports": [{"containerPort": 80}],
            }
        ],
        securityContext={"fsGroup": 7, "sysctls": []},
        dnsConfig={"options": [{"name": "a", "value": "b"}]},
        hostAliases=[{"ip": "10.0.0.1", "hostnames": ["a"]}],
        tolerations=[{"key": "a", "operator": "Exists"}],
    )
    await world.run(base)  # all of it works before anything is changed
    await world.delete(grace=1)
    count = 0
    for some in batched(each_leaf(base), BATCH):
        made = [made for obj in some if (made := await created(world, obj)) is not None]
        count += len(made)
        await trio.sleep(30)
        failed = {p.metadata.name: p.status.reason for p in [await world.pod(n) for n in made] if p.status.reason}
        assert not {reason for reason in failed.values() if reason.startswith("OutOf")}, failed
        for name in made:
            await world.delete(name, grace=1)
        await world.until_empty(60)
    assert count > 30, f"only {count} get past validation"
    assert [record.getMessage() for record in caplog.records] == []


async def created(world: World, obj: dict[str, Any]) -> str | None:
    """The pod's name; None when the API refuses it, in words."""
    try:
        return (await world.client.create(convert(Pod, obj))).metadata.name
    except DecodeError:
        return None
    except ApiError as error:
        if error.code >= 500:
            raise
        return None


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """itertools.batched of Python 3.12."""
    left = iter(values)
    while some := list(islice(left, size)):
        yield some
