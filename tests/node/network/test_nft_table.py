"""One table of ours among programs that change the firewall at the same time."""

from collections.abc import Iterator

import pytest
import trio

from edgekube.network import nft
from edgekube.network.api import NetworkFailure
from edgekube.network.nft import Chain, Hook, SetSpec, Table
from edgekube.network.nft_batch import Delta
from edgekube.network.nft_table import NftTable
from edgekube.testing.netlab import NetLab, command

pytestmark = pytest.mark.root

SPEC = SetSpec(key=(nft.TYPE_IPV4,))


def make(name: str = "ours") -> NftTable:
    rule = (nft.load_saddr(), nft.in_set("s"), nft.decide(nft.NF_ACCEPT))
    chains = {"c": Chain((rule,), Hook("filter", nft.INPUT, 0))}
    return NftTable(Table(name=name, sets={"s": SPEC}, chains=chains, elements={"s": {b"\x0a\0\0\1": b""}}))


@pytest.fixture
def table(lab: NetLab) -> Iterator[NftTable]:
    made = make()
    yield made
    made.close()


def element(number: int, data: bytes | None = b"") -> Delta:
    return Delta(elements={"s": {number.to_bytes(4, "big"): data}})


async def test_changes_and_dumps_agree(table: NftTable) -> None:
    await table.rebuild()
    assert table.in_sync()
    await table.apply(element(0x0A000002))
    assert table.dump_keys("s").keys() == {b"\x0a\0\0\1", b"\x0a\0\0\2"}
    await table.apply(element(0x0A000001, None))
    assert table.in_sync()
    assert "10.0.0.2" in command("nft", "list", "table", "ip", "ours")
    count = table.transactions
    await table.apply(element(0x0A000002))  # nothing differs
    assert table.transactions == count


async def test_others_may_change_theirs_all_the_time(table: NftTable) -> None:
    await table.rebuild()
    async with trio.open_nursery() as nursery:

        async def meddle() -> None:
            while True:
                await trio.run_process(["nft", "add table ip theirs; add chain ip theirs x; delete table ip theirs"])

        for _ in range(2):
            nursery.start_soon(meddle)
        for number in range(300):
            await table.apply(element(0x0A010000 + number))
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert table.rebuilds == 1
    assert table.in_sync()
    assert len(table.dump_keys("s")) == 301


async def test_a_change_of_ours_is_undone_by_the_next_update(table: NftTable) -> None:
    await table.rebuild()
    command("nft", "add element ip ours s { 10.9.9.9 }")
    command("nft", "flush chain ip ours c")
    assert not table.in_sync()
    await table.apply(element(0x0A000003))
    assert table.in_sync()
    assert table.rebuilds == 2


async def test_tables_of_one_process_do_not_disturb_each_other(table: NftTable) -> None:
    other = make("other")
    await table.rebuild()
    await other.rebuild()
    for number in range(20):
        await table.apply(element(number))
        await other.apply(element(number))
    assert (table.rebuilds, other.rebuilds) == (1, 1)
    seen = []

    async def changed() -> None:
        seen.append(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(table.watch, changed)
        await trio.sleep(0.05)
        await other.apply(element(99))
        await trio.sleep(0.1)
        assert not seen
        command("nft", "add table ip theirs")
        await trio.sleep(0.2)
        assert seen
        nursery.cancel_scope.cancel()
    other.close()


async def test_the_kernels_refusal_names_the_step_and_the_next_call_heals(table: NftTable) -> None:
    await table.rebuild()
    bad = Chain(((nft.in_set("nowhere"),),))
    with pytest.raises(NetworkFailure, match="add a rule to broken"):
        await table.apply(Delta(chains={"broken": bad}))
    await table.apply(Delta(chains={"broken": None}))
    assert table.in_sync()


async def test_remove_is_idempotent(table: NftTable) -> None:
    await table.remove()
    await table.rebuild()
    await table.remove()
    await table.remove()
    assert "ours" not in command("nft", "list", "tables")
