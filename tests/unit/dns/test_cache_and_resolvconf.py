from ipaddress import IPv4Address, ip_address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgekube.dns.cache import OVERHEAD_BYTES, Cache
from edgekube.dns.codec import (
    NOERROR,
    SERVFAIL,
    A,
    Query,
    Record,
    encode_query,
    encode_response,
    name_of,
    parse_query,
    parse_response,
)
from edgekube.dns.resolvconf import parse_nameservers, upstreams


def query(text: str) -> Query:
    parsed = parse_query(encode_query(7, name_of(text), A, edns=False))
    assert parsed is not None
    return parsed


def reply(asked: Query, ttl: int = 60, rcode: int = NOERROR) -> bytes:
    return encode_response(asked, rcode, [Record(asked.name, A, ttl, bytes(4))], limit=512)


def test_an_answer_is_kept_until_its_ttl_is_over() -> None:
    cache, asked = Cache(), query("example.org")
    cache.put(asked, parse_response(reply(asked)), now=100.0)
    kept = cache.get(asked._replace(id=8), 130.9)
    assert kept is not None
    parsed = parse_response(kept)
    assert (parsed.id, parsed.answers[0].ttl) == (8, 30)
    assert cache.get(asked, 160.0) is None
    assert len(cache) == 0


def test_failures_and_zero_ttls_are_not_kept() -> None:
    cache, asked = Cache(), query("example.org")
    cache.put(asked, parse_response(reply(asked, rcode=SERVFAIL)), now=0.0)
    cache.put(asked, parse_response(reply(asked, ttl=0)), now=0.0)
    assert len(cache) == 0


def test_the_least_recently_used_goes_first() -> None:
    names = [query(f"host{number}.example.org") for number in range(4)]
    cache = Cache(bytes_max=3 * (len(reply(names[0])) + OVERHEAD_BYTES))
    for asked in names[:3]:
        cache.put(asked, parse_response(reply(asked)), now=0.0)
    assert cache.get(names[0], 1.0) is not None
    cache.put(names[3], parse_response(reply(names[3])), now=1.0)
    assert [cache.get(asked, 1.0) is not None for asked in names] == [True, False, True, True]


def test_nameservers_of_a_resolv_conf() -> None:
    text = (
        "# mine\nsearch lan\nnameserver 192.168.1.1\nnameserver bogus\n nameserver fe80::1%eth0\nnameserver 192.168.1.1"
    )
    assert parse_nameservers(text)[0] == IPv4Address("192.168.1.1")
    assert len(parse_nameservers(text)) == 2


def test_we_never_ask_ourselves_nor_the_stub(tmp_path: Path) -> None:
    conf, stub = tmp_path / "resolv.conf", tmp_path / "stub.conf"
    conf.write_text("nameserver 127.0.0.53\nnameserver 10.43.0.10\n")
    stub.write_text("nameserver 192.168.1.1\nnameserver 127.0.0.53\n")
    own = [ip_address("10.43.0.10")]
    assert upstreams(conf, own, stub) == [IPv4Address("192.168.1.1")]
    assert upstreams(tmp_path / "none", own, stub) == []


@given(st.lists(st.one_of(st.text(max_size=30), st.text(max_size=30).map("nameserver ".__add__))).map("\n".join))
def test_any_text_is_read(text: str) -> None:
    parse_nameservers(text)
