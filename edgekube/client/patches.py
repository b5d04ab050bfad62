"""Small merge patches from one value to the next: the update idiom of every role."""

from typing import Any

import msgspec


def merge_patch(old: msgspec.Struct, new: msgspec.Struct) -> dict[str, Any]:
    """A merge patch (RFC 7386) at the top level of two Structs: what changed, and null for what vanished."""
    before: dict[str, Any] = msgspec.to_builtins(old)
    after: dict[str, Any] = msgspec.to_builtins(new)
    patch = {name: value for name, value in after.items() if before.get(name) != value}
    patch.update({name: None for name in before if name not in after})
    return patch
