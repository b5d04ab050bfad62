"""The cluster's names: Kubernetes DNS-Based Service Discovery 1.1.0 out of Services, EndpointSlices and Namespaces.

Answers are computed from the informers at the time of the question; nothing is kept, so nothing is ever stale.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from struct import pack
from typing import Final, NamedTuple

from edgekube.client.api import Informer
from edgekube.dns.codec import (
    AAAA,
    ANY,
    CNAME,
    NOERROR,
    NS,
    NXDOMAIN,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    DnsError,
    Name,
    Record,
    encode_name,
    name_of,
)
from edgekube.types.core_v1 import Namespace, Service
from edgekube.types.discovery_v1 import Endpoint, EndpointSlice

SCHEMA_VERSION: Final = b"1.1.0"
TTL_S: Final = 5
NEGATIVE_TTL_S: Final = 5
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
SLICES_BY_SERVICE: Final = "dns/service"
SLICES_BY_ADDRESS: Final = "dns/address"
SERVICES_BY_ADDRESS: Final = "dns/cluster-ip"

Network = IPv4Network | IPv6Network


class Answer(NamedTuple):
    """What is known about a name. `chase` is the outside name an ExternalName leads to."""

    rcode: int = NOERROR
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    chase: Name = ()


NODATA: Final = Answer()
NO_SUCH_NAME: Final = Answer(rcode=NXDOMAIN)


class Zone:
    """The cluster domain and the reverse names of the cluster's own addresses.

    domain: `cluster.local`; server: the address clients know this DNS by; networks: ranges whose reverse names nobody
    else is asked about.
    """

    def __init__(
        self,
        *,
        services: Informer[Service],
        slices: Informer[EndpointSlice],
        namespaces: Informer[Namespace],
        domain: str,
        server: IPv4Address,
        networks: Sequence[Network],
    ) -> None:
        self._services = services
        self._slices = slices
        self._namespaces = namespaces
        self.domain = name_of(domain)
        self._server = server
        self._networks = tuple(networks)
        slices.add_index(SLICES_BY_SERVICE, _service_key)
        slices.add_index(SLICES_BY_ADDRESS, _addresses)
        services.add_index(SERVICES_BY_ADDRESS, _cluster_ips)

    def soa(self) -> Record:
        """For negative answers; its last number is how long they may be kept."""
        primary, mailbox = (b"ns", b"dns", *self.domain), (b"hostmaster", *self.domain)
        numbers = pack(">IIIII", 1, 7200, 1800, 86400, NEGATIVE_TTL_S)
        return Record(self.domain, SOA, NEGATIVE_TTL_S, encode_name(primary) + encode_name(mailbox) + numbers)

    def lookup(self, name: Name, kind: int) -> Answer | None:
        """The answer, or None when the name is somebody else's."""
        reversed_address = address_of(name)
        if reversed_address is not None:
            return self._reverse(name, reversed_address, kind)
        depth = len(self.domain)
        if name[-depth:] != self.domain:
            return None
        try:
            labels = tuple(label.decode("ascii") for label in name[: len(name) - depth])
        except UnicodeDecodeError:
            return NO_SUCH_NAME
        return self._forward(name, labels, kind)

    def _forward(self, name: Name, labels: tuple[str, ...], kind: int) -> Answer:
        match labels:
            case ():
                return self._apex(name, kind)
            case ("dns-version",):
                return _pick(kind, (Record(name, TXT, TTL_S, bytes((len(SCHEMA_VERSION),)) + SCHEMA_VERSION),))
            case ("ns", "dns"):
                return _pick(kind, _address_records(name, (str(self._server),)))
            case ("svc",) | ("pod",) | ("dns",):
                return NODATA
            case (*_, "svc"):
                return self._service_name(name, labels[:-1], kind)
            case (*_, "pod"):
                return self._pod_name(name, labels[:-1], kind)
        return NO_SUCH_NAME

    def _apex(self, name: Name, kind: int) -> Answer:
        server = (b"ns", b"dns", *self.domain)
        if kind == NS:
            glue = _address_records(server, (str(self._server),))
            return Answer(records=(Record(name, NS, TTL_S, encode_name(server)),), additional=tuple(glue))
        return _pick(kind, (self.soa(),))

    def _service_name(self, name: Name, labels: tuple[str, ...], kind: int) -> Answer:
        namespace = labels[-1]
        if len(labels) == 1:
            return NODATA if self._namespaces.get("", namespace) is not None else NO_SUCH_NAME
        service = self._services.get(namespace, labels[-2])
        if service is None:
            return NO_SUCH_NAME
        rest = labels[:-2]
        if service.spec.type == "ExternalName":
            return self._external(name, rest, service)
        match rest:
            case ():
                return _pick(kind, _address_records(name, self._service_addresses(service)))
            case (protocol,) if protocol in _PROTOCOLS:
                known = any((port.protocol or "TCP") == _PROTOCOLS[protocol] for port in service.spec.ports)
                return NODATA if known else NO_SUCH_NAME
            case (hostname,):
                addresses = self._endpoint_addresses(service, hostname)
                return _pick(kind, _address_records(name, addresses)) if addresses else NO_SUCH_NAME
            case (port, protocol) if port.startswith("_") and protocol in _PROTOCOLS:
                return self._srv(name, service, port[1:], _PROTOCOLS[protocol], kind)
        return NO_SUCH_NAME

    def _external(self, name: Name, rest: tuple[str, ...], service: Service) -> Answer:
        if rest:
            return NO_SUCH_NAME
        try:
            target = name_of(service.spec.externalName)
        except DnsError:
            return NODATA
        return Answer(records=(Record(name, CNAME, TTL_S, encode_name(target)),), chase=target)

    def _service_addresses(self, service: Service) -> list[str]:
        if not _is_headless(service):
            return list(_cluster_ips(service))
        return sorted({address for endpoint, _ in self._endpoints(service) for address in endpoint.addresses})

    def _endpoint_addresses(self, service: Service, hostname: str) -> list[str]:
        """A pod by its hostname (StatefulSets) or, without one, by its address in dashes: headless Services only."""
        if not _is_headless(service):
            return []
        return sorted(
            {
                address
                for endpoint, _ in self._endpoints(service)
                for address in endpoint.addresses
                if _endpoint_label(endpoint, address) == hostname
            }
        )

    def _srv(self, name: Name, service: Service, port_name: str, protocol: str, kind: int) -> Answer:
        metadata = service.metadata
        base = (metadata.name.encode(), metadata.namespace.encode(), b"svc", *self.domain)
        records: list[Record] = []
        additional: list[Record] = []
        if not _is_headless(service):
            for port in service.spec.ports:
                if port.name == port_name and (port.protocol or "TCP") == protocol:
                    records.append(_srv_record(name, port.port, base))
                    additional += _address_records(base, _cluster_ips(service))
        else:
            for endpoint, piece in self._endpoints(service):
                for endpoint_port in piece.ports:
                    wanted = (endpoint_port.name or "", endpoint_port.protocol or "TCP") == (port_name, protocol)
                    if not wanted or endpoint_port.port is None:
                        continue
                    for address in endpoint.addresses:
                        target = (_endpoint_label(endpoint, address).encode(), *base)
                        records.append(_srv_record(name, endpoint_port.port, target))
                        additional += _address_records(target, (address,))
        if not records:
            return NO_SUCH_NAME
        if kind not in (SRV, ANY):
            return NODATA
        return Answer(records=tuple(dict.fromkeys(records)), additional=tuple(dict.fromkeys(additional)))

    def _pod_name(self, name: Name, labels: tuple[str, ...], kind: int) -> Answer:
        """`1-2-3-4.namespace.pod`: the address it spells, as CoreDNS's insecure mode; pods are not looked up."""
        if self._namespaces.get("", labels[-1]) is None:
            return NO_SUCH_NAME
        match labels:
            case (_,):
                return NODATA
            case (dashed, _):
                for text in (dashed.replace("-", "."), dashed.replace("-", ":")):
                    try:
                        return _pick(kind, _address_records(name, (str(ip_address(text)),)))
                    except ValueError:
                        continue
        return NO_SUCH_NAME

    def _reverse(self, name: Name, address: IPv4Address | IPv6Address, kind: int) -> Answer | None:
        text = str(address)
        targets: list[Name] = [
            (service.metadata.name.encode(), service.metadata.namespace.encode(), b"svc", *self.domain)
            for service in self._services.by_index(SERVICES_BY_ADDRESS, text)
        ]
        for piece in self._slices.by_index(SLICES_BY_ADDRESS, text):
            owner = piece.metadata.labels.get(SERVICE_NAME_LABEL, "")
            service = self._services.get(piece.metadata.namespace, owner)
            if service is None or not _is_headless(service):
                continue
            targets += [
                (
                    _endpoint_label(endpoint, text).encode(),
                    owner.encode(),
                    piece.metadata.namespace.encode(),
                    b"svc",
                    *self.domain,
                )
                for endpoint in piece.endpoints
                if text in endpoint.addresses and _is_ready(endpoint)
            ]
        if targets:
            return _pick(kind, [Record(name, PTR, TTL_S, encode_name(target)) for target in dict.fromkeys(targets)])
        return NO_SUCH_NAME if any(address in network for network in self._networks) else None

    def _endpoints(self, service: Service) -> Iterable[tuple[Endpoint, EndpointSlice]]:
        key = f"{service.metadata.namespace}/{service.metadata.name}"
        for piece in self._slices.by_index(SLICES_BY_SERVICE, key):
            if piece.addressType in ("IPv4", "IPv6"):
                for endpoint in piece.endpoints:
                    if _is_ready(endpoint):
                        yield endpoint, piece


