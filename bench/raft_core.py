"""CPU time of the Raft core per proposal, over three members in one process (and over one), at several batch sizes.

No disk and no network: messages are handed over as they are. The members share one CPU here, so the figure is the sum
over all of them. The floor is what it costs to encode and decode one append.
"""

from __future__ import annotations

import gc
import itertools
import random
import time
from collections.abc import Callable, Iterator

from bench import Options, row
from edgekube.raft.config import Config
from edgekube.raft.messages import (
    LOCAL_APPEND_THREAD,
    MSG_APP,
    ConfState,
    Entry,
    Message,
    Snapshot,
    decode_message,
    encode_message,
)
from edgekube.raft.rawnode import RawNode
from edgekube.raft.storage import MemoryStorage

PAYLOAD = b"x" * 256
COMPACT_EVERY = 10_000
# A sketch of the happy path alone took so much CPU over all three members; the aim is three times that.
SKETCH_US = {1: 27.0, 16: 2.3, 64: 1.0}


class Group:
    """Members that exchange messages until none of them has anything to do."""

    def __init__(self, count: int, *, async_writes: bool = False) -> None:
        members = tuple(range(1, count + 1))
        self.storages: list[MemoryStorage] = []
        self.nodes: list[RawNode] = []
        self.applied = 0
        self.async_writes = async_writes
        for member in members:
            storage = MemoryStorage()
            storage.apply_snapshot(Snapshot(1, 1, ConfState(members)))
            self.storages.append(storage)
            self.nodes.append(
                RawNode(
                    Config(
                        id=member,
                        storage=storage,
                        random=random.Random(member),
                        max_size_per_msg=1 << 20,
                        max_inflight_bytes=1 << 24,
                        max_uncommitted_entries_size=1 << 24,
                        async_storage_writes=async_writes,
                        check_quorum=True,
                        pre_vote=True,
                    )
                )
            )
        self.nodes[0].campaign()
        self.settle()

    def settle(self) -> None:
        if self.async_writes:
            self.settle_async()
        else:
            self.settle_sync()

    def settle_async(self) -> None:
        """Both workers of every member do their work at once."""
        nodes, storages = self.nodes, self.storages
        busy = True
        while busy:
            busy = False
            for position, node in enumerate(nodes):
                if not node.has_ready():
                    continue
                busy = True
                for message in node.ready().messages:
                    if message.to > 0:
                        nodes[message.to - 1].step(message)
                        continue
                    if message.to == LOCAL_APPEND_THREAD:
                        storages[position].append(message.entries)
                    elif position == 0:
                        self.applied += len(message.entries)
                    for response in message.responses:
                        nodes[response.to - 1].step(response)

    def settle_sync(self) -> None:
        nodes, storages = self.nodes, self.storages
        busy = True
        while busy:
            busy = False
            for position, node in enumerate(nodes):
                if not node.has_ready():
                    continue
                busy = True
                ready = node.ready()
                storage = storages[position]
                if ready.entries:
                    storage.append(ready.entries)
                if ready.hard_state is not None:
                    storage.set_hard_state(ready.hard_state)
                for message in ready.messages:
                    nodes[message.to - 1].step(message)
                if position == 0:
                    self.applied += len(ready.committed_entries)
                node.advance(ready)

    def compact(self) -> None:
        for storage, node in zip(self.storages, self.nodes, strict=True):
            storage.compact(node.raft.log.applied)


def rounds(group: Group, batch: int, total: int) -> Iterator[None]:
    leader = group.nodes[0]
    payloads = [PAYLOAD] * batch
    since = 0
    for _ in range(total // batch):
        if batch == 1:
            leader.propose(PAYLOAD)
        else:
            leader.propose_batch(payloads)
        group.settle()
        since += batch
        if since >= COMPACT_EVERY:
            group.compact()
            since = 0
        yield


def measure(work: Callable[[], int]) -> float:
    """Microseconds of CPU per proposal, the best of five runs."""
    best = float("inf")
    for _ in range(5):
        gc.collect()
        begin = time.process_time()
        count = work()
        best = min(best, (time.process_time() - begin) / count * 1e6)
    return best


def run(options: Options) -> None:
    proposals = 2_000 if options.quick else 20_000
    append = Message(MSG_APP, 2, 1, 5, 5, 1000, 1000, [Entry(5, 1001, 0, PAYLOAD)])

    def one_append() -> int:
        for _ in range(proposals):
            decode_message(encode_message(append))
        return proposals

    floor = measure(one_append)
    row("floor: one append through msgpack", floor, "us CPU")
    for members, async_writes, batch in itertools.product((3, 1), (False, True), (1, 16, 64)):

        def work(members: int = members, async_writes: bool = async_writes, batch: int = batch) -> int:
            group = Group(members, async_writes=async_writes)
            before = group.applied
            for _ in rounds(group, batch, proposals):
                pass
            return group.applied - before

        taken = measure(work)
        row(
            f"{members} members, batch {batch}{', async writes' if async_writes else ''}",
            taken,
            "us CPU",
            goal=3 * SKETCH_US[batch] if members == 3 else None,
            beside=("one append", floor),
            note=f"{1e6 / taken:.0f} a second",
        )
