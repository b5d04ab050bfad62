"""What members and files say, damaged at will: each reader lets its own one exception out, and nothing else.

The bytes begin as something right: noise alone would not get past the first of msgpack.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.raft import frames
from edgekube.raft.errors import RaftProtocolError
from edgekube.raft.messages import ConfState, Snapshot
from edgekube.store import backup, command, requests, transfer
from edgekube.store.membership import decode_addresses

encode = msgspec.msgpack.encode
HEAD = encode(transfer.SnapshotHead("cluster", 5, b"d" * 16, {1: b"one"}))
ROWS = encode([(b"key", b"value", 1, 2, 3)])


def snapshot(data: bytes) -> Snapshot:
    return Snapshot(index=5, term=1, conf_state=ConfState(voters=(1,)), data=data)


def read_chunk(data: bytes) -> None:
    """Under its right digest: a peer may send what it likes."""
    digest = transfer._next_digest(transfer._first_digest(snapshot(HEAD)), data)
    transfer.ChunkReader(snapshot(HEAD)).rows(digest + data)


def read_frames(data: bytes) -> None:
    for _, _, body in frames.FrameReader().feed(data):
        frames.decode_hello(body)


READERS: dict[str, tuple[bytes, Callable[[bytes], Any], type[Exception] | tuple[()]]] = {
    "hello": (encode(frames.Hello(1, "cluster", 1, 2)), frames.decode_hello, RaftProtocolError),
    "frames": (frames.encode_hello(frames.Hello(1, "cluster", 1, 2)), read_frames, RaftProtocolError),
    "propose": (encode(requests.Propose(1, 2, 3, ((4, b"x"),))), requests.decode_request, RaftProtocolError),
    "compare": (encode(requests.Compare("cluster", 3, b"d")), requests.decode_request, RaftProtocolError),
    "answer": (encode(requests.Answer(requests.Verdict.SAME, "why")), requests.decode_answer, RaftProtocolError),
    "head": (HEAD, lambda data: transfer.decode_head(snapshot(data)), transfer.TransferDamaged),
    "chunk": (ROWS, read_chunk, transfer.TransferDamaged),
    "header": (
        encode(backup.Header(1, "cluster", 5, {"pki/ca.key": b"k"})),
        lambda data: backup._header(data, Path("x")),
        backup.BackupDamaged,
    ),
    "rows": (ROWS, lambda data: backup._rows(data, Path("x")), backup.BackupDamaged),
    "addresses": (encode({1: b"one"}), decode_addresses, ()),
    "command": (command.encode((), ())[1], command.decode, command.UnknownCommand),
}


@pytest.mark.parametrize("name", READERS)
@given(st.data())
def test_one_exception_escapes(name: str, data: st.DataObject) -> None:
    right, read, refusal = READERS[name]
    damaged = bytearray(right)
    for place in data.draw(st.lists(st.integers(0, len(right) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(right)))
    try:
        read(bytes(damaged[:cut]) + data.draw(st.binary(max_size=8)))
    except refusal:
        pass


@pytest.mark.parametrize("name", [n for n, (right, _, _) in READERS.items() if b"cluster" in right or b"why" in right])
def test_text_that_is_no_utf8_is_refused(name: str) -> None:
    right, read, refusal = READERS[name]
    with pytest.raises(refusal):
        read(right.replace(b"cluster", b"cl\xffster").replace(b"why", b"w\xffy"))


@pytest.mark.parametrize("name", READERS)
def test_nesting_without_end_is_refused(name: str) -> None:
    _, read, refusal = READERS[name]
    try:
        read(b"\x91" * 100_000)
    except refusal:
        pass
