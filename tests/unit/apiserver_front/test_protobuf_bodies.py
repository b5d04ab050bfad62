"""Bodies that kubectl 1.37 sent, against the JSON it prints for the same command.

A line of `protobuf_bodies.jsonl` is one request, recorded between kubectl and a node: `body` in hex, `json` what
`--dry-run=client -o json` prints without its nulls (oracle "dry-run"), or, for commands that have no dry run, the
object checked by eye once (oracle "read").
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.apiserver.protobuf.decode import ProtobufError, to_json
from edgekube.types import codec
from edgekube.types.registry import class_of, split_api_version

RECORDED: list[dict[str, Any]] = [
    msgspec.json.decode(line) for line in Path(__file__).with_name("protobuf_bodies.jsonl").read_bytes().splitlines()
]
BODIES = [bytes.fromhex(one["body"]) for one in RECORDED]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["command"][:60])
def test_what_kubectl_sends_is_what_it_prints(recorded: dict[str, Any]) -> None:
    found = msgspec.json.decode(to_json(bytes.fromhex(recorded["body"])))
    assert found == recorded["json"]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["command"][:60])
def test_it_passes_its_kind(recorded: dict[str, Any]) -> None:
    kind = class_of(*split_api_version(recorded["json"]["apiVersion"]), recorded["json"]["kind"])
    found = codec.decode(kind, to_json(bytes.fromhex(recorded["body"])))
    assert found == codec.convert(kind, recorded["json"])


@given(st.sampled_from(BODIES), st.data())
def test_damage_is_read_or_refused(body: bytes, data: st.DataObject) -> None:
    broken = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(broken) - 1))
        match data.draw(st.sampled_from("flip cut insert".split())):
            case "flip":
                broken[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del broken[at : at + data.draw(st.integers(1, 9))]
            case "insert":
                broken[at:at] = data.draw(st.binary(min_size=1, max_size=12))
        if not broken:
            return
    try:
        msgspec.json.decode(to_json(bytes(broken)))
    except ProtobufError:
        pass
