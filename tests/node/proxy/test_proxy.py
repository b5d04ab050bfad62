"""Services on real nftables: every kind of traffic in a network of namespaces, under both settings of br_netfilter."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from edgekube.network import nft
from edgekube.network.bridge import BridgeNetwork
from edgekube.network.sysctl import read_sysctl, write_sysctl
from edgekube.proxy import role
from edgekube.proxy.compiler import TABLE
from edgekube.proxy.config import ProxyConfig
from edgekube.testing.netlab import NetLab, command
from edgekube.testing.objects import MemoryCluster
from edgekube.types.core_v1 import Service
from edgekube.types.discovery_v1 import EndpointSlice

pytestmark = pytest.mark.root

POD_CIDR = IPv4Network("10.42.0.0/24")
CLUSTER_CIDR = IPv4Network("10.42.0.0/16")
SERVICE_CIDR = IPv4Network("10.43.0.0/16")
VIP = "10.43.0.50"
NODE, LAN1 = "192.168.77.1", "192.168.77.2"


def service(
    name: str = "web", *, ports: list[dict[str, Any]] | None = None, status: Any = None, **spec: Any
) -> Service:
    made = {
        "metadata": {"namespace": "default", "name": name},
        "spec": {"clusterIP": VIP, "ports": ports or [{"port": 80, "protocol": "TCP"}], **spec},
        "status": status or {},
    }
    return msgspec.convert(made, Service)


def balancer(*addresses: str) -> dict[str, Any]:
    return {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}


def endpoints(*found: dict[str, Any], name: str = "web", port: int = 8080, protocol: str = "TCP") -> EndpointSlice:
    made = {
        "metadata": {
            "namespace": "default",
            "name": f"{name}-1",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"nodeName": "node1", **one, "addresses": [one["addresses"]]} for one in found],
        "ports": [{"port": port, "protocol": protocol}],
    }
    return msgspec.convert(made, EndpointSlice)


@dataclass
class World:
    lab: NetLab
    network: BridgeNetwork
    cluster: MemoryCluster
    config: ProxyConfig
    pods: dict[str, str] = field(default_factory=dict)

    async def add_pod(self, name: str) -> str:
        self.pods[name] = (await self.network.attach(name, self.lab.add(name))).ips[0]
        return self.pods[name]

    async def counts(self, name: str, address: str, port: int, number: int = 24) -> Counter[str]:
        answers: Counter[str] = Counter()
        for _ in range(number):
            answers[(await self.lab.ask(name, address, port)).split()[0]] += 1
        return answers

    async def settle(self, words: str, *, gone: bool = False) -> None:
        """Wait until the kernel's table does (not) hold these words."""
        with trio.fail_after(5):
            while (words in command("nft", "list", "table", "ip", TABLE)) == gone:  # noqa: ASYNC110
                await trio.sleep(0.005)


@pytest.fixture(params=["0", "1"], ids=["plain", "br_netfilter"])
async def world(request: pytest.FixtureRequest, lab: NetLab, tmp_path: Path) -> AsyncIterator[World]:
    if read_sysctl("net/bridge/bridge-nf-call-iptables") is not None:
        write_sysctl("net/bridge/bridge-nf-call-iptables", request.param)
    network = BridgeNetwork(state_dir=tmp_path, cluster_cidr=CLUSTER_CIDR, service_cidr=SERVICE_CIDR)
    await network.start(POD_CIDR)
    config = ProxyConfig(
        node_name="node1",
        pod_cidr=POD_CIDR,
        cluster_cidr=CLUSTER_CIDR,
        service_cidr=SERVICE_CIDR,
        served_here=frozenset({IPv4Address("10.43.0.10")}),
    )
    made = World(lab, network, MemoryCluster(), config)
    for name in ("a", "b", "client"):
        await made.add_pod(name)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: role.run(client=made.cluster, config=config, task_status=task_status))
        yield made
        nursery.cancel_scope.cancel()
    await network.stop(remove=False)


