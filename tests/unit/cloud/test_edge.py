from typing import Any

import msgspec
import pytest

from edgekube.cloud.edge import announcer_of, decide
from edgekube.cloud.pool import Pool
from edgekube.types.core_v1 import Node, Service
from edgekube.types.discovery_v1 import EndpointSlice


def service(name: str, *ports: int, status: Any = None, metadata: Any = None, **spec: Any) -> Service:
    made = {
        "metadata": {"namespace": "default", "name": name, **(metadata or {})},
        "spec": {"type": "LoadBalancer", "ports": [{"port": port} for port in ports or (80,)], **spec},
        "status": status or {},
    }
    return msgspec.convert(made, Service)


def node(name: str, address: str, *, ready: bool = True, labels: Any = None) -> Node:
    made = {
        "metadata": {"name": name, "labels": labels or {}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        },
    }
    return msgspec.convert(made, Node)


NODES = [node("n1", "192.168.1.1"), node("n2", "192.168.1.2"), node("n3", "192.168.1.3", ready=False)]


def local(name: str, *nodes: str) -> dict[Any, Any]:
    endpoints = [{"addresses": ["10.42.0.2"], "nodeName": found} for found in nodes]
    return {("default", name): [msgspec.convert({"addressType": "IPv4", "endpoints": endpoints}, EndpointSlice)]}


def ips(services: list[Service], slices: Any = None, pool: Pool | None = None, **more: Any) -> dict[str, Any]:
    found = decide(services, NODES, slices or {}, pool or Pool([]), **more)
    return {name: [entry.ip for entry in one.ingress] or one.reason for (_, name), one in found.items()}


def test_without_a_pool_the_ready_nodes_serve() -> None:
    assert ips([service("web")]) == {"web": ["192.168.1.1", "192.168.1.2"]}


def test_the_same_port_twice_and_the_nodes_own() -> None:
    young = service("young", 81, 80, metadata={"creationTimestamp": "2026-02-01T00:00:00Z"})
    old = service("old", 80, metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
    found = ips([young, old, service("api", 6443)], reserved_ports=[("TCP", 6443)])
    assert found == {"young": "PortInUse", "old": ["192.168.1.1", "192.168.1.2"], "api": "PortInUse"}


def test_policy_local_names_only_nodes_with_endpoints() -> None:
    made = service("web", externalTrafficPolicy="Local")
    assert ips([made], local("web", "n2", "n3")) == {"web": ["192.168.1.2"]}
    assert ips([made]) == {"web": "NoNode"}


def test_with_a_pool_each_has_its_own_address() -> None:
    pool = Pool(["192.168.1.240/31"])
    wish = service("b", metadata={"annotations": {"edgekube.io/load-balancer-ip": "192.168.1.240"}})
    assert ips([service("a"), wish], pool=pool) == {"a": ["192.168.1.241"], "b": ["192.168.1.240"]}
    assert ips([service("a", loadBalancerIP="192.168.1.241")], pool=pool) == {"a": ["192.168.1.241"]}


@pytest.mark.parametrize(
    "other",
    [
        service("web", loadBalancerClass="example.com/other"),
        service("web", type="ClusterIP"),
        service("web", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ],
)
def test_services_that_are_not_ours(other: Service) -> None:
    assert ips([other]) == {}


def test_one_ready_node_announces_and_the_loss_of_another_moves_nothing() -> None:
    nodes = [node(f"n{number}", f"192.168.1.{number}") for number in range(1, 6)]
    made = service("web")
    addresses = [f"192.168.1.{number}" for number in range(200, 240)]
    before = {address: announcer_of(address, made, nodes, {}) for address in addresses}
    assert len(set(before.values())) == 5
    lost = [found if found.metadata.name != "n2" else node("n2", "192.168.1.2", ready=False) for found in nodes]
    for address in addresses:
        after = announcer_of(address, made, lost, {})
        assert after != "n2"
        assert before[address] in (after, "n2")


def test_policy_local_is_announced_where_an_endpoint_is() -> None:
    made = service("web", externalTrafficPolicy="Local")
    for address in ("192.168.1.240", "192.168.1.241"):
        assert announcer_of(address, made, NODES, local("web", "n2")) == "n2"
    assert announcer_of("192.168.1.240", made, [node("n1", "1.1.1.1", ready=False)], {}) == "n1"
    assert announcer_of("192.168.1.240", made, [], {}) == ""
