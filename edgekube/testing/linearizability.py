"""Decides whether a history of concurrent operations on a store could have happened one after the other.

The search is Wing and Gong's with Lowe's memory of visited configurations ("Testing for linearizability", 2017): put
the operations in some order that respects real time (one that returned before another was called comes first) and in
which each gives the answer it gave. Operations are split into groups that share no key, and each group is searched by
itself; what the groups share is the revision, which is checked over the whole history first.

An operation whose outcome is unknown (the caller timed out, or its member died) may have happened at any time after its
call, also after the history ended, or never. One that is known not to have happened is left out of the history.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from edgekube.store.api import Delete, Guard, GuardKind, KeyValue, Op, Put

CONFIGURATIONS_MAX: Final = 500_000
"""How many configurations a search visits, unless told otherwise, before it gives up with `Undecided`."""


class Undecided(Exception):
    """The search was too long: make the history shorter, or let fewer outcomes be unknown."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call: a read of `reads`, or a transaction of `guards` and `ops`.

    `call` and `back` are points on one clock of the observer; `back` None means the outcome is unknown, and then the
    rest means nothing. `revision` is the answer's, `seen` the keys a read found, or those that a failed transaction's
    answer shows (None: absent).
    """

    client: int
    call: float
    back: float | None
    reads: tuple[bytes, ...] = ()
    guards: tuple[Guard, ...] = ()
    ops: tuple[Op, ...] = ()
    succeeded: bool = True
    revision: int = 0
    seen: tuple[tuple[bytes, KeyValue | None], ...] = ()

    @property
    def keys(self) -> frozenset[bytes]:
        """All keys it touches."""
        return frozenset((*self.reads, *(guard.key for guard in self.guards), *(op.key for op in self.ops)))

    def __str__(self) -> str:
        if self.reads:
            what = f"read {b' '.join(self.reads).decode()}"
        else:
            parts = [f"if {guard.key.decode()}@{guard.value}" for guard in self.guards]
            parts += [f"{type(op).__name__.lower()} {op.key.decode()} {op.value!r}" for op in self.ops]
            what = ", ".join(parts) or "check"
        if self.back is None:
            return f"client {self.client} [{self.call:g}, ?] {what}: unknown"
        seen = ", ".join(
            f"{key.decode()}={'none' if kv is None else f'{kv.value!r}@{kv.mod_revision}'}" for key, kv in self.seen
        )
        done = "done" if self.succeeded else "refused"
        return f"client {self.client} [{self.call:g}, {self.back:g}] {what}: {done} at {self.revision} {seen}".rstrip()


# One key's content: (value, revision), None when absent. A negative revision is unknown, but above its absolute value:
# that of a write whose answer nobody got.
Cell = tuple[bytes, int] | None
# The highest revision told so far, and the cells by position of their key in the group.
State = tuple[int, tuple[Cell, ...]]


def check(
    history: Sequence[Operation],
    initial: Mapping[bytes, KeyValue] | None = None,
    *,
    configurations_max: int = CONFIGURATIONS_MAX,
) -> str | None:
    """None when the history is linearizable from `initial` (nothing), else what is wrong with it.

    Raises Undecided.
    """
    complaint = check_revisions(history)
    if complaint is not None:
        return complaint
    for group in groups(without_unseen(history)):
        complaint = _search(group, initial or {}, configurations_max)
        if complaint is not None:
            return complaint
    return None


def check_revisions(history: Iterable[Operation]) -> str | None:
    """Revisions never go back in real time, and no two writes share one."""
    known = [operation for operation in history if operation.back is not None]
    returns = sorted(known, key=_back)
    place = 0
    latest: Operation | None = None
    writes: dict[int, Operation] = {}
    for operation in sorted(known, key=_call):
        while place < len(returns) and _back(returns[place]) < operation.call:
            if latest is None or returns[place].revision > latest.revision:
                latest = returns[place]
            place += 1
        # A transaction of deletes alone may change nothing, and then it gets no revision of its own.
        writes_for_sure = operation.succeeded and any(isinstance(op, Put) for op in operation.ops)
        if latest is not None and operation.revision < latest.revision + writes_for_sure:
            return f"the revision went back:\n  {latest}\n  {operation}"
        if writes_for_sure and writes.setdefault(operation.revision, operation) is not operation:
            return f"two writes at one revision:\n  {writes[operation.revision]}\n  {operation}"
    return None


def without_unseen(history: Sequence[Operation]) -> list[Operation]:
    """The history without puts of unknown outcome whose values nobody saw: if there is an order with them, the same
    order without them is one. It needs all values to be different; those that are not are kept."""
    values: dict[bytes, int] = {}
    for operation in history:
        for op in operation.ops:
            values[op.value] = values.get(op.value, 0) + 1
    shown = [kv for operation in history for _, kv in operation.seen if kv is not None]
    seen = {kv.value for kv in shown}
    told = {0, *(kv.mod_revision for kv in shown)}
    told.update(one.revision for one in history if one.back is not None and one.succeeded and one.ops)
    # Guards notice a put without its value being seen when they ask for existence, or name a revision nobody was told.
    for operation in history:
        if any(guard.kind == GuardKind.EXISTS or guard.value not in told for guard in operation.guards):
            return list(history)
    return [
        operation
        for operation in history
        if operation.back is not None
        or not all(isinstance(op, Put) and op.value not in seen and values[op.value] == 1 for op in operation.ops)
    ]


def groups(history: Iterable[Operation]) -> list[list[Operation]]:
    """The operations, split so that no two parts share a key."""
    parts: list[tuple[set[bytes], list[Operation]]] = []
    for operation in history:
        keys, members = set(operation.keys), [operation]
        apart = []
        for part in parts:
            if part[0].isdisjoint(keys):
                apart.append(part)
            else:
                keys |= part[0]
                members = part[1] + members
        parts = [*apart, (keys, members)]
    return [members for _, members in parts]


class _Node:
    """A call or a return in the list of what is not yet ordered."""

    __slots__ = ("after", "before", "bit", "operation", "partner")

    def __init__(self, operation: Operation | None, bit: int) -> None:
        self.operation = operation  # None: a return
        self.bit = bit
        self.before: _Node = self
        self.after: _Node = self
        self.partner: _Node | None = None

    def link(self, before: "_Node") -> None:
        self.before, self.after = before, before.after
        before.after.before = self
        before.after = self

    def lift(self) -> None:
        self.before.after, self.after.before = self.after, self.before
        if self.partner is not None:
            self.partner.before.after, self.partner.after.before = self.partner.after, self.partner.before

    def put_back(self) -> None:
        if self.partner is not None:
            self.partner.before.after = self.partner.after.before = self.partner
        self.before.after = self.after.before = self


def _search(group: Sequence[Operation], initial: Mapping[bytes, KeyValue], configurations_max: int) -> str | None:
    places = {key: place for place, key in enumerate(sorted(set().union(*(operation.keys for operation in group))))}
    head = _listed(group)
    cells: list[Cell] = []
    for key in places:
        kv = initial.get(key)
        cells.append(None if kv is None else (kv.value, kv.mod_revision))
    state: State = (0, tuple(cells))
    done = 0
    remaining = sum(operation.back is not None for operation in group)
    visited: set[tuple[int, State]] = set()
    stack: list[tuple[_Node, State, int]] = []
    best: list[Operation] = []
    stuck: _Node | None = None
    node = head.after
    while remaining:
        operation = node.operation
        if operation is not None:
            following = apply(operation, state, places)
            if following is not None and (done | node.bit, following) not in visited:
                visited.add((done | node.bit, following))
                if len(visited) > configurations_max:
                    raise Undecided(f"{len(group)} operations on {len(places)} keys: {configurations_max} tried")
                stack.append((node, state, done))
                state, done = following, done | node.bit
                remaining -= operation.back is not None
                node.lift()
                node = head.after
                continue
            node = node.after
            if node is not head:
                continue
        # A return (or the end) of what could not be ordered: go back on the last choice.
        if stuck is None or len(stack) > len(best):
            best = [entry[0].operation for entry in stack if entry[0].operation is not None]
            stuck = node
        if not stack:
            return _explain(group, best)
        node, state, done = stack.pop()
        assert node.operation is not None, "only calls are ordered"
        remaining += node.operation.back is not None
        node.put_back()
        node = node.after
        while node is head and stack:
            node, state, done = stack.pop()
            assert node.operation is not None, "only calls are ordered"
            remaining += node.operation.back is not None
            node.put_back()
            node = node.after
        if node is head:
            return _explain(group, best)
    return None


def _listed(group: Sequence[Operation]) -> _Node:
    points: list[tuple[float, int, int, _Node]] = []
    for number, operation in enumerate(sorted(group, key=_call)):
        call = _Node(operation, 1 << number)
        points.append((operation.call, 0, number, call))
        if operation.back is not None:
            call.partner = _Node(None, 0)
            points.append((operation.back, 1, number, call.partner))
    head = last = _Node(None, 0)
    for *_, node in sorted(points, key=lambda point: point[:3]):
        node.link(last)
        last = node
    return head


def _explain(group: Sequence[Operation], best: Sequence[Operation]) -> str:
    left = [operation for operation in sorted(group, key=_call) if operation not in best]
    returned = [operation.back for operation in left if operation.back is not None]
    first = min(returned, default=0)
    lines = [f"no order explains {len(group)} operations; {len(best)} can be ordered, the last of them:"]
    lines += [f"  {operation}" for operation in best[-8:]]
    lines.append("and then none of these can be next:")
    lines += [f"  {operation}" for operation in left if operation.call <= first][:12]
    return "\n".join(lines)


def apply(operation: Operation, state: State, places: Mapping[bytes, int]) -> State | None:
    """The state after an operation, None when it could not have answered so."""
    floor, cells = state
    known = operation.back is not None
    if known and operation.revision < floor:
        return None
    draft = list(cells)
    if known and (operation.reads or not operation.succeeded):
        for key, kv in operation.seen:
            if not _bind(draft, places[key], None if kv is None else (kv.value, kv.mod_revision)):
                return None
        if operation.reads:
            return operation.revision, tuple(draft)
    if operation.reads:
        return None
    shown = {key for key, _ in operation.seen}
    failed = False
    for guard in operation.guards:
        holds = _holds(draft, places[guard.key], guard)
        if known and not operation.succeeded and holds != (guard.key not in shown):
            return None
        failed = failed or not holds
    if known and failed == operation.succeeded:
        return None
    if failed:
        return (operation.revision, tuple(draft)) if known else None
    return _write(operation, floor, draft, places)


def _write(operation: Operation, floor: int, draft: list[Cell], places: Mapping[bytes, int]) -> State | None:
    revision = operation.revision if operation.back is not None else -floor
    changed = False
    for op in operation.ops:
        place = places[op.key]
        if isinstance(op, Delete):
            changed = changed or draft[place] is not None
            draft[place] = None
        else:
            changed = True
            draft[place] = (op.value, revision)
    if operation.back is None:
        return (floor + 1, tuple(draft)) if changed else None
    if changed and operation.revision <= floor:
        return None
    return operation.revision, tuple(draft)


def _bind(draft: list[Cell], place: int, seen: Cell) -> bool:
    """Whether a cell has the content that was seen; an unknown revision is known from then on."""
    cell = draft[place]
    if cell is None or seen is None:
        return cell is seen
    if cell[0] != seen[0] or (cell[1] != seen[1] and (cell[1] > 0 or seen[1] <= -cell[1])):
        return False
    draft[place] = seen
    return True


def _holds(draft: list[Cell], place: int, guard: Guard) -> bool:
    cell = draft[place]
    if guard.kind == GuardKind.EXISTS:
        return cell is not None
    if cell is None:
        return guard.value == 0
    if cell[1] <= 0 and guard.value > -cell[1]:
        # An unknown revision: a guard can only name it if somebody saw it, and then the value is the one guarded.
        draft[place] = (cell[0], guard.value)
        return True
    return cell[1] == guard.value


def _call(operation: Operation) -> float:
    return operation.call


def _back(operation: Operation) -> float:
    assert operation.back is not None, "only operations that returned are ordered by it"
    return operation.back