async def test_a_cluster_ip_from_everywhere(world: World) -> None:
    lab = world.lab
    world.cluster.put(endpoints({"addresses": world.pods["a"]}, {"addresses": world.pods["b"]}), service())
    await world.settle("svc/default/web")
    async with lab.server("a", 8080), lab.server("b", 8080):
        for client in ("client", "node", "a"):  # a reaches itself as well
            assert set(await world.counts(client, VIP, 80)) == {"a", "b"}
        assert (await lab.ask("client", VIP, 80)).split()[1] == world.pods["client"]
        lab.run("lan1", "ip", "route", "add", str(SERVICE_CIDR), "via", NODE)
        assert (await lab.ask("lan1", VIP, 80)).split()[1] == LAN1


async def test_no_endpoints_and_no_service_are_refused_at_once(world: World) -> None:
    world.cluster.put(service(ports=[{"port": 80, "nodePort": 30080}], type="NodePort"))
    await world.settle("30080")
    for client in ("client", "node"):
        for address, port in ((VIP, 80), ("10.43.7.7", 80), (NODE, 30080)):
            with pytest.raises(OSError, match="refused"):
                await world.lab.ask(client, address, port)
    with pytest.raises(OSError, match="refused"):
        await world.lab.ask("lan1", NODE, 30080)


async def test_node_port(world: World) -> None:
    lab = world.lab
    world.cluster.put(
        endpoints({"addresses": world.pods["a"]}),
        service(ports=[{"port": 80, "nodePort": 30080}], type="NodePort"),
    )
    await world.settle("30080")
    async with lab.server("a", 8080):
        assert await lab.ask("lan1", NODE, 30080) == f"a {LAN1}"  # the client's own address, the pod being local
        assert await lab.ask("node", NODE, 30080) == f"a {NODE}"
        assert await lab.ask("client", NODE, 30080) == f"a {world.pods['client']}"
        assert await lab.ask("a", NODE, 30080) == "a 10.42.0.1"


async def test_a_remote_endpoint_sees_the_node(world: World) -> None:
    """An endpoint that is not on the pod network here (hostNetwork on another node): answers must come back."""
    lab = world.lab
    world.cluster.put(
        endpoints({"addresses": LAN1, "nodeName": "node2"}),
        service(ports=[{"port": 80, "nodePort": 30080}], type="NodePort"),
    )
    await world.settle("30080")
    async with lab.server("lan1", 8080):
        assert await lab.ask("lan1", NODE, 30080) == f"lan1 {NODE}"
        assert await lab.ask("client", VIP, 80) == f"lan1 {NODE}"
        assert await lab.ask("node", VIP, 80) == f"lan1 {NODE}"


async def test_external_traffic_policy_local(world: World) -> None:
    lab = world.lab
    ports = [{"port": 80, "nodePort": 30080}]
    local = {"type": "NodePort", "externalTrafficPolicy": "Local", "ports": ports}
    remote = {"addresses": LAN1, "nodeName": "node2"}
    world.cluster.put(endpoints({"addresses": world.pods["a"]}, remote), service(**local))
    await world.settle("30080")
    async with lab.server("a", 8080), lab.server("lan1", 8080):
        assert set(await world.counts("lan1", NODE, 30080)) == {"a"}
        assert set(await world.counts("client", NODE, 30080)) == {"a", "lan1"}  # pods are not "external"
        assert set(await world.counts("node", NODE, 30080)) == {"a", "lan1"}
        world.cluster.put(endpoints(remote))
        await world.settle("lcl/default/web", gone=True)
        with pytest.raises(trio.TooSlowError):
            await lab.ask("lan1", NODE, 30080, timeout_s=0.4)
        assert await lab.ask("client", NODE, 30080) == f"lan1 {NODE}"


