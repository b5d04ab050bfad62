"""What members ask one another beside Raft's own messages: forwarded writes, and comparisons of their states."""

from enum import IntEnum
from typing import Final

import msgspec

from edgekube.raft.errors import RaftProtocolError
from edgekube.types.unreadable import UNREADABLE


class Propose(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="propose"):
    """Append these commands in `term`, each at most once.

    A command is known by `nonce` (of the asking process) and its number; all numbers below `floor` are settled.
    """

    term: int
    nonce: int
    floor: int
    commands: tuple[tuple[int, bytes], ...]


class Compare(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="compare"):
    """Is this the rolling hash of your state at this revision?"""

    cluster_id: str
    revision: int
    digest: bytes


Request = Propose | Compare


class Verdict(IntEnum):
    """The answer. To `Propose`: all of it is in the log of that term; nothing of it came in by this request, because
    the term is another or writes are refused; some of it may be (ask again). To `Compare`: the last three."""

    ACCEPTED = 0
    NOT_LEADER = 1
    READ_ONLY = 2
    AGAIN = 3
    SAME = 4
    DIFFERENT = 5
    UNKNOWN = 6


class Answer(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A verdict, and why."""

    verdict: Verdict
    reason: str = ""


encode: Final = msgspec.msgpack.Encoder().encode
_request_decoder: Final[msgspec.msgpack.Decoder[Propose | Compare]] = msgspec.msgpack.Decoder(Request)
_answer_decoder: Final = msgspec.msgpack.Decoder(Answer)


def decode_request(data: bytes) -> Request:
    """What a member asks. Raises `RaftProtocolError`."""
    try:
        request: Request = _request_decoder.decode(data)
        return request
    except UNREADABLE as error:
        raise RaftProtocolError(f"{len(data)} bytes are no request: {error}") from error


def decode_answer(data: bytes) -> Answer:
    """What a member answered. Raises `RaftProtocolError`."""
    try:
        return _answer_decoder.decode(data)
    except UNREADABLE as error:
        raise RaftProtocolError(f"{len(data)} bytes are no answer: {error}") from error
