"""How members reach one another: the interface between a driver and whatever carries its bytes.

Raft's own messages may be lost, late or doubled, but what arrives is what was sent, and `from_` is who sent it: the
transport authenticates its peers and refuses messages that claim another sender. Requests (a forwarded write, a
comparison) get an answer or `PeerUnavailable`, which says nothing about whether they were acted upon. Snapshots travel
apart from messages, so that no heartbeat waits behind one.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol

from edgekube.raft.errors import RaftError
from edgekube.raft.messages import MSG_APP, MSG_PROP, Message

# One message: an append of one entry as large as a log segment, with room for what stands around it.
MESSAGE_SIZE_BYTES_MAX: Final = 5 * 1024 * 1024
REQUEST_SIZE_BYTES_MAX: Final = 5 * 1024 * 1024
SNAPSHOT_CHUNK_BYTES_MAX: Final = 8 * 1024 * 1024

_BULK: Final = frozenset({MSG_APP, MSG_PROP})


class PeerUnavailable(RaftError):
    """A member could not be reached, or fell silent before it answered. What was asked may have happened or not."""


class Receiver(Protocol):
    """What a member gives to its transport."""

    @property
    def cluster_id(self) -> str:
        """The cluster this member belongs to; empty before it has joined one."""
        ...

    def receive(self, peer: int, message: Message) -> None:
        """A message arrived from `peer`, who is authenticated. Never waits, never raises."""
        ...

    async def answer(self, peer: int, request: bytes) -> bytes:
        """Act on a request of `peer`. Runs in a task of the transport's."""
        ...

    async def take_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Take in a snapshot; returns once it is complete, checked and handed on. Raises `RaftError` to refuse it."""
        ...

    def unreachable(self, peer: int) -> None:
        """Messages to `peer` were dropped: its queue is full, or its connection broke."""
        ...


class Transport(Protocol):
    """One member's way to the others."""

    async def run(self, receiver: Receiver) -> None:
        """Serve until cancelled. Called once, in a task of the member's."""
        ...

    def set_peers(self, addresses: Mapping[int, bytes]) -> None:
        """Who the others are now, and where; whoever is not named any more is let go."""
        ...

    def send(self, message: Message) -> None:
        """Send to `message.to`, soon or never. Never waits."""
        ...

    async def request(self, peer: int, body: bytes) -> bytes:
        """Ask `peer`, at most once, and wait for its answer. Raises `PeerUnavailable`; every wait has a deadline."""
        ...

    async def send_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Send a snapshot and wait until it was taken. Raises `PeerUnavailable`; gives up on a peer that stalls."""
        ...


class NoTransport:
    """The transport of a member that is alone: everybody is unavailable."""

    async def run(self, receiver: Receiver) -> None:
        """Nothing ever arrives."""

    def set_peers(self, addresses: Mapping[int, bytes]) -> None:
        """There are none."""

    def send(self, message: Message) -> None:
        """Lost."""

    async def request(self, peer: int, body: bytes) -> bytes:
        """Raises `PeerUnavailable`."""
        raise PeerUnavailable(f"member {peer} cannot be reached: this member has no transport")

    async def send_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Raises `PeerUnavailable`."""
        raise PeerUnavailable(f"member {peer} cannot be reached: this member has no transport")


def is_bulk(message: Message) -> bool:
    """Whether a message carries entries, and so has to wait for the others: heartbeats, votes, answers."""
    return message.type in _BULK and bool(message.entries)
