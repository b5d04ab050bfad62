"""Two versions of the replicated state machine, for rolling upgrades in simulations.

The next version reads what the present one writes and also commands of its own form. A leader may write those only when
every member reads them; a member that meets one too early stops (`UnknownCommand`), as the store promises.
"""

from typing import Final

from edgekube.store import command as commands

OLD: Final = 1
NEW: Final = 2

_MARK: Final = b"\xc1new"  # no msgpack begins with 0xc1


def encode(command: bytes, version: int) -> bytes:
    """A command in the form of a version."""
    return command if version == OLD else _MARK + command[::-1]


def plain(data: bytes, version: int) -> bytes:
    """A command in the present form, if `version` reads the form it has; else as it is."""
    return data[len(_MARK) :][::-1] if version >= NEW and data.startswith(_MARK) else data


def decode(data: bytes, version: int) -> commands.Command:
    """The command in an entry, as a member of `version` reads it. Raises UnknownCommand."""
    return commands.decode(plain(data, version))
