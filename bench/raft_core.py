"""CPU time of the Raft core per proposal, over three members in one process (and over one), at several batch sizes.

No disk and no network: messages are handed over as they are. The members share one CPU here, so the figure is the sum
over all of them. Run it with `python bench/raft_core.py`; it measures and never asserts.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable, Iterator

from edgekube.raft.config import Config
from edgekube.raft.messages import ConfState, Snapshot
from edgekube.raft.rawnode import RawNode
from edgekube.raft.storage import MemoryStorage

PAYLOAD = b"x" * 256
COMPACT_EVERY = 10_000


class Group:
    """Members that exchange messages until none of them has anything to do."""

    def __init__(self, count: int) -> None:
        members = tuple(range(1, count + 1))
        self.storages: list[MemoryStorage] = []
        self.nodes: list[RawNode] = []
        self.applied = 0
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
                        check_quorum=True,
                        pre_vote=True,
                    )
                )
            )
        self.nodes[0].campaign()
        self.settle()

    def settle(self) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proposals", type=int, default=20_000)
    arguments = parser.parse_args()
    for members in (3, 1):
        for batch in (1, 16, 64):

            def work(members: int = members, batch: int = batch) -> int:
                group = Group(members)
                before = group.applied
                for _ in rounds(group, batch, arguments.proposals):
                    pass
                return group.applied - before

            print(f"members={members} batch={batch} cpu_us_per_proposal={measure(work):.2f}")


if __name__ == "__main__":
    main()
