from ipaddress import IPv4Network

import pytest

from edgekube.network.api import NetworkFailure, PodNetwork, PortMapping
from edgekube.testing.network import FakePodNetwork


async def test_the_fake_behaves_like_the_real_one() -> None:
    network: PodNetwork = FakePodNetwork()
    with pytest.raises(NetworkFailure, match="not started"):
        await network.attach("a", "/ns/a")
    await network.start(IPv4Network("10.42.0.0/29"))
    assert str(network.gateway) == "10.42.0.1/29"
    first = await network.attach("a", "/ns/a", ports=[PortMapping(80, 8080)])
    assert first.ips == ("10.42.0.2",)
    assert await network.attach("a", "/ns/a") == first
    with pytest.raises(NetworkFailure, match="taken"):
        await network.attach("b", "/ns/b", ports=[PortMapping(81, 8080)])
    await network.attach("c", "/ns/c")
    await network.retain(["c"])
    assert [found.sandbox_id for found in network.attachments()] == ["c"]
