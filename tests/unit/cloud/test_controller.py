"""The service controller against a cluster in memory."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from edgekube.client.api import Key
from edgekube.cloud import role
from edgekube.cloud.cluster import FINALIZER, Cluster
from edgekube.cloud.config import CloudConfig
from edgekube.cloud.edge import decide
from edgekube.cloud.pool import Pool
from edgekube.cloud.provider import CloudProvider, Decision
from edgekube.testing.objects import MemoryCluster
from edgekube.types.core_v1 import Event, Node, Service
from edgekube.types.status import failure


class PureProvider:
    """The edge provider's decisions without its announcements."""

    name = "pure"

    def __init__(self, cluster: Cluster, config: CloudConfig) -> None:
        self._cluster, self._config = cluster, config
        self.removed: list[Key] = []

    async def ensure(self) -> Mapping[Key, Decision]:
        cluster = self._cluster
        return decide(cluster.services.list(), cluster.nodes.list(), {}, Pool(self._config.pools))

    async def remove(self, key: Key) -> None:
        self.removed.append(key)

    async def run(self) -> None:
        await trio.sleep_forever()


def service(name: str = "web", status: Any = None, metadata: Any = None, **spec: Any) -> Service:
    made = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "default", "name": name, **(metadata or {})},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        "status": status or {},
    }
    return msgspec.convert(made, Service)


@asynccontextmanager
async def running(cluster: MemoryCluster, *pools: str) -> AsyncIterator[None]:
    config = CloudConfig(node_name="n1", pools=pools)
    make: Callable[[Cluster, CloudConfig], CloudProvider] = PureProvider
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: role.run(client=cluster, config=config, make_provider=make, task_status=task_status)
        )
        await trio.sleep(1)
        yield
        nursery.cancel_scope.cancel()


def current(cluster: MemoryCluster, name: str = "web") -> Service:
    found = cluster.memory(Service).get("default", name)
    assert isinstance(found, Service)
    return found


def ips(cluster: MemoryCluster, name: str = "web") -> list[str]:
    return [entry.ip for entry in current(cluster, name).status.loadBalancer.ingress]


def events(cluster: MemoryCluster) -> list[str]:
    return [found.reason for found in cluster.memory(Event).list()]


async def test_an_address_and_a_finalizer(autojump_clock: object) -> None:
    cluster = MemoryCluster(service())
    async with running(cluster, "192.168.1.240/30"):
        assert ips(cluster) == ["192.168.1.240"]
        assert current(cluster).metadata.finalizers == (FINALIZER,)
        assert events(cluster) == ["EnsuringLoadBalancer", "EnsuredLoadBalancer"]
        writes = len(cluster.writes)
        cluster.put(msgspec.structs.replace(current(cluster)))
        await trio.sleep(1)
        assert len(cluster.writes) == writes  # nothing to do is nothing done


async def test_deletion_frees_the_address_for_who_waits(autojump_clock: object) -> None:
    cluster = MemoryCluster(service("a", metadata={"finalizers": ["other/one"]}), service("b"))
    async with running(cluster, "192.168.1.240"):
        assert (ips(cluster, "a"), ips(cluster, "b")) == (["192.168.1.240"], [])
        assert "SyncLoadBalancerFailed" in events(cluster)
        found = current(cluster, "a")
        dying = msgspec.structs.replace(found.metadata, deletionTimestamp="2026-01-01T00:00:00Z")
        cluster.put(msgspec.structs.replace(found, metadata=dying))
        await trio.sleep(1)
        assert current(cluster, "a").metadata.finalizers == ("other/one",)
        assert (ips(cluster, "a"), ips(cluster, "b")) == ([], ["192.168.1.240"])


async def test_a_service_that_stops_being_one(autojump_clock: object) -> None:
    cluster = MemoryCluster(service())
    async with running(cluster, "192.168.1.240"):
        found = current(cluster)
        spec = msgspec.structs.replace(found.spec, type="ClusterIP")
        cluster.put(msgspec.structs.replace(found, spec=spec))
        await trio.sleep(1)
        assert ips(cluster) == []
        assert current(cluster).metadata.finalizers == ()


async def test_nodes_come_and_go(autojump_clock: object) -> None:
    def node(name: str, ready: str) -> Node:
        status = {
            "conditions": [{"type": "Ready", "status": ready}],
            "addresses": [{"type": "InternalIP", "address": f"192.168.1.{name[1:]}"}],
        }
        return msgspec.convert({"metadata": {"name": name}, "status": status}, Node)

    cluster = MemoryCluster(service(), node("n1", "True"), node("n2", "True"))
    async with running(cluster):
        assert ips(cluster) == ["192.168.1.1", "192.168.1.2"]
        cluster.put(node("n1", "Unknown"))
        await trio.sleep(1)
        assert ips(cluster) == ["192.168.1.2"]


async def test_a_refused_write_is_tried_again(autojump_clock: object, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = MemoryCluster(service())
    good = cluster.patch
    failures = 3

    async def flaky(*args: Any, **kwargs: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise failure(500, "InternalError", "not now")
        return await good(*args, **kwargs)

    monkeypatch.setattr(cluster, "patch", flaky)
    async with running(cluster, "192.168.1.240"):
        await trio.sleep(30)
        assert ips(cluster) == ["192.168.1.240"]


async def test_an_unsatisfied_wish_is_told_once(autojump_clock: object) -> None:
    cluster = MemoryCluster(service(loadBalancerIP="10.0.0.1"))
    async with running(cluster, "192.168.1.240"):
        for _ in range(3):
            cluster.put(msgspec.structs.replace(current(cluster)))
            await trio.sleep(1)
        assert events(cluster).count("SyncLoadBalancerFailed") == 1
        assert ips(cluster) == []
