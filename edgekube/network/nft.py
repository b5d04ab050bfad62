"""nftables as values, and their wire form (linux/netfilter/nf_tables.h): tables, chains, sets, rules of expressions.

A rule is a tuple of encoded expressions, so two rulesets are compared as bytes. Matching works on registers: a key of
several fields is loaded into consecutive 4-byte registers from R0 on, every field padded to four bytes.
"""

import sys
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Final

import msgspec

from edgekube.network.tlv import attr, attr_be32, attr_be64, attr_str, nest

NFPROTO_IPV4: Final = 2

R0, R1, R2, R3 = 8, 9, 10, 11  # NFT_REG32_00 and following
VERDICT_REGISTER = 0

# Hooks and the priorities of their traditional users.
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT = -100, 0, 100

NF_DROP, NF_ACCEPT = 0, 1
NFT_JUMP, NFT_GOTO, NFT_RETURN = -3, -4, -5

SET_ANONYMOUS, SET_CONSTANT, SET_INTERVAL, SET_MAP, SET_TIMEOUT, SET_EVAL = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20

# Data types as nft(8) numbers them: only for people who read `nft list`; the kernel looks at lengths.
TYPE_IPV4, TYPE_INET_PROTO, TYPE_INET_SERVICE, TYPE_MARK = 7, 12, 13, 19
TYPE_VERDICT = 0xFFFFFF00

META_MARK, META_IIFNAME, META_OIFNAME, META_L4PROTO = 3, 6, 7, 16
CT_STATE, CT_STATUS = 0, 2
CT_STATUS_DNAT = 1 << 5
FIB_SADDR, FIB_DADDR = 1, 2
RTN_LOCAL = 2

Expr = bytes
Rule = tuple[Expr, ...]
Data = bytes  # of a map element: `value()` or `verdict()`


class SetSpec(msgspec.Struct, frozen=True):
    """A set, or a map when `data_type` is given. `key` lists the data types of the (concatenated) key."""

    key: tuple[int, ...]
    data: tuple[int, ...] = ()
    timeout_ms: int = 0
    dynamic: bool = False  # rules add elements
    size: int = 0  # 0: unlimited; dynamic sets need a limit

    @property
    def verdict_map(self) -> bool:
        return self.data == (TYPE_VERDICT,)


class Hook(msgspec.Struct, frozen=True):
    kind: str  # filter, nat
    number: int
    priority: int
    policy: int = NF_ACCEPT


class Chain(msgspec.Struct, frozen=True):
    rules: tuple[Rule, ...]
    hook: Hook | None = None


class Table(msgspec.Struct, frozen=True):
    """All of a table but what the kernel adds by itself (elements of dynamic sets)."""

    name: str
    sets: Mapping[str, SetSpec]
    chains: Mapping[str, Chain]
    elements: Mapping[str, Mapping[bytes, Data]]
    family: int = NFPROTO_IPV4


_LENGTH = {TYPE_IPV4: 4, TYPE_INET_PROTO: 4, TYPE_INET_SERVICE: 4, TYPE_MARK: 4}


def type_number(types: tuple[int, ...]) -> int:
    """nft's number of a concatenated type: six bits a field."""
    number = 0
    for kind in types:
        number = kind if kind == TYPE_VERDICT else number << 6 | kind
    return number


def type_length(types: tuple[int, ...]) -> int:
    """Bytes of a key or value. A lone field has its own length, concatenated ones are padded to four."""
    if len(types) == 1:
        return {TYPE_INET_PROTO: 1, TYPE_INET_SERVICE: 2}.get(types[0], 4)
    return sum(_LENGTH[kind] for kind in types)


# Element keys and data


def key_ip(address: IPv4Address) -> bytes:
    return address.packed


def key_proto(number: int) -> bytes:
    return bytes((number, 0, 0, 0))


def key_port(port: int) -> bytes:
    return port.to_bytes(2, "big") + b"\0\0"


def key_mark(number: int) -> bytes:
    return number.to_bytes(4, _BYTE_ORDER)


def value(data: bytes) -> Data:
    return attr(1, data)


def verdict(code: int, chain: str = "") -> Data:
    attrs = attr_be32(1, code)
    if chain:
        attrs += attr_str(2, chain)
    return nest(2, attrs)


# Expressions


def _expr(name: str, *attrs: bytes) -> Expr:
    return nest(1, attr_str(1, name), nest(2, *attrs))


def load_meta(key: int, register: int = R0) -> Expr:
    return _expr("meta", attr_be32(2, key), attr_be32(1, register))


def set_mark_from(register: int = R0) -> Expr:
    return _expr("meta", attr_be32(2, META_MARK), attr_be32(3, register))


def load_ct(key: int, register: int = R0) -> Expr:
    return _expr("ct", attr_be32(2, key), attr_be32(1, register))


def load_saddr(register: int = R0) -> Expr:
    return _payload(1, 12, 4, register)


def load_daddr(register: int = R0) -> Expr:
    return _payload(1, 16, 4, register)


def load_protocol(register: int = R0) -> Expr:
    """The IPv4 header's protocol field."""
    return _payload(1, 9, 1, register)


def load_dport(register: int = R0) -> Expr:
    """Destination port of TCP, UDP and SCTP alike (`th dport`)."""
    return _payload(2, 2, 2, register)


