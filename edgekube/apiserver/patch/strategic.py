"""Strategic merge patch: merge patch that merges keyed lists, with its directives.

`$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`. See the
community's "strategic merge patch" page; where it is silent, kubectl's own behaviour on a real server was followed.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.apiserver.patch.errors import PatchError
from edgekube.apiserver.schema import ANY, Node, Shape

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
SET_ORDER = "$setElementOrder/"
DELETE_FROM = "$deleteFromPrimitiveList/"
DEPTH_MAX = 200

_encode = msgspec.json.Encoder(order="sorted").encode


def strategic_merge(target: Any, patch: Any, node: Node, depth: int = 0) -> Any:
    """The target with the patch applied; both objects, neither is changed. Raises PatchError."""
    if depth > DEPTH_MAX:
        raise PatchError("the patch is nested too deeply")
    directive = patch.get(PATCH)
    if directive is not None:
        if directive == "replace":
            return _plain({k: v for k, v in patch.items() if k != PATCH})
        if directive == "delete":
            return {}
        if directive != "merge":
            raise PatchError(f"Unknown patch type '{directive}' found in {PATCH} directive")
    result = dict(target)
    retain = patch.get(RETAIN_KEYS)
    if retain is not None:
        if not isinstance(retain, list) or not all(isinstance(k, str) for k in retain):
            raise PatchError(f"{RETAIN_KEYS} is a list of field names")
        if not set(_fields(patch)) - {k for k in patch if patch[k] is None} <= set(retain):
            raise PatchError("retainKeys list doesn't contain all fields present in the patch")
        result = {k: v for k, v in result.items() if k in retain}
    for key, value in patch.items():
        if key in (PATCH, RETAIN_KEYS):
            continue
        if key.startswith(DELETE_FROM):
            name = key.removeprefix(DELETE_FROM)
            if not isinstance(value, list):
                raise PatchError(f"{key} is a list of values")
            if isinstance(result.get(name), list):
                result[name] = [item for item in result[name] if item not in value]
            continue
        if key.startswith(SET_ORDER):
            continue
        if value is None:
            result.pop(key, None)
            continue
        child = _child(node, key)
        current = result.get(key)
        if isinstance(value, dict):
            result[key] = strategic_merge(current if isinstance(current, dict) else {}, value, child, depth + 1)
            if value.get(PATCH) == "delete" and not result[key]:
                del result[key]
        elif isinstance(value, list) and child.merge:
            merged = _merge_list(current if isinstance(current, list) else [], value, child, depth)
            result[key] = merged
        else:
            result[key] = value
    for key, value in patch.items():
        if key.startswith(SET_ORDER):
            name = key.removeprefix(SET_ORDER)
            if not isinstance(value, list):
                raise PatchError(f"{key} is a list")
            if isinstance(result.get(name), list):
                patched = patch.get(name)
                edits = patched if isinstance(patched, list) else []
                result[name] = _ordered(result[name], value, edits, target.get(name), _child(node, name))
    return result


def _fields(patch: dict[str, Any]) -> list[str]:
    names = []
    for key in patch:
        if key in (PATCH, RETAIN_KEYS):
            continue
        for prefix in (SET_ORDER, DELETE_FROM):
            key = key.removeprefix(prefix)
        names.append(key)
    return names


def _child(node: Node, key: str) -> Node:
    if node.shape is Shape.STRUCT:
        return node.fields.get(key, ANY)
    return node.elem or ANY


def _merge_list(current: list[Any], patch: list[Any], node: Node, depth: int) -> list[Any]:
    if not node.merge_key:
        result = list(current)
        result += [item for item in _unique(patch) if item not in result]
        return result
    key = node.merge_key
    elem = node.elem or ANY
    result = list(current)
    replace = False
    edits = []
    for item in patch:
        if not isinstance(item, dict):
            raise PatchError(f"expected a list of objects with the key {key!r}")
        directive = item.get(PATCH)
        if directive == "replace":
            replace = True
            rest = {k: v for k, v in item.items() if k != PATCH}
            if rest:
                edits.append(rest)
            continue
        if directive is not None and directive not in ("delete", "merge"):
            raise PatchError(f"Unknown patch type '{directive}' found in {PATCH} directive")
        edits.append(item)
    if replace:
        return [_plain(item) for item in edits if item.get(PATCH) != "delete"]
    for item in edits:
        if key not in item:
            raise PatchError(f"map: {_short(item)} does not contain declared merge key: {key}")
        at = [i for i, held in enumerate(result) if isinstance(held, dict) and held.get(key) == item[key]]
        if item.get(PATCH) == "delete":
            result = [held for i, held in enumerate(result) if i not in at]
        elif at:
            result[at[0]] = strategic_merge(result[at[0]], item, elem, depth + 1)
        else:
            result.append(strategic_merge({}, item, elem, depth + 1))
    return result


def _ordered(items: list[Any], order: list[Any], patched: list[Any], before: Any, node: Node) -> list[Any]:
    """The list in the order asked for; items the order does not name stay near where the server had them."""
    key = node.merge_key

    def ident(item: Any) -> bytes:
        return bytes(_encode(item.get(key) if key and isinstance(item, dict) else item))

    wanted = [ident(item) for item in order]
    for item in patched:
        if isinstance(item, dict) and (item.get(PATCH) is not None or (key and key not in item)):
            continue
        if ident(item) not in wanted:
            asked, given = _short(order), _short(patched)
            raise PatchError(f"The order in patch list:\n{given}\n doesn't match {SET_ORDER[:-1]} list:\n{asked}\n")
    place = {name: i for i, name in enumerate(wanted)}
    named = sorted((item for item in items if ident(item) in place), key=lambda item: place[ident(item)])
    free = [item for item in items if ident(item) not in place]
    if not free:
        return named
    held = {ident(item): i for i, item in enumerate(before if isinstance(before, list) else [])}
    result: list[Any] = []
    while named or free:
        if not free:
            result.append(named.pop(0))
        elif not named:
            result.append(free.pop(0))
        else:
            mine, other = held.get(ident(named[0])), held.get(ident(free[0]))
            if mine is not None and other is not None and other < mine:
                result.append(free.pop(0))
            else:
                result.append(named.pop(0))
    return result


def _plain(value: Any) -> Any:
    """A value taken over whole, without directives."""
    if isinstance(value, dict):
        return {
            k: _plain(v)
            for k, v in value.items()
            if k not in (PATCH, RETAIN_KEYS) and not k.startswith((SET_ORDER, DELETE_FROM)) and v is not None
        }
    if isinstance(value, list):
        return [_plain(item) for item in value if not (isinstance(item, dict) and item.get(PATCH) == "delete")]
    return value


def _unique(items: Sequence[Any]) -> list[Any]:
    out: list[Any] = []
    for item in items:
        if item not in out:
            out.append(item)
    return out


def _short(value: Any) -> str:
    text = _encode(value).decode()
    return text if len(text) <= 200 else text[:200] + "..."
