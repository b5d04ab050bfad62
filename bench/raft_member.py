"""One member of a group on loopback, in a process of its own, for raft_store.py: MEMBER PORTS FOLDER.

Takes a line of JSON a time on stdin. ["write", prefix, writers, count, size] ends when all is acknowledged and in the
database, and tells ["flushed"]. ["load", writers] writes until the end and tells each ["ack", begun, acknowledged], in
monotonic seconds. Tells ["lead"] whenever it begins to lead.
"""

import json
import os
import sys
import time
from pathlib import Path

import trio

from edgekube.store.api import Put, StoreError
from edgekube.store.limits import Limits
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing.loopback import member_on_loopback

# Flushed a few times more often than a node's store is, so that the flush falls into what is measured.
LIMITS = Limits(history_age_kept=5.0)
PAUSE_S = 0.01  # of a writer under load


def tell(*line: object) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


async def write(store: ReplicatedStore, prefix: str, writers: int, count: int, size: int) -> None:
    value = os.urandom(size)

    async def one(writer: int) -> None:
        for number in range(count // writers):
            await store.txn([], [Put(f"{prefix}/{writer}/{number}".encode(), value)])

    async with trio.open_nursery() as nursery:
        for writer in range(writers):
            nursery.start_soon(one, writer)
    while store.statistics().unflushed_transactions:  # noqa: ASYNC110 (a store tells nobody of its flushes)
        await trio.sleep(0.2)
    tell("flushed")


async def load(store: ReplicatedStore, writer: int) -> None:
    while True:
        begun = time.monotonic()
        try:
            await store.txn([], [Put(b"/load/%d/%d" % (store.member, writer), b"x" * 256)])
        except StoreError:
            continue  # nobody leads, or nobody knows: a client tries again
        tell("ack", begun, time.monotonic())
        await trio.sleep(PAUSE_S)


async def tell_leading(store: ReplicatedStore) -> None:
    while True:
        term = await store.wait_leader()
        tell("lead")
        await store.wait_not_leader(term)


async def serve(store: ReplicatedStore) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_leading, store)
        rest = b""
        async for data in trio.lowlevel.FdStream(os.dup(0)):
            *lines, rest = (rest + data).split(b"\n")
            for kind, *arguments in map(json.loads, lines):
                if kind == "write":
                    nursery.start_soon(write, store, *arguments)
                else:
                    for writer in range(arguments[0]):
                        nursery.start_soon(load, store, writer)
        nursery.cancel_scope.cancel()


async def main(member: int, ports: list[int], folder: Path) -> None:
    async with member_on_loopback(member, ports, folder, limits=LIMITS) as store:
        await serve(store)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]))