async def test_internal_traffic_policy_local(world: World) -> None:
    lab = world.lab
    remote = {"addresses": LAN1, "nodeName": "node2"}
    world.cluster.put(endpoints({"addresses": world.pods["a"]}, remote), service(internalTrafficPolicy="Local"))
    await world.settle("lcl/default/web")
    async with lab.server("a", 8080), lab.server("lan1", 8080):
        assert set(await world.counts("client", VIP, 80)) == {"a"}
        world.cluster.put(endpoints(remote))
        await world.settle("lcl/default/web", gone=True)
        with pytest.raises(trio.TooSlowError):
            await lab.ask("client", VIP, 80, timeout_s=0.4)


async def test_session_affinity(world: World) -> None:
    lab = world.lab
    world.cluster.put(
        endpoints({"addresses": world.pods["a"]}, {"addresses": world.pods["b"]}),
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}}),
    )
    await world.settle("aff/default/web")
    async with lab.server("a", 8080), lab.server("b", 8080):
        answers = await world.counts("client", VIP, 80)
        assert len(answers) == 1
        (chosen,) = answers
        for _ in range(4):  # each time a new process replaces the whole table
            async with trio.open_nursery() as nursery:
                await nursery.start(
                    lambda task_status: role.run(client=world.cluster, config=world.config, task_status=task_status)
                )
                assert set(await world.counts("client", VIP, 80, 4)) == {chosen}
                nursery.cancel_scope.cancel()
        other = "b" if chosen == "a" else "a"
        world.cluster.put(endpoints({"addresses": world.pods[other]}))
        await world.settle(f"{world.pods[chosen]}/8080", gone=True)
        assert set(await world.counts("client", VIP, 80)) == {other}


@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
async def test_a_number_that_the_map_lacks_finds_an_endpoint(
    world: World, monkeypatch: pytest.MonkeyPatch, affinity: str
) -> None:
    """As a packet draws it that is in a rule while a transaction takes endpoints away."""
    lab, load_random = world.lab, nft.load_random
    monkeypatch.setattr(nft, "load_random", lambda modulus, register: load_random(1 << 30, register))
    world.cluster.put(
        endpoints({"addresses": world.pods["a"]}, {"addresses": world.pods["b"]}), service(sessionAffinity=affinity)
    )
    await world.settle("svc/default/web")
    async with lab.server("a", 8080), lab.server("b", 8080):
        assert set(await world.counts("client", VIP, 80, 8)) == {"a"}


async def test_load_balancer_addresses_and_source_ranges(world: World) -> None:
    lab = world.lab
    lab.run("lan1", "ip", "route", "add", "198.51.100.0/24", "via", NODE)
    lab.run("lan1", "ip", "address", "add", "192.168.77.99/24", "dev", "eth0")
    spec: dict[str, Any] = {"type": "LoadBalancer", "ports": [{"port": 80}], "externalIPs": ["198.51.100.9"]}
    world.cluster.put(endpoints({"addresses": world.pods["a"]}), service(status=balancer("198.51.100.7"), **spec))
    await world.settle("198.51.100.7")
    async with lab.server("a", 8080):
        for client in ("lan1", "client"):
            for address in ("198.51.100.7", "198.51.100.9"):
                assert (await lab.ask(client, address, 80)).startswith("a ")
        restricted = service(
            status=balancer("198.51.100.7"), loadBalancerSourceRanges=["192.168.77.99/32", "10.42.0.0/16"], **spec
        )
        world.cluster.put(restricted)
        await world.settle("fw/default/web")
        with pytest.raises(trio.TooSlowError):
            await lab.ask("lan1", "198.51.100.7", 80, timeout_s=0.4)
        assert (await lab.ask("lan1", "198.51.100.9", 80)).startswith("a ")
        assert (await lab.ask("client", "198.51.100.7", 80)).startswith("a ")


async def test_udp_follows_its_endpoints(world: World) -> None:
    lab = world.lab
    ports = [{"port": 53, "protocol": "UDP"}]
    world.cluster.put(service(ports=ports), endpoints({"addresses": world.pods["a"]}, port=53, protocol="UDP"))
    await world.settle("svc/default/web")
    async with lab.server("a", 53, udp=True), lab.server("b", 53, udp=True):
        with lab.socket("client", __import__("socket").SOCK_DGRAM) as sock:
            await sock.connect((VIP, 53))
            with trio.fail_after(3):
                await sock.send(b"?")
                assert (await sock.recv(99)).startswith(b"a ")
                world.cluster.put(endpoints({"addresses": world.pods["b"]}, port=53, protocol="UDP"))
                answer = b""
                while not answer.startswith(b"b "):
                    await trio.sleep(0.02)
                    await sock.send(b"?")
                    answer = await sock.recv(99)


