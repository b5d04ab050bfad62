"""NetworkPolicies on real nftables, under both settings of br_netfilter."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from edgekube.network.bridge import BridgeNetwork
from edgekube.network.sysctl import read_sysctl, write_sysctl
from edgekube.proxy import role
from edgekube.proxy.config import ProxyConfig
from edgekube.proxy.policy import TABLE
from edgekube.testing.netlab import NetLab, command
from edgekube.testing.objects import MemoryCluster
from edgekube.types.core_v1 import Namespace, Pod
from edgekube.types.networking_v1 import NetworkPolicy

pytestmark = pytest.mark.root

DNS = IPv4Address("10.43.0.10")


@dataclass
class World:
    lab: NetLab
    network: BridgeNetwork
    cluster: MemoryCluster
    ips: dict[str, str] = field(default_factory=dict)

    async def add_pod(self, name: str, namespace: str = "shop", **labels: str) -> None:
        if name not in self.ips:
            self.ips[name] = (await self.network.attach(name, self.lab.add(name))).ips[0]
        made = {
            "metadata": {"namespace": namespace, "name": name, "labels": labels},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 80}]}],
            },
            "status": {"podIP": self.ips[name], "phase": "Running"},
        }
        self.cluster.put(msgspec.convert(made, Pod))

    async def apply(self, name: str = "p", **spec: Any) -> None:
        made = {"metadata": {"namespace": "shop", "name": name}, "spec": {"podSelector": {}, **spec}}
        self.cluster.put(msgspec.convert(made, NetworkPolicy))

    async def reaches(self, source: str, address: str, port: int = 80) -> bool:
        """Whether a connection comes about, now or as soon as a change is programmed."""
        return await self._until(True, source, address, port)

    async def blocked(self, source: str, address: str, port: int = 80) -> bool:
        """Whether no connection comes about, now or as soon as a change is programmed."""
        return await self._until(False, source, address, port)

    async def _until(self, wanted: bool, source: str, address: str, port: int) -> bool:
        with trio.move_on_after(5):
            while await self._connects(source, self.ips.get(address, address), port) != wanted:  # noqa: ASYNC110
                await trio.sleep(0.02)
            return True
        return False

    async def _connects(self, source: str, address: str, port: int) -> bool:
        try:
            await self.lab.ask(source, address, port, timeout_s=0.3)
        except trio.TooSlowError:
            return False
        return True


@pytest.fixture(params=["0", "1"], ids=["plain", "br_netfilter"])
async def world(request: pytest.FixtureRequest, lab: NetLab, tmp_path: Path) -> AsyncIterator[World]:
    if read_sysctl("net/bridge/bridge-nf-call-iptables") is not None:
        write_sysctl("net/bridge/bridge-nf-call-iptables", request.param)
    cidr = IPv4Network("10.42.0.0/16")
    services = IPv4Network("10.43.0.0/16")
    network = BridgeNetwork(state_dir=tmp_path, cluster_cidr=cidr, service_cidr=services, local_addresses=(DNS,))
    await network.start(IPv4Network("10.42.0.0/24"))
    cluster = MemoryCluster(
        *(
            msgspec.convert({"metadata": {"name": name, "labels": {"team": name}}}, Namespace)
            for name in ("shop", "other")
        )
    )
    made = World(lab, network, cluster)
    await made.add_pod("db", app="db")
    await made.add_pod("web", app="web")
    await made.add_pod("far", "other", app="web")
    config = ProxyConfig(
        node_name="n1",
        pod_cidr=IPv4Network("10.42.0.0/24"),
        cluster_cidr=cidr,
        service_cidr=services,
        served_here=frozenset({DNS}),
    )
    servers = [("db", 80), ("db", 81), ("web", 80), ("node", 53), ("node", 80), ("lan1", 80)]
    async with AsyncExitStack() as stack:
        for name, port in servers:
            await stack.enter_async_context(lab.server(name, port))
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: role.run(client=cluster, config=config, task_status=task_status))
            yield made
            nursery.cancel_scope.cancel()
    await network.stop(remove=False)


async def test_without_policies_there_is_no_table(world: World) -> None:
    assert TABLE not in command("nft", "list", "tables")
    assert await world.reaches("far", "db")
    await world.apply(policyTypes=["Ingress"])
    assert await world.blocked("far", "db")
    world.cluster.memory(NetworkPolicy).remove("shop", "p")
    assert await world.reaches("far", "db")
    with trio.fail_after(5):
        while TABLE in command("nft", "list", "tables"):  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_default_deny_lets_the_node_and_the_pod_itself_in(world: World) -> None:
    await world.apply(policyTypes=["Ingress"])
    assert await world.blocked("web", "db")
    assert await world.blocked("far", "db")
    assert await world.reaches("node", "db")
    assert await world.reaches("db", "db")
    assert await world.reaches("db", "192.168.77.2")  # egress is not isolated


async def test_ingress_by_pods_namespaces_and_ports(world: World) -> None:
    db = {"podSelector": {"matchLabels": {"app": "db"}}}
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    await world.apply(**db, ingress=[{"from": [web], "ports": [{"port": "web"}]}])
    assert await world.reaches("web", "db", 80)
    assert await world.blocked("web", "db", 81)
    assert await world.blocked("far", "db", 80)
    other = {"namespaceSelector": {"matchLabels": {"team": "other"}}}
    await world.apply("q", **db, ingress=[{"from": [{**other, **web}], "ports": [{"port": 80, "endPort": 90}]}])
    assert await world.reaches("far", "db", 81)
    assert await world.reaches("web", "db", 80)  # policies add up
    await world.add_pod("far", "other", app="else")  # the pod's labels change
    assert await world.blocked("far", "db", 81)


async def test_egress(world: World) -> None:
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    to_db = {"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 80}]}
    await world.apply(**web, policyTypes=["Egress"], egress=[to_db])
    assert await world.reaches("web", "db", 80)
    assert await world.blocked("web", "db", 81)
    assert await world.blocked("web", "192.168.77.2")
    assert await world.blocked("web", "192.168.77.1")  # nor the node itself
    assert await world.reaches("web", str(DNS), 53)  # but its DNS
    assert await world.reaches("db", "web")  # answers go out
    block = {"to": [{"ipBlock": {"cidr": "192.168.77.0/24", "except": ["192.168.77.1/32"]}}]}
    await world.apply(**web, policyTypes=["Egress"], egress=[block])
    assert await world.reaches("web", "192.168.77.2")
    assert await world.blocked("web", "192.168.77.1")
    assert await world.blocked("web", "db", 80)


async def test_ingress_from_outside(world: World) -> None:
    world.lab.run("lan1", "ip", "route", "add", "10.42.0.0/24", "via", "192.168.77.1")
    await world.apply(ingress=[{"from": [{"ipBlock": {"cidr": "192.168.77.0/24"}}]}])
    assert await world.reaches("lan1", "db")
    await world.apply(ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["192.168.77.2/32"]}}]}])
    assert await world.blocked("lan1", "db")
    assert await world.reaches("far", "db")
    await world.apply(ingress=[{}])
    assert await world.reaches("lan1", "db")
