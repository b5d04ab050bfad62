"""Merge patches take a value to the next one, whatever lies between."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edgekube.client.patches import _difference, merge_patch
from edgekube.types.batch_v1 import JobStatus, UncountedTerminatedPods

values: st.SearchStrategy[Any] = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386 section 2, to the letter."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(maps, maps)
def test_takes_one_map_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, _difference(before, after)) == after


@given(maps)
def test_equal_maps_need_nothing(value: dict[str, Any]) -> None:
    assert _difference(value, value) == {}


def test_an_emptied_map_is_emptied() -> None:
    old = JobStatus(uncountedTerminatedPods=UncountedTerminatedPods(succeeded=("uid",)))
    new = JobStatus(uncountedTerminatedPods=UncountedTerminatedPods())
    patch = merge_patch(old, new)
    assert merged(msgspec.to_builtins(old), patch) == msgspec.to_builtins(new)
