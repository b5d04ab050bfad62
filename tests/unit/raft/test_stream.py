"""Members over byte streams: framing, greetings, priorities, broken connections, snapshots."""

import random
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import memory_stream_pair

from edgekube.raft import frames
from edgekube.raft.errors import RaftError, RaftProtocolError
from edgekube.raft.frames import FrameReader
from edgekube.raft.messages import MSG_APP, MSG_HEARTBEAT, Entry, Message
from edgekube.raft.stream import StreamTransport
from edgekube.raft.transport import MESSAGE_SIZE_BYTES_MAX, PeerUnavailable


class Recorder:
    """A receiver that remembers."""

    def __init__(self, cluster_id: str = "c") -> None:
        self.cluster_id = cluster_id
        self.messages: list[Message] = []
        self.lost: list[int] = []
        self.snapshots: list[tuple[bytes, list[bytes]]] = []
        self.arrived = trio.lowlevel.ParkingLot()

    def receive(self, peer: int, message: Message) -> None:
        assert message.from_ == peer
        self.messages.append(message)
        self.arrived.unpark_all()

    async def answer(self, peer: int, request: bytes) -> bytes:
        if request == b"refuse":
            raise RaftProtocolError("no")
        if request == b"never":
            await trio.sleep_forever()
        return b"%d:" % peer + request

    async def take_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        if head == b"refuse":
            raise RaftError("not now")
        self.snapshots.append((head, [chunk async for chunk in chunks]))

    def unreachable(self, peer: int) -> None:
        self.lost.append(peer)


class Pair:
    """Members 1 and 2; streams are pipes in memory, which a test can break."""

    def __init__(self, nursery: trio.Nursery, proved: Collection[int] | None = None) -> None:
        self.nursery = nursery
        self.streams: list[trio.abc.Stream] = []
        self.down = False
        self.receivers = {1: Recorder(), 2: Recorder()}
        self.pause: Callable[[], object] | None = None

        async def dial(member: int, address: bytes) -> trio.abc.Stream:
            if self.down:
                raise OSError("unreachable")
            near, far = memory_stream_pair()
            self.streams.append(near)
            nursery.start_soon(self.transports[member].serve, far)
            return near

        async def identify(stream: trio.abc.Stream) -> Collection[int] | None:
            return proved

        self.transports = {n: StreamTransport(n, dial=dial, identify=identify, random=random.Random(n)) for n in (1, 2)}

    def start(self) -> None:
        for n, transport in self.transports.items():
            transport.set_peers({1: b"one", 2: b"two"})
            self.nursery.start_soon(transport.run, self.receivers[n])

    async def got(self, count: int) -> list[Message]:
        receiver = self.receivers[2]
        with trio.fail_after(60):
            while len(receiver.messages) < count:
                await receiver.arrived.park()
        return receiver.messages


@asynccontextmanager
async def pair(proved: Collection[int] | None = None) -> AsyncIterator[Pair]:
    async with trio.open_nursery() as nursery:
        both = Pair(nursery, proved)
        both.start()
        await trio.sleep(0.01)
        yield both
        nursery.cancel_scope.cancel()


def heartbeat(commit: int = 0) -> Message:
    return Message(MSG_HEARTBEAT, 2, 1, 1, commit=commit)


def append(index: int, size: int) -> Message:
    return Message(MSG_APP, 2, 1, 1, 1, index, entries=[Entry(1, index + 1, 0, bytes(size))])


