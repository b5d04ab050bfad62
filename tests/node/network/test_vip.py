"""Virtual addresses on a real LAN of namespaces: they move with a gratuitous ARP, survive kills, leave nothing."""

import ipaddress
from collections.abc import AsyncIterator

import pytest
import trio
import trio.lowlevel

from edgekube.network.api import NetworkFailure
from edgekube.network.vip import VipAnnouncer
from edgekube.testing.netlab import NetLab, command

pytestmark = pytest.mark.root

VIP = ipaddress.ip_address("192.168.77.200")
VIP6 = ipaddress.ip_address("fd77::200")


@pytest.fixture
async def announcer(lab: NetLab) -> AsyncIterator[VipAnnouncer]:
    made = VipAnnouncer()
    yield made
    made.close()


def addresses() -> list[str]:
    return sorted(command("ip", "-o", "-4", "address").splitlines())


async def test_held_answered_and_given_back(lab: NetLab, announcer: VipAnnouncer) -> None:
    before = addresses()
    await announcer.hold([VIP])
    async with lab.server("node", 80):
        assert await lab.ask("lan1", str(VIP), 80) == "node 192.168.77.2"
        # never a source of the node's own traffic, not even with the first address gone and back
        command("ip", "address", "del", "192.168.77.1/24", "dev", "eth0")
        command("ip", "address", "add", "192.168.77.1/24", "dev", "eth0")
        assert "src 192.168.77.1" in command("ip", "route", "get", "192.168.77.2")
    follower = VipAnnouncer()  # the next process after a kill
    assert list(follower.held()) == [VIP]
    await follower.hold([])
    follower.close()
    assert addresses() == before


async def test_neighbours_follow_at_once(lab: NetLab, announcer: VipAnnouncer) -> None:
    """lan1 has the address cached with another machine's MAC; the announcement corrects it."""
    lab.run(
        "lan1", "ip", "neigh", "replace", str(VIP), "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "reachable"
    )
    async with lab.server("node", 80):
        await announcer.hold([VIP])
        assert await lab.ask("lan1", str(VIP), 80, timeout_s=1) == "node 192.168.77.2"


async def test_ipv6(lab: NetLab, announcer: VipAnnouncer) -> None:
    for name, address in (("node", "fd77::1/64"), ("lan1", "fd77::2/64")):
        lab.run(name, "ip", "address", "add", address, "dev", "eth0", "nodad")
    await announcer.hold([VIP6])
    assert "1 packets received" in lab.run("lan1", "busybox", "ping", "-6", "-c1", "-W2", str(VIP6))
    assert list(announcer.held()) == [VIP6]
    announcer.remove_all()
    assert announcer.held() == {}


async def test_an_address_somebody_removes_comes_back(lab: NetLab, announcer: VipAnnouncer) -> None:
    await announcer.hold([VIP])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.watch)
        await trio.lowlevel.checkpoint()
        command("ip", "address", "del", f"{VIP}/32", "dev", "eth0")
        with trio.fail_after(5):
            while VIP not in announcer.held():  # noqa: ASYNC110
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


async def test_an_address_without_a_link(lab: NetLab, announcer: VipAnnouncer) -> None:
    with pytest.raises(NetworkFailure, match=r"no link of this node leads to 10\.99\.0\.1"):
        await announcer.hold([ipaddress.ip_address("10.99.0.1")])
