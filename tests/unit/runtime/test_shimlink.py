import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.runtime import shimlink
from edgekube.runtime.shimlink import Frame, FrameBuffer, ProtocolError, encode


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=200)), max_size=8),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_frames_survive_any_cutting(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(encode(bytes((kind,)), payload) for kind, payload in frames)
    buffer, got, at = FrameBuffer(), [], 0
    while at < len(data):
        for cut in cuts:
            got += buffer.feed(data[at : at + cut])
            at += cut
    assert got == [Frame(kind, payload) for kind, payload in frames]


@given(st.binary(max_size=300))
def test_noise_raises_nothing_but_a_protocol_error(noise: bytes) -> None:
    try:
        for frame in FrameBuffer().feed(noise):
            shimlink.decode_state(frame.payload)
    except ProtocolError:
        pass


@given(st.binary(max_size=20))
def test_a_state_with_any_text_is_read_or_refused(text: bytes) -> None:
    try:
        shimlink.decode_state(b'{"started_at":"' + text + b'"}')
    except ProtocolError:
        pass


def test_a_frame_has_a_limit() -> None:
    with pytest.raises(ProtocolError):
        FrameBuffer().feed((shimlink.FRAME_BYTES_MAX + 1).to_bytes(4, "little") + b"1")


def test_requests_as_the_shim_reads_them() -> None:
    assert shimlink.encode_hello(5) == b"\x02\0\0\0H\x01\x05"
    assert shimlink.encode_resize(80, 25) == b"\x04\0\0\0w\x19\0\x50\0"
    assert shimlink.encode_resize(1_000_000, 1) == b"\x04\0\0\0w\x01\0\xff\xff"
    assert shimlink.encode_signal(9) == b"\x04\0\0\0k\x09\0\0\0"


def test_a_state_needs_every_field() -> None:
    state = shimlink.ShimState(1, 2, 3, 4, "a", "b", "", False, 0, 0, 0)
    assert shimlink.decode_state(msgspec.json.encode(state)) == state
    with pytest.raises(ProtocolError):
        shimlink.decode_state(b'{"version":1}')
