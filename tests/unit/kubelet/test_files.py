"""resolv.conf and /etc/hosts of pods."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.kubelet.config import KubeletConfig
from edgekube.kubelet.files import Resolver, host_network_hosts, parse_resolv_conf, pod_hosts, pod_resolver
from tests.unit.kubelet.conftest import pod_of

HOST = Resolver(("192.0.2.53",), ("lan",), ("timeout:1",))
CONFIG = KubeletConfig(
    node_name="n1",
    version="0",
    kubelet_version="v1",
    data_dir=Path("/d"),
    run_dir=Path("/r"),
    log_dir=Path("/l"),
    node_ip="192.0.2.1",
    cluster_dns=("10.43.0.10",),
    pod_cidr="10.42.0.0/24",
    now=lambda: None,  # type: ignore[arg-type,return-value]
)
SEARCHES = "search default.svc.cluster.local svc.cluster.local cluster.local lan"
CLUSTER = f"{SEARCHES}\nnameserver 10.43.0.10\noptions ndots:5\n"
NODE = "search lan\nnameserver 192.0.2.53\noptions timeout:1\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, CLUSTER),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, NODE),
        ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, CLUSTER),
        ({"dnsPolicy": "Default"}, NODE),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}, "nameserver 1.1.1.1\n"),
        (
            {
                "dnsConfig": {
                    "nameservers": ["1.1.1.1"],
                    "searches": ["corp", "lan"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                }
            },
            f"{SEARCHES} corp\nnameserver 10.43.0.10\nnameserver 1.1.1.1\noptions ndots:2 edns0\n",
        ),
    ],
)
def test_resolvers(spec: dict[str, Any], expected: str) -> None:
    assert pod_resolver(pod_of(**spec), CONFIG, HOST).text() == expected


def test_limits_of_resolvers() -> None:
    spec = {
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": [f"1.1.1.{i}" for i in range(9)]},
    }
    found = pod_resolver(pod_of(**spec), CONFIG, HOST)
    assert len(found.nameservers) == 3
    many = {"dnsPolicy": "None", "dnsConfig": {"searches": [f"d{i}." + "s" * 200 for i in range(40)]}}
    assert len(" ".join(pod_resolver(pod_of(**many), CONFIG, HOST).searches)) <= 2048


def test_a_resolv_conf_is_read_as_the_resolver_does() -> None:
    text = "# c\ndomain old\nsearch a b ; no\nnameserver 1.1.1.1 # x\noptions ndots:2\noptions rotate\nno\nnameserver\n"
    assert parse_resolv_conf(text) == Resolver(("1.1.1.1",), ("a", "b"), ("ndots:2", "rotate"))


def test_hosts() -> None:
    aliases = [{"ip": "1.2.3.4", "hostnames": ["foo", "bar"]}]
    text = pod_hosts(pod_of(subdomain="sub", hostAliases=aliases), ("10.42.0.2",), CONFIG)
    assert "127.0.0.1\tlocalhost\n" in text
    assert "10.42.0.2\tweb.sub.default.svc.cluster.local\tweb\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\tfoo\tbar\n")
    assert "10.42.0.2\tweb\n" in pod_hosts(pod_of(), ("10.42.0.2",), CONFIG)
    shared = host_network_hosts(pod_of(hostAliases=aliases), "127.0.0.1 node\n")
    assert shared.startswith("# Kubernetes-managed hosts file (host network).\n127.0.0.1 node\n")
    assert "1.2.3.4\tfoo\tbar\n" in shared


@given(st.text(st.sampled_from("nameserver search domain options;#\t\n\r\f 1.:é\0"), max_size=200))
def test_any_text_is_read(text: str) -> None:
    """What is read once comes back as the same text."""
    found = parse_resolv_conf(text)
    assert parse_resolv_conf(found.text()) == found
