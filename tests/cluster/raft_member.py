"""Run as a script: one member of a group on loopback with clients of its own, telling each call and answer on stdout.

A line is JSON: ["call", id, time, client, kind, key, guard, value], ["back", id, time, succeeded, revision, seen],
["not", id] for what surely did not happen, and at the end, after SIGTERM, ["end", revision, digest]. Times are the
machine's monotonic clock, which all members share.
"""

import base64
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import trio

from edgekube.store.api import Delete, Guard, KeyValue, NotLeader, Put, StoreError
from edgekube.store.limits import Limits
from edgekube.store.replicated import ReplicatedStore
from edgekube.testing.loopback import member_on_loopback

LIMITS = Limits(
    segment_size=64 * 1024, history_size_max=100_000, history_count_max=200, segments_max=3, segments_kept_max=6
)
CLIENTS = 2
PHASE_S = 1.0
TIMEOUT_S = 8.0


def tell(*line: object) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def shown(kv: KeyValue | None) -> object:
    if kv is None:
        return None
    return [base64.b64encode(kv.value).decode(), kv.create_revision, kv.mod_revision, kv.version]


async def client(store: ReplicatedStore, member: int, number: int, boot: int) -> None:
    rng = random.Random(f"{member} {number} {boot}")
    name = member * 10 + number
    count = 0
    while True:
        count += 1
        key = f"/r/{int(time.monotonic() / PHASE_S)}/{rng.randrange(2)}".encode()
        mark = f"{name}.{boot}.{count}"
        kind = rng.choice(["put", "put", "cas", "cas", "read", "read", "delete"])
        known = store.get(key)
        guard = (known.mod_revision if known else 0) if kind == "cas" else -1
        tell("call", mark, time.monotonic(), name, kind, key.decode(), guard, mark)
        try:
            with trio.move_on_after(TIMEOUT_S) as scope:
                if kind == "read":
                    await store.read_barrier()
                    succeeded, revision, seen = True, store.revision, [[key.decode(), shown(store.get(key))]]
                else:
                    guards = [Guard(key, guard)] if guard >= 0 else []
                    op = Delete(key) if kind == "delete" else Put(key, mark.encode())
                    result = await store.txn(guards, [op])
                    succeeded, revision = result.succeeded, result.revision
                    seen = [[k.decode(), shown(kv)] for k, kv in result.failed]
            if not scope.cancelled_caught:
                tell("back", mark, time.monotonic(), succeeded, revision, seen)
        except NotLeader:
            tell("not", mark)
        except StoreError:
            pass  # unknown
        await trio.sleep(rng.uniform(0, 0.02))


async def main(member: int, ports: list[int], folder: Path, boot: int) -> None:
    rng = random.Random(member * 1000 + boot)
    async with (
        member_on_loopback(member, ports, folder, limits=LIMITS, random=rng) as store,
        trio.open_nursery() as clients,
    ):
        for number in range(CLIENTS):
            clients.start_soon(client, store, member, number, boot)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                break
        clients.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(20):
            await trio.sleep(1.0)  # the others' clients stop, too
            await store.read_barrier()
            assert not store.diverged
            tell("end", store.revision, store.digest, store.node.statistics().snapshots_installed)
            await trio.sleep(1.0)  # and need this member for their barriers


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
