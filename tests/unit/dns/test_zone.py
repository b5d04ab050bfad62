"""The Kubernetes DNS specification (1.1.0), section by section, against objects in memory."""

from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

import msgspec
import pytest

from edgekube.dns.codec import (
    AAAA,
    CNAME,
    NOERROR,
    NS,
    NXDOMAIN,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    Record,
    name_of,
    text_of,
)
from edgekube.dns.zone import Answer, Zone, address_of
from edgekube.testing.objects import MemoryCluster
from edgekube.types.core_v1 import Namespace, Service
from edgekube.types.discovery_v1 import EndpointSlice


def make_service(name: str, **spec: Any) -> Service:
    return msgspec.convert({"metadata": {"namespace": "shop", "name": name}, "spec": spec}, Service)


def make_slice(
    service: str, *endpoints: dict[str, Any], ports: list[dict[str, Any]], kind: str = "IPv4"
) -> EndpointSlice:
    made = {
        "metadata": {
            "namespace": "shop",
            "name": f"{service}-{kind.lower()}",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": kind,
        "endpoints": endpoints,
        "ports": ports,
    }
    return msgspec.convert(made, EndpointSlice)


HTTP = [{"name": "http", "port": 8080, "protocol": "TCP"}]


@pytest.fixture
def zone() -> Zone:
    cluster = MemoryCluster(
        msgspec.convert({"metadata": {"name": "shop"}}, Namespace),
        make_service(
            "web", clusterIP="10.43.0.7", clusterIPs=["10.43.0.7", "fd00::7"], ports=[{"name": "http", "port": 80}]
        ),
        make_service("db", clusterIP="None", ports=[{"name": "http", "port": 80}]),
        make_slice(
            "db",
            {"addresses": ["10.42.0.9"], "hostname": "db-0", "conditions": {"ready": True}},
            {"addresses": ["10.42.0.8"]},
            {"addresses": ["10.42.0.6"], "hostname": "db-2", "conditions": {"ready": False}},
            ports=HTTP,
        ),
        make_slice("db", {"addresses": ["fd00::99"], "hostname": "db-0"}, ports=HTTP, kind="IPv6"),
        make_service("outside", type="ExternalName", externalName="Example.ORG."),
    )
    return Zone(
        services=cluster.informer(Service),
        slices=cluster.informer(EndpointSlice),
        namespaces=cluster.informer(Namespace),
        domain="cluster.local",
        server=IPv4Address("10.43.0.10"),
        networks=(IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16")),
    )


def ask(zone: Zone, text: str, kind: int = A) -> Answer:
    found = zone.lookup(name_of(text), kind)
    assert found is not None
    return found


def addresses(records: tuple[Record, ...]) -> list[str]:
    return [str(ip_address(record.rdata)) for record in records]


def targets(records: tuple[Record, ...], skip: int = 0) -> list[str]:
    return [text_of(_plain(record.rdata[skip:])) for record in records]


def _plain(data: bytes) -> tuple[bytes, ...]:
    labels = []
    while data[0]:
        labels.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]
    return tuple(labels)


def test_schema_version(zone: Zone) -> None:
    (record,) = ask(zone, "dns-version.cluster.local", TXT).records
    assert record.rdata == b"\x051.1.0"


def test_a_cluster_ip_service(zone: Zone) -> None:
    assert addresses(ask(zone, "web.shop.svc.cluster.local").records) == ["10.43.0.7"]
    assert addresses(ask(zone, "WEB.Shop.svc.Cluster.local.", AAAA).records) == ["fd00::7"]


def test_srv_of_a_cluster_ip_service(zone: Zone) -> None:
    answer = ask(zone, "_http._tcp.web.shop.svc.cluster.local", SRV)
    (record,) = answer.records
    assert record.rdata[:6] == b"\0\0\0\x64\0\x50"
    assert targets((record,), 6) == ["web.shop.svc.cluster.local."]
    assert addresses(answer.additional) == ["10.43.0.7", "fd00::7"]
    assert ask(zone, "_http._udp.web.shop.svc.cluster.local", SRV).rcode == NXDOMAIN
    assert ask(zone, "_other._tcp.web.shop.svc.cluster.local", SRV).rcode == NXDOMAIN


def test_a_headless_service(zone: Zone) -> None:
    assert addresses(ask(zone, "db.shop.svc.cluster.local").records) == ["10.42.0.8", "10.42.0.9"]
    assert addresses(ask(zone, "db-0.db.shop.svc.cluster.local").records) == ["10.42.0.9"]
    assert addresses(ask(zone, "db-0.db.shop.svc.cluster.local", AAAA).records) == ["fd00::99"]
    assert addresses(ask(zone, "10-42-0-8.db.shop.svc.cluster.local").records) == ["10.42.0.8"]
    assert ask(zone, "db-2.db.shop.svc.cluster.local").rcode == NXDOMAIN  # not ready


def test_srv_of_a_headless_service(zone: Zone) -> None:
    answer = ask(zone, "_http._tcp.db.shop.svc.cluster.local", SRV)
    assert sorted(targets(answer.records, 6)) == [
        "10-42-0-8.db.shop.svc.cluster.local.",
        "db-0.db.shop.svc.cluster.local.",
    ]
    assert {record.rdata[4:6] for record in answer.records} == {b"\x1f\x90"}
    assert sorted(addresses(answer.additional)) == ["10.42.0.8", "10.42.0.9", "fd00::99"]


def test_reverse_names(zone: Zone) -> None:
    assert targets(ask(zone, "7.0.43.10.in-addr.arpa", PTR).records) == ["web.shop.svc.cluster.local."]
    assert targets(ask(zone, "9.0.42.10.in-addr.arpa", PTR).records) == ["db-0.db.shop.svc.cluster.local."]
    assert ask(zone, "99.0.42.10.in-addr.arpa", PTR).rcode == NXDOMAIN
    assert zone.lookup(name_of("1.1.1.1.in-addr.arpa"), PTR) is None  # somebody else's
    long = ".".join(reversed(f"{int(ip_address('fd00::7')):032x}")) + ".ip6.arpa"
    assert targets(ask(zone, long, PTR).records) == ["web.shop.svc.cluster.local."]


def test_external_name(zone: Zone) -> None:
    answer = ask(zone, "outside.shop.svc.cluster.local")
    assert [record.type for record in answer.records] == [CNAME]
    assert targets(answer.records) == ["example.org."]
    assert answer.chase == name_of("example.org")


def test_pods(zone: Zone) -> None:
    assert addresses(ask(zone, "10-42-0-9.shop.pod.cluster.local").records) == ["10.42.0.9"]
    assert addresses(ask(zone, "fd00--9.shop.pod.cluster.local", AAAA).records) == ["fd00::9"]
    assert ask(zone, "10-42-0-9.nowhere.pod.cluster.local").rcode == NXDOMAIN
    assert ask(zone, "nonsense.shop.pod.cluster.local").rcode == NXDOMAIN


@pytest.mark.parametrize(
    "text",
    [
        "web.shop.svc.cluster.local",  # no TXT there
        "shop.svc.cluster.local",
        "svc.cluster.local",
        "_tcp.web.shop.svc.cluster.local",
        "cluster.local",
    ],
)
def test_names_without_such_records(zone: Zone, text: str) -> None:
    answer = ask(zone, text, TXT)
    assert (answer.rcode, answer.records) == (NOERROR, ())


@pytest.mark.parametrize(
    "text",
    [
        "web.nowhere.svc.cluster.local",
        "gone.shop.svc.cluster.local",
        "nowhere.svc.cluster.local",
        "host.web.shop.svc.cluster.local",
        "example.com.shop.svc.cluster.local",
        "a.b.c.web.shop.svc.cluster.local",
        "other.cluster.local",
    ],
)
def test_names_that_do_not_exist(zone: Zone, text: str) -> None:
    assert ask(zone, text).rcode == NXDOMAIN


def test_the_apex(zone: Zone) -> None:
    assert [record.type for record in ask(zone, "cluster.local", SOA).records] == [SOA]
    answer = ask(zone, "cluster.local", NS)
    assert targets(answer.records) == ["ns.dns.cluster.local."]
    assert addresses(ask(zone, "ns.dns.cluster.local").records) == ["10.43.0.10"]
    assert zone.lookup(name_of("notcluster.local"), A) is None


@pytest.mark.parametrize("text", ["x.0.43.10.in-addr.arpa", "1.2.in-addr.arpa", "300.0.0.1.in-addr.arpa", "a.b.c.d"])
def test_what_is_no_reverse_name(text: str) -> None:
    assert address_of(name_of(text)) is None
