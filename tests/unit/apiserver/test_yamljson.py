"""YAML bodies: what JSON has, and documents made to hurt."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgekube.apiserver.yamljson import DEPTH_MAX, load

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2020-01-01\nyes: 1", {"a": "2020-01-01", "true": 1}),
        ("a: &x {k: v}\nb: *x\nc: {<<: *x, l: w}", {"a": {"k": "v"}, "b": {"k": "v"}, "c": {"k": "v", "l": "w"}}),
        ("[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1), None),
        ("", None),
    ],
)
def test_values(text: str, value: object) -> None:
    loaded = load(text, nodes_max=1000)
    assert value is None or loaded == value


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000, "a: " + "[{b: " * 60]
)
def test_depth_is_refused_before_it_is_composed(text: str) -> None:
    with pytest.raises((ValueError, yaml.YAMLError), match="nested deeper"):
        load(text, nodes_max=200_000)


@pytest.mark.parametrize("text", [BOMB, "[" + "a," * 300 + "]", "a: &a [1, 2]\nb: [" + "*a," * 150 + "]"])
def test_aliases_count_as_what_they_stand_for(text: str) -> None:
    with pytest.raises(ValueError, match="too many nodes"):
        load(text, nodes_max=300)


@given(st.text(alphabet="ab:&*[]{},-?!|>'\"\n <", max_size=60))
def test_only_these_errors_escape(text: str) -> None:
    try:
        load(text, nodes_max=50)
    except (yaml.YAMLError, ValueError):
        pass
