"""Members connected by byte streams: `transport.Transport` over whatever dials and accepts them.

Each member dials each other one and sends on that connection; answers to its requests come back on it. Two queues lie
before a connection: what is urgent (heartbeats, votes, acknowledgements) always goes first, and what is large goes in
parts that let it pass. A queue that is full drops, as does a connection that breaks, and the core is told
(`Receiver.unreachable`); it repeats what matters. A snapshot has a connection of its own, at its own pace.
"""

import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from itertools import count
from random import Random
from typing import Final

import trio

from edgekube.raft import frames
from edgekube.raft.errors import RaftError, RaftProtocolError
from edgekube.raft.frames import FrameReader, Hello
from edgekube.raft.messages import Message, decode_message, encode_message
from edgekube.raft.transport import PeerUnavailable, Receiver, is_bulk

URGENT_COUNT_MAX: Final = 1024
BULK_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
REQUESTS_MAX: Final = 64  # of one peer, being answered at a time
DIAL_TIMEOUT_S: Final = 3.0
SEND_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 10.0
SNAPSHOT_SEND_TIMEOUT_S: Final = 30.0
SNAPSHOT_TAKE_TIMEOUT_S: Final = 120.0
RETRY_MIN_S: Final = 0.1
RETRY_MAX_S: Final = 2.0
_READ_BYTES: Final = 64 * 1024
# How far urgent frames may have to wait behind what the kernel holds already.
_UNSENT_BYTES: Final = 64 * 1024

_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError)

Dial = Callable[[int, bytes], Awaitable[trio.abc.Stream]]
"""Connect to a member at an address; raises OSError or trio.BrokenResourceError."""

Identify = Callable[[trio.abc.Stream], Awaitable[Collection[int] | None]]
"""Whom the far end of an accepted stream has proved to be; None: its word is taken (no authentication)."""


async def dial_tcp(member: int, address: bytes) -> trio.abc.Stream:
    """Connect to `host:port`, without authentication."""
    host, _, port = address.decode().rpartition(":")
    stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
    # A peer that loses its power answers nothing, not even with an error.
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_TIMEOUT_S * 1000))
    with suppress(OSError):
        stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25), _UNSENT_BYTES)
    return stream


async def _word_taken(stream: trio.abc.Stream) -> None:
    return None


class _Peer:
    """What waits to be sent to one member, and what it was asked."""

    def __init__(self, member: int, address: bytes) -> None:
        self.member = member
        self.address = address
        self.urgent: deque[bytes] = deque()
        self.bulk: deque[Iterator[bytes]] = deque()
        self.bulk_size = 0
        self.asked: dict[int, Callable[[bytes | None], None]] = {}
        self.lot = trio.lowlevel.ParkingLot()
        self.connected = False
        self.scope = trio.CancelScope()

    def clear(self) -> None:
        """The connection is gone, and with it everything that waited for it."""
        self.urgent.clear()
        self.bulk.clear()
        self.bulk_size = 0
        asked, self.asked = self.asked, {}
        for answered in asked.values():
            answered(None)


