"""The checker accepts what can have happened and finds each way in which a store can lie."""

from __future__ import annotations

import random

import pytest

from edgekube.store.api import Delete, Guard, GuardKind, KeyValue, Op, Put
from edgekube.testing.linearizability import Operation, check, groups


def kv(key: str, value: str, revision: int) -> tuple[bytes, KeyValue | None]:
    return key.encode(), KeyValue(key.encode(), value.encode(), revision, revision)


def nothing(key: str) -> tuple[bytes, KeyValue | None]:
    return key.encode(), None


def read(call: float, back: float, revision: int, *seen: tuple[bytes, KeyValue | None], client: int = 0) -> Operation:
    keys = tuple(key for key, _ in seen)
    return Operation(client=client, call=call, back=back, reads=keys, revision=revision, seen=seen)


def write(
    call: float, back: float | None, revision: int, *ops: Op, guards: tuple[Guard, ...] = (), client: int = 0
) -> Operation:
    return Operation(client=client, call=call, back=back, ops=ops, guards=guards, revision=revision)


def put(key: str, value: str) -> Put:
    return Put(key.encode(), value.encode())


def guard(key: str, revision: int) -> Guard:
    return Guard(key.encode(), revision)


GOOD = {
    "nothing": [],
    "one after the other": [write(0, 1, 2, put("a", "1")), read(2, 3, 2, kv("a", "1", 2))],
    "a concurrent read sees the old state": [
        write(0, 10, 2, put("a", "1")),
        read(1, 2, 1, nothing("a"), client=1),
    ],
    "a concurrent read sees the new state": [
        write(0, 10, 2, put("a", "1")),
        read(1, 2, 2, kv("a", "1", 2), client=1),
    ],
    "concurrent writes in either order": [
        write(0, 10, 3, put("a", "1")),
        write(0, 10, 2, put("a", "2"), client=1),
        read(11, 12, 3, kv("a", "1", 3)),
    ],
    "an unknown write happened": [write(0, None, 0, put("a", "1")), read(5, 6, 2, kv("a", "1", 2))],
    "an unknown write never happened": [write(0, None, 0, put("a", "1")), read(5, 6, 1, nothing("a"))],
    "an unknown write happened late": [
        write(0, None, 0, put("a", "1")),
        read(5, 6, 1, nothing("a")),
        read(7, 8, 2, kv("a", "1", 2)),
    ],
    "an unknown delete happened": [
        write(0, 1, 2, put("a", "1")),
        write(2, None, 0, Delete(b"a")),
        read(5, 6, 3, nothing("a")),
    ],
    "a guard refuses and shows why": [
        write(0, 1, 2, put("a", "1")),
        Operation(
            client=1, call=2, back=3, guards=(guard("a", 1),), ops=(put("a", "2"),), succeeded=False, revision=2,
            seen=(kv("a", "1", 2),),
        ),
    ],
    "a guard on what an unknown write left": [
        write(0, None, 0, put("a", "1")),
        write(5, 6, 3, put("a", "2"), guards=(guard("a", 2),)),
    ],
    "two keys in one transaction": [
        write(0, 1, 2, put("a", "1"), put("b", "1")),
        read(2, 3, 2, kv("a", "1", 2), kv("b", "1", 2)),
    ],
    "a delete of nothing has no revision of its own": [
        write(0, 1, 2, put("a", "1")),
        write(2, 3, 2, Delete(b"b")),
        write(4, 5, 3, put("b", "1")),
    ],
    "an existence guard on an unseen write": [
        write(0, None, 0, put("a", "1")),
        write(2, 3, 3, put("b", "1"), guards=(Guard(b"a", 0, GuardKind.EXISTS),)),
    ],
    "an unseen create before a delete": [
        write(0, None, 0, put("a", "1")),
        write(2, 3, 3, Delete(b"a")),
        read(4, 5, 3, nothing("a")),
    ],
}  # fmt: skip

