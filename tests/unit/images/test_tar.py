import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.runtime.images import tar
from edgekube.runtime.images.faults import LayerFault
from edgekube.runtime.images.tree import parts_of
from edgekube.runtime.images.unpack import Limits, Stream
from edgekube.testing.images import File, compress, folder, layer_tar, symlink


class Bytes:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def skip(self, size: int) -> None:
        self._file.seek(size, io.SEEK_CUR)


def read_all(data: bytes) -> list[tuple[tar.Entry, bytes]]:
    reader = tar.Reader(Bytes(data))
    found = []
    for entry in reader:
        pieces: list[bytes] = []
        if entry.segments is None:
            reader.data(pieces.append)
        found.append((entry, b"".join(pieces)))
    return found


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_entries(format: int) -> None:
    files = [
        folder("d", uid=1, gid=2, mtime=5),
        File("d/f", b"x" * 700, 0o4755),
        symlink("d/l", "../t"),
        File("a" * 90 + "/" + "b" * 60, b"y"),
        File("dev", kind=tarfile.CHRTYPE, major=1, minor=3),
    ]
    found = read_all(layer_tar(files, format=format))
    assert [entry.name.rstrip(b"/") for entry, _ in found] == [each.path.encode() for each in files]
    assert [data for _, data in found] == [each.data for each in files]
    assert (found[0][0].uid, found[0][0].gid, found[0][0].mtime_ns) == (1, 2, 5_000_000_000)
    assert found[2][0].link == b"../t"
    assert (found[4][0].major, found[4][0].minor) == (1, 3)


def test_a_file_with_a_trailing_slash_is_a_folder() -> None:
    """As in tars from before directories had a type."""
    [(entry, _)] = read_all(altered(0, b"old/\0", file=File("a")))
    assert (entry.kind, entry.stored) == (tar.DIRECTORY, 0)


def test_data_may_be_left_unread() -> None:
    names = [entry.name for entry in tar.Reader(Bytes(layer_tar([File("a", b"x" * 5000), File("b", b"y")])))]
    assert names == [b"a", b"b"]


def test_large_numbers() -> None:
    [(entry, _)] = read_all(layer_tar([File("a", uid=2**31, gid=2**32 - 3)], format=tarfile.GNU_FORMAT))
    assert (entry.uid, entry.gid) == (2**31, 2**32 - 3)


def test_pax_records() -> None:
    assert tar.parse_pax(b"11 path=ab\n13 xattr=c=d\n") == {"path": b"ab", "xattr": b"c=d"}
    assert tar.parse_pax(b"26 GNU.sparse.offset=1024\n28 GNU.sparse.numbytes=2048\n") == {
        "GNU.sparse.map": b"1024,2048"
    }


@pytest.mark.parametrize(
    "data", [b"x", b"5 a=b\n", b"99 a=b\n", b"-6 a=b\n", b"6 a=bc", b"4 a\n", b"4 =\n", b"0 a=b\n", b"6a=b\n"]
)
def test_pax_refused(data: bytes) -> None:
    with pytest.raises(LayerFault):
        tar.parse_pax(data)


def altered(offset: int, value: bytes, *, file: File = File("a", b"x")) -> bytes:
    """A tar whose first header has other bytes at `offset`, its checksum made right again."""
    data = bytearray(layer_tar([file], format=tarfile.USTAR_FORMAT))
    data[offset : offset + len(value)] = value
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        altered(124, b"9" * 11),
        altered(124, b"\xff" * 12),
        altered(156, b"Z"),
        altered(0, bytes(100)),
        altered(100, b"rwxrwx\0"),
        layer_tar([File("a", b"x")])[:300],
        layer_tar([File("a", b"x" * 5000)])[:1024],
        b"\1" + layer_tar([File("a", b"x")])[1:],
        b"x" * 512,
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(LayerFault):
        read_all(data)


def test_extension_header_without_an_entry() -> None:
    whole = layer_tar([File("n" * 200, b"")], format=tarfile.GNU_FORMAT)
    with pytest.raises(LayerFault, match="after an extension header"):
        read_all(whole[:1024] + bytes(1024))


def test_huge_extension_header() -> None:
    with pytest.raises(LayerFault, match="the limit is"):
        read_all(altered(124, b"00077777777", file=File("a", kind=b"L")))


HEADERS = layer_tar([File("a" * 150, b"data"), symlink("b", "c"), File("s", uid=2**33)])


@given(st.binary(max_size=1500))
def test_noise(data: bytes) -> None:
    try:
        read_all(data)
    except LayerFault:
        pass


@given(st.lists(st.tuples(st.integers(0, len(HEADERS) - 1), st.integers(0, 255)), max_size=6), st.booleans())
def test_flipped_bytes(changes: list[tuple[int, int]], repair: bool) -> None:
    data = bytearray(HEADERS)
    for at, value in changes:
        data[at] = value
    if repair:
        for block in range(0, len(data), 512):
            if data[block + 257 : block + 262] == b"ustar":
                data[block + 148 : block + 156] = b" " * 8
                data[block + 148 : block + 156] = b"%06o\0 " % sum(data[block : block + 512])
    try:
        for entry, _ in read_all(bytes(data)):
            parts_of(entry.name)
    except LayerFault:
        pass


@given(st.binary(max_size=200))
def test_pax_noise(data: bytes) -> None:
    try:
        tar.parse_pax(data)
    except LayerFault:
        pass


@given(st.sampled_from(["gzip", "zstd", "none"]), st.integers(0, 400), st.binary(max_size=40))
def test_compressed_noise(how: str, cut: int, junk: bytes) -> None:
    whole = compress(HEADERS, how)
    damaged = whole[:cut] + junk + whole[cut + len(junk) :]
    try:
        stream = Stream(io.BytesIO(damaged), Limits(), hash_input=True)
        for _ in tar.Reader(stream):
            pass
        stream.drain()
    except LayerFault:
        pass


@given(st.binary(max_size=60))
def test_parts_stay_inside(name: bytes) -> None:
    try:
        parts = parts_of(name)
    except LayerFault:
        return
    assert not {b"", b".", b".."} & set(parts)
    assert not any(b"/" in part for part in parts)
