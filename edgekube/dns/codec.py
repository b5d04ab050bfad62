"""DNS messages (RFC 1035, EDNS0 of RFC 6891), as much of them as a cluster's server needs. No I/O.

Bytes in, values out and back. `DnsError` is the only exception that hostile bytes can cause. Names are tuples of
labels, lower-cased; a query's question is echoed byte by byte, so the case a client used comes back to it.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

NAME_BYTES_MAX: Final = 255
LABEL_BYTES_MAX: Final = 63
RECORDS_MAX: Final = 1024  # of one upstream message
UDP_BYTES_MIN: Final = 512
UDP_BYTES_MAX: Final = 1232  # what passes every path without fragments (DNS flag day 2020)
TCP_BYTES_MAX: Final = 65535

A, NS, CNAME, SOA, PTR, HINFO, MX, TXT, AAAA, SRV, OPT, IXFR, AXFR, ANY = (
    *(1, 2, 5, 6, 12, 13, 15, 16, 28, 33, 41, 251, 252, 255),
)
IN: Final = 1

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
_OPCODE: Final = 0x7800
_DO: Final = 0x8000

_HEADER: Final = struct.Struct(">HHHHHH")
_FIXED: Final = struct.Struct(">HHIH")  # type, class, ttl, rdlength
_POINTER: Final = 0xC0
_COMPRESSED_TYPES: Final = frozenset({NS, CNAME, PTR})

Name = tuple[bytes, ...]


class DnsError(ValueError):
    """A message that is none. `rcode` is what its sender should be told."""

    def __init__(self, message: str, rcode: int = FORMERR) -> None:
        super().__init__(message)
        self.rcode = rcode


class Query(NamedTuple):
    """One question. `question` are its bytes in the message; `payload` is the client's EDNS size, 0 without EDNS."""

    id: int
    flags: int
    name: Name
    type: int
    question: bytes
    payload: int = 0
    dnssec_ok: bool = False

    @property
    def udp_limit(self) -> int:
        return min(max(self.payload, UDP_BYTES_MIN), UDP_BYTES_MAX)


class Record(NamedTuple):
    """`rdata` is in wire form without compression."""

    name: Name
    type: int
    ttl: int
    rdata: bytes


class Response(NamedTuple):
    """An answer from upstream: `raw` goes on as it is, the rest tells whether and how long it may be kept."""

    id: int
    flags: int
    rcode: int
    name: Name
    type: int
    answers: tuple[Record, ...]
    ttl_offsets: tuple[int, ...]
    ttl: int  # the smallest of all records; of a negative answer the SOA's say (RFC 2308); 0: do not keep
    raw: bytes

    @property
    def truncated(self) -> bool:
        return bool(self.flags & TC)


def name_of(text: str) -> Name:
    """`a.b.c` or `a.b.c.` as a name. Raises DnsError."""
    stripped = text.rstrip(".").lower()
    labels = tuple(stripped.encode().split(b".")) if stripped else ()
    if any(not 0 < len(label) <= LABEL_BYTES_MAX for label in labels) or len(encode_name(labels)) > NAME_BYTES_MAX:
        raise DnsError(f"{text!r} is no domain name")
    return labels


def text_of(name: Name) -> str:
    return ".".join(label.decode("latin-1") for label in name) + "."


def encode_name(name: Name) -> bytes:
    """Uncompressed wire form."""
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def parse_query(data: bytes) -> Query | None:
    """A query, or None for what must not be answered (responses, fragments of a header). Raises DnsError."""
    if len(data) < _HEADER.size:
        return None
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & QR:
        return None
    if flags & _OPCODE:
        raise DnsError("only standard queries are served", NOTIMP)
    if questions != 1 or answers or authorities or additional > 2:
        raise DnsError("a query has one question and nothing but OPT and TSIG besides")
    name, at = _read_name(data, _HEADER.size, pointers=False)
    if at + 4 > len(data):
        raise DnsError("the question ends early")
    kind, class_ = struct.unpack_from(">HH", data, at)
    at += 4
    question = data[_HEADER.size : at]
    if class_ != IN or kind in (AXFR, IXFR):
        raise DnsError("only the Internet class is served, and no zone transfers", REFUSED)
    payload, dnssec_ok = 0, False
    for _ in range(additional):
        owner, at = _read_name(data, at, pointers=True)
        kind_, size, extended, length, at = _read_fixed(data, at)
        if kind_ == OPT:
            if owner or payload:
                raise DnsError("a message has at most one OPT record, at the root")
            if extended >> 16 & 0xFF:
                raise DnsError("only EDNS version 0 is spoken", BADVERS)
            payload, dnssec_ok = max(size, UDP_BYTES_MIN), bool(extended & _DO)
        at += length
    return Query(number, flags, name, kind, question, payload, dnssec_ok)


