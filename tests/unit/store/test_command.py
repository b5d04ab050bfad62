"""What may be proposed, and how it is written down."""

import msgspec
import pytest

from edgekube.store import command as commands
from edgekube.store.api import Delete, Guard, GuardKind, Put, TooLarge

MIB = 1024 * 1024


def test_a_command_survives_its_encoding() -> None:
    command, data = commands.encode(
        [Guard(b"/a", 7), Guard(b"/b", kind=GuardKind.EXISTS)], [Put(b"/a", b"{}", 1), Delete(b"/c", b"x")], 5
    )
    assert commands.decode(data) == command
    assert msgspec.msgpack.decode(data)[:2] == [1, 5]


@pytest.mark.parametrize(
    ("ops", "error"),
    [
        ([Put(b"", b"")], ValueError),
        ([Put(b"\0x", b"")], ValueError),
        ([Put(b"k" * 501, b"")], TooLarge),
        ([Put(b"k", bytes(3 * MIB + 1))], TooLarge),
        ([Put(b"k", bytes(2 * MIB)), Put(b"l", bytes(2 * MIB))], TooLarge),
        ([Put(b"k%d" % n, b"") for n in range(129)], TooLarge),
        ([Put(b"k", b""), Delete(b"k")], ValueError),
        ([Put(b"k", b"abc", 4)], ValueError),
    ],
)
def test_limits_are_kept(ops: list[Put | Delete], error: type[Exception]) -> None:
    with pytest.raises(error):
        commands.encode([], ops)


def test_the_revision_is_spliced_in() -> None:
    assert commands.spliced(Put(b"k", b'{"v":""}', 6), 123) == b'{"v":"123"}'
    assert commands.spliced(Put(b"k", b"ab", 2), 7) == b"ab7"
    assert commands.spliced(Put(b"k", b"ab"), 7) == b"ab"


@pytest.mark.parametrize("data", [b"", b"\xc0", msgspec.msgpack.encode([2, 0, [], []]), msgspec.msgpack.encode([1, 0])])
def test_an_unknown_command_stops_the_member(data: bytes) -> None:
    with pytest.raises(commands.UnknownCommand, match="upgrade"):
        commands.decode(data)
