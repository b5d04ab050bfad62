"""RFC 6902 JSON patch over RFC 6901 pointers."""

import copy
from typing import Any

from edgekube.apiserver.patch.errors import PatchError, PatchUnprocessable

OPERATIONS_MAX = 10_000  # kube-apiserver's maxJSONPatchOperations
COPY_SIZE_ITEMS_MAX = 100_000  # nodes a patch may multiply by `copy`; a few lines could otherwise ask for gigabytes


def json_patch(target: Any, patch: Any) -> Any:
    """The target with all operations applied in order; the target is not changed.

    Raises PatchError when the patch is no list of operations, PatchUnprocessable when one of them does not work.
    """
    if not isinstance(patch, list):
        raise PatchError("a JSON patch is a list of operations")
    if len(patch) > OPERATIONS_MAX:
        raise PatchError(f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(patch)}")
    doc = copy.deepcopy(target)
    copied = 0
    for operation in patch:
        if not isinstance(operation, dict):
            raise PatchError("an operation of a JSON patch is an object")
        op = operation.get("op")
        path = _tokens(operation.get("path"), "path")
        match op:
            case "add":
                doc = _add(doc, path, copy.deepcopy(_value(operation)))
            case "remove":
                doc, _ = _remove(doc, path)
            case "replace":
                value = copy.deepcopy(_value(operation))
                if path:
                    _set(doc, path, value)
                else:
                    doc = value
            case "move":
                source = _tokens(operation.get("from"), "from")
                if path[: len(source)] == source and len(path) > len(source):
                    raise PatchUnprocessable("a location cannot be moved into one of its own children")
                doc, value = _remove(doc, source)
                doc = _add(doc, path, value)
            case "copy":
                value = _get(doc, _tokens(operation.get("from"), "from"))
                copied += _size(value)
                if copied > COPY_SIZE_ITEMS_MAX:
                    raise PatchUnprocessable("the copy operations of the patch make the object too large")
                doc = _add(doc, path, copy.deepcopy(value))
            case "test":
                try:
                    found = _get(doc, path)
                except PatchUnprocessable:
                    # evanphx/json-patch, which Kubernetes uses: an absent member equals null
                    found = None
                if not _equal(found, operation.get("value")):
                    raise PatchUnprocessable(f"testing value {operation['path']} failed")
            case _:
                raise PatchUnprocessable(f"unexpected kind of operation: {op!r}")
    return doc


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchUnprocessable(f"operation {operation.get('op')!r} needs a value")
    return operation["value"]


def _tokens(pointer: Any, what: str) -> list[str]:
    if not isinstance(pointer, str):
        raise PatchUnprocessable(f"an operation of a JSON patch needs a {what}")
    if pointer == "":
        return []
    if pointer[0] != "/":
        raise PatchUnprocessable(f"{what} {pointer!r} does not begin with a slash")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _index(token: str, length: int) -> int:
    if not (token.isascii() and token.isdigit()) or (len(token) > 1 and token[0] == "0") or len(token) > 9:
        raise PatchUnprocessable(f"{token!r} is not an index of a list")
    index = int(token)
    if index >= length:
        raise PatchUnprocessable(f"index {index} is out of bounds of a list of {length}")
    return index


def _get(doc: Any, path: list[str]) -> Any:
    for token in path:
        if isinstance(doc, dict):
            if token not in doc:
                raise PatchUnprocessable(f"there is no member {token!r}")
            doc = doc[token]
        elif isinstance(doc, list):
            doc = doc[_index(token, len(doc))]
        else:
            raise PatchUnprocessable(f"{token!r} leads into a value that is neither object nor list")
    return doc


def _add(doc: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _get(doc, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
    else:
        raise PatchUnprocessable(f"{last!r} cannot be added to a value that is neither object nor list")
    return doc


def _remove(doc: Any, path: list[str]) -> tuple[Any, Any]:
    if not path:
        raise PatchUnprocessable("the whole object cannot be removed")
    parent, last = _get(doc, path[:-1]), path[-1]
    if isinstance(parent, dict):
        if last not in parent:
            raise PatchUnprocessable(f"there is no member {last!r} to remove")
        return doc, parent.pop(last)
    if isinstance(parent, list):
        return doc, parent.pop(_index(last, len(parent)))
    raise PatchUnprocessable(f"{last!r} cannot be removed from a value that is neither object nor list")


def _set(doc: Any, path: list[str], value: Any) -> None:
    parent, last = _get(doc, path[:-1]), path[-1]
    if isinstance(parent, dict):
        if last not in parent:
            raise PatchUnprocessable(f"there is no member {last!r} to replace")
        parent[last] = value
    elif isinstance(parent, list):
        parent[_index(last, len(parent))] = value
    else:
        raise PatchUnprocessable(f"{last!r} cannot be replaced in a value that is neither object nor list")


def _equal(a: Any, b: Any) -> bool:
    """JSON equality: Python's, except that true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(_size(v) for v in value.values())
    if isinstance(value, list):
        return 1 + sum(_size(v) for v in value)
    return 1
