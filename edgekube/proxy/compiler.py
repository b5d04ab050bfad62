"""Services and their endpoints into nftables. Pure.

A packet's way: its destination is looked up once in `frontends` (address . protocol . port) or, when the address is the
node's own, in `node-ports`; the verdict leads to the chain of that Service port, which has one rule: take a random
number below the number of endpoints, look (service id . number) up in a shared map `endpoints-X`, rewrite. Only
ClientIP affinity has a chain and a set of clients for each endpoint.

Why shared maps, and several of them: the kernel's time to commit grows with the square of the number of sets in a
table, which forbids a map for each Service; and it checks every element of a map against every rule that uses the map,
which makes one map for all dear (5,000 Services of 10 endpoints: 5.3 s). Sixteen are the middle.

What still has a Service's address after that is in `unserved`: refused, or dropped where a Local policy finds no
endpoint here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from socket import AF_INET, inet_pton
from typing import Final

from edgekube.client.api import Key
from edgekube.network import nft
from edgekube.network.nft import Chain, Data, Hook, Rule, SetSpec, Table
from edgekube.proxy.config import ProxyConfig
from edgekube.proxy.endpoints import Target, Targets, select
from edgekube.proxy.ruleset import EMPTY, Fragment, Frontend, Ruleset
from edgekube.types.core_v1.service import Service, ServicePort
from edgekube.types.discovery_v1 import EndpointSlice

TABLE: Final = "edgekube-proxy"

FRONTENDS: Final = "frontends"
NODE_PORTS: Final = "node-ports"
ENDPOINTS: Final = tuple(f"endpoints-{shard:x}" for shard in range(16))
AFFINITY: Final = "affinity"
UNSERVED: Final = "unserved"
UNSERVED_NODE_PORTS: Final = "unserved-node-ports"
FIREWALL: Final = "firewall"

SERVICES: Final = "services"
REFUSE: Final = "refuse"
REFUSE_UNSERVED: Final = "refuse-unserved"

PROTOCOLS: Final[Mapping[str, int]] = {"TCP": 6, "UDP": 17, "SCTP": 132}
PORTS_MAX: Final = 2048  # of one Service; the shared map's key gives 12 bits to port and policy
AFFINITY_DEFAULT_S: Final = 10_800
AFFINITY_CLIENTS_MAX: Final = 65_536  # a dynamic set must have a limit
PRIORITY_FIREWALL: Final = nft.PRIORITY_DSTNAT - 10
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
PROXY_NAME_LABEL: Final = "service.kubernetes.io/service-proxy-name"

_LOOPBACK: Final = IPv4Network("127.0.0.0/8")
_FRONTEND_KEY: Final = (nft.TYPE_IPV4, nft.TYPE_INET_PROTO, nft.TYPE_INET_SERVICE)
_PORT_KEY: Final = (nft.TYPE_INET_PROTO, nft.TYPE_INET_SERVICE)
_PICK_KEY: Final = (nft.TYPE_MARK, nft.TYPE_MARK)
_VERDICT: Final = (nft.TYPE_VERDICT,)
_CT_STATE_NEW: Final = 1 << 3


def compile_all(
    services: Iterable[Service],
    slices: Mapping[Key, Sequence[EndpointSlice]],
    config: ProxyConfig,
    *,
    zone: str = "",
) -> Ruleset:
    """The whole ruleset. `slices` by the Service they belong to; ids are numbered in the order given."""
    fragments = {
        (service.metadata.namespace, service.metadata.name): compile_service(
            service,
            slices.get((service.metadata.namespace, service.metadata.name), ()),
            config,
            service_id=number,
            zone=zone,
        )
        for number, service in enumerate(services, start=1)
    }
    return Ruleset(base=base_table(config), services=fragments)


def base_table(config: ProxyConfig) -> Table:
    """Hooks, dispatch and empty maps."""
    sets = {
        FRONTENDS: SetSpec(key=_FRONTEND_KEY, data=_VERDICT),
        NODE_PORTS: SetSpec(key=_PORT_KEY, data=_VERDICT),
        **dict.fromkeys(ENDPOINTS, SetSpec(key=_PICK_KEY, data=(nft.TYPE_IPV4, nft.TYPE_INET_SERVICE))),
        AFFINITY: SetSpec(key=_PICK_KEY, data=_VERDICT),
        UNSERVED: SetSpec(key=_FRONTEND_KEY, data=_VERDICT),
        UNSERVED_NODE_PORTS: SetSpec(key=_PORT_KEY, data=_VERDICT),
        FIREWALL: SetSpec(key=_FRONTEND_KEY, data=_VERDICT),
    }
    load_frontend = (nft.load_daddr(nft.R0), nft.load_protocol(nft.R1), nft.load_dport(nft.R2))
    to_node = (*nft.match_local(nft.FIB_DADDR), *nft.match_daddr(_LOOPBACK, inside=False))
    load_port = (nft.load_protocol(nft.R0), nft.load_dport(nft.R1))
    services: tuple[Rule, ...] = (
        (*load_frontend, nft.verdict_map(FRONTENDS)),
        (*to_node, *load_port, nft.verdict_map(NODE_PORTS)),
    )
    unserved: tuple[Rule, ...] = (
        (*load_frontend, nft.verdict_map(UNSERVED)),
        (*to_node, *load_port, nft.verdict_map(UNSERVED_NODE_PORTS)),
        (
            *nft.match_daddr(config.service_cidr),
            *nft.match_local(nft.FIB_DADDR, local=False),
            nft.decide(nft.NFT_GOTO, REFUSE),
        ),
    )
    bit = config.masquerade_bit
    masquerade: tuple[Rule, ...] = (
        (
            *nft.match_mark(bit),
            *nft.clear_mark(bit),
            *nft.match_daddr(config.pod_cidr, inside=False),
            nft.masquerade(),
        ),
    )
    new = nft.key_mark(_CT_STATE_NEW)
    check_new: Rule = (
        nft.load_ct(nft.CT_STATE),
        nft.mask(new),
        nft.not_equal(bytes(4)),
        nft.decide(nft.NFT_JUMP, REFUSE_UNSERVED),
    )
    to_services: Rule = (nft.decide(nft.NFT_JUMP, SERVICES),)
    firewall: Rule = (*load_frontend, nft.verdict_map(FIREWALL))
    chains = {
        SERVICES: Chain(services),
        # TCP learns it by a reset: ICMP errors are rationed for each receiver.
        REFUSE: Chain(((*nft.match_l4proto(PROTOCOLS["TCP"]), nft.reset_tcp()), (nft.reject_unreachable(),))),
        REFUSE_UNSERVED: Chain(unserved),
        "firewall-in": Chain((firewall,), Hook("filter", nft.PREROUTING, PRIORITY_FIREWALL)),
        "services-in": Chain((to_services,), Hook("nat", nft.PREROUTING, nft.PRIORITY_DSTNAT)),
        "services-out": Chain((to_services,), Hook("nat", nft.OUTPUT, nft.PRIORITY_DSTNAT)),
        "masquerade": Chain(masquerade, Hook("nat", nft.POSTROUTING, nft.PRIORITY_SRCNAT)),
        "unserved-in": Chain((check_new,), Hook("filter", nft.INPUT, nft.PRIORITY_FILTER)),
        "unserved-through": Chain((check_new,), Hook("filter", nft.FORWARD, nft.PRIORITY_FILTER)),
        "unserved-out": Chain((check_new,), Hook("filter", nft.OUTPUT, nft.PRIORITY_FILTER)),
    }
    return Table(name=TABLE, sets=sets, chains=chains, elements={})


def is_proxied(service: Service) -> bool:
    """Headless and ExternalName Services, and those another proxy looks after, have no rules."""
    return (
        service.spec.type != "ExternalName"
        and service.spec.clusterIP not in ("", "None")
        and PROXY_NAME_LABEL not in service.metadata.labels
    )


def compile_service(
    service: Service,
    slices: Sequence[EndpointSlice],
    config: ProxyConfig,
    *,
    service_id: int,
    zone: str = "",
) -> Fragment:
    """All rules of one Service. `service_id` is unique among Services and below 2**20."""
    if not is_proxied(service):
        return EMPTY
    build = _Builder(service, config, service_id)
    local_endpoints: set[bytes] = set()
    for index, port in enumerate(service.spec.ports[:PORTS_MAX]):
        targets = select(port, slices, node_name=config.node_name, zone=zone)
        local_endpoints.update(target.address for target in targets.local)
        build.port(index, port, targets)
    return build.fragment(len(local_endpoints))


class _Builder:
    """Collects the chains and elements of one Service."""

    def __init__(self, service: Service, config: ProxyConfig, service_id: int) -> None:
        self._service = service
        self._spec = service.spec
        self._config = config
        self._id = service_id
        self._chains: dict[str, Chain] = {}
        self._sets: dict[str, SetSpec] = {}
        self._elements: dict[str, dict[bytes, Data]] = {}
        self._udp: dict[Frontend, frozenset[bytes]] = {}
        self._affinity_ms = _affinity_ms(service)
        served_here = {address.packed for address in config.served_here}
        self._cluster_ips = [ip for ip in _ipv4(_cluster_ips(service)) if ip not in served_here]
        self._external_ips = list(_ipv4(self._spec.externalIPs))
        self._balancer_ips = list(_ipv4(_balancer_ips(service)))

    def fragment(self, local_endpoints: int) -> Fragment:
        return Fragment(
            chains=self._chains,
            sets=self._sets,
            elements=self._elements,
            udp=self._udp,
            health_port=_health_port(self._service),
            local_endpoints=local_endpoints,
        )

    def port(self, index: int, port: ServicePort, targets: Targets) -> None:
        protocol = PROTOCOLS.get(port.protocol or "TCP")
        if protocol is None:
            return
        metadata = self._service.metadata
        name = f"{metadata.namespace}/{metadata.name}/{(port.protocol or 'TCP').lower()}/{port.port}"
        cluster_chain, local_chain, external_chain = f"svc/{name}", f"lcl/{name}", f"ext/{name}"
        internal_local = self._spec.internalTrafficPolicy == "Local"
        external_local = self._spec.externalTrafficPolicy == "Local"
        exposed = bool(self._external_ips or self._balancer_ips or port.nodePort)

        if targets.cluster and (exposed or not internal_local):
            rules = (self._mark_outsiders(), *self._spread(name, index << 1, targets.cluster))
            self._chains[cluster_chain] = Chain(rules)
        if targets.local and (internal_local or (exposed and external_local)):
            rules = (self._mark_outsiders(),) if internal_local else ()
            self._chains[local_chain] = Chain((*rules, *self._spread(name, index << 1 | 1, targets.local)))
        if exposed and targets.cluster:
            self._chains[external_chain] = Chain(
                self._external_local(cluster_chain, local_chain if targets.local else "")
                if external_local
                else (
                    nft.add_mark(self._config.masquerade_bit),
                    (nft.decide(nft.NFT_GOTO, cluster_chain),),
                )
            )

        inside = targets.local if internal_local else targets.cluster
        for address in self._cluster_ips:
            self._frontend(
                address,
                protocol,
                port.port,
                chain=(local_chain if internal_local else cluster_chain) if inside else "",
                targets=inside,
                drop=internal_local and bool(targets.cluster),
            )
        outside = targets.local if external_local else targets.cluster
        drop = external_local and bool(targets.cluster) and not targets.local
        for address in (*self._external_ips, *self._balancer_ips):
            self._frontend(
                address,
                protocol,
                port.port,
                chain=external_chain if targets.cluster else "",
                targets=outside,
                drop=drop,
            )
        if port.nodePort:
            self._frontend(
                b"",
                protocol,
                port.nodePort,
                chain=external_chain if targets.cluster else "",
                targets=outside,
                drop=drop,
            )
        if self._spec.loadBalancerSourceRanges and self._balancer_ips:
            self._firewall(f"fw/{name}", protocol, port.port)

    def _frontend(
        self, address: bytes, protocol: int, port: int, *, chain: str, targets: tuple[Target, ...], drop: bool
    ) -> None:
        """Lead an address and port to a chain; without a chain, or where it ends without a target, refuse or drop."""
        key = nft.key_proto(protocol) + nft.key_port(port)
        served, unserved = (FRONTENDS, UNSERVED) if address else (NODE_PORTS, UNSERVED_NODE_PORTS)
        if chain:
            self._elements.setdefault(served, {})[address + key] = nft.verdict(nft.NFT_GOTO, chain)
        if not targets:
            refusal = nft.verdict(nft.NF_DROP) if drop else nft.verdict(nft.NFT_GOTO, REFUSE)
            self._elements.setdefault(unserved, {})[address + key] = refusal
        if protocol == PROTOCOLS["UDP"]:
            self._udp[address, port] = frozenset(target.address for target in targets)

    def _external_local(self, cluster_chain: str, local_chain: str) -> tuple[Rule, ...]:
        """Policy Local is for traffic from outside; pods and the node itself may use every endpoint."""
        to_cluster = nft.decide(nft.NFT_GOTO, cluster_chain)
        rules: tuple[Rule, ...] = (
            (*nft.match_saddr(self._config.cluster_cidr), to_cluster),
            (*nft.match_local(nft.FIB_SADDR), *nft.add_mark(self._config.masquerade_bit), to_cluster),
        )
        return (*rules, (nft.decide(nft.NFT_GOTO, local_chain),)) if local_chain else rules

    def _mark_outsiders(self) -> Rule:
        return (
            *nft.match_saddr(self._config.cluster_cidr, inside=False),
            *nft.add_mark(self._config.masquerade_bit),
        )

    def _spread(self, name: str, number: int, targets: tuple[Target, ...]) -> tuple[Rule, ...]:
        """Draw a number and find the endpoint of this number in a map.

        A transaction is atomic for the next packet, not for one that is in the old rule at this moment: it may draw a
        number that the new map lacks. Then the rule has no effect, and the one behind it sends the packet to the first
        endpoint.
        """
        if self._affinity_ms:
            return self._spread_with_affinity(name, number, targets)
        if len(targets) == 1:
            return (_to_target(targets[0]),)
        endpoints = ENDPOINTS[self._id % len(ENDPOINTS)]
        for index, target in enumerate(targets):
            self._elements.setdefault(endpoints, {})[self._pick(number, index)] = nft.value(_packed(target))
        return (
            (
                nft.load_value(nft.key_mark(self._id << 12 | number), nft.R0),
                nft.load_random(len(targets), nft.R1),
                nft.map_to(endpoints, nft.R0),
                nft.dnat(nft.R0, nft.R1),
            ),
            _to_target(targets[0]),
        )

    def _spread_with_affinity(self, name: str, number: int, targets: tuple[Target, ...]) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        chains: list[Rule] = []
        for index, target in enumerate(targets):
            where = f"{name}/{IPv4Address(target.address)}/{target.port}"
            chain, clients = f"ep/{where}", f"aff/{where}"
            self._sets[clients] = SetSpec(
                key=(nft.TYPE_IPV4,), timeout_ms=self._affinity_ms, dynamic=True, size=AFFINITY_CLIENTS_MAX
            )
            remember: Rule = (nft.load_saddr(), nft.update_set(clients, self._affinity_ms))
            self._chains[chain] = Chain((remember, _to_target(target)))
            chains.append((nft.decide(nft.NFT_GOTO, chain),))
            rules.append((nft.load_saddr(), nft.in_set(clients), *chains[-1]))
            self._elements.setdefault(AFFINITY, {})[self._pick(number, index)] = nft.verdict(nft.NFT_GOTO, chain)
        rules.append(
            (
                nft.load_value(nft.key_mark(self._id << 12 | number), nft.R0),
                nft.load_random(len(targets), nft.R1),
                nft.verdict_map(AFFINITY),
            )
        )
        return (*rules, chains[0])

    def _pick(self, number: int, index: int) -> bytes:
        return nft.key_mark(self._id << 12 | number) + nft.key_mark(index)

    def _firewall(self, chain: str, protocol: int, port: int) -> None:
        """loadBalancerSourceRanges: others are dropped before anything else is decided."""
        allowed = [
            IPv4Network(text.strip(), strict=False) for text in self._spec.loadBalancerSourceRanges if ":" not in text
        ]
        accept = nft.decide(nft.NFT_RETURN)
        rules: list[Rule] = [
            (accept,) if network.prefixlen == 0 else (*nft.match_saddr(network), accept) for network in allowed
        ]
        rules.append((nft.decide(nft.NF_DROP),))
        self._chains[chain] = Chain(tuple(rules))
        for address in self._balancer_ips:
            key = address + nft.key_proto(protocol) + nft.key_port(port)
            self._elements.setdefault(FIREWALL, {})[key] = nft.verdict(nft.NFT_GOTO, chain)


def _to_target(target: Target) -> Rule:
    return (
        nft.load_value(target.address, nft.R0),
        nft.load_value(target.port.to_bytes(2, "big"), nft.R1),
        nft.dnat(nft.R0, nft.R1),
    )


def _packed(target: Target) -> bytes:
    return target.address + nft.key_port(target.port)


def _affinity_ms(service: Service) -> int:
    if service.spec.sessionAffinity != "ClientIP":
        return 0
    config = service.spec.sessionAffinityConfig
    seconds = config.clientIP.timeoutSeconds if config is not None and config.clientIP is not None else None
    return (seconds or AFFINITY_DEFAULT_S) * 1000


def _cluster_ips(service: Service) -> Sequence[str]:
    return service.spec.clusterIPs or (service.spec.clusterIP,)


def _balancer_ips(service: Service) -> list[str]:
    if service.spec.type != "LoadBalancer":
        return []
    ingress = service.status.loadBalancer.ingress
    return [entry.ip for entry in ingress if entry.ip and entry.ipMode != "Proxy"]


def _health_port(service: Service) -> int:
    local = service.spec.type == "LoadBalancer" and service.spec.externalTrafficPolicy == "Local"
    return service.spec.healthCheckNodePort if local else 0


def _ipv4(texts: Iterable[str]) -> Iterator[bytes]:
    seen = set()
    for text in texts:
        if ":" not in text and text not in seen:
            seen.add(text)
            yield inet_pton(AF_INET, text)
