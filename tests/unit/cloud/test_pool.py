from ipaddress import ip_address

import pytest

from edgekube.cloud.pool import Pool, PoolError, Refusal, Request, allocate

POOL = Pool(["192.168.1.240-192.168.1.242"])


def request(name: str, *, age: str = "2026-01-01T00:00:00Z", held: tuple[str, ...] = (), wanted: str = "") -> Request:
    return Request(key=("default", name), age=age, held=held, wanted=wanted)


def result(*requests: Request, pool: Pool = POOL) -> dict[str, str]:
    return {
        name: found.reason if isinstance(found, Refusal) else str(found)
        for (_, name), found in allocate(requests, pool).items()
    }


def test_lowest_free_address_by_age() -> None:
    assert result(request("b"), request("a"), request("old", age="2025-01-01T00:00:00Z")) == {
        "old": "192.168.1.240",
        "a": "192.168.1.241",
        "b": "192.168.1.242",
    }


def test_who_holds_an_address_keeps_it() -> None:
    newer = request("new", age="2026-02-01T00:00:00Z", held=("192.168.1.240",))
    assert result(request("a"), newer) == {"new": "192.168.1.240", "a": "192.168.1.241"}


def test_a_wish_is_met_unless_somebody_has_the_address() -> None:
    found = result(
        request("holder", held=("192.168.1.241",)),
        request("a", wanted="192.168.1.241"),
        request("b", wanted="192.168.1.242"),
    )
    assert found == {"holder": "192.168.1.241", "a": "AddressInUse", "b": "192.168.1.242"}


def test_a_changed_wish_moves_the_service() -> None:
    assert result(request("a", held=("192.168.1.240",), wanted="192.168.1.242")) == {"a": "192.168.1.242"}


@pytest.mark.parametrize("wanted", ["10.0.0.1", "nonsense"])
def test_a_wish_outside_the_pool(wanted: str) -> None:
    assert result(request("a", wanted=wanted)) == {"a": "AddressNotInPool"}


def test_an_address_of_a_former_pool_is_given_up() -> None:
    assert result(request("a", held=("10.9.9.9",))) == {"a": "192.168.1.240"}


def test_an_empty_pool() -> None:
    found = result(*(request(f"s{number}") for number in range(4)))
    assert list(found.values()).count("NoFreeAddress") == 1


def test_two_that_hold_the_same_address() -> None:
    found = result(request("a", held=("192.168.1.240",)), request("b", held=("192.168.1.240",)))
    assert found == {"a": "192.168.1.240", "b": "192.168.1.241"}


def test_ranges() -> None:
    pool = Pool(["192.168.1.7", "10.0.0.0/30", "fd00::10-fd00::12"])
    for text in ("192.168.1.7", "10.0.0.3", "fd00::12"):
        assert ip_address(text) in pool
    for text in ("192.168.1.8", "10.0.0.4", "fd00::13"):
        assert ip_address(text) not in pool
    assert not Pool([])


@pytest.mark.parametrize("text", ["", "a-b", "10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "10.0.0.0/99"])
def test_bad_ranges(text: str) -> None:
    with pytest.raises(PoolError, match="pool"):
        Pool([text])
