"""Members in one process that reach one another through memory: a `raft.transport.Transport` without sockets.

Time is trio's clock, so under a mock clock a run takes no time. Without faults every message arrives after `delay`
seconds, in order. A simulator injects faults through `route`: it is asked once for each message, request, answer and
snapshot chunk, and names the delays at which copies of it arrive; none at all means that it is lost.
"""

import heapq
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count
from typing import Final

import trio

from edgekube.raft.errors import RaftError
from edgekube.raft.messages import Message, decode_message, encode_message
from edgekube.raft.transport import PeerUnavailable, Receiver

REQUEST_TIMEOUT_S: Final = 2.0

Route = Callable[[int, int, str, object], Sequence[float]]
"""Called with sender, receiver, kind ("message", "request", "answer", "snapshot") and the thing itself."""


class MemoryNetwork:
    """The wires between members. `run` must be running while they are used."""

    def __init__(self, *, delay: float = 0.001, route: Route | None = None) -> None:
        self.delay = delay
        self.route = route or self._healthy
        self.delivered = 0
        self._cut: set[tuple[int, int]] = set()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._lot = trio.lowlevel.ParkingLot()
        self._receivers: dict[int, tuple[Receiver, trio.Nursery]] = {}

    def transport(self, member: int) -> "MemoryTransport":
        """A member's end; a member that starts again takes a new one."""
        return MemoryTransport(self, member)

    def cut(self, *groups: Sequence[int]) -> None:
        """Let members talk within their group only; those in no group are isolated."""
        self._cut = set()
        members = {member for group in groups for member in group} | set(self._receivers)
        group_of = {member: n for n, group in enumerate(groups) for member in group}
        for a in members:
            for b in members:
                if a != b and group_of.get(a, -a) != group_of.get(b, -b):
                    self._cut.add((a, b))

    def heal(self) -> None:
        """Everybody reaches everybody again."""
        self._cut = set()

    def _healthy(self, sender: int, receiver: int, kind: str, thing: object) -> Sequence[float]:
        return (self.delay,)

    async def run(self) -> None:
        """Task: deliver what is due, in order."""
        while True:
            while not self._due:
                await self._lot.park()
            due = self._due[0][0]
            if due > trio.current_time():
                with trio.move_on_at(due):
                    await self._lot.park()
                continue
            await trio.lowlevel.checkpoint()
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()

    def pass_on(self, sender: int, receiver: int, kind: str, thing: object, deliver: Callable[[], None]) -> None:
        """Schedule the arrivals of one thing."""
        if (sender, receiver) in self._cut:
            return
        delays = self.route(sender, receiver, kind, thing)
        for delay in delays if kind == "message" else delays[:1]:  # only messages may be doubled
            heapq.heappush(self._due, (trio.current_time() + delay, next(self._order), deliver))
            self._lot.unpark()

    def attach(self, member: int, receiver: Receiver, nursery: trio.Nursery) -> None:
        """A member listens."""
        self._receivers[member] = (receiver, nursery)

    def detach(self, member: int, receiver: Receiver) -> None:
        """A member is gone."""
        if member in self._receivers and self._receivers[member][0] is receiver:
            del self._receivers[member]

    def at(self, member: int) -> tuple[Receiver, trio.Nursery] | None:
        """Who listens there now."""
        return self._receivers.get(member)

    def is_cut(self, sender: int, receiver: int) -> bool:
        """Whether nothing passes from one to the other."""
        return (sender, receiver) in self._cut


class MemoryTransport:
    """One member's end of a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, member: int) -> None:
        self._network = network
        self._member = member
        self.peers: Mapping[int, bytes] = {}

    async def run(self, receiver: Receiver) -> None:
        """See `Transport.run`."""
        async with trio.open_nursery() as nursery:
            self._network.attach(self._member, receiver, nursery)
            try:
                await trio.sleep_forever()
            finally:
                self._network.detach(self._member, receiver)

    def set_peers(self, addresses: Mapping[int, bytes]) -> None:
        """See `Transport.set_peers`; the network knows everybody anyway."""
        self.peers = addresses

    def send(self, message: Message) -> None:
        """See `Transport.send`. Encoded and decoded, as over a wire."""
        network, sender, to = self._network, self._member, message.to
        data = encode_message(message)

        def deliver() -> None:
            found = network.at(to)
            if found is not None and not network.is_cut(sender, to):
                network.delivered += 1
                found[0].receive(sender, decode_message(data))

        network.pass_on(sender, to, "message", message, deliver)

    async def request(self, peer: int, body: bytes) -> bytes:
        """See `Transport.request`."""
        network, sender = self._network, self._member
        answered = trio.Event()
        answers: list[bytes] = []

        async def act(receiver: Receiver) -> None:
            try:
                answer = await receiver.answer(sender, body)
            except RaftError:
                return
            network.pass_on(peer, sender, "answer", answer, lambda: arrive(answer))

        def arrive(answer: bytes) -> None:
            answers.append(answer)
            answered.set()

        def deliver() -> None:
            found = network.at(peer)
            if found is not None and not network.is_cut(sender, peer):
                found[1].start_soon(act, found[0])

        network.pass_on(sender, peer, "request", body, deliver)
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            await answered.wait()
        if not answers:
            raise PeerUnavailable(f"member {peer} did not answer within {REQUEST_TIMEOUT_S} s")
        return answers[0]

    async def send_snapshot(self, peer: int, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        """See `Transport.send_snapshot`."""
        network, sender = self._network, self._member
        send, receive = trio.open_memory_channel[bytes](64)
        done = trio.Event()
        failures: list[str] = []

        async def act(receiver: Receiver) -> None:
            try:
                await receiver.take_snapshot(sender, head, receive)
            except RaftError as error:
                failures.append(str(error))
            done.set()

        found = network.at(peer)
        if found is None or network.is_cut(sender, peer):
            raise PeerUnavailable(f"member {peer} cannot be reached")
        found[1].start_soon(act, found[0])
        try:
            async for chunk in chunks:
                delays = [] if network.is_cut(sender, peer) else network.route(sender, peer, "snapshot", chunk)
                if not delays:
                    raise PeerUnavailable(f"the snapshot for member {peer} was interrupted")
                await trio.sleep(min(delays))
                with trio.fail_after(REQUEST_TIMEOUT_S):
                    await send.send(chunk)
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerUnavailable(f"member {peer} stopped taking the snapshot") from error
        finally:
            send.close()
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            await done.wait()
        if failures or not done.is_set():
            raise PeerUnavailable(f"member {peer} refused the snapshot: {failures}")
