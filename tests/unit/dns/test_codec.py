"""DNS messages: what is written is read back, and hostile bytes raise DnsError and nothing else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.dns.codec import (
    AAAA,
    BADVERS,
    CNAME,
    FORMERR,
    NOTIMP,
    NXDOMAIN,
    QR,
    REFUSED,
    SOA,
    TC,
    A,
    DnsError,
    Query,
    Record,
    encode_name,
    encode_query,
    encode_response,
    error_reply,
    name_of,
    parse_query,
    parse_response,
    text_of,
    with_id_and_age,
)

WEB = name_of("web.default.svc.cluster.local")


def query(text: str = "web.default.svc.cluster.local", kind: int = A, *, edns: bool = False) -> Query:
    parsed = parse_query(encode_query(7, name_of(text), kind, edns=edns))
    assert parsed is not None
    return parsed


def flags_of(data: bytes) -> int:
    return int(struct.unpack_from(">H", data, 2)[0])


def test_a_query_is_read_back() -> None:
    found = query(kind=AAAA, edns=True)
    assert (found.id, found.name, found.type, found.payload) == (7, WEB, AAAA, 1232)
    assert text_of(found.name) == "web.default.svc.cluster.local."


def test_the_case_of_the_question_comes_back() -> None:
    raw = encode_query(1, WEB, A, edns=False).replace(b"web", b"wEB")
    parsed = parse_query(raw)
    assert parsed is not None
    assert parsed.name == WEB
    assert b"\x03wEB\x07default" in encode_response(parsed, answers=[Record(WEB, A, 5, bytes(4))], limit=512)


def test_an_answer_is_compressed_and_read_back() -> None:
    other = name_of("db.default.svc.cluster.local")
    answers = [Record(WEB, CNAME, 5, encode_name(other)), Record(other, A, 9, b"\x0a\x2b\0\x05")]
    raw = encode_response(query(), answers=answers, limit=512)
    assert raw.count(b"\x07cluster") == 2  # once in the question, once in the CNAME's data
    parsed = parse_response(raw)
    assert parsed.answers == tuple(answers)
    assert parsed.ttl == 5
    assert flags_of(raw) & QR


def test_too_much_for_udp_is_cut_and_says_so() -> None:
    records = [Record(WEB, A, 5, bytes((10, 0, 0, index))) for index in range(60)]
    raw = encode_response(query(), answers=records, limit=512)
    assert len(raw) <= 512
    assert flags_of(raw) & TC
    assert 20 < len(parse_response(raw).answers) < 40
    whole = encode_response(query(edns=True), answers=records, limit=query(edns=True).udp_limit)
    assert not flags_of(whole) & TC


def test_additional_records_that_do_not_fit_are_no_truncation() -> None:
    more = [Record(WEB, A, 5, bytes(4))] * 60
    raw = encode_response(query(), answers=more[:1], additional=more, limit=512)
    assert not flags_of(raw) & TC


def test_ttls_count_down_in_a_kept_answer() -> None:
    raw = encode_response(query(), answers=[Record(WEB, A, 30, bytes(4))], limit=512)
    parsed = parse_response(raw)
    aged = parse_response(with_id_and_age(raw, query()._replace(id=99), parsed.ttl_offsets, 12))
    assert (aged.id, aged.answers[0].ttl) == (99, 18)


def test_a_denial_is_kept_as_long_as_its_soa_says() -> None:
    rdata = encode_name(name_of("ns.test")) + encode_name(name_of("me.test")) + struct.pack(">5I", 1, 2, 3, 4, 11)
    raw = encode_response(query(), NXDOMAIN, authority=[Record((b"test",), SOA, 60, rdata)], limit=512)
    assert parse_response(raw).ttl == 11


@pytest.mark.parametrize(
    ("change", "rcode"),
    [
        (lambda raw: raw[:2] + b"\x28" + raw[3:], NOTIMP),  # opcode UPDATE
        (lambda raw: raw[:4] + b"\0\2" + raw[6:], FORMERR),  # two questions
        (lambda raw: raw[:-4] + struct.pack(">HH", 252, 1), REFUSED),  # AXFR
        (lambda raw: raw[:-4] + struct.pack(">HH", 1, 3), REFUSED),  # CHAOS
        (lambda raw: raw[:12] + b"\xc0\x0c" + raw[-4:], FORMERR),  # a pointer in a question
        (lambda raw: raw[:-3], FORMERR),
        (lambda raw: raw[:10] + b"\0\1" + raw[12:] + b"\0" + struct.pack(">HHIH", 41, 512, 1 << 16, 0), BADVERS),
    ],
)
def test_refusals_name_their_reason(change: object, rcode: int) -> None:
    assert callable(change)
    raw = change(encode_query(1, WEB, A, edns=False))
    with pytest.raises(DnsError) as caught:
        parse_query(raw)
    assert caught.value.rcode == rcode
    assert flags_of(error_reply(raw, rcode)) & 0xF == rcode & 0xF


def test_responses_and_scraps_are_not_answered() -> None:
    assert parse_query(b"") is None
    assert parse_query(encode_response(query(), limit=512)) is None


def test_a_pointer_loop_ends() -> None:
    head = struct.pack(">HHHHHH", 1, QR, 1, 1, 0, 0) + b"\x01a\0" + struct.pack(">HH", 1, 1)
    for pointer in (len(head), len(head) + 1, 12 + 7):
        with pytest.raises(DnsError):
            parse_response(head + struct.pack(">H", 0xC000 | pointer) + bytes(10))


@pytest.mark.parametrize("text", ["a" * 64, ".".join(["a" * 63] * 4) + ".a", "a..b", ".a"])
def test_impossible_names(text: str) -> None:
    with pytest.raises(DnsError):
        name_of(text)


@given(st.binary(max_size=600))
def test_only_dns_errors_escape_from_bytes(data: bytes) -> None:
    for parse in (parse_query, parse_response):
        try:
            parse(data)
        except DnsError:
            pass


@given(st.data())
def test_only_dns_errors_escape_from_damaged_messages(data: st.DataObject) -> None:
    good = bytearray(
        encode_response(
            query(edns=True),
            answers=[Record(WEB, CNAME, 5, encode_name(WEB)), Record(WEB, A, 5, bytes(4))],
            limit=512,
        )
        if data.draw(st.booleans())
        else encode_query(1, WEB, A, edns=True)
    )
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    for parse in (parse_query, parse_response):
        try:
            found = parse(bytes(good[: data.draw(st.integers(0, len(good)))]))
        except DnsError:
            continue
        if isinstance(found, Query):
            assert len(encode_response(found, limit=512)) <= 512


names = st.lists(st.binary(min_size=1, max_size=20).map(bytes.lower), min_size=1, max_size=6).map(tuple)


@given(names, st.lists(st.tuples(names, st.binary(min_size=4, max_size=4)), max_size=20))
def test_any_records_are_read_back(question: tuple[bytes, ...], pairs: list[tuple[tuple[bytes, ...], bytes]]) -> None:
    asked = parse_query(encode_query(1, question, A, edns=False))
    assert asked is not None
    answers = tuple(Record(name, A, 5, data) for name, data in pairs)
    assert parse_response(encode_response(asked, answers=answers, limit=65535)).answers == answers
