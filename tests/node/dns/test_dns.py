"""The DNS server on real sockets, asked by dig; upstream is a second server in another namespace."""

import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from edgekube.dns import role
from edgekube.dns.config import DnsConfig
from edgekube.testing.netlab import NetLab
from edgekube.testing.objects import MemoryCluster
from edgekube.types.core_v1 import Namespace, Service
from edgekube.types.discovery_v1 import EndpointSlice

pytestmark = pytest.mark.root

ADDRESS = IPv4Address("10.43.0.10")


@pytest.fixture
def lab() -> Iterator[NetLab]:
    made = NetLab()
    try:
        made.add("node")
        made.run("node", "ip", "address", "add", "10.43.0.10/32", "dev", "lo")
        with made.inside("node"):
            yield made
    finally:
        made.close()


def objects(domain: str = "shop", count: int = 3) -> MemoryCluster:
    meta = {"namespace": domain, "name": "web"}
    endpoints = [{"addresses": [f"10.42.{number >> 8}.{number & 255}"]} for number in range(2, 2 + count)]
    labels = {"kubernetes.io/service-name": "web"}
    return MemoryCluster(
        msgspec.convert({"metadata": {"name": domain}}, Namespace),
        msgspec.convert({"metadata": meta, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}, Service),
        msgspec.convert(
            {"metadata": {**meta, "labels": labels}, "addressType": "IPv4", "endpoints": endpoints}, EndpointSlice
        ),
        msgspec.convert(
            {
                "metadata": {"namespace": domain, "name": "ext"},
                "spec": {"type": "ExternalName", "externalName": "web.far.svc.other.test"},
            },
            Service,
        ),
    )


@asynccontextmanager
async def running(cluster: MemoryCluster, **settings: Any) -> AsyncIterator[None]:
    config = DnsConfig(
        **{"listen": (ADDRESS,), "networks": (IPv4Network("10.43.0.0/16"),), "upstreams": (), **settings}
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: role.run(client=cluster, config=config, task_status=task_status))
        yield
        nursery.cancel_scope.cancel()


async def dig(lab: NetLab, *words: str) -> str:
    argv = ("dig", "@10.43.0.10", "+tries=1", "+time=5", *words)
    return await trio.to_thread.run_sync(lambda: lab.run("node", *argv))


async def test_cluster_names_over_udp_and_tcp(lab: NetLab) -> None:
    async with running(objects()):
        for how in ("+notcp", "+tcp", "+noedns"):
            answer = await dig(lab, how, "web.shop.svc.cluster.local")
            assert "status: NOERROR" in answer
            assert " aa " in answer
            assert {f"10.42.0.{n}" for n in (2, 3, 4)} <= set(answer.split())
        assert "status: NXDOMAIN" in await dig(lab, "none.shop.svc.cluster.local")
        assert "SOA" in await dig(lab, "shop.svc.cluster.local", "TXT")
        assert "1.1.0" in await dig(lab, "dns-version.cluster.local", "TXT", "+short")
        assert "status: NOTIMP" in await dig(lab, "+opcode=notify", "web.shop.svc.cluster.local")
        assert "status: BADVERS" in await dig(lab, "+edns=1", "+noednsneg", "web.shop.svc.cluster.local")


async def test_a_long_answer_is_repeated_over_tcp(lab: NetLab) -> None:
    async with running(objects(count=300)):
        answer = await dig(lab, "+ignore", "+bufsize=512", "web.shop.svc.cluster.local")
        assert " tc " in answer
        answer = await dig(lab, "web.shop.svc.cluster.local")
        assert "Truncated" in answer
        assert "ANSWER: 300" in answer


async def test_an_island_denies_the_outside_at_once(lab: NetLab) -> None:
    async with running(objects()):
        assert "status: NXDOMAIN" in await dig(lab, "example.org")


async def test_dead_resolvers_mean_servfail(lab: NetLab) -> None:
    async with running(objects(), upstreams=(IPv4Address("192.0.2.1"), IPv4Address("127.0.0.9"))):
        assert "status: SERVFAIL" in await dig(lab, "example.org")  # no route, and nobody listening


async def test_the_rest_is_forwarded_and_kept(lab: NetLab) -> None:
    upstream = objects("far")
    other = {"listen": (IPv4Address("127.0.0.7"),), "domain": "other.test", "port": 5300}
    ours = {"upstreams": (IPv4Address("127.0.0.7"),), "upstream_port": 5300}
    async with running(upstream, **other), running(objects(), **ours):
        for how in ("+notcp", "+tcp"):
            answer = await dig(lab, how, "web.far.svc.other.test")
            assert "status: NOERROR" in answer
            assert {f"10.42.0.{n}" for n in (2, 3, 4)} <= set(answer.split())
        chased = await dig(lab, "ext.shop.svc.cluster.local")
        assert "CNAME\tweb.far.svc.other.test." in chased
        assert "10.42.0.2" in chased
        upstream.memory(Service).remove("far", "web")
        assert "status: NOERROR" in await dig(lab, "web.far.svc.other.test")  # kept
        assert "status: NXDOMAIN" in await dig(lab, "none.far.svc.other.test")


async def test_a_resolver_that_asks_us_is_left_alone(lab: NetLab, tmp_path: Path) -> None:
    """127.0.0.7 forwards everything to us; we find out and deny at once instead of going round."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.7\n")
    looping = {
        "listen": (IPv4Address("127.0.0.7"),),
        "domain": "other.test",
        "upstreams": (ADDRESS,),
    }
    async with running(objects("far"), **looping), running(objects(), upstreams=None, resolv_conf=conf):
        await trio.sleep(0.3)
        assert "status: NXDOMAIN" in await dig(lab, "example.org")


async def test_a_taken_port_is_explained_and_taken_over(lab: NetLab, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 53))
        async with running(objects()):
            assert "another DNS server" in caplog.text
            other.close()
            with trio.fail_after(10):
                while "status: NOERROR" not in await _dig_or_nothing(lab, "web.shop.svc.cluster.local"):  # noqa: ASYNC110
                    await trio.sleep(0.1)


async def _dig_or_nothing(lab: NetLab, name: str) -> str:
    try:
        return await dig(lab, name)
    except RuntimeError:  # nobody listens
        return ""


def test_dig_is_installed() -> None:
    assert subprocess.run(["dig", "-v"], capture_output=True, check=False).returncode == 0
