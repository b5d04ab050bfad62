"""A member of a group of processes on this machine: the replicated store, on files, over TCP on loopback."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio

from edgekube.raft.stream import StreamTransport
from edgekube.store.limits import Limits
from edgekube.store.opening import open_replicated
from edgekube.store.replicated import ReplicatedStore


@asynccontextmanager
async def member_on_loopback(
    member: int, ports: Sequence[int], folder: Path, *, limits: Limits, random: Random | None = None
) -> AsyncIterator[ReplicatedStore]:
    """Member `member` (from 1) of as many as there are `ports`, with its files in `folder`."""
    transport = StreamTransport(member)
    addresses = {number: f"127.0.0.1:{port}".encode() for number, port in enumerate(ports, 1)}
    listeners = await trio.open_tcp_listeners(ports[member - 1], host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, transport.serve, listeners)
        async with open_replicated(
            folder / "data",
            folder / "run",
            member=member,
            transport=transport,
            voters=tuple(addresses),
            addresses=addresses,
            cluster_id="loopback",
            limits=limits,
            random=random,
        ) as store:
            yield store
        nursery.cancel_scope.cancel()
