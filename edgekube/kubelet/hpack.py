"""Reads HTTP/2 header blocks (RFC 7541), as far as a client needs that forbids the peer a dynamic table.

Only what a health probe looks at is kept: literal names, and the static table's `:status`. Bytes in, values out.
"""

from functools import cache

STATUS_OF = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}  # static table, Appendix A
STATUS_NAME = 8
STRING_BYTES_MAX = 16 * 1024
INTEGER_BYTES_MAX = 5
EOS = 256
# Appendix B: the symbols by length of their code in bits. The code is canonical: each one is the one before plus one,
# in the order of (length, symbol).
CODE_LENGTHS = {
    5: "48-50 97 99 101 105 111 115-116",
    6: "32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117",
    7: "58 66-87 89 106-107 113 118-122",
    8: "38 42 44 59 88 90",
    10: "33-34 40-41 63",
    11: "39 43 124",
    12: "35 62",
    13: "0 36 64 91 93 126",
    14: "94 125",
    15: "60 96 123",
    19: "92 195 208",
    20: "128 130-131 162 184 194 224 226",
    21: "153 161 167 172 176-177 179 209 216-217 227 229-230",
    22: "129 132-134 136 146 154 156 160 163-164 169-170 173 178 181 185-187 189-190 196 198 228 232-233",
    23: "1 135 137-141 143 147 149-152 155 157-158 165-166 168 174-175 180 182-183 188 191 197 231 239",
    24: "9 142 144-145 148 159 171 206 215 225 236-237",
    25: "199 207 234-235",
    26: "192-193 200-202 205 210 213 218-219 238 240 242-243 255",
    27: "203-204 211-212 214 221-223 241 244-248 250-254",
    28: "2-8 11-12 14-21 23-31 127 220 249",
    30: "10 13 22 256",
}


class HeaderError(Exception):
    """The peer sent a header block that does not follow RFC 7541, or one larger than we read."""


def _symbols(ranges: str) -> list[int]:
    found: list[int] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@cache
def _codes() -> dict[tuple[int, int], int]:
    """(length, code) to symbol."""
    table: dict[tuple[int, int], int] = {}
    code = length = 0
    for bits, ranges in CODE_LENGTHS.items():
        code <<= bits - length
        length = bits
        for symbol in _symbols(ranges):
            table[bits, code] = symbol
            code += 1
    return table


def huffman_decode(data: bytes) -> bytes:
    """Section 5.2. Raises HeaderError for EOS inside, or padding that is not the beginning of EOS."""
    table = _codes()
    result = bytearray()
    code = length = 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            length += 1
            symbol = table.get((length, code))
            if symbol == EOS or length > 30:
                raise HeaderError("EOS inside a Huffman string")
            if symbol is not None:
                result.append(symbol)
                code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise HeaderError("bad padding of a Huffman string")
    return bytes(result)


class _Block:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def peek(self) -> int:
        return self._data[self._at]

    def integer(self, bits: int) -> int:
        """Section 5.1."""
        mask = (1 << bits) - 1
        value = self._byte() & mask
        if value < mask:
            return value
        for index in range(INTEGER_BYTES_MAX):
            byte = self._byte()
            value += (byte & 0x7F) << 7 * index
            if not byte & 0x80:
                return value
        raise HeaderError("an integer longer than any we read")

    def string(self) -> bytes:
        """Section 5.2."""
        if not self:
            raise HeaderError("the header block ends too soon")
        huffman = bool(self.peek() & 0x80)
        size = self.integer(7)
        if size > STRING_BYTES_MAX or self._at + size > len(self._data):
            raise HeaderError(f"a header string of {size} bytes")
        raw = self._data[self._at : self._at + size]
        self._at += size
        return huffman_decode(raw) if huffman else raw

    def _byte(self) -> int:
        if not self:
            raise HeaderError("the header block ends too soon")
        self._at += 1
        return self._data[self._at - 1]


def read_headers(block: bytes) -> dict[str, str]:
    """`:status` and all headers with a literal name. Raises HeaderError."""
    headers: dict[str, str] = {}
    left = _Block(block)
    while left:
        first = left.peek()
        if first & 0x80:  # indexed
            index = left.integer(7)
            if index in STATUS_OF:
                headers[":status"] = STATUS_OF[index]
            elif not 1 <= index <= 61:
                raise HeaderError("a reference to a dynamic table, which was forbidden")
            continue
        if first & 0xE0 == 0x20:  # the peer acknowledges our table size
            left.integer(5)
            continue
        index = left.integer(6 if first & 0x40 else 4)
        name = left.string().decode("latin-1").lower() if index == 0 else ""
        value = left.string().decode("utf-8", "replace")
        if STATUS_NAME <= index <= max(STATUS_OF):
            headers[":status"] = value
        elif name:
            headers[name] = value
    return headers
