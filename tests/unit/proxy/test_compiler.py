"""The ruleset as a value: what a Service becomes, and that a change costs what it changes."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgspec
import pytest

from edgekube.network import nft
from edgekube.network.nft_batch import Batch, Delta
from edgekube.proxy import compiler
from edgekube.proxy.compiler import base_table, compile_all, compile_service
from edgekube.proxy.config import ProxyConfig
from edgekube.proxy.endpoints import Target, Targets, select
from edgekube.proxy.ruleset import Fragment, Merger, merge_deltas
from edgekube.types.core_v1 import Service
from edgekube.types.core_v1.service import ServicePort
from edgekube.types.discovery_v1 import EndpointSlice

CONFIG = ProxyConfig(
    node_name="n1",
    pod_cidr=IPv4Network("10.42.0.0/24"),
    cluster_cidr=IPv4Network("10.42.0.0/16"),
    service_cidr=IPv4Network("10.43.0.0/16"),
    served_here=frozenset({IPv4Address("10.43.0.10")}),
)


def service(name: str = "web", ip: str = "10.43.0.5", status: Any = None, metadata: Any = None, **spec: Any) -> Service:
    made = {
        "metadata": {"namespace": "default", "name": name, **(metadata or {})},
        "spec": {"clusterIP": ip, "ports": [{"port": 80, "protocol": "TCP"}], **spec},
        "status": status or {},
    }
    return msgspec.convert(made, Service)


def piece(*endpoints: dict[str, Any], port: int = 8080, name: str = "", kind: str = "IPv4") -> EndpointSlice:
    made = {
        "addressType": kind,
        "endpoints": [{"nodeName": "n1", **found, "addresses": [found["addresses"]]} for found in endpoints],
        "ports": [{"port": port, "name": name, "protocol": "TCP"}],
    }
    return msgspec.convert(made, EndpointSlice)


def made(one: Service, *slices: EndpointSlice) -> Fragment:
    return compile_service(one, slices, CONFIG, service_id=3)


def targets(*slices: EndpointSlice, zone: str = "") -> Targets:
    return select(ServicePort(port=80), slices, node_name="n1", zone=zone)


def ips(found: tuple[Target, ...]) -> list[str]:
    return [str(IPv4Address(target.address)) for target in found]


LEAVING = {"ready": False, "serving": True, "terminating": True}


def test_ready_endpoints_once_and_sorted() -> None:
    found = targets(
        piece(
            {"addresses": "10.42.0.3"},
            {"addresses": "10.42.0.2"},
            {"addresses": "10.42.0.9", "conditions": {"ready": False}},
        ),
        piece({"addresses": "10.42.0.3"}, {"addresses": "10.42.1.4", "nodeName": "n2"}),
        piece({"addresses": "10.42.0.8"}, name="other"),
        piece({"addresses": "fd00::1"}, kind="IPv6"),
    )
    assert ips(found.cluster) == ["10.42.0.2", "10.42.0.3", "10.42.1.4"]
    assert ips(found.local) == ["10.42.0.2", "10.42.0.3"]


def test_terminating_endpoints_serve_only_when_nobody_else_does() -> None:
    leaving = {"addresses": "10.42.0.2", "conditions": LEAVING}
    assert ips(targets(piece(leaving)).cluster) == ["10.42.0.2"]
    assert ips(targets(piece(leaving, {"addresses": "10.42.0.3"})).cluster) == ["10.42.0.3"]
    mute = {"addresses": "10.42.0.4", "conditions": {"ready": False, "serving": False, "terminating": True}}
    assert targets(piece(mute)).cluster == ()


def test_hints_count_when_all_have_them() -> None:
    near = {"addresses": "10.42.0.2", "hints": {"forZones": [{"name": "a"}]}}
    far = {"addresses": "10.42.0.3", "hints": {"forZones": [{"name": "b"}]}}
    assert ips(targets(piece(near, far), zone="a").cluster) == ["10.42.0.2"]
    assert len(targets(piece(near, far), zone="c").cluster) == 2
    assert len(targets(piece(near, {"addresses": "10.42.0.4"}), zone="a").cluster) == 2
    here = {"addresses": "10.42.0.5", "hints": {"forNodes": [{"name": "n1"}], "forZones": [{"name": "b"}]}}
    there = {"addresses": "10.42.0.6", "hints": {"forNodes": [{"name": "n2"}], "forZones": [{"name": "a"}]}}
    assert ips(targets(piece(here, there), zone="a").cluster) == ["10.42.0.5"]


def test_one_endpoint_needs_no_map() -> None:
    fragment = made(service(), piece({"addresses": "10.42.0.2"}))
    assert list(fragment.chains) == ["svc/default/web/tcp/80"]
    assert list(fragment.elements) == [compiler.FRONTENDS]


def test_many_endpoints_share_the_map() -> None:
    fragment = made(service(), piece({"addresses": "10.42.0.2"}, {"addresses": "10.42.0.3"}))
    held = fragment.elements[compiler.ENDPOINTS[3]]
    assert list(held) == [nft.key_mark(3 << 12) + nft.key_mark(index) for index in range(2)]
    assert not fragment.sets


@pytest.mark.parametrize(
    "other",
    [
        service(ip="None"),
        service(ip=""),
        service(type="ExternalName", externalName="a.b"),
        service(metadata={"labels": {"service.kubernetes.io/service-proxy-name": "mine"}}),
    ],
)
def test_services_without_rules(other: Service) -> None:
    assert made(other, piece({"addresses": "10.42.0.2"})) == Fragment()


def test_the_dns_address_is_left_to_its_server() -> None:
    assert made(service(ip="10.43.0.10"), piece({"addresses": "10.42.0.2"})).elements == {}


def test_external_addresses_and_proxy_mode_balancers() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}, {"ip": "198.51.100.2", "ipMode": "Proxy"}]}}
    fragment = made(
        service(type="LoadBalancer", externalIPs=["198.51.100.3"], status=status), piece({"addresses": "10.42.0.2"})
    )
    found = {str(IPv4Address(key[:4])) for key in fragment.elements[compiler.FRONTENDS]}
    assert found == {"10.43.0.5", "198.51.100.1", "198.51.100.3"}


def test_affinity_has_a_set_an_endpoint() -> None:
    fragment = made(service(sessionAffinity="ClientIP"), piece({"addresses": "10.42.0.2"}, {"addresses": "10.42.0.3"}))
    assert {spec.timeout_ms for spec in fragment.sets.values()} == {10_800_000}
    assert len(fragment.sets) == 2
    assert len(fragment.chains) == 3


def test_two_services_on_one_external_address() -> None:
    """The first by name has it; when that goes the other takes over; nothing else changes."""
    slices = (piece({"addresses": "10.42.0.2"}),)
    merger = Merger(base_table(CONFIG))
    second = compile_service(service("b", "10.43.0.6", externalIPs=["198.51.100.3"]), slices, CONFIG, service_id=2)
    merger.update(("default", "b"), second)
    first = compile_service(service("a", externalIPs=["198.51.100.3"]), slices, CONFIG, service_id=1)
    key = IPv4Address("198.51.100.3").packed + nft.key_proto(6) + nft.key_port(80)
    to = {name: nft.verdict(nft.NFT_GOTO, f"ext/default/{name}/tcp/80") for name in "ab"}
    assert merger.update(("default", "a"), first).elements[compiler.FRONTENDS][key] == to["a"]
    assert key not in merger.update(("default", "b"), second).elements.get(compiler.FRONTENDS, {})
    assert merger.table().elements[compiler.FRONTENDS][key] == to["a"]
    assert merger.update(("default", "a"), None).elements[compiler.FRONTENDS][key] == to["b"]
    assert merger.update(("default", "b"), None).elements[compiler.FRONTENDS][key] is None


def test_any_path_leads_to_the_same_table() -> None:
    """Fragment by fragment or all at once: the merged tables are equal."""
    services = [service(f"s{number}", f"10.43.1.{number}") for number in range(5)]
    slices = {("default", f"s{number}"): (piece({"addresses": f"10.42.0.{number + 2}"}),) for number in range(5)}
    whole = compile_all(services, slices, CONFIG)
    merger = Merger(whole.base)
    for key, fragment in whole.services.items():
        merger.update(key, Fragment(elements={compiler.FRONTENDS: {b"else": b""}}))
        merger.update(key, None)
        merger.update(key, fragment)
    ours, theirs = merger.table(), whole.table()
    assert ours.chains == theirs.chains
    assert {name: held for name, held in ours.elements.items() if held} == theirs.elements


def test_a_small_change_is_a_small_batch() -> None:
    services = [service(f"s{number}", f"10.43.{number >> 8}.{number & 255}") for number in range(1, 200)]
    before = {
        ("default", one.metadata.name): (piece({"addresses": "10.42.0.2"}, {"addresses": "10.42.0.3"}),)
        for one in services
    }
    ruleset = compile_all(services, before, CONFIG)
    merger = Merger(ruleset.base)
    for key, fragment in ruleset.services.items():
        merger.update(key, fragment)
    table = merger.table()
    changed = compile_service(
        services[7], (piece({"addresses": "10.42.0.2"}, {"addresses": "10.42.0.4"}),), CONFIG, service_id=8
    )
    delta = merge_deltas([merger.update(("default", "s8"), changed)])
    batch = Batch(2, table.name)
    batch.change(table.sets, table.chains, delta, table.elements)
    assert batch.steps[1:] == ["delete elements from endpoints-8", "add elements to endpoints-8"]


def test_an_unchanged_service_is_no_batch() -> None:
    fragment = made(service(), piece({"addresses": "10.42.0.2"}))
    merger = Merger(base_table(CONFIG))
    merger.update(("default", "web"), fragment)
    table = merger.table()
    batch = Batch(2, table.name)
    batch.change(table.sets, table.chains, merger.update(("default", "web"), fragment), table.elements)
    assert len(batch) == 0
    assert merge_deltas([]) == Delta()
