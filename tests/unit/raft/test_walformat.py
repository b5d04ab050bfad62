"""Frames of the log: what counts, and what never does."""

from hypothesis import example, given
from hypothesis import strategies as st

from edgekube.raft import walformat as fmt

BASE = 7 * 65536
RECORDS = [(fmt.ENTRY, b"one"), (fmt.HARD_STATE, b""), (fmt.ENTRY, b"x" * 1000)]
SIZE = fmt.FRAME_HEADER_BYTES + 3 * fmt.RECORD_OVERHEAD_BYTES + 1003


def framed(nonce: int = 5, synced: int = 0, chain: int = 9, offset: int = 512) -> bytes:
    data, _, _ = fmt.encode_frame(RECORDS, nonce=nonce, position=BASE + offset, synced=synced, chain=chain)
    return bytes(offset) + data + bytes(4096)


def decoded(data: bytes, nonce: int = 5, chain: int = 9, base: int = BASE) -> fmt.Frame | None:
    return fmt.decode_frame(data, 512, base=base, chain=chain, nonce=nonce)


def test_a_frame_comes_back() -> None:
    frame = decoded(framed())
    assert frame is not None
    assert [(record.kind, record.payload) for record in frame.records] == RECORDS
    assert (frame.position, frame.end) == (BASE + 512, BASE + 512 + 1536)
    for record in frame.records:
        at = record.position - BASE
        assert fmt.decode_record(framed()[at - 4 :][: fmt.record_size(framed()[at - 4 :])]) == record.payload


def test_it_must_be_at_its_place_and_continue_the_chain() -> None:
    assert decoded(framed(), base=BASE + 65536) is None
    assert decoded(framed(), chain=8) is None


def test_a_new_nonce_counts_only_in_the_first_frame_after_an_open() -> None:
    assert decoded(framed(nonce=6)) is None
    assert decoded(framed(nonce=6, synced=BASE)) is None
    assert decoded(framed(nonce=6, synced=BASE + 512)) is not None
    assert decoded(framed(), nonce=0) is not None


@given(st.integers(512, 512 + SIZE - 1), st.integers(1, 255))
def test_any_flipped_byte_is_noticed(place: int, mask: int) -> None:
    data = bytearray(framed())
    data[place] ^= mask
    assert decoded(bytes(data)) is None


@given(st.binary(max_size=3000))
def test_garbage_is_no_frame(data: bytes) -> None:
    assert fmt.decode_frame(data, 0, base=0, chain=0, nonce=0) is None
    assert fmt.decode_record(data) is None or len(data) >= 16
    list(fmt.attestations(data, 0, base=0))


@given(st.integers(0, 2000))
@example(512 + SIZE - 1)
@example(512 + SIZE)
def test_a_cut_frame_is_no_frame(length: int) -> None:
    assert (decoded(framed()[:length]) is None) == (length < 512 + SIZE)


def test_intact_headers_attest_even_behind_damage() -> None:
    data = bytearray(framed(synced=BASE + 99))
    data[512 + 60] ^= 1
    assert decoded(bytes(data)) is None
    assert list(fmt.attestations(bytes(data), 512, base=BASE)) == [BASE + 99]
    assert list(fmt.attestations(bytes(data), 513, base=BASE)) == []
    assert list(fmt.attestations(bytes(data), 512, base=BASE + 65536)) == []