BAD = {
    "a stale read": [
        write(0, 1, 2, put("a", "1")),
        write(2, 3, 3, put("a", "2")),
        read(4, 5, 2, kv("a", "1", 2)),
    ],
    "a stale value under a fresh revision": [
        write(0, 1, 2, put("a", "1")),
        write(2, 3, 3, put("a", "2")),
        read(4, 5, 3, kv("a", "1", 2)),
    ],
    "a lost update": [
        write(0, 1, 2, put("a", "0")),
        write(2, 9, 3, put("a", "1"), guards=(guard("a", 2),)),
        write(2, 9, 4, put("a", "2"), guards=(guard("a", 2),), client=1),
    ],
    "a phantom acknowledgement": [write(0, 1, 2, put("a", "1")), read(2, 3, 2, nothing("a"))],
    "a read from the future": [read(0, 1, 2, kv("a", "1", 2)), write(2, 3, 2, put("a", "1"))],
    "a value that nobody wrote": [read(0, 1, 2, kv("a", "1", 2))],
    "the revision goes back": [write(0, 1, 5, put("a", "1")), write(2, 3, 4, put("b", "1"))],
    "the revision of a read goes back on another key": [write(0, 1, 5, put("a", "1")), read(2, 3, 4, nothing("b"))],
    "two writes at one revision": [
        write(0, 9, 2, put("a", "1")),
        write(0, 9, 2, put("b", "1"), client=1),
    ],
    "half a transaction": [
        write(0, 1, 2, put("a", "1"), put("b", "1")),
        read(2, 3, 2, kv("a", "1", 2), nothing("b")),
    ],
    "reads that disagree on the order": [
        write(0, 20, 3, put("a", "1")),
        write(0, 20, 2, put("b", "1"), client=1),
        read(5, 6, 3, kv("a", "1", 3), nothing("b"), client=2),
    ],
    "an unknown write that comes and goes": [
        write(0, None, 0, put("a", "1")),
        read(1, 2, 2, kv("a", "1", 2)),
        read(3, 4, 2, nothing("a")),
    ],
    "an unknown write happens twice": [
        write(0, None, 0, put("a", "1")),
        read(1, 2, 2, kv("a", "1", 2)),
        write(3, 4, 3, put("a", "2")),
        read(5, 6, 4, kv("a", "1", 4)),
    ],
    "a guard refuses without reason": [
        write(0, 1, 2, put("a", "1")),
        Operation(
            client=1, call=2, back=3, guards=(guard("a", 2),), ops=(put("a", "2"),), succeeded=False, revision=2,
            seen=(kv("a", "1", 2),),
        ),
    ],
    "a guard passes that must not": [
        write(0, 1, 2, put("a", "1")),
        write(2, 3, 3, put("a", "2"), guards=(guard("a", 0),)),
    ],
    "a write before its call": [
        read(0, 1, 2, kv("a", "1", 2), client=1),
        write(2, None, 0, put("a", "1")),
    ],
    "a revision nobody can have seen yet": [
        write(0, 1, 4, put("a", "1")),
        write(2, None, 0, put("a", "2")),
        read(3, 4, 9, kv("a", "2", 3)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_accepts(name: str) -> None:
    assert check(GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_finds(name: str) -> None:
    assert check(BAD[name]) is not None


def test_starts_from_what_is_there() -> None:
    initial = {b"a": KeyValue(b"a", b"1", 2, 2)}
    assert check([read(0, 1, 2, kv("a", "1", 2))], initial) is None
    assert check([read(0, 1, 2, nothing("a"))], initial) is not None


def test_groups_share_no_key() -> None:
    history = [
        write(0, 1, 2, put("a", "1")),
        write(0, 1, 3, put("b", "1"), put("c", "1")),
        write(0, 1, 4, put("c", "2"), put("d", "1")),
    ]
    assert sorted(sorted(set().union(*(one.keys for one in group))) for group in groups(history)) == [
        [b"a"], [b"b", b"c", b"d"],
    ]  # fmt: skip


def simulated(seed: int, count: int = 150) -> list[Operation]:
    """A history of a store that does what it should: each operation takes effect at one point of its time."""
    rng = random.Random(seed)
    keys = [f"k{n}" for n in range(4)]
    spans = []
    for client in range(6):
        now = rng.random()
        for _ in range(count // 6):
            call, point, back = sorted(now + rng.random() * 3 for _ in range(3))
            now = back + rng.random()
            spans.append((point, call, back, client))
    state: dict[bytes, KeyValue] = {}
    revision = 1
    history = []
    for number, (_, call, back, client) in enumerate(sorted(spans)):
        key = rng.choice(keys).encode()
        current = state.get(key)
        choice = rng.random()
        if choice < 0.4:
            history.append(
                Operation(client=client, call=call, back=back, reads=(key,), revision=revision, seen=((key, current),))
            )
            continue
        guards = (Guard(key, rng.choice((revision, 0, current.mod_revision if current else 0))),)
        op: Op = Put(key, b"%d" % number) if choice < 0.9 else Delete(key)
        unknown = rng.random() < 0.1
        succeeded = (current.mod_revision if current else 0) == guards[0].value
        if not succeeded:
            if not unknown:
                history.append(
                    Operation(
                        client=client,
                        call=call,
                        back=back,
                        guards=guards,
                        ops=(op,),
                        succeeded=False,
                        revision=revision,
                        seen=((key, current),),
                    )
                )
            continue
        if isinstance(op, Put):
            revision += 1
            state[key] = KeyValue(key, op.value, revision, revision)
        elif current is not None:
            revision += 1
            del state[key]
        history.append(
            Operation(
                client=client,
                call=call,
                back=None if unknown else back,
                guards=guards,
                ops=(op,),
                revision=0 if unknown else revision,
            )
        )
    return history


@pytest.mark.parametrize("seed", range(20))
def test_accepts_every_true_history(seed: int) -> None:
    assert check(simulated(seed)) is None


@pytest.mark.parametrize("seed", range(20))
def test_finds_one_stale_answer_in_a_true_history(seed: int) -> None:
    """Any read that is made to show what the key held one write earlier, at the same revision, is found."""
    history = simulated(seed)
    for place in range(len(history) - 1, -1, -1):
        one = history[place]
        if not one.reads or one.seen[0][1] is None:
            continue
        key, now = one.seen[0]
        if now is None:
            continue
        false = KeyValue(key, b"nobody wrote this", now.create_revision, now.mod_revision)
        spoiled = [*history]
        spoiled[place] = Operation(
            client=one.client, call=one.call, back=one.back, reads=one.reads, revision=one.revision,
            seen=((key, false),),
        )  # fmt: skip
        assert check(spoiled) is not None
        spoiled[place] = Operation(
            client=one.client, call=one.call, back=one.back, reads=one.reads, revision=one.revision, seen=((key, None),)
        )
        assert check(spoiled) is not None
        return
    raise AssertionError("no read to spoil")
