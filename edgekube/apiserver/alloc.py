"""ClusterIPs and NodePorts, given out in the transaction that stores the Service.

Each address and each port in use is a key of its own, created under the guard that it does not exist: two Services
can never hold one, whichever member proposes. Choosing is random within the free part, as Kubernetes does it.
"""

import random
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgspec

from edgekube.apiserver.resources import Resource
from edgekube.store.api import Delete, Guard, Op, Put, Store, prefix_end
from edgekube.types.fieldpath import FieldError, Path, invalid
from edgekube.types.status import ApiError, failure
from edgekube.types.status import invalid as invalid_object

Obj = dict[str, Any]

IP_PREFIX = b"/registry/ranges/serviceips/"
PORT_PREFIX = b"/registry/ranges/servicenodeports/"
DRAWS_MAX = 64  # random tries before the free ones are listed
BAND_SIZE_MIN, BAND_SIZE_MAX = 16, 256  # low addresses kept for those who choose (KEP-3070)


class Allocation(msgspec.Struct, frozen=True):
    guards: Sequence[Guard]
    ops: Sequence[Op]


class Allocator:
    """Fills in and reserves what a Service needs. `allocate` changes the object it is given."""

    def __init__(self, store: Store, service_cidr: str, node_ports: tuple[int, int]) -> None:
        self._store = store
        self._network = IPv4Network(service_cidr)
        self._ports = node_ports
        self._random = random.SystemRandom()

    @staticmethod
    def concerns(res: Resource) -> bool:
        return res.strategy == "service"

    def allocate(self, res: Resource, new: Obj, old: Obj | None) -> Allocation | None:
        """Reservations a write of `new` needs; None for kinds that need none. Raises ApiError 422."""
        if res.strategy != "service":
            return None
        claims = _Claims(self._store, self._owner(new))
        held = _held(old) if old is not None else (set[str](), set[int]())
        self._fill_families(new)
        self._addresses(new, claims, held[0])
        self._node_ports(new, claims, held[1])
        wanted = _held(new)
        for address in held[0] - wanted[0]:
            claims.release(IP_PREFIX + address.encode())
        for port in held[1] - wanted[1]:
            claims.release(PORT_PREFIX + str(port).encode())
        return claims.done()

    def release(self, res: Resource, last: Obj) -> Allocation | None:
        if res.strategy != "service":
            return None
        claims = _Claims(self._store, self._owner(last))
        addresses, ports = _held(last)
        for address in addresses:
            claims.release(IP_PREFIX + address.encode())
        for port in ports:
            claims.release(PORT_PREFIX + str(port).encode())
        return claims.done()

    @staticmethod
    def _owner(obj: Obj) -> bytes:
        metadata = obj["metadata"]
        return f"{metadata.get('namespace', '')}/{metadata['name']}".encode()

    def _fill_families(self, new: Obj) -> None:
        spec = new["spec"]
        if spec.get("type") == "ExternalName":
            for key in ("ipFamilies", "ipFamilyPolicy", "clusterIP", "clusterIPs"):
                spec.pop(key, None)
            return
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def _addresses(self, new: Obj, claims: "_Claims", held: set[str]) -> None:
        spec = new["spec"]
        if spec.get("type") == "ExternalName":
            return
        address = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or []), "")
        if address == "None":
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
            return
        if not address:
            address = self._free_address(claims)
        elif address not in held:
            self._check_address(new, address, claims)
        spec["clusterIP"] = address
        spec["clusterIPs"] = [address]
        if address not in held:
            claims.take(IP_PREFIX + address.encode())

    def _check_address(self, new: Obj, address: str, claims: "_Claims") -> None:
        path = Path("spec", "clusterIPs") / 0
        try:
            inside = IPv4Address(address) in self._network
        except ValueError:
            inside = False
        if not inside:
            raise _refused(
                new,
                invalid(
                    path,
                    [address],
                    f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. "
                    f"The range of valid IPs is {self._network}",
                ),
            )
        if claims.taken(IP_PREFIX + address.encode()):
            raise _refused(
                new, invalid(path, [address], f"failed to allocate IP {address}: provided IP is already allocated")
            )

    def _free_address(self, claims: "_Claims") -> str:
        size = self._network.num_addresses - 2
        first = int(self._network.network_address) + 1
        band = min(max(size // 16, BAND_SIZE_MIN), BAND_SIZE_MAX) if size > BAND_SIZE_MIN else 0
        for _ in range(DRAWS_MAX):
            address = str(IPv4Address(first + self._random.randrange(band, size)))
            if not claims.taken(IP_PREFIX + address.encode()):
                return address
        for offset in (*range(band, size), *range(band)):
            address = str(IPv4Address(first + offset))
            if not claims.taken(IP_PREFIX + address.encode()):
                return address
        raise failure(500, "InternalError", "Internal error occurred: failed to allocate a serviceIP: range is full")

    def _node_ports(self, new: Obj, claims: "_Claims", held: set[int]) -> None:
        spec = new["spec"]
        kind = spec.get("type", "ClusterIP")
        balanced = kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
        wants = kind == "NodePort" or balanced
        ports = spec.get("ports") or []
        if kind in ("ClusterIP", "ExternalName"):
            for port in ports:
                port.pop("nodePort", None)
        chosen: dict[int, str] = {}
        by_protocol: dict[int, set[str]] = {}
        for index, port in enumerate(ports):
            number = port.get("nodePort", 0)
            if not number:
                continue
            chosen[number] = port.get("protocol", "TCP")
            # One number may serve two protocols of one port.
            if number not in held and number not in by_protocol:
                self._check_port(new, number, index, claims)
                claims.take(PORT_PREFIX + str(number).encode())
            by_protocol.setdefault(number, set()).add(port.get("protocol", "TCP"))
        if wants:
            for port in ports:
                if port.get("nodePort"):
                    continue
                protocol = port.get("protocol", "TCP")
                shared = next(
                    (p["nodePort"] for p in ports
                     if p.get("nodePort") and p["port"] == port["port"]
                     and protocol not in by_protocol.get(p["nodePort"], set())),
                    0,
                )  # fmt: skip
                number = shared or self._free_port(claims)
                port["nodePort"] = number
                by_protocol.setdefault(number, set()).add(protocol)
                if not shared:
                    claims.take(PORT_PREFIX + str(number).encode())
        if kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            number = spec.get("healthCheckNodePort", 0)
            if not number:
                number = spec["healthCheckNodePort"] = self._free_port(claims)
                claims.take(PORT_PREFIX + str(number).encode())
            elif number not in held:
                if claims.taken(PORT_PREFIX + str(number).encode()):
                    raise _refused(
                        new,
                        invalid(Path("spec", "healthCheckNodePort"), number, "provided port is already allocated"),
                    )
                claims.take(PORT_PREFIX + str(number).encode())
        else:
            spec.pop("healthCheckNodePort", None)

    def _check_port(self, new: Obj, number: int, index: int, claims: "_Claims") -> None:
        path = Path("spec", "ports") / index / "nodePort"
        low, high = self._ports
        if not low <= number <= high:
            raise _refused(
                new,
                invalid(
                    path, number, f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
                ),
            )
        if claims.taken(PORT_PREFIX + str(number).encode()):
            raise _refused(new, invalid(path, number, "provided port is already allocated"))

    def _free_port(self, claims: "_Claims") -> int:
        low, high = self._ports
        for _ in range(DRAWS_MAX):
            number = self._random.randint(low, high)
            if not claims.taken(PORT_PREFIX + str(number).encode()):
                return number
        for number in range(low, high + 1):
            if not claims.taken(PORT_PREFIX + str(number).encode()):
                return number
        raise failure(500, "InternalError", "Internal error occurred: failed to allocate a nodePort: range is full")

    def in_use(self) -> tuple[int, int]:
        """(addresses, ports) reserved now."""
        return (
            self._store.count(IP_PREFIX, prefix_end(IP_PREFIX)),
            self._store.count(PORT_PREFIX, prefix_end(PORT_PREFIX)),
        )


class _Claims:
    """The keys one write takes and gives back."""

    def __init__(self, store: Store, owner: bytes) -> None:
        self._store = store
        self._owner = owner
        self._take: set[bytes] = set()
        self._release: set[bytes] = set()

    def taken(self, key: bytes) -> bool:
        if key in self._take:
            return True
        kv = self._store.get(key)
        return kv is not None and kv.value != self._owner

    def take(self, key: bytes) -> None:
        kv = self._store.get(key)
        if kv is None:
            self._take.add(key)

    def release(self, key: bytes) -> None:
        self._release.add(key)

    def done(self) -> Allocation:
        return Allocation(
            [Guard(key) for key in sorted(self._take)],
            [*(Put(key, self._owner) for key in sorted(self._take)), *(Delete(key) for key in sorted(self._release))],
        )


def _held(obj: Obj) -> tuple[set[str], set[int]]:
    """(addresses, node ports) a Service holds."""
    spec = obj.get("spec") or {}
    addresses = {a for a in (spec.get("clusterIP"), *(spec.get("clusterIPs") or ())) if a and a != "None"}
    ports = {p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        ports.add(spec["healthCheckNodePort"])
    return addresses, ports


def _refused(obj: Obj, problem: FieldError) -> ApiError:
    return invalid_object("", "Service", obj["metadata"]["name"], [problem])