async def test_messages_arrive_whole_and_in_order(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as both:
        sent = [append(index, random.Random(index).choice([0, 10, 70_000, 300_000])) for index in range(1, 21)]
        for message in sent:
            both.transports[1].send(message)
        got = await both.got(20)
        assert [(m.index, len(m.entries[0].data)) for m in got] == [(m.index, len(m.entries[0].data)) for m in sent]


async def test_a_heartbeat_overtakes_an_append(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as both:
        both.transports[1].send(append(1, 3_000_000))
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        both.transports[1].send(heartbeat())
        got = await both.got(2)
        assert [m.type for m in got] == [MSG_HEARTBEAT, MSG_APP]
        assert len(got[1].entries[0].data) == 3_000_000


async def test_what_does_not_fit_the_queue_is_dropped_and_told(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as both:
        for index in range(1, 11):
            both.transports[1].send(append(index, 2_000_000))
        assert both.transports[1].dropped > 4
        assert 2 in both.receivers[1].lost
        assert [m.index for m in await both.got(4)] == [1, 2, 3, 4]
        both.transports[1].send(append(20, 10))
        assert (await both.got(5))[-1].index == 20


async def test_requests_are_answered_refused_or_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as both:
        assert await both.transports[1].request(2, b"hello") == b"1:hello"
        large = bytes(200_000)
        assert await both.transports[2].request(1, large) == b"2:" + large
        for hopeless in (b"refuse", b"never"):
            with pytest.raises(PeerUnavailable):
                await both.transports[1].request(2, hopeless)
        with pytest.raises(PeerUnavailable):
            await both.transports[1].request(3, b"")


async def test_a_broken_connection_is_made_again(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as both:
        failed = []

        async def ask() -> None:
            with pytest.raises(PeerUnavailable):
                await both.transports[1].request(2, b"never")
            failed.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.1)
            both.down = True
            for stream in both.streams:
                await stream.aclose()
        assert failed[0] < 0.5
        with pytest.raises(PeerUnavailable):
            await both.transports[1].request(2, b"hello")
        both.transports[1].send(heartbeat())
        await trio.sleep(10)
        assert 2 in both.receivers[1].lost
        both.down = False
        await trio.sleep(5)
        assert await both.transports[1].request(2, b"hello") == b"1:hello"
        both.transports[1].send(heartbeat(7))
        assert [m.commit for m in await both.got(1)] == [7]


async def test_strangers_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(proved=(2,)) as both:
        both.transports[1].send(heartbeat())
        await trio.sleep(5)
        assert not both.receivers[2].messages
        assert await both.transports[2].request(1, b"hello") == b"2:hello"
    async with trio.open_nursery() as nursery:
        both = Pair(nursery)
        both.receivers[1].cluster_id = "other"
        both.start()
        await trio.sleep(5)
        with pytest.raises(PeerUnavailable):
            await both.transports[1].request(2, b"hello")
        nursery.cancel_scope.cancel()


async def test_a_snapshot_travels_beside_messages(autojump_clock: trio.testing.MockClock) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for n in range(5):
            yield bytes([n]) * 500_000
            await trio.sleep(0.1)

    async with pair() as both:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.transports[1].send_snapshot, 2, b"head", chunks())
            await trio.sleep(0.2)
            both.transports[1].send(heartbeat())
            await both.got(1)
            assert not both.receivers[2].snapshots
        head, found = both.receivers[2].snapshots[0]
        assert head == b"head"
        assert [chunk[:1] for chunk in found] == [bytes([n]) for n in range(5)]
        with pytest.raises(PeerUnavailable, match="not now"):
            await both.transports[1].send_snapshot(2, b"refuse", chunks())


async def test_peers_can_go(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as both:
        both.transports[1].set_peers({1: b"one"})
        await trio.sleep(0.1)
        with pytest.raises(PeerUnavailable):
            await both.transports[1].request(2, b"hello")
        both.transports[1].set_peers({1: b"one", 2: b"elsewhere"})
        await trio.sleep(0.1)
        assert await both.transports[1].request(2, b"hello") == b"1:hello"


def test_frames_survive_any_cutting_and_garbage_is_refused() -> None:
    rng = random.Random(5)
    bodies = [rng.randbytes(rng.choice([0, 1, 100, 65_536, 65_537, 200_000])) for _ in range(20)]
    data = b"".join(part for n, body in enumerate(bodies, 1) for part in frames.parts(frames.MESSAGE, body, n))
    reader, found = FrameReader(), []
    while data:
        size = rng.choice([1, 8, 9, 1000, 70_000])
        found += reader.feed(data[:size])
        data = data[size:]
    assert [body for _, _, body in found] == bodies
    for _ in range(300):
        reader = FrameReader()
        try:
            reader.feed(rng.randbytes(rng.randrange(200)))
        except RaftProtocolError:
            pass
    endless = frames.encode(frames.PART, bytes(frames.PART_BYTES), 1) * (
        MESSAGE_SIZE_BYTES_MAX // frames.PART_BYTES + 2
    )
    with pytest.raises(RaftProtocolError):
        FrameReader().feed(endless)
