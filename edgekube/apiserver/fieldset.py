"""Sets of field paths, as managedFields writes them (FieldsV1; structured-merge-diff's fieldpath.Set).

A set is a trie of plain dicts, exactly the JSON of fieldsV1: `f:<name>` a field, `k:<json>` an element of a keyed list,
`v:<json>` an element of a set; a node without children is a member, `.` among children says that the parent is one
too. Sets are values: no function changes its arguments.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edgekube.apiserver.schema import ListType, Node, Shape

FieldSet = dict[str, Any]
SELF = "."
DEPTH_MAX = 100

_encode = msgspec.json.Encoder().encode


def element_key(node: Node, item: Any) -> str | None:
    """The path element of a list item, or None when it lacks a key (then the list can only be taken as a whole)."""
    if node.list_type is ListType.SET:
        return None if isinstance(item, dict | list) else "v:" + _encode(item).decode()
    if not isinstance(item, dict):
        return None
    if len(node.keys) == 1:  # nearly always; a key that stands alone has no default
        name = node.keys[0]
        found = {name: item[name]} if item.get(name) is not None else {}
    else:
        defaults = node.key_defaults()
        found = {}
        for name in sorted(node.keys):
            value = item.get(name, defaults.get(name))
            if value is not None:
                found[name] = value
    return "k:" + _encode(found).decode() if found else None


def keyed_items(node: Node, items: list[Any]) -> dict[str, Any] | None:
    """Items by path element; None when one has no key or two share one."""
    result = {}
    for item in items:
        key = element_key(node, item)
        if key is None or key in result:
            return None
        result[key] = item
    return result


def _is_leaf(node: Node, value: Any) -> bool:
    if isinstance(value, dict):
        return node.opaque
    return not isinstance(value, list) or node.opaque or node.list_is_leaf


def _child(node: Node, name: str) -> Node:
    if node.shape is Shape.STRUCT:
        return node.fields.get(name) or _ANY
    return node.elem or _ANY


_ANY = Node(Shape.ANY)
_ANY.elem = _ANY
_NESTED = (dict, list)


def field_set(value: Any, node: Node) -> FieldSet:
    """All fields a value sets, leaves and keyed elements (typed.ToFieldSet). `value` is not a leaf."""
    result: FieldSet = {}
    if isinstance(value, dict):
        is_map = node.shape is not Shape.STRUCT
        for name, item in value.items():
            child = _child(node, name)
            if _is_leaf(child, item):
                result["f:" + name] = {}
                continue
            inner = field_set(item, child)
            if is_map or (not inner):
                inner = {SELF: {}, **inner} if inner else inner
            result["f:" + name] = inner
        return result
    items = keyed_items(node, value)
    if items is None:
        return {SELF: {}}
    for key, item in items.items():
        inner = {} if not isinstance(item, dict | list) else field_set(item, node.elem or _ANY)
        result[key] = {SELF: {}, **inner} if inner else {}
    return result


def compare(old: Any, new: Any, node: Node) -> tuple[FieldSet, FieldSet]:
    """(added or modified, removed) paths between two values that are not leaves (typed.Compare)."""
    changed: FieldSet = {}
    removed: FieldSet = {}
    if isinstance(new, dict):
        for name, value in new.items():
            previous = old.get(name)
            if previous is value:
                continue
            if previous is None:
                changed["f:" + name] = _whole(value, _child(node, name)) if isinstance(value, _NESTED) else {}
            elif previous != value or type(previous) is not type(value):
                _compare_item("f:" + name, previous, value, _child(node, name), changed, removed)
        for name, previous in old.items():
            if name not in new:
                removed["f:" + name] = _whole(previous, _child(node, name))
        return changed, removed
    before = keyed_items(node, old)
    after = keyed_items(node, new)
    if before is None or after is None:
        return ({SELF: {}}, {}) if old != new else ({}, {})
    elem = node.elem or _ANY
    for key, value in after.items():
        previous = before.get(key)
        if previous != value:
            _compare_item(key, previous, value, elem, changed, removed)
    for key, previous in before.items():
        if key not in after:
            removed[key] = _whole(previous, elem)
    return changed, removed


def _compare_item(key: str, old: Any, new: Any, node: Node, changed: FieldSet, removed: FieldSet) -> None:
    if old is None:
        changed[key] = _whole(new, node)
    elif _is_leaf(node, new) or type(old) is not type(new):
        changed[key] = {}
    else:
        inner_changed, inner_removed = compare(old, new, node)
        if inner_changed:
            if inner_changed == {SELF: {}}:
                inner_changed = {}
            changed[key] = inner_changed
        if inner_removed:
            removed[key] = inner_removed


def _whole(value: Any, node: Node) -> FieldSet:
    """Every path of a value that appeared or vanished as a whole, parents included."""
    if not value or node.opaque:
        return {}
    if isinstance(value, dict):
        result: FieldSet = {SELF: {}}
        fields = node.fields if node.shape is Shape.STRUCT else None
        child = node.elem or _ANY
        for name, item in value.items():
            if not isinstance(item, _NESTED):
                result["f:" + name] = {}
            else:
                if fields is not None:
                    child = fields.get(name) or _ANY
                result["f:" + name] = _whole(item, child)
        return result
    items = None if node.list_is_leaf or not isinstance(value, list) else keyed_items(node, value)
    if items is None:
        return {}
    elem = node.elem or _ANY
    return {SELF: {}, **{key: _whole(item, elem) for key, item in items.items()}}


def is_field_set(value: Any, depth: int = 0) -> bool:
    """Whether a value is the JSON of a set."""
    if not isinstance(value, dict) or depth > DEPTH_MAX:
        return False
    return all(
        (key == SELF and child == {}) or (key[:2] in ("f:", "k:", "v:", "i:") and is_field_set(child, depth + 1))
        for key, child in value.items()
    )


def is_member(node: FieldSet) -> bool:
    return not node or SELF in node


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    """Paths in either; arguments are the children tries of one node."""
    result = dict(a)
    for key, right in b.items():
        left = result.get(key)
        if left is None:
            result[key] = right
        elif left != right:
            merged = union(left, right)
            if is_member(left) or is_member(right):
                merged = {SELF: {}, **merged}
            result[key] = merged
    return result


def subtract(a: FieldSet, b: FieldSet) -> FieldSet:
    """Paths of `a` that are not in `b`."""
    if not b:
        return a
    result: FieldSet = {}
    for key, left in a.items():
        right = b.get(key)
        if right is None:
            result[key] = left
            continue
        if key == SELF:
            continue
        member = is_member(left) and not is_member(right)
        children = subtract({k: v for k, v in left.items() if k != SELF}, right)
        if children:
            result[key] = {SELF: {}, **children} if member else children
        elif member:
            result[key] = {}
    return result


def intersect(a: FieldSet, b: FieldSet) -> FieldSet:
    """Paths in both."""
    result: FieldSet = {}
    for key, left in a.items():
        right = b.get(key)
        if right is None:
            continue
        if key == SELF:
            continue
        member = is_member(left) and is_member(right)
        children = intersect(left, right)
        if children:
            result[key] = {SELF: {}, **children} if member else children
        elif member:
            result[key] = {}
    return result


def drop_fields(fields: FieldSet, names: Mapping[str, Any]) -> FieldSet:
    """The set without the subtrees named (`{"f:status": None, "f:metadata": {"f:uid": None}}`: None is a subtree)."""
    result: FieldSet = {}
    for key, inner in fields.items():
        if key not in names:
            result[key] = inner
        elif names[key] is not None:
            rest = drop_fields(inner, names[key])
            if rest and rest != {SELF: {}}:
                result[key] = rest
    return result


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """Members as people read them: `.spec.containers[name="web"].image`."""
    for key, inner in fields.items():
        if key == SELF:
            continue
        path = prefix + _spelled(key)
        if is_member(inner):
            yield path
        yield from paths(inner, path)


def _spelled(key: str) -> str:
    kind, text = key[:2], key[2:]
    if kind == "f:":
        return "." + text
    if kind == "v:":
        return f"[={text}]"
    try:
        pairs = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return f"[{text}]"
    return "[" + ",".join(f"{k}={_encode(v).decode()}" for k, v in pairs.items()) + "]"