class StreamTransport:
    """One member's connections. `serve` takes the streams its listener accepts; `run` dials the others."""

    def __init__(
        self,
        member: int,
        *,
        dial: Dial = dial_tcp,
        identify: Identify = _word_taken,
        random: Random | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._member = member
        self._dial = dial
        self._identify = identify
        self._random = random or Random()
        self._note = note
        self._peers: dict[int, _Peer] = {}
        self._receiver: Receiver | None = None
        self._nursery: trio.Nursery | None = None
        self._numbers = count(1)
        self.dropped = 0
        """Messages that were not sent, for want of room or of a connection."""

    # -- Transport

    async def run(self, receiver: Receiver) -> None:
        """See `Transport.run`."""
        self._receiver = receiver
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for peer in self._peers.values():
                    nursery.start_soon(self._run_peer, peer)
                await trio.sleep_forever()
        finally:
            self._nursery = self._receiver = None

    def set_peers(self, addresses: Mapping[int, bytes]) -> None:
        """See `Transport.set_peers`. Members without an address are not dialled."""
        wanted = {member: address for member, address in addresses.items() if member != self._member and address}
        for member, peer in list(self._peers.items()):
            if wanted.get(member) != peer.address:
                peer.scope.cancel()
                del self._peers[member]
        for member, address in wanted.items():
            if member not in self._peers:
                peer = self._peers[member] = _Peer(member, address)
                if self._nursery is not None:
                    self._nursery.start_soon(self._run_peer, peer)

    def send(self, message: Message) -> None:
        """See `Transport.send`."""
        peer = self._peers.get(message.to)
        if peer is None or not peer.connected:
            self.dropped += 1
            return
        data = encode_message(message)
        if is_bulk(message):
            if not self._push_bulk(peer, frames.MESSAGE, data, next(self._numbers) & 0x7FFFFFFF):
                self._lost(peer)
        elif len(peer.urgent) < URGENT_COUNT_MAX:
            peer.urgent.append(frames.encode(frames.MESSAGE, data))
            if peer.lot:
                peer.lot.unpark()
        else:
            self._lost(peer)

    async def request(self, peer: int, body: bytes) -> bytes:
        """See `Transport.request`."""
        found = self._peers.get(peer)
        if found is None or not found.connected:
            raise PeerUnavailable(f"there is no connection to member {peer} now")
        number = next(self._numbers) & 0x7FFFFFFF
        answered = trio.Event()
        answer: bytes | None = None

        def arrived(data: bytes | None) -> None:
            nonlocal answer
            answer = data
            answered.set()

        if not self._push_bulk(found, frames.REQUEST, body, number):
            raise PeerUnavailable(f"too much is waiting to be sent to member {peer}")
        found.asked[number] = arrived
        try:
            with trio.move_on_after(REQUEST_TIMEOUT_S):
                await answered.wait()
        finally:
            found.asked.pop(number, None)
        if answer is None:
            raise PeerUnavailable(f"member {peer} did not answer")
        return answer

    async def send_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        """See `Transport.send_snapshot`."""
        found = self._peers.get(peer)
        if found is None:
            raise PeerUnavailable(f"the address of member {peer} is not known")
        try:
            stream, reader = await self._connect(found, snapshot=True)
            try:
                kind, _, body = await _send_chunks(stream, reader, head, chunks)
            finally:
                await trio.aclose_forcefully(stream)
        except _BROKEN as error:
            raise PeerUnavailable(f"the snapshot for member {peer} did not get through: {error!r}") from error
        if kind != frames.ANSWER:
            raise PeerUnavailable(f"member {peer} refused the snapshot: {body.decode(errors='replace')}")

    # -- sending

    def _push_bulk(self, peer: _Peer, kind: int, body: bytes, number: int) -> bool:
        if peer.bulk and peer.bulk_size + len(body) > BULK_SIZE_BYTES_MAX:
            return False
        peer.bulk.append(self._bulk_parts(peer, kind, body, number))
        peer.bulk_size += len(body)
        if peer.lot:
            peer.lot.unpark()
        return True

    @staticmethod
    def _bulk_parts(peer: _Peer, kind: int, body: bytes, number: int) -> Iterator[bytes]:
        yield from frames.parts(kind, body, number)
        peer.bulk_size -= len(body)

    def _lost(self, peer: _Peer) -> None:
        self.dropped += 1
        if self._receiver is not None:
            self._receiver.unreachable(peer.member)

    async def _run_peer(self, peer: _Peer) -> None:
        """Task: stay connected with a member, and send what waits for it."""
        retry = RETRY_MIN_S
        with peer.scope:
            while True:
                try:
                    stream, reader = await self._connect(peer, snapshot=False)
                    retry = RETRY_MIN_S
                    peer.connected = True
                    try:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(self._write, peer, stream)
                            nursery.start_soon(self._read_answers, peer, stream, reader)
                    finally:
                        peer.connected = False
                        peer.clear()
                        await trio.aclose_forcefully(stream)
                except* (*_BROKEN, RaftError) as group:
                    self._tell(f"connection=lost peer={peer.member} reason={_reason(group)}")
                if self._receiver is not None:
                    self._receiver.unreachable(peer.member)
                await trio.sleep(retry * (0.5 + self._random.random()))
                retry = min(retry * 2, RETRY_MAX_S)
        peer.clear()

    async def _connect(self, peer: _Peer, *, snapshot: bool) -> tuple[trio.abc.Stream, FrameReader]:
        """Dial and exchange greetings. Raises OSError and the like, RaftProtocolError."""
        assert self._receiver is not None, "the transport does not run"
        with trio.fail_after(DIAL_TIMEOUT_S):
            stream = await self._dial(peer.member, peer.address)
            try:
                hello = Hello(frames.VERSION, self._receiver.cluster_id, self._member, peer.member, snapshot)
                await stream.send_all(frames.encode_hello(hello))
                reader = FrameReader()
                kind, _, body = await _next_frame(stream, reader)
                if kind == frames.REFUSED:
                    raise RaftProtocolError(f"member {peer.member} refuses: {body.decode(errors='replace')}")
                if kind != frames.HELLO or frames.decode_hello(body).sender != peer.member:
                    raise RaftProtocolError(f"somebody else than member {peer.member} answers at its address")
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        return stream, reader

    async def _write(self, peer: _Peer, stream: trio.abc.Stream) -> None:
        urgent, bulk = peer.urgent, peer.bulk
        while True:
            while not urgent and not bulk:
                await peer.lot.park()
            data: list[bytes] = []
            size = 0
            while urgent and size < frames.PART_BYTES:
                data.append(urgent.popleft())
                size += len(data[-1])
            while bulk and size < frames.PART_BYTES:
                part = next(bulk[0], None)
                if part is None:
                    bulk.popleft()
                    continue
                data.append(part)
                size += len(part)
            with trio.fail_after(SEND_TIMEOUT_S):
                await stream.send_all(data[0] if len(data) == 1 else b"".join(data))

    async def _read_answers(self, peer: _Peer, stream: trio.abc.Stream, reader: FrameReader) -> None:
        while True:
            data = await stream.receive_some(_READ_BYTES)
            if not data:
                raise trio.BrokenResourceError("it was closed")
            for kind, number, body in reader.feed(data):
                answered = peer.asked.pop(number, None)
                if answered is not None:
                    answered(body if kind == frames.ANSWER else None)

    # -- being dialled

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one accepted stream until it ends; give it to a listener as its handler."""
        try:
            await self._serve(stream)
        except (*_BROKEN, RaftError) as error:
            self._tell(f"connection=ended reason={error!r}")
        except BaseExceptionGroup as group:
            expected, rest = group.split((*_BROKEN, RaftError))
            if rest is not None:
                raise
            self._tell(f"connection=ended reason={_reason(expected)}")
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        with trio.fail_after(DIAL_TIMEOUT_S):
            proved = await self._identify(stream)
            greeting = FrameReader()
            kind, _, body = await _next_frame(stream, greeting)
            if kind != frames.HELLO:
                raise RaftProtocolError("a connection begins without a greeting")
            hello = frames.decode_hello(body)
            problem = self._problem(hello, proved)
            if problem:
                await stream.send_all(frames.encode(frames.REFUSED, problem.encode()))
                raise RaftProtocolError(f"member {hello.sender} was refused: {problem}")
            assert self._receiver is not None
            answer = Hello(frames.VERSION, self._receiver.cluster_id, self._member, hello.sender)
            await stream.send_all(frames.encode_hello(answer))
        if hello.snapshot:
            await self._serve_snapshot(stream, hello.sender)
        else:
            await self._serve_messages(stream, hello.sender)

    def _problem(self, hello: Hello, proved: Collection[int] | None) -> str:
        receiver = self._receiver
        if receiver is None:
            return "this member is not ready"
        if hello.receiver != self._member:
            return f"this is member {self._member}"
        if proved is not None and hello.sender not in proved:
            return f"the certificate is not that of member {hello.sender}"
        if hello.cluster_id and receiver.cluster_id and hello.cluster_id != receiver.cluster_id:
            return f"this member belongs to cluster {receiver.cluster_id}, not {hello.cluster_id}"
        return ""

    async def _serve_messages(self, stream: trio.abc.Stream, peer: int) -> None:
        reader, lock = FrameReader(), trio.Lock()
        limit = trio.CapacityLimiter(REQUESTS_MAX)

        async def answer(number: int, body: bytes) -> None:
            async with limit:
                receiver = self._receiver
                try:
                    if receiver is None:
                        raise RaftProtocolError("this member ends")
                    frame = b"".join(frames.parts(frames.ANSWER, await receiver.answer(peer, body), number))
                except RaftError as error:
                    frame = frames.encode(frames.REFUSED, str(error).encode(), number)
            async with lock:
                with trio.fail_after(SEND_TIMEOUT_S):
                    await stream.send_all(frame)

        async with trio.open_nursery() as nursery:
            while data := await stream.receive_some(_READ_BYTES):
                receiver = self._receiver
                if receiver is None:
                    break
                for kind, number, body in reader.feed(data):
                    if kind == frames.MESSAGE:
                        receiver.receive(peer, decode_message(body))
                    elif kind == frames.REQUEST:
                        if len(nursery.child_tasks) >= 2 * REQUESTS_MAX:
                            raise RaftProtocolError(f"member {peer} asks for too much at a time")
                        nursery.start_soon(answer, number, body)
                    else:
                        raise RaftProtocolError(f"member {peer} sent a frame of kind {kind}")
            nursery.cancel_scope.cancel()

    async def _serve_snapshot(self, stream: trio.abc.Stream, peer: int) -> None:
        reader = FrameReader(snapshot=True)
        pending: deque[tuple[int, int, bytes]] = deque()

        async def next_frame() -> tuple[int, bytes]:
            while not pending:
                with trio.fail_after(SNAPSHOT_SEND_TIMEOUT_S):
                    data = await stream.receive_some(_READ_BYTES)
                if not data:
                    raise trio.BrokenResourceError("the snapshot broke off")
                pending.extend(reader.feed(data))
            kind, _, body = pending.popleft()
            return kind, body

        async def chunks() -> AsyncIterator[bytes]:
            while True:
                kind, body = await next_frame()
                if kind == frames.END:
                    return
                if kind != frames.CHUNK:
                    raise RaftProtocolError(f"a frame of kind {kind} stands in a snapshot")
                yield body

        kind, head = await next_frame()
        receiver = self._receiver
        if kind != frames.HEAD or receiver is None:
            raise RaftProtocolError("a snapshot begins without its head")
        try:
            await receiver.take_snapshot(peer, head, chunks())
            frame = frames.encode(frames.ANSWER, b"")
        except RaftError as error:
            frame = frames.encode(frames.REFUSED, str(error).encode())
        with trio.move_on_after(SEND_TIMEOUT_S):
            await stream.send_all(frame)
            while await stream.receive_some(_READ_BYTES):
                pass  # the sender hears the verdict, and closes

    def _tell(self, text: str) -> None:
        if self._note is not None:
            self._note(f"member={self._member} {text}")


async def _send_chunks(
    stream: trio.abc.Stream, reader: FrameReader, head: bytes, chunks: AsyncIterator[bytes]
) -> tuple[int, int, bytes]:
    """Send a snapshot; returns the far end's verdict, which may come before all is sent."""
    verdict: list[tuple[int, int, bytes]] = []
    failure: Exception | None = None

    async def listen() -> None:
        nonlocal failure
        try:
            verdict.append(await _next_frame(stream, reader))
        except (*_BROKEN, RaftError) as error:
            failure = error
        nursery.cancel_scope.cancel()

    with trio.fail_after(SNAPSHOT_SEND_TIMEOUT_S) as deadline:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            try:
                await stream.send_all(frames.encode(frames.HEAD, head))
                async for chunk in chunks:
                    deadline.deadline = trio.current_time() + SNAPSHOT_SEND_TIMEOUT_S
                    await stream.send_all(frames.encode(frames.CHUNK, chunk))
                deadline.deadline = trio.current_time() + SNAPSHOT_TAKE_TIMEOUT_S
                await stream.send_all(frames.encode(frames.END, b""))
            except _BROKEN:
                pass  # the far end may have said why before it closed: `listen` knows
            except RaftError as error:  # the snapshot itself is gone
                failure = error
                nursery.cancel_scope.cancel()
    if verdict:
        return verdict[0]
    assert failure is not None, "a snapshot ended without a verdict"
    raise failure


async def _next_frame(stream: trio.abc.Stream, reader: FrameReader) -> tuple[int, int, bytes]:
    """The next frame of a stream on which nothing follows before it is answered."""
    while True:
        data = await stream.receive_some(frames.HELLO_SIZE_BYTES_MAX)
        if not data:
            raise trio.BrokenResourceError("it was closed")
        for frame in reader.feed(data):
            return frame


def _reason(group: BaseExceptionGroup[BaseException] | None) -> str:
    error: BaseException | None = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return repr(error)