def parse_response(data: bytes) -> Response:
    """An upstream answer. Raises DnsError."""
    if len(data) < _HEADER.size:
        raise DnsError("shorter than a header")
    number, flags, questions, *counts = _HEADER.unpack_from(data)
    if not flags & QR or questions != 1:
        raise DnsError("not an answer to one question")
    if sum(counts) > RECORDS_MAX:
        raise DnsError(f"more than {RECORDS_MAX} records")
    name, at = _read_name(data, _HEADER.size, pointers=False)
    if at + 4 > len(data):
        raise DnsError("the question ends early")
    kind = struct.unpack_from(">H", data, at)[0]
    at += 4
    answers: list[Record] = []
    offsets: list[int] = []
    ttls: list[int] = []
    negative_ttl = 0
    for section, count in enumerate(counts):
        for _ in range(count):
            owner, at = _read_name(data, at, pointers=True)
            kind_, _class, ttl, length, at = _read_fixed(data, at)
            if kind_ != OPT:
                offsets.append(at - 6)
                ttls.append(ttl if ttl < 1 << 31 else 0)
            if section == 0:
                answers.append(Record(owner, kind_, ttl, _plain_rdata(data, kind_, at, length)))
            elif section == 1 and kind_ == SOA and length >= 22:
                negative_ttl = min(ttl, struct.unpack_from(">I", data, at + length - 4)[0])
            at += length
    rcode = flags & 0xF
    keep = min(ttls, default=0) if answers else negative_ttl
    return Response(number, flags, rcode, name, kind, tuple(answers), tuple(offsets), keep, data)


def encode_query(number: int, name: Name, kind: int, *, edns: bool, dnssec_ok: bool = False) -> bytes:
    """A recursive query as the forwarder sends it; EDNS only for a client that speaks it."""
    opt = b"\0" + struct.pack(">HHIH", OPT, UDP_BYTES_MAX, _DO if dnssec_ok else 0, 0) if edns else b""
    return _HEADER.pack(number, RD, 1, 0, 0, 1 if edns else 0) + encode_name(name) + struct.pack(">HH", kind, IN) + opt


def encode_response(
    query: Query,
    rcode: int = NOERROR,
    answers: Iterable[Record] = (),
    authority: Iterable[Record] = (),
    additional: Iterable[Record] = (),
    *,
    limit: int,
    authoritative: bool = True,
) -> bytes:
    """The answer in at most `limit` bytes: additional records go first, TC says that answers did not fit."""
    opt = b"" if not query.payload else b"\0" + struct.pack(">HHIH", OPT, UDP_BYTES_MAX, _extended(query, rcode), 0)
    packer = _Packer(query, limit - len(opt))
    flags = QR | RA | (query.flags & (RD | CD)) | (AA if authoritative else 0) | (rcode & 0xF)
    truncated = False
    counts = []
    for required, section in ((True, answers), (True, authority), (False, additional)):
        written = 0
        for record in section:
            if truncated or not packer.add(record):
                truncated = truncated or required
                break
            written += 1
        counts.append(written)
    if truncated:
        flags |= TC
    counts[2] += 1 if opt else 0
    return _HEADER.pack(query.id, flags, 1, *counts) + bytes(packer.body) + opt


