"""A tar reader for untrusted streams: ustar, pax (POSIX.1-2001) and GNU long names and sparse files.

Headers are values: `parse_header` and `parse_pax` take bytes and return what they say. `Reader` walks a stream. Only
`LayerFault` escapes. Python's own tarfile costs several times the CPU an entry and builds an object for each one kept.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from edgekube.runtime.images.faults import LayerFault, quoted

BLOCK = 512
PAX_BYTES_MAX = 1024 * 1024
NAME_BYTES_MAX = 4096
SPARSE_SEGMENTS_MAX = 65_536
ZEROS = bytes(BLOCK)

REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_CONTIGUOUS, _GNU_SPARSE, _GNU_LONGNAME, _GNU_LONGLINK = b"7", b"S", b"L", b"K"
_PAX, _PAX_GLOBAL = b"x", b"g"
_KNOWN = frozenset((REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))
_XATTR_PREFIX = "SCHILY.xattr."


class Source(Protocol):
    """A byte stream read in order."""

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the stream."""
        ...

    def skip(self, size: int) -> None: ...


class Header(NamedTuple):
    """One 512-byte block, its numbers decoded."""

    name: bytes
    kind: bytes
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    link: bytes
    major: int
    minor: int
    block: bytes


class Entry(NamedTuple):
    """One member. `size` is the size of the file, `stored` the bytes that follow in the stream (sparse: fewer)."""

    name: bytes
    kind: bytes
    size: int
    stored: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    link: bytes
    major: int
    minor: int
    capability: bytes | None
    segments: tuple[tuple[int, int], ...] | None


def number(field: bytes) -> int:
    """Octal text, or GNU base-256 for what does not fit. Raises LayerFault."""
    if field and field[0] & 0x80:
        value = int.from_bytes(field, "big")
        if field[0] == 0xFF:
            return value - (1 << (8 * len(field)))
        return value & ~(0x80 << (8 * (len(field) - 1)))
    text = field.split(b"\0", 1)[0].strip()
    if not text:
        return 0
    if not text.isdigit():
        raise LayerFault(f"tar header holds {text!r} where a number belongs")
    try:
        return int(text, 8)
    except ValueError:
        raise LayerFault(f"tar header holds {text!r} where an octal number belongs") from None


def parse_header(block: bytes) -> Header:
    """Decode a header block and check its checksum. Raises LayerFault."""
    if len(block) != BLOCK:
        raise LayerFault("tar stream ends in the middle of a header")
    stored = number(block[148:156])
    # The checksum counts its own eight bytes as spaces. Some old writers summed signed bytes.
    total = sum(block) - sum(block[148:156]) + 256
    if total != stored and total - 256 * sum(1 for b in block[:148] + block[156:] if b > 127) != stored:
        raise LayerFault("tar header has a wrong checksum: the stream is damaged or not a tar archive")
    name = block[:100].split(b"\0", 1)[0]
    magic = block[257:263]
    if magic == b"ustar\0" and block[345]:
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    kind = block[156:157]
    size = number(block[124:136])
    if size < 0:
        raise LayerFault(f"tar entry {quoted(name)} has a negative size")
    if kind in (b"\0", REGULAR, _CONTIGUOUS):
        # Before directories had a type, a trailing slash made one.
        kind = DIRECTORY if name.endswith(b"/") else REGULAR
    device = kind in (CHARACTER, BLOCK_DEVICE)
    return Header(
        name=name,
        kind=kind,
        size=size,
        mode=number(block[100:108]),
        uid=number(block[108:116]),
        gid=number(block[116:124]),
        mtime=number(block[136:148]),
        link=block[157:257].split(b"\0", 1)[0],
        major=number(block[329:337]) if device else 0,
        minor=number(block[337:345]) if device else 0,
        block=block,
    )


def parse_pax(data: bytes) -> dict[str, bytes]:
    """The records `LEN KEY=VALUE\\n` of a pax header. GNU sparse 0.0's repeated keys are joined with commas.

    Raises LayerFault.
    """
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        if space < 0 or not data[at:space].isdigit():
            raise LayerFault("pax header record has no length")
        end = at + int(data[at:space])
        if end <= space + 1 or end > len(data) or data[end - 1] != 0x0A:
            raise LayerFault("pax header record has a wrong length")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise LayerFault("pax header record has no key")
        name = key.decode("utf-8", "surrogateescape")
        if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            previous = found.get("GNU.sparse.map")
            found["GNU.sparse.map"] = value if previous is None else previous + b"," + value
        else:
            found[name] = value
        at = end
    return found


