"""RFC 7386 JSON merge patch."""

from typing import Any

DEPTH_MAX = 200  # nesting; JSON of real objects stays under 40


def merge_patch(target: Any, patch: Any, depth: int = 0) -> Any:
    """The target with the patch applied; neither argument is changed, unchanged parts are shared.

    `null` removes a member, objects merge, everything else replaces (RFC 7386 section 2).
    """
    if not isinstance(patch, dict):
        return patch
    if depth > DEPTH_MAX:
        raise RecursionError("a merge patch is nested too deeply")
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value, depth + 1)
    return result


def diff(old: Any, new: Any) -> Any:
    """The merge patch that turns `old` into `new` (both objects); `{}` when they are equal.

    A member of `new` that is null cannot be expressed by a merge patch and is dropped.
    """
    patch: dict[str, Any] = {}
    for key, value in new.items():
        if value is None:
            if key in old:
                patch[key] = None
        elif key not in old:
            patch[key] = value
        elif isinstance(value, dict) and isinstance(old[key], dict):
            inner = diff(old[key], value)
            if inner:
                patch[key] = inner
        elif old[key] != value or type(old[key]) is not type(value):
            patch[key] = value
    for key in old:
        if key not in new:
            patch[key] = None
    return patch
