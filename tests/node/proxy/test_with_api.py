"""Proxy, DNS and cloud over the real registry and its in-process client: what kubectl would create is what works."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.request import GROUP_MASTERS, User
from edgekube.client.api import Client
from edgekube.cloud import role as cloud
from edgekube.cloud.config import CloudConfig
from edgekube.dns import role as dns
from edgekube.dns.config import DnsConfig
from edgekube.network.bridge import BridgeNetwork
from edgekube.proxy import role as proxy
from edgekube.proxy.config import ProxyConfig
from edgekube.testing.netlab import NetLab
from edgekube.testing.store import FakeStore
from edgekube.types.core_v1 import Event, Node, Service
from edgekube.types.discovery_v1 import EndpointSlice

pytestmark = pytest.mark.root

CLUSTER, SERVICES = IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16")
PODS, DNS = IPv4Network("10.42.0.0/24"), IPv4Address("10.43.0.10")
VIP = "192.168.77.200"


@dataclass
class World:
    lab: NetLab
    client: Client
    pod_ip: str


def made(cls: type[Any], **content: Any) -> Any:
    return msgspec.convert(content, cls)


@pytest.fixture
async def world(lab: NetLab, tmp_path: Path) -> AsyncIterator[World]:
    network = BridgeNetwork(state_dir=tmp_path, cluster_cidr=CLUSTER, service_cidr=SERVICES, local_addresses=(DNS,))
    await network.start(PODS)
    pod_ip = (await network.attach("web", lab.add("web"))).ips[0]
    await network.attach("client", lab.add("client"))
    registry = Registry(store=FakeStore(), events=FakeStore(), config=RegistryConfig(service_cidr=str(SERVICES)))
    async with registry.run():
        await registry.bootstrap()
        client = registry.client(User("admin", (GROUP_MASTERS, "system:authenticated")))
        roles: list[Any] = [
            lambda task_status: proxy.run(
                client=client,
                config=ProxyConfig(
                    node_name="n1",
                    pod_cidr=PODS,
                    cluster_cidr=CLUSTER,
                    service_cidr=SERVICES,
                    served_here=frozenset({DNS}),
                ),
                task_status=task_status,
            ),
            lambda task_status: cloud.run(
                client=client, config=CloudConfig(node_name="n1", pools=(VIP,)), task_status=task_status
            ),
            lambda task_status: dns.run(
                client=client,
                config=DnsConfig(listen=(DNS,), networks=(CLUSTER, SERVICES), upstreams=()),
                task_status=task_status,
            ),
        ]
        async with trio.open_nursery() as nursery:
            for role in roles:
                await nursery.start(role)
            yield World(lab, client, pod_ip)
            nursery.cancel_scope.cancel()
    cloud.remove()
    await proxy.remove()
    await network.stop(remove=True)


async def test_a_load_balancer_service_from_creation_to_deletion(world: World) -> None:
    lab, client = world.lab, world.client
    meta = {"namespace": "default", "name": "web"}
    await client.create(made(Node, metadata={"name": "n1"}))
    created = await client.create(
        made(Service, metadata=meta, spec={"type": "LoadBalancer", "ports": [{"port": 80, "targetPort": 8080}]})
    )
    await client.create(
        made(
            EndpointSlice,
            metadata={"namespace": "default", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            addressType="IPv4",
            endpoints=[{"addresses": [world.pod_ip], "nodeName": "n1", "conditions": {"ready": True}}],
            ports=[{"port": 8080, "protocol": "TCP"}],
        )
    )
    cluster_ip, node_port = created.spec.clusterIP, created.spec.ports[0].nodePort
    async with lab.server("web", 8080):
        with trio.fail_after(5):
            while not (await client.get(Service, "web", "default")).status.loadBalancer.ingress:  # noqa: ASYNC110
                await trio.sleep(0.02)
            await trio.sleep(0.2)
        for source, address, port in (
            ("client", cluster_ip, 80),
            ("node", cluster_ip, 80),
            ("lan1", "192.168.77.1", node_port),
            ("lan1", VIP, 80),
        ):
            assert (await lab.ask(source, address, port)).startswith("web "), (source, address)
        answer = await trio.to_thread.run_sync(
            lambda: lab.run("client", "dig", "@10.43.0.10", "+short", "+time=2", "web.default.svc.cluster.local")
        )
        assert answer.strip() == cluster_ip
        await client.delete(Service, "web", "default")
        with trio.fail_after(5):
            while client.informer(Service).get("default", "web") is not None:  # noqa: ASYNC110
                await trio.sleep(0.02)
            await trio.sleep(0.2)
        with pytest.raises(OSError, match="refused"):
            await lab.ask("client", cluster_ip, 80)
        assert VIP not in lab.run("node", "ip", "address")
    reasons = {event.reason for event in client.informer(Event).list("default")}
    assert {"EnsuringLoadBalancer", "EnsuredLoadBalancer", "DeletedLoadBalancer"} <= reasons