def _decimal(value: bytes, what: str) -> int:
    if not value.isdigit() or len(value) > 20:
        raise LayerFault(f"pax header holds {value[:32]!r} for {what}")
    return int(value)


def _mtime_ns(value: bytes) -> int:
    whole, _, fraction = value.partition(b".")
    sign = -1 if whole.startswith(b"-") else 1
    whole = whole.lstrip(b"-")
    if not whole.isdigit() or len(whole) > 20 or (fraction and not fraction.isdigit()):
        raise LayerFault(f"pax header holds {value[:32]!r} for mtime")
    return sign * (int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0")))


def _pairs(numbers: list[int], size: int) -> tuple[tuple[int, int], ...]:
    if len(numbers) % 2 or len(numbers) > 2 * SPARSE_SEGMENTS_MAX:
        raise LayerFault("sparse map is malformed or too long")
    segments = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    at = 0
    for offset, length in segments:
        if offset < at or offset + length > size:
            raise LayerFault("sparse map overlaps itself or passes the end of the file")
        at = offset + length
    return segments


class Reader:
    """Iterates over the entries of a stream. The consumer reads an entry's data with `data` before going on."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0
        self._padding = 0
        self._global: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        pax: dict[str, bytes] = {}
        long_name = long_link = None
        while True:
            self._source.skip(self._left + self._padding)
            self._left = self._padding = 0
            block = self._source.read(BLOCK)
            if not block or block == ZEROS:
                if pax or long_name is not None or long_link is not None:
                    raise LayerFault("tar stream ends after an extension header")
                return
            header = parse_header(block)
            if header.kind in (_PAX, _PAX_GLOBAL):
                records = parse_pax(self._extension(header))
                (pax if header.kind == _PAX else self._global).update(records)
            elif header.kind == _GNU_LONGNAME:
                long_name = self._extension(header).split(b"\0", 1)[0]
            elif header.kind == _GNU_LONGLINK:
                long_link = self._extension(header).split(b"\0", 1)[0]
            else:
                if self._global:
                    pax = {**self._global, **pax}
                if long_name is not None or long_link is not None:
                    header = header._replace(
                        name=header.name if long_name is None else long_name,
                        link=header.link if long_link is None else long_link,
                    )
                yield self._entry(header, pax)
                pax = {}
                long_name = long_link = None

    def data(self, sink: Callable[[bytes], object], *, chunk: int = 131_072) -> None:
        """Hand the current entry's stored bytes to `sink`, piece by piece. Raises LayerFault when they end early."""
        while self._left:
            piece = self._source.read(min(chunk, self._left))
            if not piece:
                raise LayerFault("tar stream ends in the middle of a file")
            self._left -= len(piece)
            sink(piece)

    def take(self, size: int) -> bytes:
        """The next `size` stored bytes of the current entry (sparse segments)."""
        if size > self._left:
            raise LayerFault("sparse map asks for more than the entry holds")
        piece = self._source.read(size)
        if len(piece) != size:
            raise LayerFault("tar stream ends in the middle of a file")
        self._left -= size
        return piece

    def _extension(self, header: Header) -> bytes:
        if header.size > PAX_BYTES_MAX:
            raise LayerFault(f"tar extension header of {header.size} bytes, the limit is {PAX_BYTES_MAX}")
        data = self._source.read(header.size)
        if len(data) != header.size:
            raise LayerFault("tar stream ends in the middle of an extension header")
        self._padding = -header.size % BLOCK
        return data

    def _entry(self, header: Header, pax: Mapping[str, bytes]) -> Entry:
        if not pax and header.kind in _KNOWN:
            stored = header.size if header.kind == REGULAR else 0
            self._left, self._padding = stored, -stored % BLOCK
            _check_names(header.name, header.link)
            return Entry(
                header.name, header.kind, stored, stored, header.mode, header.uid, header.gid,
                header.mtime * 1_000_000_000, header.link, header.major, header.minor, None, None,
            )  # fmt: skip
        return self._extended(header, pax)

    def _extended(self, header: Header, pax: Mapping[str, bytes]) -> Entry:
        name = pax.get("GNU.sparse.name") or pax.get("path") or header.name
        link = pax.get("linkpath") or header.link
        _check_names(name, link)
        sparse = header.kind == _GNU_SPARSE
        if header.kind not in _KNOWN and not sparse:
            raise LayerFault(f"tar entry {quoted(name)} has the unknown type {quoted(header.kind)}")
        stored = _decimal(pax["size"], "size") if pax.get("size") else header.size
        if header.kind != REGULAR and not sparse:
            stored = 0
        self._left, self._padding = stored, -stored % BLOCK
        size, segments = stored, None
        if sparse:
            size, segments = self._gnu_sparse(header)
        elif "GNU.sparse.major" in pax:
            size, segments = self._pax_sparse(pax)
        elif "GNU.sparse.map" in pax:
            size = _decimal(pax.get("GNU.sparse.size", b""), "sparse size")
            segments = _pairs([_decimal(n, "sparse map") for n in pax["GNU.sparse.map"].split(b",")], size)
        return Entry(
            name=name,
            kind=REGULAR if sparse else header.kind,
            size=size,
            stored=self._left,
            mode=header.mode,
            uid=_decimal(pax["uid"], "uid") if pax.get("uid") else header.uid,
            gid=_decimal(pax["gid"], "gid") if pax.get("gid") else header.gid,
            mtime_ns=_mtime_ns(pax["mtime"]) if pax.get("mtime") else header.mtime * 1_000_000_000,
            link=link,
            major=header.major,
            minor=header.minor,
            capability=pax.get(_XATTR_PREFIX + "security.capability"),
            segments=segments,
        )

    def _gnu_sparse(self, header: Header) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Old GNU format: four segments in the header, then blocks of 21 while the flag says so."""
        size = number(header.block[483:495])
        numbers: list[int] = []
        block, at, count, more = header.block, 386, 4, header.block[482]
        while True:
            for i in range(count):
                field = block[at + 24 * i : at + 24 * i + 24]
                if field[0]:
                    numbers += number(field[:12]), number(field[12:])
            if not more:
                return size, _pairs(numbers, size)
            if len(numbers) > 2 * SPARSE_SEGMENTS_MAX:
                raise LayerFault("sparse map is too long")
            block = self._source.read(BLOCK)
            if len(block) != BLOCK:
                raise LayerFault("tar stream ends in the middle of a sparse map")
            at, count, more = 0, 21, block[504]

    def _pax_sparse(self, pax: Mapping[str, bytes]) -> tuple[int, tuple[tuple[int, int], ...]]:
        """GNU sparse 1.0: the map leads the data, one decimal a line, padded to a block."""
        if pax["GNU.sparse.major"] != b"1" or pax.get("GNU.sparse.minor") != b"0":
            raise LayerFault("tar entry uses an unknown version of the sparse format")
        size = _decimal(pax.get("GNU.sparse.realsize", b""), "sparse size")
        numbers: list[int] = []
        expected, rest = None, b""
        while expected is None or len(numbers) < expected:
            *lines, rest = (rest + self.take(BLOCK)).split(b"\n")
            for line in lines:
                if expected is None:
                    expected = 2 * _decimal(line, "sparse map")
                    if expected > 2 * SPARSE_SEGMENTS_MAX:
                        raise LayerFault("sparse map is too long")
                elif len(numbers) < expected:
                    numbers.append(_decimal(line, "sparse map"))
            # What follows the last number is padding.
            if len(rest) > 20 and (expected is None or len(numbers) < expected):
                raise LayerFault("sparse map is malformed")
        return size, _pairs(numbers, size)


def _check_names(name: bytes, link: bytes) -> None:
    if not name or b"\0" in name or b"\0" in link:
        raise LayerFault("tar entry has an empty name or one with a NUL byte")
    if len(name) > NAME_BYTES_MAX or len(link) > NAME_BYTES_MAX:
        raise LayerFault(f"tar entry {quoted(name)} has a name or link longer than {NAME_BYTES_MAX} bytes")
