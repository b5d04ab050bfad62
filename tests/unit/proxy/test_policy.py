from ipaddress import IPv4Network
from typing import Any

import msgspec

from edgekube.network.nft import Table
from edgekube.network.nft_batch import Batch, delta_between
from edgekube.proxy.config import ProxyConfig
from edgekube.proxy.policy import EGRESS, INGRESS, PolicyPod, compile_policies, policy_pod
from edgekube.types.core_v1 import Pod
from edgekube.types.networking_v1 import NetworkPolicy

CONFIG = ProxyConfig(
    node_name="n1",
    pod_cidr=IPv4Network("10.42.0.0/24"),
    cluster_cidr=IPv4Network("10.42.0.0/16"),
    service_cidr=IPv4Network("10.43.0.0/16"),
)


def pod(number: int, *, node: str = "n1", namespace: str = "shop", **labels: str) -> PolicyPod:
    return PolicyPod(namespace, labels, bytes((10, 42, 0, number)), node, (("web", 6, 8000 + number),))


def policy(name: str = "p", **spec: Any) -> NetworkPolicy:
    made = {"metadata": {"namespace": "shop", "name": name}, "spec": {"podSelector": {}, **spec}}
    return msgspec.convert(made, NetworkPolicy)


def table(
    *policies: NetworkPolicy, pods: tuple[PolicyPod, ...] = (pod(2, app="db"), pod(3, app="web"))
) -> Table | None:
    return compile_policies(policies, pods, {"shop": {"team": "a"}, "other": {}}, CONFIG)


def test_no_local_pod_selected_is_no_table() -> None:
    assert table() is None
    assert table(policy(podSelector={"matchLabels": {"app": "none"}})) is None
    assert table(policy(), pods=(pod(2, node="n2"), pod(3, namespace="other"))) is None


def test_policy_types_default_by_their_rules() -> None:
    only_in = table(policy())
    assert only_in is not None
    assert len(only_in.elements[INGRESS]) == 2
    assert EGRESS not in only_in.elements
    both = table(policy(egress=[{}]))
    assert both is not None
    assert {INGRESS, EGRESS} <= both.elements.keys()


def test_pods_with_the_same_policies_share_a_chain() -> None:
    found = table(policy("a"), policy("b"))
    assert found is not None
    assert len([name for name in found.chains if name.startswith("isolate/")]) == 1
    assert len(set(found.elements[INGRESS].values())) == 1


def test_named_ports_are_those_of_the_selected_pods() -> None:
    found = table(policy(podSelector={"matchLabels": {"app": "db"}}, ingress=[{"ports": [{"port": "web"}]}]))
    assert found is not None
    (key,) = found.elements["ingress/shop/p/0/ports"]
    assert key == bytes((10, 42, 0, 2)) + b"\6\0\0\0" + (8002).to_bytes(2, "big") + b"\0\0"


def test_a_peer_that_selects_nobody_allows_nobody() -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "none"}}}]
    found = table(policy(ingress=[{"from": peers}]))
    assert found is not None
    assert found.elements["ingress/shop/p/0"] == {}
    ipv6_only = table(policy(ingress=[{"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}]))
    assert ipv6_only is not None
    assert ipv6_only.chains["ingress/shop/p"].rules == ()


def test_a_new_pod_is_a_small_change() -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "web"}}}]
    one = policy(podSelector={"matchLabels": {"app": "db"}}, ingress=[{"from": peers}])
    before, after = table(one), table(one, pods=(pod(2, app="db"), pod(3, app="web"), pod(4, app="web")))
    assert before is not None
    assert after is not None
    batch = Batch(2, before.name)
    batch.change(before.sets, before.chains, delta_between(before, after), before.elements)
    assert batch.steps[1:] == ["add elements to ingress/shop/p/0"]


def test_pods_without_an_address_of_their_own() -> None:
    def made(**more: Any) -> PolicyPod | None:
        spec = {"containers": [], "hostNetwork": more.pop("hostNetwork", False)}
        return policy_pod(msgspec.convert({"spec": spec, "status": {"podIP": "10.42.0.2", **more}}, Pod))

    assert made() is not None
    assert made(podIP="") is None
    assert made(phase="Succeeded") is None
    assert made(hostNetwork=True) is None
