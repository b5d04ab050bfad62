"""NetworkPolicies into nftables. Pure.

A pod selected by some policy is isolated in that direction: its address leads, through the map `ingress` or `egress`,
to a chain that tries every policy selecting it and drops what none allows. Pods with the same policies share the chain.
Answers pass, a pod reaches itself, the node reaches its pods (probes), and every pod reaches the cluster DNS of its
node, which is no pod that a policy could name. Policies see addresses after Services were resolved.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2s
from ipaddress import IPv4Network
from socket import AF_INET, inet_pton
from typing import Final

import msgspec

from edgekube.network import nft
from edgekube.network.nft import Chain, Data, Hook, Rule, SetSpec, Table
from edgekube.proxy.config import ProxyConfig
from edgekube.types.core_v1 import Pod
from edgekube.types.networking_v1.network_policy import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from edgekube.types.selectors import from_label_selector

TABLE: Final = "edgekube-policy"
INGRESS: Final = "ingress"
EGRESS: Final = "egress"
SELF: Final = "self"

PROTOCOLS: Final[Mapping[str, int]] = {"TCP": 6, "UDP": 17, "SCTP": 132}
PRIORITY_EGRESS: Final = nft.PRIORITY_FILTER - 2
PRIORITY_INGRESS: Final = nft.PRIORITY_FILTER - 1
DNS_PORT: Final = 53

_CT_ESTABLISHED_OR_RELATED: Final = (1 << 1) | (1 << 2)
_NAMED_PORTS: Final = SetSpec(key=(nft.TYPE_IPV4, nft.TYPE_INET_PROTO, nft.TYPE_INET_SERVICE))
_ADDRESSES: Final = SetSpec(key=(nft.TYPE_IPV4,))

Labels = Mapping[str, str]


class PolicyPod(msgspec.Struct, frozen=True):
    """What policies see of a pod."""

    namespace: str
    labels: Labels
    address: bytes
    node: str
    ports: tuple[tuple[str, int, int], ...]  # named ones: name, protocol, number


def policy_pod(pod: Pod) -> PolicyPod | None:
    """None for pods without an address of their own, and those that have ended."""
    address = pod.status.podIP
    if not address or ":" in address or pod.spec.hostNetwork or pod.status.phase in ("Succeeded", "Failed"):
        return None
    ports = tuple(
        (port.name, PROTOCOLS.get(port.protocol or "TCP", 0), port.containerPort)
        for container in pod.spec.containers
        for port in container.ports
        if port.name
    )
    return PolicyPod(pod.metadata.namespace, pod.metadata.labels, inet_pton(AF_INET, address), pod.spec.nodeName, ports)


def compile_policies(
    policies: Iterable[NetworkPolicy],
    pods: Sequence[PolicyPod],
    namespaces: Mapping[str, Labels],
    config: ProxyConfig,
) -> Table | None:
    """The whole table; None when no policy selects a pod of this node."""
    return _Compiler(pods, namespaces, config).compile(policies)


class _Compiler:
    """Collects the parts of the table; a policy's chains are made once, however many pods it selects."""

    def __init__(self, pods: Sequence[PolicyPod], namespaces: Mapping[str, Labels], config: ProxyConfig) -> None:
        self._pods = pods
        self._namespaces = namespaces
        self._config = config
        self._chains: dict[str, Chain] = {}
        self._sets: dict[str, SetSpec] = {
            INGRESS: SetSpec(key=(nft.TYPE_IPV4,), data=(nft.TYPE_VERDICT,)),
            EGRESS: SetSpec(key=(nft.TYPE_IPV4,), data=(nft.TYPE_VERDICT,)),
            SELF: SetSpec(key=(nft.TYPE_IPV4, nft.TYPE_IPV4)),
        }
        self._elements: dict[str, dict[bytes, Data]] = {}

    def compile(self, policies: Iterable[NetworkPolicy]) -> Table | None:
        selecting: dict[tuple[str, bytes], list[str]] = {}
        for policy in sorted(policies, key=lambda one: (one.metadata.namespace, one.metadata.name)):
            selected = self._selected(policy)
            for direction in _directions(policy) if selected else ():
                chain = self._policy_chain(direction, policy, selected)
                for pod in selected:
                    selecting.setdefault((direction, pod.address), []).append(chain)
        if not selecting:
            return None
        for (direction, address), chains in selecting.items():
            isolate = self._isolation(direction, tuple(chains))
            self._elements.setdefault(direction, {})[address] = nft.verdict(nft.NFT_GOTO, isolate)
            self._elements.setdefault(SELF, {})[address * 2] = b""
        self._base_chains()
        return Table(name=TABLE, sets=self._sets, chains=self._chains, elements=self._elements)

    def _selected(self, policy: NetworkPolicy) -> list[PolicyPod]:
        """The pods of this node it applies to."""
        selector = from_label_selector(policy.spec.podSelector)
        return [
            pod
            for pod in self._pods
            if pod.node == self._config.node_name
            and pod.namespace == policy.metadata.namespace
            and selector.matches(pod.labels)
        ]

    def _isolation(self, direction: str, chains: tuple[str, ...]) -> str:
        name = f"isolate/{direction}/{blake2s(' '.join(chains).encode()).hexdigest()[:16]}"
        if name not in self._chains:
            jumps: tuple[Rule, ...] = tuple((nft.decide(nft.NFT_JUMP, chain),) for chain in chains)
            self._chains[name] = Chain((*jumps, (nft.decide(nft.NF_DROP),)))
        return name

    def _policy_chain(self, direction: str, policy: NetworkPolicy, selected: Sequence[PolicyPod]) -> str:
        name = f"{direction}/{policy.metadata.namespace}/{policy.metadata.name}"
        rules: list[Rule] = []
        if direction == INGRESS:
            parts = [(rule.from_, rule.ports) for rule in policy.spec.ingress]
        else:
            parts = [(rule.to, rule.ports) for rule in policy.spec.egress]
        for index, (peers, ports) in enumerate(parts):
            where = f"{name}/{index}"
            far = self._peer_pods(peers, policy.metadata.namespace)
            near_ports = self._port_matches(where, ports, selected if direction == INGRESS else far)
            rules += [
                (*peer, *port, nft.decide(nft.NF_ACCEPT))
                for peer in self._peer_matches(where, direction, peers, far)
                for port in near_ports
            ]
        self._chains[name] = Chain(tuple(rules))
        return name

    def _peer_pods(self, peers: Sequence[NetworkPolicyPeer], namespace: str) -> Sequence[PolicyPod]:
        """The pods any of the peers selects; without peers all of them."""
        if not peers:
            return self._pods
        tests = []
        for peer in peers:
            if peer.ipBlock is None:
                pod_selector = None if peer.podSelector is None else from_label_selector(peer.podSelector)
                if peer.namespaceSelector is None:
                    names = {namespace}
                else:
                    selector = from_label_selector(peer.namespaceSelector)
                    names = {name for name, labels in self._namespaces.items() if selector.matches(labels)}
                tests.append((names, pod_selector))
        return [
            pod
            for pod in self._pods
            if any(
                pod.namespace in names and (selector is None or selector.matches(pod.labels))
                for names, selector in tests
            )
        ]

    def _peer_matches(
        self, where: str, direction: str, peers: Sequence[NetworkPolicyPeer], far: Sequence[PolicyPod]
    ) -> list[Rule]:
        """Alternatives for the other side's address; one empty match for "anybody"."""
        if not peers:
            return [()]
        load = nft.load_saddr() if direction == INGRESS else nft.load_daddr()
        matches = [
            (*found,) for peer in peers if peer.ipBlock is not None and (found := _block_match(load, peer.ipBlock))
        ]
        if any(peer.ipBlock is None for peer in peers):
            self._sets[where] = _ADDRESSES
            self._elements[where] = {pod.address: b"" for pod in far}
            matches.append((load, nft.in_set(where)))
        return matches

    def _port_matches(self, where: str, ports: Sequence[NetworkPolicyPort], pods: Sequence[PolicyPod]) -> list[Rule]:
        """Alternatives for protocol and destination port; one empty match for "any"."""
        if not ports:
            return [()]
        matches: list[Rule] = []
        named: dict[bytes, Data] = {}
        for port in ports:
            protocol = PROTOCOLS.get(port.protocol or "TCP")
            if protocol is None:
                continue
            if isinstance(port.port, str):
                named.update(
                    {
                        pod.address + nft.key_proto(protocol) + nft.key_port(number): b""
                        for pod in pods
                        for name, kind, number in pod.ports
                        if (name, kind) == (port.port, protocol)
                    }
                )
                continue
            match: Rule = nft.match_l4proto(protocol)
            if port.port is not None:
                match = (*match, nft.load_dport(), *nft.port_range(port.port, port.endPort or port.port))
            matches.append(match)
        if named:
            name = f"{where}/ports"
            self._sets[name] = _NAMED_PORTS
            self._elements[name] = named
            loads = (nft.load_daddr(nft.R0), nft.load_protocol(nft.R1), nft.load_dport(nft.R2))
            matches.append((*loads, nft.in_set(name)))
        return matches

    def _base_chains(self) -> None:
        known = nft.key_mark(_CT_ESTABLISHED_OR_RELATED)
        answers: Rule = (
            nft.load_ct(nft.CT_STATE),
            nft.mask(known),
            nft.not_equal(bytes(4)),
            nft.decide(nft.NF_ACCEPT),
        )
        itself: Rule = (
            nft.load_saddr(nft.R0),
            nft.load_daddr(nft.R1),
            nft.in_set(SELF),
            nft.decide(nft.NF_ACCEPT),
        )
        dns: tuple[Rule, ...] = tuple(
            (
                *nft.match_daddr(IPv4Network((address, 32))),
                nft.load_dport(),
                nft.equal(DNS_PORT.to_bytes(2, "big")),
                nft.decide(nft.NF_ACCEPT),
            )
            for address in sorted(self._config.served_here)
        )
        leaving: Rule = (nft.load_saddr(), nft.verdict_map(EGRESS))
        arriving: Rule = (nft.load_daddr(), nft.verdict_map(INGRESS))
        self._chains["egress-through"] = Chain((answers, itself, leaving), Hook("filter", nft.FORWARD, PRIORITY_EGRESS))
        self._chains["egress-to-node"] = Chain((answers, *dns, leaving), Hook("filter", nft.INPUT, PRIORITY_EGRESS))
        self._chains["ingress-through"] = Chain(
            (answers, itself, arriving), Hook("filter", nft.FORWARD, PRIORITY_INGRESS)
        )


def _directions(policy: NetworkPolicy) -> list[str]:
    """policyTypes, or what its absence means: always Ingress, Egress when there are egress rules."""
    types = policy.spec.policyTypes or ("Ingress", *(("Egress",) if policy.spec.egress else ()))
    return [direction for kind, direction in (("Ingress", INGRESS), ("Egress", EGRESS)) if kind in types]


def _block_match(load: bytes, block: IPBlock) -> Rule:
    """An address inside the block and outside its exceptions; empty for IPv6."""
    if ":" in block.cidr:
        return ()
    network = IPv4Network(block.cidr, strict=False)
    match: Rule = () if network.prefixlen == 0 else (load, *nft.network_match(network, inside=True))
    for text in block.except_:
        match = (*match, load, *nft.network_match(IPv4Network(text, strict=False), inside=False))
    return match or (load,)  # a lone load matches every address
