"""Raft consensus without input or output, after the design of etcd-io/raft.

`rawnode.RawNode` is the door: messages, proposals and ticks go in, `Ready` values come out. The caller brings storage
(`storage.Storage`), transport and time. Nothing here opens a file or a socket, reads a clock or draws a random number
from anywhere but the injected generator, so a run is a function of its inputs and a failing one replays.

A room of mechanism: it may import `msgspec` and the standard library, and nothing else of EdgeKube.
"""
