"""The bytes of a log entry: one transaction, as versioned msgpack.

Layout: `[1, fence, guards, ops]`, each guard and op an array (`Guard`, `Put`, `Delete` of `api.py`). Version 2 adds
`nonce, sequence`: the member that forwarded the transaction to the leader knows it again by them when it is applied.
They change nothing in the state. A member that meets a newer version stops: guessing would make its state differ from
its peers'.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from edgekube.store.api import (
    KEY_SIZE_BYTES_MAX,
    TXN_OPS_MAX,
    VALUE_SIZE_BYTES_MAX,
    Delete,
    Guard,
    Op,
    Put,
    StoreError,
    TooLarge,
)
from edgekube.types.unreadable import UNREADABLE

VERSION: Final = 1
VERSION_FORWARDED: Final = 2

# One entry must fit one log segment (4 MiB) together with its framing and a segment's opening records.
COMMAND_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024 - 64 * 1024

# A spliced revision is at most the digits of 2**63 - 1.
_SPLICE_BYTES_MAX: Final = 19

RESERVED_PREFIX: Final = b"\x00"
"""Keys below b"\\x01" belong to the store itself."""


class UnknownCommand(StoreError):
    """A command of a newer version: this member must be upgraded before it can take it."""


class Command(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One transaction as it stands in the log. `fence` other than 0 is the only term it may be applied under."""

    version: int
    fence: int
    guards: tuple[Guard, ...]
    ops: tuple[Op, ...]


class ForwardedCommand(Command, frozen=True, gc=False, array_like=True):
    """A transaction that came by way of another member, with that member's mark."""

    nonce: int
    sequence: int


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Command)
_forwarded_decoder: Final = msgspec.msgpack.Decoder(ForwardedCommand)


def encode(guards: Sequence[Guard], ops: Sequence[Op], fence: int = 0) -> tuple[Command, bytes]:
    """Check a transaction against the limits and encode it.

    Raises TooLarge over a limit, ValueError for a key that is empty or reserved, written twice, or a splice offset
    outside its value.
    """
    if len(ops) > TXN_OPS_MAX or len(guards) > TXN_OPS_MAX:
        raise TooLarge(f"a transaction holds at most {TXN_OPS_MAX} guards and operations: split it")
    for guard in guards:
        _check_key(guard.key)
    if len(ops) > 1 and len({op.key for op in ops}) != len(ops):
        raise ValueError("a transaction may write a key only once")
    for op in ops:
        _check_key(op.key)
        size = len(op.value)
        if op.splice >= 0:
            if op.splice > size:
                raise ValueError(f"splice offset {op.splice} of key {op.key!r} is outside its value of {size} bytes")
            size += _SPLICE_BYTES_MAX
        if size > VALUE_SIZE_BYTES_MAX:
            raise TooLarge(f"the value of {op.key!r} has {size} bytes; the limit is {VALUE_SIZE_BYTES_MAX}")
    command = Command(VERSION, fence, tuple(guards), tuple(ops))
    data = _encoder.encode(command)
    if len(data) > COMMAND_SIZE_BYTES_MAX:
        raise TooLarge(f"the transaction has {len(data)} bytes; the limit is {COMMAND_SIZE_BYTES_MAX}: split it")
    return command, data


def forwarded(command: Command, nonce: int, sequence: int) -> bytes:
    """The bytes of a transaction, checked by `encode` before, that is sent to the leader under this mark."""
    return _encoder.encode(
        ForwardedCommand(VERSION_FORWARDED, command.fence, command.guards, command.ops, nonce, sequence)
    )


def decode(data: bytes) -> Command:
    """The command in an entry's data. Raises UnknownCommand for a version this program does not know."""
    try:
        command = _decoder.decode(data)
        if command.version == VERSION_FORWARDED:
            return _forwarded_decoder.decode(data)
    except UNREADABLE as error:
        raise UnknownCommand(_newer(data)) from error
    if command.version != VERSION:
        raise UnknownCommand(_newer(data))
    return command


def spliced(op: Put | Delete, revision: int) -> bytes:
    """The operation's value with the decimal `revision` inserted at its splice offset, if it has one."""
    if op.splice < 0:
        return op.value
    return b"%b%d%b" % (op.value[: op.splice], revision, op.value[op.splice :])


def _check_key(key: bytes) -> None:
    if not key or key[:1] == RESERVED_PREFIX:
        raise ValueError(f"key {key!r} is empty or begins with a zero byte, which the store keeps for itself")
    if len(key) > KEY_SIZE_BYTES_MAX:
        raise TooLarge(f"a key of {len(key)} bytes; the limit is {KEY_SIZE_BYTES_MAX}")


def _newer(data: bytes) -> str:
    return (
        f"this member's version of EdgeKube cannot read a command (it begins with {data[:8].hex()}): "
        "upgrade this member to the version of the member that wrote it"
    )
