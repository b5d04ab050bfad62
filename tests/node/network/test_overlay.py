"""Two nodes on one LAN: their pods reach each other through the tunnel, with their own addresses and a fitting MTU."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec
import pytest
import trio

from edgekube.cloud import routes
from edgekube.network.bridge import BridgeNetwork
from edgekube.network.overlay import VXLAN_OVERHEAD_BYTES, Peer, VxlanOverlay
from edgekube.testing.netlab import NetLab, command
from edgekube.testing.objects import MemoryCluster
from edgekube.types.core_v1 import Node

pytestmark = pytest.mark.root

CLUSTER = IPv4Network("10.42.0.0/16")
CIDRS = {"one": IPv4Network("10.42.1.0/24"), "two": IPv4Network("10.42.2.0/24")}
ADDRESSES = {"one": IPv4Address("192.168.77.1"), "two": IPv4Address("192.168.77.2")}


@pytest.fixture
def nodes() -> Iterator[NetLab]:
    made = NetLab()
    try:
        for name in ("one", "two"):
            made.add(name)
        made.add_lan("one", "two")
        yield made
    finally:
        made.close()


async def start(lab: NetLab, name: str, folder: Path) -> tuple[BridgeNetwork, VxlanOverlay]:
    """A node's network, with sockets in its namespace; also its pod."""
    with lab.inside(name):
        network = BridgeNetwork(state_dir=folder / name, cluster_cidr=CLUSTER, overlay_overhead=VXLAN_OVERHEAD_BYTES)
        await network.start(CIDRS[name])
        await network.attach(f"pod-{name}", lab.add(f"pod{name}"))
        overlay = VxlanOverlay()
        await overlay.start(pod_cidr=CIDRS[name], address=ADDRESSES[name], mtu=network.mtu)
        return network, overlay


async def test_pods_of_two_nodes(nodes: NetLab, tmp_path: Path) -> None:
    networks = {name: await start(nodes, name, tmp_path) for name in CIDRS}
    for name, other in (("one", "two"), ("two", "one")):
        networks[name][1].set_peers([Peer(ADDRESSES[other], CIDRS[other])])
    assert networks["one"][0].mtu == 1450
    async with nodes.server("podtwo", 80):
        assert await nodes.ask("podone", "10.42.2.2", 80) == "podtwo 10.42.1.2"
        assert await nodes.ask("one", "10.42.2.2", 80) == "podtwo 10.42.1.1"
        with nodes.inside("one"):  # the next process takes the tunnel over
            before = command("ip", "-o", "link", "show", "ekx0")
            follower = VxlanOverlay()
            await follower.start(pod_cidr=CIDRS["one"], address=ADDRESSES["one"], mtu=1450)
            assert command("ip", "-o", "link", "show", "ekx0") == before
        assert await nodes.ask("podone", "10.42.2.2", 80) == "podtwo 10.42.1.2"
        follower.set_peers([Peer(IPv4Address("192.168.77.9"), CIDRS["two"])])  # the other node moved away
        with pytest.raises(trio.TooSlowError):
            await nodes.ask("podone", "10.42.2.2", 80, timeout_s=0.4)
        follower.set_peers([])
        assert "10.42.2.0" not in nodes.run("one", "ip", "route")
        assert "0a:58:0a:2a:02:00" not in nodes.run("one", "bridge", "fdb", "show", "dev", "ekx0")
        await follower.remove()
        follower.close()
    for network, overlay in networks.values():
        overlay.close()
        await network.stop(remove=False)


async def test_the_route_controller_follows_nodes(nodes: NetLab) -> None:
    def node(name: str, cidr: str = "") -> Node:
        made = {
            "metadata": {"name": name},
            "spec": {"podCIDR": cidr or str(CIDRS[name])},
            "status": {"addresses": [{"type": "InternalIP", "address": str(ADDRESSES[name])}]},
        }
        return msgspec.convert(made, Node)

    async def until(words: str, *, gone: bool = False) -> None:
        with trio.fail_after(5):
            while (words in command("ip", "route")) == gone:  # noqa: ASYNC110
                await trio.sleep(0.02)

    cluster = MemoryCluster(node("one"))
    config = routes.RoutesConfig(node_name="one", mtu=1450)
    with nodes.inside("one"):
        # the bridge is missing in this test: the gateway address must be there to be a source
        command("ip", "address", "add", "10.42.1.1/32", "dev", "lo")
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: routes.run(client=cluster, config=config, task_status=task_status))
            cluster.put(node("two"))
            await until("10.42.2.0/24 via 10.42.2.0 dev ekx0")
            cluster.put(node("two", "10.42.3.0/24"))
            await until("10.42.3.0/24")
            await until("10.42.2.0/24", gone=True)
            cluster.remove(node("two"))
            await until("10.42.3.0/24", gone=True)
            nursery.cancel_scope.cancel()
        await routes.remove()
        assert "ekx0" not in command("ip", "link")
