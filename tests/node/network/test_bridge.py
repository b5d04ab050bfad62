"""The pod network on real links: pods reach each other, the LAN and themselves; kills and resets leave no trace."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
import trio

from edgekube.network.api import NetworkFailure, PortMapping
from edgekube.network.bridge import BridgeNetwork
from edgekube.network.links import Rtnl
from edgekube.network.sysctl import read_sysctl, write_sysctl
from edgekube.testing.netlab import NetLab, command

pytestmark = pytest.mark.root

POD_CIDR = IPv4Network("10.42.0.0/24")


def make(tmp_path: Path) -> BridgeNetwork:
    return BridgeNetwork(
        state_dir=tmp_path / "net",
        cluster_cidr=IPv4Network("10.42.0.0/16"),
        service_cidr=IPv4Network("10.43.0.0/16"),
        local_addresses=(IPv4Address("10.43.0.10"),),
    )


@pytest.fixture
async def network(lab: NetLab, tmp_path: Path) -> AsyncIterator[BridgeNetwork]:
    network = make(tmp_path)
    await network.start(POD_CIDR)
    yield network
    await network.stop(remove=False)


async def add_pod(lab: NetLab, network: BridgeNetwork, name: str, *ports: PortMapping) -> str:
    attachment = await network.attach(name, lab.add(name), ports=ports)
    return attachment.ips[0]


async def until_listed(words: str) -> None:
    with trio.fail_after(5):
        while words not in command("nft", "list", "ruleset"):  # noqa: ASYNC110
            await trio.sleep(0.02)


@pytest.mark.parametrize("bridge_netfilter", ["0", "1"])
async def test_pods_reach_each_other_and_the_lan(lab: NetLab, network: BridgeNetwork, bridge_netfilter: str) -> None:
    if read_sysctl("net/bridge/bridge-nf-call-iptables") is not None:
        write_sysctl("net/bridge/bridge-nf-call-iptables", bridge_netfilter)
    a = await add_pod(lab, network, "a")
    b = await add_pod(lab, network, "b")
    assert (a, b) == ("10.42.0.2", "10.42.0.3")
    async with lab.server("b", 80), lab.server("lan1", 80), lab.server("node", 81):
        assert await lab.ask("a", b, 80) == f"b {a}"
        assert await lab.ask("node", b, 80) == "b 10.42.0.1"
        assert await lab.ask("a", "192.168.77.2", 80) == "lan1 192.168.77.1"  # leaves with the node's address
        assert await lab.ask("a", "192.168.77.1", 81) == f"node {a}"
        assert await lab.ask("a", "10.43.0.10", 81) == f"node {a}"  # the local address for DNS
        assert await lab.ask("node", "10.43.0.10", 81) == "node 10.43.0.10"


@pytest.mark.parametrize("bridge_netfilter", ["0", "1"])
async def test_host_ports(lab: NetLab, network: BridgeNetwork, bridge_netfilter: str) -> None:
    if read_sysctl("net/bridge/bridge-nf-call-iptables") is not None:
        write_sysctl("net/bridge/bridge-nf-call-iptables", bridge_netfilter)
    web = await add_pod(lab, network, "web", PortMapping(80, 8080), PortMapping(53, 5353, "UDP", "192.168.77.1"))
    other = await add_pod(lab, network, "other")
    async with lab.server("web", 80), lab.server("web", 53, udp=True):
        assert await lab.ask("lan1", "192.168.77.1", 8080) == "web 192.168.77.2"  # the client's address is kept
        assert await lab.ask("node", "192.168.77.1", 8080) == "web 192.168.77.1"
        assert await lab.ask(other_name := "other", "192.168.77.1", 8080) == f"web {other}", other_name
        assert await lab.ask("web", "192.168.77.1", 8080) == "web 10.42.0.1"  # hairpin
        assert await lab.ask("lan1", "192.168.77.1", 5353, udp=True) == "web 192.168.77.2"
        with pytest.raises(NetworkFailure, match=r"host port 8080/TCP .* is taken"):
            await add_pod(lab, network, "clash", PortMapping(90, 8080))
        await network.detach("web")
        with pytest.raises(OSError, match="refused"):
            await lab.ask("lan1", "192.168.77.1", 8080)
    assert web == "10.42.0.2"


async def test_attach_twice_is_the_same_and_a_new_namespace_is_connected_again(
    lab: NetLab, network: BridgeNetwork
) -> None:
    a = await add_pod(lab, network, "a")
    again = await network.attach("a", lab.path("a"))
    assert again.ips == (a,)
    lab.remove("a")
    lab.add("a")
    assert (await network.attach("a", lab.path("a"))).ips == (a,)
    async with lab.server("a", 80):
        assert await lab.ask("node", a, 80) == "a 10.42.0.1"
    # sysctls of the pod's namespace, set from a thread inside it
    assert lab.do("a", lambda: read_sysctl("net/ipv4/conf/eth0/accept_redirects")) == "0"
    assert read_sysctl("net/ipv4/conf/eth0/accept_redirects") == "1"


async def test_a_killed_process_is_followed_without_a_break(
    lab: NetLab, network: BridgeNetwork, tmp_path: Path
) -> None:
    web = await add_pod(lab, network, "web", PortMapping(80, 8080))
    async with lab.server("web", 80):
        follower = make(tmp_path)  # nobody stopped the first
        await follower.start(POD_CIDR)
        assert [attachment.sandbox_id for attachment in follower.attachments()] == ["web"]
        assert await lab.ask("lan1", "192.168.77.1", 8080) == "web 192.168.77.2"
        assert (await follower.attach("web", lab.path("web"))).ips == (web,)
        assert await add_pod(lab, follower, "next") == "10.42.0.3"
        await follower.retain(["next"])
        assert [attachment.sandbox_id for attachment in follower.attachments()] == ["next"]
        names = command("ip", "-o", "link", "show", "type", "veth")
        assert names.count("ekv") == 1
        await follower.stop(remove=False)


async def test_links_tell_who_they_are_when_the_state_is_damaged(
    lab: NetLab, network: BridgeNetwork, tmp_path: Path
) -> None:
    a = await add_pod(lab, network, "a")
    (tmp_path / "net" / "network.json").write_bytes(b"\0\0\0")
    follower = make(tmp_path)
    await follower.start(POD_CIDR)
    assert [(found.sandbox_id, found.ips) for found in follower.attachments()] == [("a", (a,))]
    assert await add_pod(lab, follower, "b") != a
    await follower.stop(remove=False)


async def test_a_flushed_firewall_comes_back(lab: NetLab, network: BridgeNetwork) -> None:
    await add_pod(lab, network, "a")
    async with lab.server("lan1", 80), trio.open_nursery() as nursery:
        nursery.start_soon(network.watch)
        command("nft", "flush", "ruleset")
        await until_listed("edgekube-net")
        assert await lab.ask("a", "192.168.77.2", 80) == "lan1 192.168.77.1"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "damage",
    [
        ("ip", "address", "flush", "dev", "ek0"),
        ("ip", "route", "del", "10.43.0.0/16", "dev", "ek0"),
        ("ip", "link", "set", "ek0", "down"),
        ("ip", "link", "del", "ek0"),
    ],
    ids=lambda argv: "-".join(argv[1:3]),
)
async def test_a_damaged_bridge_is_repaired(lab: NetLab, network: BridgeNetwork, damage: tuple[str, ...]) -> None:
    a = await add_pod(lab, network, "a")
    b = await add_pod(lab, network, "b")
    async with lab.server("b", 80), lab.server("node", 81), trio.open_nursery() as nursery:
        nursery.start_soon(network.watch)
        await trio.sleep(0.05)
        command(*damage)
        with trio.fail_after(5):
            while "10.43.0.0/16 dev ek0" not in command("ip", "route"):  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert await lab.ask("a", b, 80) == f"b {a}"
        assert await lab.ask("a", "10.43.0.10", 81) == f"node {a}"
        nursery.cancel_scope.cancel()


async def test_a_forward_chain_that_drops_lets_pods_pass(lab: NetLab, network: BridgeNetwork) -> None:
    await add_pod(lab, network, "a")
    async with lab.server("lan1", 80), trio.open_nursery() as nursery:
        nursery.start_soon(network.watch)
        command(
            "nft",
            "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
        )
        await until_listed("edgekube pods")
        assert await lab.ask("a", "192.168.77.2", 80) == "lan1 192.168.77.1"
        nursery.cancel_scope.cancel()
    await network.stop(remove=True)
    assert "edgekube" not in command("nft", "list", "ruleset")


async def test_stop_with_remove_leaves_the_host_as_it_was(lab: NetLab, tmp_path: Path) -> None:
    def picture() -> tuple[str, ...]:
        shown = [
            ("ip", "-o", "link"),
            ("ip", "-o", "-4", "address"),
            # Link-local ones the kernel makes in its own time.
            ("ip", "-o", "-6", "address", "show", "scope", "global"),
            ("ip", "route"),
            ("nft", "list", "ruleset"),
            ("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/send_redirects"),
        ]
        return tuple(command(*argv) for argv in shown)

    write_sysctl("net/ipv4/ip_forward", "0")
    before = picture()
    network = make(tmp_path)
    await network.start(POD_CIDR)
    await add_pod(lab, network, "a")
    assert picture() != before
    await network.stop(remove=False)
    fresh = make(tmp_path)  # `reset` runs in another process than the node did
    await fresh.stop(remove=True)
    lab.remove("a")
    assert picture() == before
    assert not (tmp_path / "net" / "network.json").exists()


async def test_problems_name_an_overlapping_lan(lab: NetLab, network: BridgeNetwork) -> None:
    assert network.problems() == []
    command("ip", "route", "add", "10.43.7.0/24", "dev", "eth0")
    assert any("10.43.7.0/24" in problem for problem in network.problems())


async def test_the_mtu_follows_the_way_out(lab: NetLab, tmp_path: Path) -> None:
    command("ip", "link", "set", "eth0", "mtu", "1400")
    command("ip", "route", "add", "default", "via", "192.168.77.2")
    network = BridgeNetwork(
        state_dir=tmp_path / "net", cluster_cidr=IPv4Network("10.42.0.0/16"), bridge_name="other0", overlay_overhead=50
    )
    await network.start(POD_CIDR)
    assert network.mtu == 1350
    await network.attach("a", lab.add("a"))
    rtnl = lab.do("a", Rtnl)
    link = rtnl.link("eth0")
    rtnl.close()
    assert link is not None
    assert link.mtu == 1350
    await network.stop(remove=True)
