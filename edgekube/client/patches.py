"""Small merge patches from one value to the next: the update idiom of every role."""

from typing import Any

import msgspec


def merge_patch(old: msgspec.Struct, new: msgspec.Struct) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) from one Struct's JSON to another's: what changed, null for what vanished.

    Lists are replaced whole; maps are gone through key by key, for a merge leaves alone what it does not name.
    """
    return _difference(msgspec.to_builtins(old), msgspec.to_builtins(new))


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        held = before.get(name)
        if held == value:
            continue
        patch[name] = _difference(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return patch
