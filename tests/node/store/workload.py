"""What the crash tests run in a process of its own: writers on a store with tiny bounds, telling what was acknowledged.

Every transaction writes `/n/<writer>` with a running number in its value and puts or deletes `/t/<writer>`, so that an
observer can tell a lost, repeated or halved transaction. An acknowledgement is one line: writer, number, revision.
"""

import os
import random
import sys
from pathlib import Path

import trio

from edgekube.store.api import Delete, Guard, Op, Put, Store
from edgekube.store.limits import Limits
from edgekube.store.opening import open_store

LIMITS = Limits(segment_size=8192, history_size_max=12_000, history_count_max=24, segments_max=4)


def number_key(writer: int) -> bytes:
    return b"/n/%d" % writer


def toggle_key(writer: int) -> bytes:
    return b"/t/%d" % writer


def content(writer: int, number: int) -> bytes:
    """What a writer stores with a number: any size up to 1.5 kB."""
    rng = random.Random(writer * 1_000_003 + number)
    return b"%d " % number + rng.randbytes(rng.choice([0, 10, 300, 1500]))


def transaction(writer: int, number: int) -> list[Op]:
    toggle: Op = Put(toggle_key(writer), b"%d" % number) if number % 3 else Delete(toggle_key(writer))
    return [Put(number_key(writer), content(writer, number)), toggle]


def number_of(store: Store, writer: int) -> int:
    """The last number a writer's key holds (0: none); checks that its transaction is whole."""
    kv = store.get(number_key(writer))
    number = int(kv.value.split(b" ", 1)[0]) if kv else 0
    if kv:
        assert kv.value == content(writer, number)
        assert kv.version == number
    toggle = store.get(toggle_key(writer))
    assert (toggle.value if toggle else None) == (b"%d" % number if number % 3 else None)
    return number


async def write(store: Store, writer: int, count: int, acks: int) -> None:
    """Write until `count` transactions more are done (0: for ever)."""
    number = number_of(store, writer)
    last = number + count
    while not count or number < last:
        kv = store.get(number_key(writer))
        number += 1
        guard = Guard(number_key(writer), kv.mod_revision if kv else 0)
        result = await store.txn([guard], transaction(writer, number))
        assert result.succeeded
        os.write(acks, b"%d %d %d\n" % (writer, number, result.revision))


async def run(data: Path, run_dir: Path, writers: int, count: int, acks: int) -> None:
    async with open_store(data, run_dir, limits=LIMITS) as store, trio.open_nursery() as nursery:
        for writer in range(writers):
            nursery.start_soon(write, store, writer, count, acks)


if __name__ == "__main__":
    folder, run_folder, amount, file = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    trio.run(run, folder, run_folder, 3, amount, descriptor)
