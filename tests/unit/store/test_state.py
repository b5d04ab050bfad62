"""The state machine by itself: what moves into the base, and that replicas agree."""

import random

import pytest

from edgekube.store.api import Delete, Guard, KeyValue, Op, Put
from edgekube.store.command import Command
from edgekube.store.state import NoBase, Position, StateMachine


class DictBase:
    """A base in memory."""

    def __init__(self) -> None:
        self.keys: dict[bytes, KeyValue] = {}

    def get(self, key: bytes) -> KeyValue | None:
        return self.keys.get(key)

    def scan(self, start: bytes, end: bytes, limit: int) -> list[KeyValue]:
        found = [self.keys[key] for key in sorted(self.keys) if start <= key < end]
        return found[:limit] if limit else found

    def count(self, start: bytes, end: bytes) -> int:
        return len(self.scan(start, end, 0))


def apply(state: StateMachine, *ops: Op, fence: int = 0, term: int = 1, guards: tuple[Guard, ...] = ()) -> bool:
    outcome = state.apply(state.index + 1, term, Command(1, fence, guards, ops), 0.0)
    return outcome.result.succeeded


def flush(state: StateMachine, base: DictBase, changes: dict[bytes, KeyValue | None], revision: int) -> None:
    for key, kv in changes.items():
        if kv is None:
            base.keys.pop(key, None)
        else:
            base.keys[key] = kv
    state.settle(changes, revision)


def test_what_changes_while_the_base_is_written_stays_in_the_overlay() -> None:
    base = DictBase()
    state = StateMachine(base, Position())
    for key in (b"/changed", b"/deleted", b"/same", b"/gone"):
        apply(state, Put(key, b"1"))
    apply(state, Delete(b"/gone"))
    changes = {key: state.get(key) for key in (b"/changed", b"/deleted", b"/same", b"/gone")}
    revision = state.revision
    apply(state, Put(b"/changed", b"2"))
    apply(state, Delete(b"/deleted"))
    apply(state, Put(b"/gone", b"back"))
    flush(state, base, changes, revision)
    assert [(kv.key, kv.value) for kv in state.range(b"/", b"0")] == [
        (b"/changed", b"2"),
        (b"/gone", b"back"),
        (b"/same", b"1"),
    ]
    assert (state.get(b"/deleted"), state.count(b"/", b"0"), state.recent_count) == (None, 3, 3)
    assert apply(state, Put(b"/deleted", b"again"))
    kv = state.get(b"/deleted")
    assert kv is not None
    assert kv.version == 1


def test_a_key_that_was_deleted_twice_stays_deleted_while_its_life_between_is_written() -> None:
    base = DictBase()
    state = StateMachine(base, Position())
    apply(state, Put(b"/a", b"1"))
    apply(state, Delete(b"/a"))
    deleted = state.revision
    apply(state, Put(b"/a", b"2"))
    again = state.get(b"/a")
    apply(state, Delete(b"/a"))
    flush(state, base, {b"/a": None}, deleted)
    flush(state, base, {b"/a": again}, deleted + 1)
    assert (state.get(b"/a"), state.count(b"/", b"0"), state.range(b"/", b"0")) == (None, 0, [])
    flush(state, base, {b"/a": None}, state.revision)
    assert (state.recent_count, base.keys) == (0, {})


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_merge_overlay_and_base(limit: int) -> None:
    rng = random.Random(limit)
    base = DictBase()
    state = StateMachine(base, Position())
    for _ in range(60):
        keys = rng.sample(range(40), 4)
        for key in keys:
            apply(state, Delete(b"/%02d" % key) if rng.random() < 0.4 else Put(b"/%02d" % key, b"v"))
        if rng.random() < 0.5:
            flush(state, base, {b"/%02d" % key: state.get(b"/%02d" % key) for key in keys}, state.revision)
        pages, start = [], b"/"
        while page := state.range(start, b"0", limit):
            assert len(page) <= limit
            pages += page
            start = page[-1].key + b"\0"
        assert pages == [kv for n in range(40) if (kv := state.get(b"/%02d" % n))]
        assert state.count(b"/", b"0") == len(pages)


def test_replicas_with_and_without_a_base_agree() -> None:
    plain, based = StateMachine(NoBase(), Position()), StateMachine(DictBase(), Position())
    digests = set()
    for n in range(50):
        for state in (plain, based):
            apply(state, Put(b"/%d" % (n % 7), b"%d" % n, 1), Delete(b"/%d" % ((n + 3) % 7)))
        assert plain.position == based.position
        digests.add(plain.digest)
    assert len(digests) == 50
    apply(plain, Put(b"/0", b"different"))
    apply(based, Put(b"/0", b"Different"))
    assert plain.digest != based.digest


def test_a_fenced_or_failed_transaction_changes_nothing_but_the_index() -> None:
    state = StateMachine(NoBase(), Position())
    apply(state, Put(b"/a", b""))
    before = state.position
    assert state.apply(2, 2, Command(1, 1, (), (Put(b"/a", b"x"),)), 0.0).fenced
    assert not apply(state, Put(b"/a", b"x"), term=2, guards=(Guard(b"/a", 9),))
    assert apply(state, Delete(b"/absent"), term=2)
    assert (state.revision, state.digest, state.index) == (before.revision, before.digest, 4)


def test_entries_must_follow_one_another() -> None:
    state = StateMachine(NoBase(), Position())
    with pytest.raises(RuntimeError, match="cannot follow"):
        state.skip(2, 1)
    state.skip(1, 3)
    with pytest.raises(RuntimeError, match="cannot follow"):
        state.skip(2, 2)