def error_reply(data: bytes, rcode: int) -> bytes:
    """The answer to a query that could not be parsed: its id and no question. `data` has at least a header."""
    number, flags = struct.unpack_from(">HH", data)
    reply = _HEADER.pack(number, QR | (flags & (_OPCODE | RD)) | (rcode & 0xF), 0, 0, 0, 1 if rcode > 0xF else 0)
    if rcode > 0xF:
        reply += b"\0" + struct.pack(">HHIH", OPT, UDP_BYTES_MAX, (rcode >> 4) << 24, 0)
    return reply


def with_id_and_age(raw: bytes, query: Query, offsets: Sequence[int], age_s: int) -> bytes:
    """A kept upstream answer for another client: its id, its spelling of the question, TTLs counted down."""
    fresh = bytearray(raw)
    struct.pack_into(">H", fresh, 0, query.id)
    end = _HEADER.size + len(query.question)
    fresh[_HEADER.size : end] = query.question
    if age_s:
        for offset in offsets:
            ttl = struct.unpack_from(">I", fresh, offset)[0]
            struct.pack_into(">I", fresh, offset, max(0, ttl - age_s))
    return bytes(fresh)


class _Packer:
    """Appends records within a limit; owner names are compressed against everything written before."""

    def __init__(self, query: Query, limit: int) -> None:
        self.body = bytearray(query.question)
        self._limit = limit - _HEADER.size
        self._offsets: dict[Name, int] = {}
        self._remember(query.name, _HEADER.size)

    def add(self, record: Record) -> bool:
        start = len(self.body)
        suffix = next((cut for cut in range(len(record.name)) if record.name[cut:] in self._offsets), None)
        plain = record.name if suffix is None else record.name[:suffix]
        encoded = b"".join(bytes((len(label),)) + label for label in plain)
        if suffix is None:
            encoded += b"\0"
        else:
            encoded += struct.pack(">H", _POINTER << 8 | self._offsets[record.name[suffix:]])
        encoded += _FIXED.pack(record.type, IN, record.ttl, len(record.rdata)) + record.rdata
        if start + len(encoded) > self._limit:
            return False
        self.body += encoded
        self._remember(record.name, _HEADER.size + start, len(plain))
        return True

    def _remember(self, name: Name, offset: int, labels: int | None = None) -> None:
        for cut in range(len(name) if labels is None else labels):
            if offset < 0x4000:
                self._offsets.setdefault(name[cut:], offset)
            offset += 1 + len(name[cut])


def _extended(query: Query, rcode: int) -> int:
    return (rcode >> 4) << 24 | (_DO if query.dnssec_ok else 0)


def _read_fixed(data: bytes, at: int) -> tuple[int, int, int, int, int]:
    """(type, class, ttl, length, offset of the data); the data lies within the message."""
    if at + _FIXED.size > len(data):
        raise DnsError("a record ends early")
    kind, class_, ttl, length = _FIXED.unpack_from(data, at)
    at += _FIXED.size
    if at + length > len(data):
        raise DnsError("a record's data ends early")
    return kind, class_, ttl, length, at


def _plain_rdata(data: bytes, kind: int, at: int, length: int) -> bytes:
    if kind not in _COMPRESSED_TYPES:
        return data[at : at + length]
    return encode_name(_read_name(data, at, pointers=True)[0])


def _read_name(data: bytes, at: int, *, pointers: bool) -> tuple[Name, int]:
    """A name and the offset behind it. Pointers must lead backwards, so that every chain of them ends."""
    labels: list[bytes] = []
    size = 1
    end = -1
    lowest = at
    while True:
        if at >= len(data):
            raise DnsError("a name ends early")
        length = data[at]
        if length >= _POINTER:
            if not pointers or at + 1 >= len(data):
                raise DnsError("a compression pointer where none may be")
            target = (length & 0x3F) << 8 | data[at + 1]
            if end < 0:
                end = at + 2
            if target >= lowest or target < _HEADER.size:
                raise DnsError("a compression pointer does not lead backwards")
            at = lowest = target
            continue
        if length > LABEL_BYTES_MAX:
            raise DnsError("a label of an unknown kind")
        at += 1
        if length == 0:
            return tuple(labels), at if end < 0 else end
        size += 1 + length
        if size > NAME_BYTES_MAX or at + length > len(data):
            raise DnsError("a name is too long")
        labels.append(data[at : at + length].lower())
        at += length