async def test_a_rolling_update_loses_no_request(world: World) -> None:
    lab, cluster = world.lab, world.cluster
    a, b = world.pods["a"], world.pods["b"]
    cluster.put(endpoints({"addresses": a}), service())
    await world.settle("svc/default/web")
    asked = 0
    async with lab.server("a", 8080), lab.server("b", 8080), trio.open_nursery() as nursery:

        async def keep_asking() -> None:
            nonlocal asked
            while True:
                assert (await lab.ask("client", VIP, 80))[:1] in "ab"
                asked += 1

        nursery.start_soon(keep_asking)
        leaving = {"ready": False, "serving": True, "terminating": True}
        for _ in range(15):
            for here, there in ((a, b), (b, a)):
                cluster.put(endpoints({"addresses": here}, {"addresses": there}))
                await trio.sleep(0.012)
                cluster.put(endpoints({"addresses": here, "conditions": leaving}, {"addresses": there}))
                await trio.sleep(0.012)
                cluster.put(endpoints({"addresses": here, "conditions": leaving}))
                await trio.sleep(0.012)
                cluster.put(endpoints({"addresses": there}))
                await trio.sleep(0.012)
        nursery.cancel_scope.cancel()
    assert asked > 50


async def test_a_flushed_table_and_a_new_process(world: World) -> None:
    lab = world.lab
    world.cluster.put(endpoints({"addresses": world.pods["a"]}), service())
    await world.settle("svc/default/web")
    async with lab.server("a", 8080):
        command("nft", "flush", "ruleset")
        with trio.fail_after(5):
            while TABLE not in command("nft", "list", "tables"):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert await lab.ask("client", VIP, 80) == f"a {world.pods['client']}"
        command("nft", "flush", "chain", "ip", TABLE, "svc/default/web/tcp/80")  # somebody's clumsy hand
        await trio.sleep(1.2)
        assert await lab.ask("client", VIP, 80) == f"a {world.pods['client']}"
        async with trio.open_nursery() as nursery:  # a second process takes over from one that was killed
            await nursery.start(
                lambda task_status: role.run(client=world.cluster, config=world.config, task_status=task_status)
            )
            assert await lab.ask("client", VIP, 80) == f"a {world.pods['client']}"
            nursery.cancel_scope.cancel()


async def test_health_check_node_port(world: World) -> None:
    lab = world.lab
    made = service(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=32100,
        ports=[{"port": 80, "nodePort": 30080}],
        status=balancer("198.51.100.7"),
    )

    async def check() -> str:
        stream = trio.SocketStream(lab.socket("lan1"))
        async with stream:
            await stream.socket.connect((NODE, 32100))
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
            answer = b""
            async for chunk in stream:
                answer += chunk
        return answer.decode()

    world.cluster.put(endpoints({"addresses": world.pods["a"]}), made)
    await world.settle("30080")
    with trio.fail_after(5):
        answer = ""
        while not answer:
            try:
                answer = await check()
            except OSError:  # the listener is yet to come
                await trio.sleep(0.02)
        assert answer.startswith("HTTP/1.1 200 ")
        assert '"localEndpoints":1' in answer
        world.cluster.put(endpoints({"addresses": LAN1, "nodeName": "node2"}))
        await world.settle("lcl/default/web", gone=True)
        while not (await check()).startswith("HTTP/1.1 503 "):  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_remove_leaves_nothing(world: World) -> None:
    world.cluster.put(endpoints({"addresses": world.pods["a"]}), service())
    await world.settle("svc/default/web")
    await role.remove()
    assert TABLE not in command("nft", "list", "tables")
