"""Rolling upgrades of whole stores: every start of a member runs a program of one version (`sim_machine`).

Operators restart one member after the other with the next version, which writes commands of its own form when all
members read it. Some operators do not wait for all: then a member of the present version stops at the first command it
cannot read, has changed nothing, and goes on where it stopped once it is upgraded, too.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final, Protocol

from edgekube.store import command as commands
from edgekube.store.api import Guard, Op
from edgekube.testing import sim_machine
from edgekube.testing.sim_trio import Patches


class Program(Protocol):
    """What runs at one member."""

    version: int

    @property
    def form(self) -> int:
        """The version in whose form it writes commands."""
        ...


PROGRAM: Final[ContextVar[Program | None]] = ContextVar("simulated program", default=None)


def simulate_versions(patches: Patches) -> None:
    """Until the patches are undone, commands are read and written as `PROGRAM` does."""
    right_encode, right_forwarded, right_decode = commands.encode, commands.forwarded, commands.decode

    def encode(guards: Sequence[Guard], ops: Sequence[Op], fence: int = 0) -> tuple[commands.Command, bytes]:
        command, data = right_encode(guards, ops, fence)
        return command, _written(data)

    def forwarded(command: commands.Command, nonce: int, sequence: int) -> bytes:
        return _written(right_forwarded(command, nonce, sequence))

    def decode(data: bytes) -> commands.Command:
        program = PROGRAM.get()
        return right_decode(data if program is None else sim_machine.plain(data, program.version))

    patches.set(commands, "encode", encode)
    patches.set(commands, "forwarded", forwarded)
    patches.set(commands, "decode", decode)


def _written(data: bytes) -> bytes:
    program = PROGRAM.get()
    return data if program is None else sim_machine.encode(data, program.form)