_PROTOCOLS: Final = {"_tcp": "TCP", "_udp": "UDP", "_sctp": "SCTP"}


def address_of(name: Name) -> IPv4Address | IPv6Address | None:
    """The address whose reverse name this is."""
    try:
        if name[-2:] == (b"in-addr", b"arpa") and len(name) == 6:
            return IPv4Address(b".".join(reversed(name[:4])).decode("ascii"))
        if name[-2:] == (b"ip6", b"arpa") and len(name) == 34 and all(len(label) == 1 for label in name[:32]):
            return IPv6Address(int(b"".join(reversed(name[:32])), 16))
    except ValueError:
        return None
    return None


def _pick(kind: int, records: Iterable[Record]) -> Answer:
    """The records of the type asked for; the name exists in any case."""
    return Answer(records=tuple(record for record in records if kind in (record.type, ANY)))


def _address_records(name: Name, addresses: Iterable[str]) -> list[Record]:
    found = (ip_address(address) for address in addresses)
    return [Record(name, A if address.version == 4 else AAAA, TTL_S, address.packed) for address in found]


def _srv_record(name: Name, port: int, target: Name) -> Record:
    return Record(name, SRV, TTL_S, pack(">HHH", 0, 100, port) + encode_name(target))


def _is_headless(service: Service) -> bool:
    return service.spec.clusterIP == "None"


def _is_ready(endpoint: Endpoint) -> bool:
    """publishNotReadyAddresses shows as ready in the EndpointSlice itself."""
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _endpoint_label(endpoint: Endpoint, address: str) -> str:
    return endpoint.hostname or address.replace(".", "-").replace(":", "-")


def _service_key(piece: EndpointSlice) -> list[str]:
    name = piece.metadata.labels.get(SERVICE_NAME_LABEL)
    return [f"{piece.metadata.namespace}/{name}"] if name else []


def _addresses(piece: EndpointSlice) -> list[str]:
    if SERVICE_NAME_LABEL not in piece.metadata.labels or piece.addressType not in ("IPv4", "IPv6"):
        return []
    return [address for endpoint in piece.endpoints for address in endpoint.addresses]


def _cluster_ips(service: Service) -> list[str]:
    found = service.spec.clusterIPs or (service.spec.clusterIP,)
    return [address for address in found if address not in ("", "None")]