def _payload(base: int, offset: int, length: int, register: int) -> Expr:
    return _expr("payload", attr_be32(1, register), attr_be32(2, base), attr_be32(3, offset), attr_be32(4, length))


def load_address_type(flags: int, register: int = R0) -> Expr:
    """`fib saddr|daddr type`."""
    return _expr("fib", attr_be32(3, flags), attr_be32(2, 3), attr_be32(1, register))


def load_random(modulus: int, register: int = R0) -> Expr:
    """`numgen random mod N`."""
    return _expr("numgen", attr_be32(1, register), attr_be32(2, modulus), attr_be32(3, 1), attr_be32(4, 0))


def load_value(data: bytes, register: int = R0) -> Expr:
    return _expr("immediate", attr_be32(1, register), nest(2, value(data)))


def mask(bits: bytes, register: int = R0, xor: bytes = b"") -> Expr:
    """register = register & bits ^ xor"""
    return _expr(
        "bitwise",
        attr_be32(1, register),
        attr_be32(2, register),
        attr_be32(3, len(bits)),
        nest(4, value(bits)),
        nest(5, value(xor or bytes(len(bits)))),
    )


def equal(data: bytes, register: int = R0) -> Expr:
    return _compare(0, data, register)


def not_equal(data: bytes, register: int = R0) -> Expr:
    return _compare(1, data, register)


def _compare(operation: int, data: bytes, register: int = R0) -> Expr:
    """0 equal, 1 not equal, 2 less, 3 at most, 4 greater, 5 at least; numbers in network order."""
    return _expr("cmp", attr_be32(1, register), attr_be32(2, operation), nest(3, value(data)))


def port_range(first: int, last: int) -> Rule:
    """The two bytes in the first register lie within these ports."""
    if first == last:
        return (equal(first.to_bytes(2, "big")),)
    return (_compare(5, first.to_bytes(2, "big")), _compare(3, last.to_bytes(2, "big")))


def in_set(name: str, register: int = R0) -> Expr:
    return _expr("lookup", attr_str(1, name), attr_be32(2, register))


def map_to(name: str, target: int, register: int = R0) -> Expr:
    """Look the key up in a map; no match ends the rule."""
    return _expr("lookup", attr_str(1, name), attr_be32(2, register), attr_be32(3, target))


def verdict_map(name: str, register: int = R0) -> Expr:
    return map_to(name, VERDICT_REGISTER, register)


def update_set(name: str, timeout_ms: int, register: int = R0) -> Expr:
    """Add the register to a dynamic set, or start its time anew."""
    return _expr("dynset", attr_str(1, name), attr_be32(3, 1), attr_be32(4, register), attr_be64(6, timeout_ms))


def dnat(address: int, port: int) -> Expr:
    """Destination from two registers."""
    return _expr(
        "nat",
        attr_be32(1, 1),
        attr_be32(2, NFPROTO_IPV4),
        attr_be32(3, address),
        attr_be32(5, port),
    )


def masquerade() -> Expr:
    return _expr("masq")


def reject_unreachable() -> Expr:
    """ICMP port unreachable."""
    return _expr("reject", attr_be32(1, 0), attr(2, b"\x03"))


def reset_tcp() -> Expr:
    return _expr("reject", attr_be32(1, 1), attr(2, b"\0"))


def decide(code: int, chain: str = "") -> Expr:
    return _expr("immediate", attr_be32(1, VERDICT_REGISTER), nest(2, verdict(code, chain)))


# Matches made of them


def interface_name(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def match_iif(name: str) -> Rule:
    return (load_meta(META_IIFNAME), equal(interface_name(name)))


def match_oif(name: str) -> Rule:
    return (load_meta(META_OIFNAME), equal(interface_name(name)))


def match_saddr(network: IPv4Network, *, inside: bool = True) -> Rule:
    return (load_saddr(), *network_match(network, inside=inside))


def match_daddr(network: IPv4Network, *, inside: bool = True) -> Rule:
    return (load_daddr(), *network_match(network, inside=inside))


def match_l4proto(number: int) -> Rule:
    return (load_meta(META_L4PROTO), equal(bytes((number,))))


def match_local(flags: int, *, local: bool = True) -> Rule:
    """The source or destination address is (not) one of the node's own."""
    number = RTN_LOCAL.to_bytes(4, _BYTE_ORDER)
    return (load_address_type(flags), equal(number) if local else not_equal(number))


def match_mark(bit: int) -> Rule:
    return (load_meta(META_MARK), mask(key_mark(bit)), not_equal(bytes(4)))


def add_mark(bit: int) -> Rule:
    """`meta mark set meta mark or bit`: the other users' bits stay."""
    keep = key_mark(0xFFFFFFFF & ~bit)
    return (load_meta(META_MARK), mask(keep, xor=key_mark(bit)), set_mark_from())


def clear_mark(bit: int) -> Rule:
    return (load_meta(META_MARK), mask(key_mark(0xFFFFFFFF & ~bit)), set_mark_from())


def network_match(network: IPv4Network, *, inside: bool) -> Rule:
    """Compare the address in the first register; it is masked in place, so load it again for a second comparison."""
    compare = equal if inside else not_equal
    if network.prefixlen == 32:
        return (compare(network.network_address.packed),)
    return (mask(network.netmask.packed), compare(network.network_address.packed))


_BYTE_ORDER: Final = sys.byteorder
